"""gdb on a real stub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.debugger import Debugger
from rig.machine.errors import DebuggerError, Timeout
from rig.machine.machine import Machine
from rig.program import Call, MachineOptions


def test_registers_are_numbers_by_name(machine: Machine) -> None:
    registers = machine.debugger.registers()
    assert registers["pc"] == agent.DONE
    assert registers["msr"] & agent.MSR_AGENT == agent.MSR_AGENT
    assert set(machine.debugger.registers(("srr0", "fpscr"))) == {"srr0", "fpscr"}


def test_vector_registers_have_128_bits(machine: Machine) -> None:
    outcome = machine.call([Call(0xF00C, registers={"vs40": 0x1234 << 64 | 0x5678})])[0]
    assert outcome.registers["vs40"] == 0x1234 << 64 | 0x5678
    assert 0 <= machine.debugger.registers(("vs40",))["vs40"] < 1 << 128


def test_a_refused_command_has_gdbs_words(machine: Machine) -> None:
    with pytest.raises(DebuggerError, match=r"gdb refused -no-such-command: Undefined MI command"):
        machine.debugger.command("-no-such-command", Deadline(10))
    assert machine.call([Call(0xF00C)])[0].ending == "returned"


def test_an_answer_goes_to_the_command_that_asked(machine: Machine) -> None:
    debugger = machine.debugger
    first, second = debugger.send("-gdb-show endian"), debugger.send("-gdb-show confirm")
    assert debugger.result(second, Deadline(10), "second") == {"value": "off"}
    assert debugger.result(first, Deadline(10), "first") == {"value": "big"}


def test_an_answer_that_never_comes_is_not_awaited_for_ever(machine: Machine) -> None:
    with pytest.raises(Timeout, match=r"did not answer nothing within 0\.05 s"):
        machine.debugger.result(10**9, Deadline(0.05), "nothing")


def test_stepping_goes_on_from_the_stop_label(machine: Machine) -> None:
    debugger: Debugger = machine.debugger
    debugger.command("-exec-step-instruction", Deadline(10))
    while (stop := debugger.take_stop()) is None:
        debugger.pump(10)
    assert stop.pc == agent.PAST_DONE
    assert stop.cpu == 1


def test_a_gdb_that_gives_up_leaves_no_core_where_the_rig_was_started(
    boot: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    debugger = boot(MachineOptions(memory=256)).debugger
    debugger.send('-interpreter-exec console "maint internal-error on purpose"')
    assert debugger.process.wait(Deadline(60))
    assert set(tmp_path.iterdir()) == before
