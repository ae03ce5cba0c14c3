"""``rig shell``: what a line means, and a whole session with the agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from rig.commands.shell import BadLine, command, parse
from rig.model.environment import Environment, Node, Region
from rig.model.memory import Memory
from rig.program import H_LOGICAL_MEMOP, Call, Rtas, Seed

RAM = (Region(0, 0x1000_0000),)
TREE = Node("", children={"rtas": Node("rtas", {"get-time-of-day": (0x2001).to_bytes(4, "big")})})


@dataclass
class Stage:
    """A machine to look at."""

    environment = Environment(RAM, Region(0, 0), Region(0, 0), TREE)
    memory = Memory(RAM)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("memop 0x100 0 3 2 1", Call(H_LOGICAL_MEMOP, (0x100, 0, 3, 2, 1))),
        ("call 0x44 8 -1", Call(0x44, (8, (1 << 64) - 1))),
        ("rtas get-time-of-day 8:", Rtas("get-time-of-day", (), nret=8)),
        ("rtas 0x2001 3", Rtas(0x2001, (3,))),
        ("seed 0x800010 0102 03", Seed(0x80_0010, b"\1\2\3")),
    ],
)
def test_a_line_is_a_step(line: str, step: object) -> None:
    assert parse(line, Stage()) == step  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("memop 1 2", "no command"),
        ("jump", "no command"),
        ("call zero", "zero"),
        (f"call 0x1{'0' * 16}", "64 bits"),
        ("rtas nope", "no RTAS service nope"),
        ("seed 0x10 0", "non-hex"),
        ("seed 0x10000000 00", "not all RAM"),
        ("seed 0x100 00", "overlaps the agent's memory"),
        ("dump 0 0", "not all RAM"),
    ],
)
def test_any_other_line_says_what_is_wrong(line: str, says: str) -> None:
    with pytest.raises(BadLine, match=says):
        parse(line, Stage())  # type: ignore[arg-type]


def test_a_session_with_the_agent_is_judged(qemu: Path) -> None:
    lines = "seed 0x1000000 0102030405060708\nmemop 0x2000000 0x1000000 3 1 0\ndump 0x2000000 8\nnope\nquit\n"
    result = CliRunner().invoke(command, ["--qemu", str(qemu)], input=lines, standalone_mode=False)
    assert result.exception is None
    assert "r3=0x0  case: copy" in result.output
    assert "01 02 03 04 05 06 07 08" in result.output
    assert "'nope' is no command" in result.output
