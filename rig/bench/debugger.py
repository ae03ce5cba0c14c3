"""What one command to gdb costs by the rig's path."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rig.bench.measurement import Measurement, Ratio
from rig.deadline import Deadline
from rig.machine.build import Build
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions

ROUNDS = 200


def measure(index: int, build: Build) -> Iterator[Measurement | Ratio]:
    """Milliseconds of one gdb/MI command, and of one hypercall that is judged by itself."""
    with tempfile.TemporaryDirectory(prefix="rig-") as folder:
        machine = Machine(build, MachineOptions(), Path(folder), Deadline(60))
        try:
            machine.start()
            commands = tuple(_seconds(machine) * 1e3 for _ in range(ROUNDS))
            calls = tuple(_call(machine) * 1e3 for _ in range(ROUNDS))
        finally:
            machine.close()
    command = Measurement("gdb/MI command", index, "ms", commands)
    yield command
    yield Measurement("one hypercall, stop to stop", index, "ms", calls)
    yield Ratio("gdb/MI command / 1 ms", index, command.median, "at most 1")


def _seconds(machine: Machine) -> float:
    began = time.perf_counter()
    machine.debugger.registers(("pc",))
    return time.perf_counter() - began


def _call(machine: Machine) -> float:
    began = time.perf_counter()
    machine.call([Call(H_LOGICAL_MEMOP, (0x100_0000, 0x101_0000, 3, 0, 0))])
    return time.perf_counter() - began
