"""Further CPUs of the machine, and the endings that only a whole machine can have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rig.machine import agent
from rig.machine.errors import AgentError, MachineError
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, H_RTAS, Arrive, Call, Host, MachineOptions, Outcome

BLOCK = 0x90_0000

Boot = Callable[..., Machine]
TWO = MachineOptions(memory=256, smp="2")


def rtas(machine: Machine, service: str, *args: int, nret: int = 1, cpu: int = 0) -> Outcome:
    cells = (machine.environment.tokens[service], len(args), nret, *args)
    machine.memory.write(BLOCK, b"".join(cell.to_bytes(4, "big") for cell in cells))
    return machine.call([Call(H_RTAS, (BLOCK,), cpu=cpu)])[-1]


def rets(machine: Machine, nargs: int, index: int = 0) -> int:
    return int.from_bytes(machine.memory.read(BLOCK + 12 + 4 * (nargs + index), 4), "big", signed=True)


def start(machine: Machine, cpu: int) -> Outcome:
    outcome = rtas(machine, "start-cpu", cpu, agent.SECONDARY, agent.mailbox_at(cpu))
    assert (outcome.ending, rets(machine, 3)) == ("returned", 0)
    return machine.wait(Arrive(cpu))


@pytest.mark.parametrize("endian", ["big", "little"])
def test_a_second_cpu_makes_calls_of_its_own(boot: Boot, endian: str) -> None:
    machine = boot(MachineOptions(memory=256, smp="2", endian=endian))
    arrived = start(machine, 1)
    assert arrived.registers["r3"] == agent.mailbox_at(1)
    assert arrived.registers["msr"] & 0x1000
    machine.memory.write(0x200_0000, bytes(range(64)))
    copy = (H_LOGICAL_MEMOP, (0x100_0000, 0x200_0000, 3, 8, 0))
    before, after = machine.call([Call(*copy), Call(*copy, cpu=1)])
    assert before.before["sprg0"] == agent.MAILBOX
    assert after.before["sprg0"] == after.registers["sprg0"] == agent.mailbox_at(1)
    assert after.registers["r3"] == 0
    changed = {name for name, value in after.registers.items() if after.before.get(name, value) != value}
    assert changed == {"r3"}


def test_a_step_for_a_cpu_that_is_not_there_is_the_programs_mistake(boot: Boot) -> None:
    machine = boot(TWO)
    call = Call(H_LOGICAL_MEMOP, (0x100_0000, 0x200_0000, 3, 8, 0))
    there = "a step is for CPU 2, but the machine has 0, 1: see smp"
    with pytest.raises(MachineError, match=there):
        machine.call([Call(call.opcode, call.args, cpu=2)])
    with pytest.raises(MachineError, match=there):
        machine.together([call, Call(call.opcode, call.args, cpu=2)])
    with pytest.raises(MachineError, match=there):
        machine.wait(Arrive(2))
    assert machine.call([call])[-1].ending == "returned"


def test_any_cpu_can_stop_and_be_started_again(boot: Boot) -> None:
    machine = boot(TWO)
    start(machine, 1)
    for cpu, other in ((1, 0), (0, 1)):
        assert rtas(machine, "stop-self", cpu=cpu).ending == "stopped"
        rtas(machine, "start-cpu", cpu, agent.SECONDARY, agent.mailbox_at(cpu), cpu=other)
        assert rets(machine, 3) == 0
        assert machine.wait(Arrive(cpu)).registers["r3"] == agent.mailbox_at(cpu)
        assert rtas(machine, "query-cpu-stopped-state", cpu, nret=2, cpu=cpu).ending == "returned"
        assert (rets(machine, 1), rets(machine, 1, 1)) == (0, 2)


def test_a_cpu_that_cannot_execute_its_first_instruction_is_seen(boot: Boot) -> None:
    machine = boot(TWO)
    start(machine, 1)
    assert rtas(machine, "stop-self", cpu=1).ending == "stopped"
    machine.memories["gdb"].write(agent.SECONDARY, bytes(4))
    outcome = rtas(machine, "start-cpu", 1, agent.SECONDARY, agent.mailbox_at(1))
    if outcome.ending == "returned":  # it came back before the other CPU was that far
        outcome = machine.wait(Arrive(1))
    assert outcome.ending == "running"
    assert "CPU 1: the agent took exception 0x700 at vector 0 of its batch (SRR0 0x3000" in outcome.last_words


def test_a_cpu_that_nobody_started_does_not_arrive(boot: Boot) -> None:
    machine = boot(TWO)
    assert machine.wait(Arrive(1, timeout=0.3)).ending in ("running", "stopped")


def test_the_agent_has_a_mailbox_for_so_many_cpus(boot: Boot) -> None:
    machine = boot(MachineOptions(memory=256, smp="17"))
    with pytest.raises(AgentError, match="CPU 16 has no mailbox"):
        machine.call([Call(H_LOGICAL_MEMOP, cpu=16)])


def test_a_reboot_by_another_cpu_is_a_reset(boot: Boot) -> None:
    machine = boot(TWO)
    start(machine, 1)
    assert rtas(machine, "system-reboot", cpu=1).ending == "reset"
    assert start(machine, 1).ending == "returned"


def test_a_suspended_machine_finishes_its_call_when_woken(boot: Boot) -> None:
    machine = boot()
    assert rtas(machine, "ibm,suspend-me").ending == "suspended"
    woken = machine.host(Host("system_wakeup"))
    assert woken.ending == "returned"
    assert woken.registers["r3"] == 0
    assert woken.before["r3"] == H_RTAS
    assert [event.name for event in woken.events] == ["WAKEUP"]
    again = machine.host(Host("system_wakeup"))
    assert isinstance(again.answer, dict)
    assert "error" in again.answer


@pytest.mark.parametrize(("service", "args"), [("ibm,suspend-me", ()), ("power-off", (0, 0))])
def test_a_machine_that_stands_can_be_reset(boot: Boot, service: str, args: tuple[int, ...]) -> None:
    machine = boot()
    assert rtas(machine, service, *args).ending in ("suspended", "shutdown")
    machine.reset()
    assert rtas(machine, "query-cpu-stopped-state", 0, nret=2).ending == "returned"
    rtas(machine, service, *args)
    assert machine.host(Host("system_reset")).ending == "reset"


def test_a_qemu_that_ends_tells_its_events_and_exit_status(boot: Boot) -> None:
    machine = boot(MachineOptions(memory=256, no_shutdown=False))
    outcome = rtas(machine, "power-off", 0, 0)
    assert (outcome.ending, outcome.exit_status) == ("died", 0)
    assert "SHUTDOWN" in [event.name for event in outcome.events]
