"""Batches without stops, on a real QEMU."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil
import pytest
from elftools.elf.elffile import ELFFile

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.errors import AgentError, MachineError
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions
from rig.resources import image_root

DATA = 0x100_0000
RECORDS = agent.BATCH + 0x10000
UNKNOWN = 0xF00C


def vectors(machine: Machine, *calls: tuple[int, ...]) -> int:
    """Put vectors where the agent takes them; how many."""
    rows = b"".join(
        b"".join(value.to_bytes(8, "big") for value in (*call, *[0] * (10 - len(call)))) for call in calls
    )
    machine.memory.write(agent.BATCH, rows)
    return len(calls)


def r3(machine: Machine, index: int = 0) -> int:
    return int.from_bytes(machine.memory.read(RECORDS + index * agent.LEAN_SIZE, 8), "big")


def test_batches_run_one_after_another_and_the_machine_is_as_before(machine: Machine) -> None:
    machine.memory.write(DATA, b"0123456789abcdef")
    with machine.freely() as bell:
        for turn in range(50):
            count = vectors(machine, (H_LOGICAL_MEMOP, DATA + 16 * turn + 16, DATA + 16 * turn, 3, 2, 0))
            bell.ring(agent.BATCH, RECORDS, count)
            assert bell.wait(Deadline(10)) == "returned"
            assert r3(machine) == 0
            assert bell.events() == ()
    assert machine.memory.read(DATA + 16 * 50, 16) == b"0123456789abcdef"
    assert machine.call([Call(UNKNOWN, (5,))])[0].registers["r4"] == 5
    machine.reset()
    assert machine.call([Call(UNKNOWN, (6,))])[0].registers["r4"] == 6


def test_a_batch_that_takes_too_long_says_where_it_is(boot: Callable[..., Machine]) -> None:
    machine = boot()
    long = (H_LOGICAL_MEMOP, DATA, DATA, 0, 1 << 30, 0)
    with machine.freely() as bell:
        count = vectors(machine, (UNKNOWN,), (UNKNOWN,), long, (UNKNOWN,))
        bell.ring(agent.BATCH, RECORDS, count)
        assert bell.wait(Deadline(0.5)) == "running"
        assert bell.index == 2
        assert not bell.idle


def test_qemu_killed_is_an_ending(boot: Callable[..., Machine]) -> None:
    machine = boot()
    with machine.freely() as bell:
        bell.ring(agent.BATCH, RECORDS, vectors(machine, (H_LOGICAL_MEMOP, DATA, DATA, 0, 1 << 30, 0)))
        threading.Timer(0.2, psutil.Process(machine.pid).kill).start()
        assert bell.wait(Deadline(30)) == "died"
    assert not machine.alive


def test_an_agent_in_an_exception_is_found_out(boot: Callable[..., Machine]) -> None:
    machine = boot()
    with (image_root() / "agent-be.elf").open("rb") as file:
        (symbol,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name("rig_lean_end")
    with machine.freely() as bell:
        # A destination in the agent's own loop: what follows the call is no instruction.
        overwrite = (H_LOGICAL_MEMOP, (symbol["st_value"] - 64) & ~7, DATA, 3, 8, 0)
        bell.ring(agent.BATCH, RECORDS, vectors(machine, overwrite))
        with pytest.raises(AgentError, match="exception 0x700"):
            bell.wait(Deadline(20))


def test_a_machine_without_a_mapping_cannot(boot: Callable[..., Machine]) -> None:
    machine = boot(MachineOptions(memory=256, mapping=False))
    with pytest.raises(MachineError, match="mapping"), machine.freely():
        pass
