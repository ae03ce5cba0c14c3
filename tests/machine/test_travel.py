"""A machine's state brought back and brought elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.debugger import Debugger, Stop
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, LOAD, MOVE, RESTART, SAVE, Call, Host, MachineOptions

SMALL = MachineOptions(memory=256)
COPY = Call(H_LOGICAL_MEMOP, (0x200_0000, 0x100_0000, 3, 1, 0))


def copies(machine: Machine, data: bytes) -> bool:
    """Whether the guest works, on data that the host puts there."""
    machine.memory.write(0x100_0000, data)
    (outcome,) = machine.call([COPY])
    assert (outcome.ending, outcome.registers["r3"]) == ("returned", 0)
    return machine.memory.read(0x200_0000, 8) == data


def test_memory_comes_back_and_the_guest_goes_on(boot: Callable[..., Machine]) -> None:
    machine = boot()
    assert copies(machine, b"as saved")
    assert machine.host(Host(SAVE)).answer == {"return": {}}
    for _ in range(2):
        assert copies(machine, b"too late")
        outcome = machine.host(Host(LOAD))
        assert (outcome.ending, outcome.events, outcome.answer) == ("returned", (), {"return": {}})
        assert machine.memory.read(0x200_0000, 8) == b"as saved"


def test_what_was_not_saved_cannot_be_brought_back(boot: Callable[..., Machine]) -> None:
    machine = boot()
    answer = machine.host(Host(LOAD)).answer
    assert isinstance(answer, dict)
    assert "error" in answer
    assert copies(machine, b"goes on.")


@pytest.mark.parametrize("route", ["file", "socket"])
def test_another_process_goes_on(boot: Callable[..., Machine], route: str) -> None:
    machine = boot()
    assert copies(machine, b"moving..")
    before = machine.pid
    outcome = machine.host(Host(MOVE, {"route": route}))
    assert (outcome.ending, outcome.events, outcome.answer) == ("returned", (), {"return": {}})
    assert machine.pid != before
    assert machine.memory.read(0x200_0000, 8) == b"moving.."
    assert copies(machine, b"elsewhere"[:8])


def test_a_guest_that_was_interrupted_at_once_is_let_go_again(
    boot: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy host it may not have left its stop label, and gdb at the destination would stop it there."""
    machine = boot()
    shown, interrupted = Debugger.registers, Debugger.interrupt
    tries = []

    def interrupt(self: Debugger, deadline: Deadline) -> Stop:
        tries.append(self)
        return interrupted(self, deadline)

    def registers(self: Debugger, *arguments: Any) -> dict[str, int]:
        return {**shown(self, *arguments), **({"pc": agent.DONE} if len(tries) == 1 else {})}

    monkeypatch.setattr(Debugger, "interrupt", interrupt)
    monkeypatch.setattr(Debugger, "registers", registers)
    assert machine.host(Host(MOVE, {"route": "socket"})).answer == {"return": {}}
    assert len(tries) == 2
    assert copies(machine, b"goes on.")


def test_a_destination_that_does_not_fit_leaves_the_machine_where_it_was(
    boot: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = boot()
    before = machine.pid
    other = replace(SMALL, machine="pseries", options=("ic-mode=xics",))
    monkeypatch.setattr("rig.machine.host_actions.place", lambda options, directory: other)
    answer = machine.host(Host(MOVE, {"route": "socket"})).answer
    assert isinstance(answer, dict)
    assert "load of migration failed" in str(answer["error"])  # the destination's reason, not the source's
    assert machine.pid == before
    assert copies(machine, b"stays...")


def test_memory_in_nodes_is_one_memory(boot: Callable[..., Machine]) -> None:
    machine = boot(MachineOptions(memory=512, nodes=(256, 256)))
    border = 256 << 20
    machine.memory.write(border - 4, b"straddle")
    for name, memory in machine.memories.items():
        assert memory.read(border - 4, 8) == b"straddle", name
    assert [region.length for region in machine.environment.ram] == [border, border]


def test_plugged_memory_is_seen_from_then_on(boot: Callable[..., Machine]) -> None:
    machine = boot(MachineOptions(memory=256, dimms=(256,)))
    at = 1 << 30
    with pytest.raises(ValueError, match="not all RAM"):
        machine.memory.read(at, 1)
    plug = {"driver": "pc-dimm", "id": "plugged", "memdev": "dimm0", "addr": at}
    assert machine.host(Host("device_add", plug)).answer == {"return": {}}
    assert machine.environment.is_ram(at, 256 << 20)
    machine.memory.write(0x100_0000, b"plugged!")
    machine.call([Call(H_LOGICAL_MEMOP, (at + (256 << 20) - 8, 0x100_0000, 3, 1, 0))])
    assert machine.memory.read(at + (256 << 20) - 8, 8) == b"plugged!"
    machine.reset()
    assert machine.environment.is_ram(at, 256 << 20)
    assert machine.memory.read(at + (256 << 20) - 8, 8) == bytes(8)


def test_another_process_can_save_as_well(boot: Callable[..., Machine]) -> None:
    machine = boot()
    assert machine.host(Host(SAVE)).answer == {"return": {}}
    assert machine.host(Host(RESTART)).ending == "reset"
    assert copies(machine, b"as saved")
    assert machine.host(Host(SAVE)).answer == {"return": {}}
    assert copies(machine, b"too late")
    assert machine.host(Host(LOAD)).answer == {"return": {}}
    assert machine.memory.read(0x200_0000, 8) == b"as saved"
