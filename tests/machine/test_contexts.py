"""Calls in other states of the CPU, guest code, and several CPUs at once, on a real QEMU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rig.machine import translation
from rig.machine.errors import AgentError, MachineError
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, H_RTAS, Call, Host, MachineOptions, Run

Boot = Callable[..., Machine]
COPY = (H_LOGICAL_MEMOP, (0x100_0000, 0x200_0000, 3, 8, 0))
DATA = bytes(range(64))
H_PRIVILEGE = (1 << 64) - 3


@pytest.mark.parametrize("endian", ["big", "little"])
@pytest.mark.parametrize("kind", ["hash", "radix"])
def test_calls_with_translation_and_in_problem_state(boot: Boot, kind: str, endian: str) -> None:
    machine = boot(MachineOptions(memory=256, translation=kind, endian=endian))
    machine.memory.write(0x200_0000, DATA)
    refused, done = machine.call([Call(*COPY, problem=True), Call(*COPY)])
    assert refused.registers["msr"] & 0xC030 == 0xC030
    assert done.registers["msr"] & 0xC030 == 0x30
    assert (refused.registers["r3"], done.registers["r3"]) == (H_PRIVILEGE, 0)
    assert machine.memory.read(0x100_0000, 64) == DATA
    for outcome in (refused, done):
        changed = {name for name, value in outcome.registers.items() if outcome.before.get(name) != value}
        assert changed - {"srr0", "srr1"} == {"r3"}
    machine.reset()
    assert machine.call([Call(*COPY)])[0].registers["msr"] & 0xC030 == 0x30


@pytest.mark.parametrize("kind", ["hash", "radix"])
def test_setting_up_translation_after_a_reset_hides_nothing_of_it(boot: Boot, kind: str) -> None:
    machine = boot(MachineOptions(memory=256, translation=kind))
    outcome = machine.host(Host("system_reset"))
    assert (outcome.ending, [event.name for event in outcome.events]) == ("reset", ["RESET"])
    block, cells = 0x90_0000, (machine.environment.tokens["system-reboot"], 0, 1)
    machine.memory.write(block, b"".join(cell.to_bytes(4, "big") for cell in cells))
    done, reboot = machine.call([Call(*COPY), Call(H_RTAS, (block,)), Call(*COPY)])
    assert (done.ending, done.registers["r3"]) == ("returned", 0)
    assert (reboot.ending, [event.name for event in reboot.events]) == ("reset", ["RESET"])
    (after,) = machine.call([Call(*COPY)])
    assert after.before["msr"] == after.registers["msr"]
    assert after.registers["msr"] & 0xC030 == 0x30


def test_translation_is_really_on(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "prepare", lambda *_: [])
    machine = boot(MachineOptions(memory=256, translation="hash"))
    with pytest.raises(AgentError, match="exception 0x400"):
        machine.call([Call(*COPY)])


def test_problem_state_needs_translation(boot: Boot) -> None:
    with pytest.raises(ValueError, match="needs a machine with translation"):
        boot().call([Call(*COPY, problem=True)])


def test_a_refused_table_is_an_error(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "REGISTER_RADIX", 0x1A)
    with pytest.raises(AgentError, match="radix translation could not be set up"):
        boot(MachineOptions(memory=256, translation="radix"))


@pytest.mark.parametrize(
    ("cpu", "expected"), [("POWER8", False), ("power7_v2.3", False), ("power9_v2.0", True), ("power10", True)]
)
def test_radix_came_with_power9(cpu: str, expected: bool) -> None:
    assert translation.translatable("radix", cpu) is expected
    assert translation.translatable("hash", cpu)


def test_guest_code_runs_with_its_registers(boot: Boot) -> None:
    machine = boot()
    machine.memory.write(0x100_0000, bytes.fromhex("7c642a14 44000002"))  # add r3, r4, r5; sc 0
    (ran,) = machine.together([Run(0x100_0000, {"r4": 40, "r5": 2})])
    assert ran.registers["r3"] == 42
    assert ran.registers["srr0"] == 0x100_0008


def test_guest_code_that_faults_is_an_error(boot: Boot) -> None:
    machine = boot()
    machine.memory.write(0x100_0000, bytes(8))
    with pytest.raises(AgentError, match=r"exception 0x(700|e40)"):
        machine.together([Run(0x100_0000)])


def test_a_cpu_has_calls_or_a_routine(boot: Boot) -> None:
    with pytest.raises(ValueError, match="either calls"):
        boot().together([Call(*COPY), Run(0x100_0000)])


def test_several_cpus_need_a_mapping(boot: Boot) -> None:
    machine = boot(MachineOptions(memory=256, smp="2", mapping=False))
    with pytest.raises(MachineError, match="need a mapping"):
        machine.together([Call(*COPY), Call(*COPY, cpu=1)])
