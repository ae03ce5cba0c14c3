"""A program written as a file is the same program when it is read again."""

from __future__ import annotations

from pathlib import Path

from rig.program import Arrive, Await, Call, Host, MachineOptions, Ref, Requirement, Rtas, Seed
from rig.scenario.dump import dump_program
from rig.scenario.file import load_file
from rig.scenario.script import Playing, Scenario, Stage

STEPS = (
    Seed(0x90_0000, b"\x01\x02"),
    Seed(Ref("$ram.end-8"), cells=(1, Ref("$ram.end")), width=4),
    Call(0xF001, (1, 2, 3), registers={"r14": 5}, timeout=2.5, cpu=3),
    Rtas("start-cpu", (1, 0x3000, 0x8100), name="start", cpu=2),
    Arrive(1, 2.0),
    Rtas(0x2001, nret=8, nargs=1, address=0x1000, timeout=1.0),
    Host("system_wakeup", fails="not in suspended state"),
    Await("RESET", {"guest": True}, 3.0),
)


def nothing(_: Stage) -> Playing:
    yield from ()


def test_a_program_comes_back_as_it_was(tmp_path: Path) -> None:
    machine = MachineOptions(smp="4", no_shutdown=False, arguments=("-no-reboot",), endian="little")
    path = tmp_path / "program.yaml"
    requires = Requirement(devices=("e1000",), newer="==10.0.*")
    path.write_text(dump_program(Scenario("a/b", "round", nothing, machine, requires), STEPS))
    (again,) = load_file(path)
    assert again.machine == machine
    assert again.requires == requires
    assert again.steps is not None
    assert tuple(again.steps()) == STEPS
