"""System reset interrupts on a real machine: what is seen of them, and that the guest goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rig.machine import agent
from rig.machine.machine import Machine
from rig.model.blob import BASE
from rig.model.update_dt import H_UPDATE_DT
from rig.program import H_RTAS, Arrive, Call, Host, MachineOptions, Outcome
from rig.scenario.tree import with_rtas

INJECT = Host("inject-nmi")
BLOCK, BLOB, ROUTINE, SPACE = 0x90_0000, 0xA0_0000, 0xC0_0000, 0x180_0000
TWO = MachineOptions(memory=256, smp="2")
LITTLE = MachineOptions(memory=256, endian="little")
#: MSR: 64-bit mode, and little-endian
SF, LE = 1 << 63, 1


def rtas(machine: Machine, service: str, *args: int, cpu: int = 0) -> Outcome:
    """Call a service with one output."""
    cells = (machine.environment.tokens[service], len(args), 1, *args)
    machine.memory.write(BLOCK, b"".join(cell.to_bytes(4, "big") for cell in cells))
    (outcome,) = machine.call([Call(H_RTAS, (BLOCK,), cpu=cpu)])
    return outcome


def register(machine: Machine, routine: bytes) -> None:
    """Publish RTAS's place and register ``routine`` for system resets."""
    machine.memory.write(BLOB, with_rtas(machine, {BASE: SPACE.to_bytes(4, "big")}))
    machine.memory.write(ROUTINE, routine)
    assert machine.call([Call(H_UPDATE_DT, (BLOB,))])[0].registers["r3"] == 0
    rtas(machine, "ibm,nmi-register", ROUTINE, ROUTINE)
    assert machine.memory.read(BLOCK + 20, 4) == bytes(4)


def test_an_interrupt_that_nobody_registered_for_is_taken_back(machine: Machine) -> None:
    outcome = machine.host(INJECT)
    assert outcome.ending == "returned"
    assert outcome.registers["pc"] == 0x100
    assert outcome.registers["srr0"] == outcome.before["pc"] == agent.DONE
    assert outcome.registers["r1"] == outcome.before["r1"]
    assert rtas(machine, "query-cpu-stopped-state", 0).ending == "returned"
    assert machine.host(INJECT).registers["pc"] == 0x100


def test_a_registered_routine_is_executed(machine: Machine) -> None:
    # lis r4,0x90; stw r4,0x100(r4); rfid
    register(machine, bytes.fromhex("3c800090 90840100 4c000024"))
    outcome = machine.host(INJECT)
    assert (outcome.ending, outcome.registers["pc"]) == ("returned", ROUTINE)
    assert machine.memory.read(BLOCK + 0x100, 4) == bytes.fromhex("00900000")
    assert rtas(machine, "query-cpu-stopped-state", 0).ending == "returned"


def test_a_little_endian_cpu_comes_back_from_big_endian_code(boot: Callable[..., Machine]) -> None:
    machine = boot(LITTLE)
    for _ in range(2):
        outcome = machine.host(INJECT)
        before, after = outcome.before, outcome.registers
        assert (outcome.ending, after["pc"], after["srr0"]) == ("returned", 0x100, agent.DONE)
        assert (before["msr"] & (SF | LE), after["msr"] & (SF | LE)) == (SF | LE, SF)
        assert [after[f"r{n}"] for n in range(32)] == [before[f"r{n}"] for n in range(32)]
        assert rtas(machine, "query-cpu-stopped-state", 0).registers["r3"] == 0
    # the routine is big-endian code: lis r4,0x90; stw r4,0x100(r4); rfid
    register(machine, bytes.fromhex("3c800090 90840100 4c000024"))
    outcome = machine.host(INJECT)
    assert (outcome.ending, outcome.registers["pc"]) == ("returned", ROUTINE)
    assert machine.memory.read(BLOCK + 0x100, 4) == bytes.fromhex("00900000")
    assert rtas(machine, "query-cpu-stopped-state", 0).registers["r3"] == 0


def test_a_further_little_endian_cpu_is_taken_back(boot: Callable[..., Machine]) -> None:
    machine = boot(replace(TWO, endian="little"))
    rtas(machine, "start-cpu", 1, agent.SECONDARY, agent.mailbox_at(1))
    assert machine.wait(Arrive(1)).ending == "returned"
    outcome = machine.host(INJECT)
    assert (outcome.registers["pc"], outcome.registers["pc@1"]) == (0x100, 0x100)
    for cpu in (0, 1):
        assert rtas(machine, "query-cpu-stopped-state", 1, cpu=cpu).ending == "returned"


def test_a_routine_that_never_returns_is_seen(machine: Machine) -> None:
    register(machine, bytes.fromhex("48000000"))
    outcome = machine.host(Host("inject-nmi", timeout=1.0))
    assert outcome.ending == "running"
    machine.reset()
    assert rtas(machine, "query-cpu-stopped-state", 0).ending == "returned"


def test_a_further_cpu_is_taken_back_too(boot: Callable[..., Machine]) -> None:
    machine = boot(TWO)
    rtas(machine, "start-cpu", 1, agent.SECONDARY, agent.mailbox_at(1))
    assert machine.wait(Arrive(1)).ending == "returned"
    for _ in range(2):
        outcome = machine.host(INJECT)
        assert (outcome.registers["pc"], outcome.registers["pc@1"]) == (0x100, 0x100)
        for cpu in (0, 1):
            assert rtas(machine, "query-cpu-stopped-state", 1, cpu=cpu).ending == "returned"


def test_a_stopped_cpu_that_wakes_is_seen(boot: Callable[..., Machine]) -> None:
    machine = boot(TWO)
    outcome = machine.host(INJECT)
    woken = machine.build.version >= (7,)  # 5.2 leaves it stopped
    assert outcome.ending == ("running" if woken else "returned")
    assert ("woken@1" in outcome.registers) == woken
    machine.reset()
    assert rtas(machine, "query-cpu-stopped-state", 1).ending == "returned"
