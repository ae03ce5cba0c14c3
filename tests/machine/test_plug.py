"""Plugging a CPU into a real machine: the debugger's stops must hold for all CPUs there are then."""

from __future__ import annotations

from collections.abc import Callable

from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, Call, Host, MachineOptions

ROOM = MachineOptions(memory=256, smp="1,maxcpus=2")


def test_a_machine_goes_on_after_a_cpu_was_plugged(boot: Callable[..., Machine]) -> None:
    machine = boot(ROOM)
    core = {"driver": f"{ROOM.cpu}-spapr-cpu-core", "id": "core", "core-id": 1}
    assert machine.host(Host("device_add", core)).answer == {"return": {}}
    for _ in range(3):
        (outcome,) = machine.call([Call(H_LOGICAL_MEMOP, (0x100_0000, 0x100_0000, 3, 1, 0))])
        assert (outcome.ending, outcome.registers["r3"]) == ("returned", 0)
    machine.reset()
    (outcome,) = machine.call([Call(H_LOGICAL_MEMOP, (0x100_0000, 0x100_0000, 3, 1, 0))])
    assert outcome.ending == "returned"
