"""A machine's raw guest loop: one hypercall again and again, with nothing judged but that it succeeded."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.build import Build
from rig.machine.machine import Machine
from rig.machine.memory import Mapped
from rig.program import MachineOptions

#: seconds for a machine to start, and for a batch
PATIENCE = 60.0
#: free memory for arguments
ARENA = 0x100_0000


class Loop:
    """One machine of ``build``; a context manager.  Between readings its guest stands still."""

    def __init__(self, build: Build) -> None:
        self._life = ExitStack()
        with ExitStack() as starting:
            folder = starting.enter_context(TemporaryDirectory(prefix="rig-"))
            self.machine = Machine(build, MachineOptions(memory=256), Path(folder), Deadline(PATIENCE))
            starting.callback(self.machine.close)
            self.machine.start()
            memory = self.machine.memory
            assert isinstance(memory, Mapped)
            ram = np.frombuffer(memory.mapping(), ">u8")
            self._rows = ram[agent.BATCH // 8 : agent.REGION.end // 8]
            self._life = starting.pop_all()

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()

    def seconds(self, calls: int, opcode: int, *args: int, step: tuple[int, ...] = ()) -> float:
        """Seconds for so many hypercalls; ``step`` is added to the arguments from one to the next.

        Raises :class:`RuntimeError` when one does not succeed.
        """
        vectors = self._rows[: calls * 10].reshape(calls, 10)
        records = self._rows[calls * 10 : calls * 20].reshape(calls, 10)
        vectors[:] = 0
        vectors[:, 0] = opcode
        numbers = np.arange(calls, dtype=np.uint64)
        for index, value in enumerate(args):
            vectors[:, 1 + index] = np.uint64(value)
        for index, stride in enumerate(step):
            vectors[:, 1 + index] += numbers * np.uint64(stride)
        with self.machine.freely() as bell:
            began = time.perf_counter()
            bell.ring(agent.BATCH, agent.BATCH + calls * agent.LEAN_SIZE, calls)
            ending = bell.wait(Deadline(PATIENCE))
            seconds = time.perf_counter() - began
        if ending != "returned" or records[:, 0].any():
            raise RuntimeError(f"hypercall {opcode:#x} did not succeed {calls} times: {ending}")
        return seconds
