"""SLOF as the caller: the conversation at its prompt, and what becomes of a SLOF that has none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.deadline import Deadline
from rig.machine.build import Build
from rig.machine.console import Console
from rig.machine.errors import MachineError, Timeout
from rig.machine.prompt import MAX_LINE, Prompt, Refusal
from rig.machine.slof import SlofMachine, spoken
from rig.program import H_LOGICAL_MEMOP, H_RTAS, Call, MachineOptions

OPTIONS = MachineOptions(memory=256, arguments=("-prom-env", "auto-boot?=false"), firmware="slof")

Says = Callable[[bytes], Prompt]


@pytest.fixture
def says() -> Iterator[Says]:
    """A prompt whose console has the given bytes to say."""
    ours, theirs = socket.socketpair()
    console = Console(ours)

    def say(data: bytes) -> Prompt:
        theirs.sendall(data)
        return Prompt(console)

    yield say
    console.close()
    theirs.close()


def echo(line: bytes, answer: bytes, depth: bytes = b"0") -> bytes:
    """What SLOF draws for a line."""
    return (
        b"\x1b7" + line + b"\x1b8\x1b[" + str(len(line)).encode() + b"C  " + answer + b"\r\n" + depth + b" > "
    )


def test_what_a_line_printed_is_found_behind_its_echo(says: Says) -> None:
    assert says(echo(b"1 2 + .", b"3  ok")).ask("1 2 + .", Deadline(5)) == "3"


def test_a_stack_that_is_not_empty_is_a_prompt_too(says: Says) -> None:
    assert says(echo(b"1 2", b" ok", b"2")).ask("1 2", Deadline(5)) == ""


def test_a_number_is_read_in_all_its_64_bits(says: Says) -> None:
    prompt = says(echo(b'-4 ." =" u.', b"=fffffffffffffffc  ok"))
    assert prompt.number("-4", Deadline(5)) == (1 << 64) - 4


def test_an_answer_without_a_number_is_an_error(says: Says) -> None:
    with pytest.raises(MachineError, match="instead of a number"):
        says(echo(b'x ." =" u.', b"what?  ok")).number("x", Deadline(5))


def test_a_dump_is_read_as_bytes(says: Says) -> None:
    row = b"\r\n01000000: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................ ok"
    assert says(echo(b"1000000 8 dump", row)).dump(0x100_0000, 8, Deadline(5)) == bytes(range(8))


def test_a_line_that_slof_does_not_understand_is_refused(says: Says) -> None:
    with pytest.raises(Refusal, match="foobar Undefined word"):
        says(echo(b"foobar", b"foobar Undefined word\r\n")).ask("foobar", Deadline(5))


@pytest.mark.parametrize("line", ["x" * (MAX_LINE + 1), "1\r2"])
def test_a_line_that_the_editor_would_cut_is_not_typed(says: Says, line: str) -> None:
    with pytest.raises(ValueError, match="one line of at most"):
        says(b"").ask(line, Deadline(5))


def test_no_prompt_in_time_is_an_error_with_the_end_of_the_console(says: Says) -> None:
    with pytest.raises(Timeout, match=r"(?s)its prompt within 0.2 s.*No NVRAM"):
        says(b"SLOF\r\nNo NVRAM\r\n").arrive(Deadline(0.2))


def test_a_slof_that_has_no_prompt_in_time_ends_as_an_error(build: Build, short_tmp: Path) -> None:
    machine = SlofMachine(build, OPTIONS, short_tmp / "m", Deadline(2.0))
    with pytest.raises(Timeout, match=r"its console ends with|did not answer"):
        machine.start()
    assert not machine.alive


def test_calls_become_forth() -> None:
    memop = Call(H_LOGICAL_MEMOP, (0x200, 0x100, 3, 16, 1))
    assert spoken(memop) == ("200 100 3 10 1 hv-logical-memop", 16)
    assert spoken(Call(H_RTAS, (0x900,)))[0].startswith("900 ")


@pytest.mark.parametrize("call", [Call(0x3C, (8, 0)), Call(H_LOGICAL_MEMOP, (1, 2)), Call(H_RTAS)])
def test_a_call_that_the_prompt_has_no_word_for_is_an_error(call: Call) -> None:
    with pytest.raises(MachineError, match="no word for hypercall"):
        spoken(call)


def test_a_machine_without_a_console_cannot_have_a_prompt(build: Build, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a console"):
        SlofMachine(build, MachineOptions(console=False, firmware="slof"), tmp_path)


@pytest.mark.slof
def test_slof_makes_calls_and_its_memory_is_left_alone(build: Build, short_tmp: Path) -> None:
    with SlofMachine(build, OPTIONS, short_tmp / "m") as machine:
        machine.memory.write(0x100_0000, bytes(range(16)))
        copied, refused = machine.call(
            [
                Call(H_LOGICAL_MEMOP, (0x200_0000, 0x100_0000, 3, 2, 0)),
                Call(H_LOGICAL_MEMOP, (0x200_0001, 0x100_0000, 3, 2, 0)),
            ]
        )
        assert copied.registers["r3"] == 0
        assert refused.registers["r3"] == (1 << 64) - 4
        assert machine.memory.read(0x200_0000, 16) == bytes(range(16))
        assert machine.dump(0x200_0000, 16) == bytes(range(16))
        assert not copied.events
        machine.reset()
        assert machine.memory.read(0x200_0000, 16) == bytes(16)
        assert machine.ask("1 2 + .") == "3"
