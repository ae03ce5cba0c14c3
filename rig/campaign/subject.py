"""The machine under a stream: guest memory, vectors and records as arrays, and what must stay as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from rig.campaign.batch import Batch
from rig.campaign.health import Health
from rig.campaign.layout import ARENA, ARENAS, EDGE, Layout
from rig.check.judge import RIG_OWNED
from rig.check.memory_diff import adopt, differences
from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.build import Build
from rig.machine.doorbell import Doorbell
from rig.machine.errors import MachineError
from rig.machine.machine import Machine
from rig.machine.memory import Mapped
from rig.model.memory import Memory
from rig.model.vectorised.field import U64, Bytes
from rig.model.vectorised.memop import Meaning
from rig.program import H_LOGICAL_MEMOP, Call, Ending, Event, MachineOptions

#: seconds that a machine may take to be ready
START = 30.0
#: vectors written at once
AT_ONCE = 2048


class Subject:
    """One machine of ``build`` for batches of ``size`` calls; started at once, raises :class:`MachineError`.

    Batches with even and with odd numbers have arenas, vectors and records of their own.
    """

    def __init__(self, build: Build, options: MachineOptions, size: int) -> None:
        if 2 * size > agent.capacity(full=False):
            raise MachineError(f"two batches of {size} calls do not fit beside each other")
        self._life = ExitStack()
        with ExitStack() as starting:
            folder = starting.enter_context(tempfile.TemporaryDirectory(prefix="rig-"))
            self.machine = Machine(build, options, Path(folder), Deadline(START))
            starting.callback(self.machine.close)
            self.machine.start()
            self.layout = Layout.of(self.machine.environment)
            self.meaning: Meaning = _meaning(self.machine)
            memory = self.machine.memory
            assert isinstance(memory, Mapped)
            self._ram: Bytes = np.frombuffer(memory.mapping(), np.uint8)
            self.fields = tuple(self.layout.field(parity) for parity in (0, 1))
            self._size = size
            self._words = np.dtype(">u8" if options.endian == "big" else "<u8")
            for parity in (0, 1):
                self._rows(self._vectors_at(parity))[:] = 0
            #: memory that no batch may change
            self._still = Memory(self.machine.environment.ram)
            adopt(self._still, memory)
            edge = self.layout.edge
            free = ((region.start, region.end) for region in (*ARENAS, edge))
            self._ignored = sorted((*RIG_OWNED, *free))
            self.bell: Doorbell = starting.enter_context(self.machine.freely())
            self._life = starting.pop_all()
        self.health = Health(self.machine)

    def close(self) -> None:
        """End the machine.  May be called twice."""
        self._life.close()

    # ---- batches -------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, calls: int) -> None:
        """Fill the batch's arena and write its vectors, while the guest may be at another batch."""
        parity = batch.number % 2
        field = self.fields[parity]
        used = len(batch.content)
        field.data[:used] = batch.content
        self.arena(parity)[:used] = batch.content
        if parity:
            field.data[ARENA : ARENA + EDGE] = batch.edge
            self.edge[:] = batch.edge
        # Records need no marking: the agent counts a batch as done only when it has written them all.
        vectors = self._rows(self._vectors_at(parity))
        for first in range(0, calls, AT_ONCE):  # so that a row of columns stays in the processor's cache
            last = min(first + AT_ONCE, calls)
            for row, column in enumerate(batch.registers):
                vectors[first:last, row] = column[first:last]

    def ring(self, parity: int, calls: int) -> None:
        """Start the batch that was prepared."""
        self.bell.ring(self._vectors_at(parity), self._records_at(parity), calls)

    def wait(self, deadline: Deadline) -> Ending:
        """Until the batch is done, or the machine can do no more."""
        return self.bell.wait(deadline)

    def results(self, parity: int, calls: int) -> tuple[U64, U64]:
        """r3 and r4 of a batch's records, in the agent's byte order."""
        records = self._rows(self._records_at(parity))
        return records[:calls, 0], records[:calls, 1]

    def adopt(self, parity: int) -> None:
        """Take an arena as the guest left it, unjudged."""
        field = self.fields[parity]
        field.data[:ARENA] = self.arena(parity)
        field.data[ARENA : field.size] = self.edge[: field.size - ARENA]

    def arena(self, parity: int) -> Bytes:
        """The memory in which batches work."""
        return self._ram[ARENAS[parity].start : ARENAS[parity].end]

    @property
    def edge(self) -> Bytes:
        """The page at the end of RAM."""
        return self._ram[self.layout.edge.start : self.layout.edge.end]

    def _vectors_at(self, parity: int) -> int:
        return agent.BATCH + 2 * parity * self._size * agent.LEAN_SIZE

    def _records_at(self, parity: int) -> int:
        return self._vectors_at(parity) + self._size * agent.LEAN_SIZE

    def _rows(self, address: int) -> U64:
        length = self._size * agent.LEAN_SIZE
        return self._ram[address : address + length].view(self._words).reshape(self._size, -1)

    # ---- what must stay as it is ---------------------------------------------------------------------------

    def strays(self, parity: int) -> Iterator[int]:
        """Addresses of wrong bytes outside the cells of the batch just judged.

        The other arena is left out: a batch may be running there.
        """
        for difference in differences(self._still, self.machine.memory, self._ignored):
            yield difference.address
            self._still.write(difference.address, difference.observed)
        field, arena = self.fields[parity], self.arena(parity)
        for start, observed, address in (
            (0, arena, ARENAS[parity].start),
            (ARENA, self.edge if parity else self.edge[:0], self.layout.edge.start),
        ):
            expected = field.data[start : start + len(observed)]
            unequal = expected.view(np.uint64) != observed.view(np.uint64)
            if unequal.any():
                yield address + 8 * int(np.argmax(unequal))
                expected[:] = observed

    def events(self) -> tuple[Event, ...]:
        """QMP events since the last look; raises :class:`MachineError` when the monitor does not answer."""
        return self.bell.events()


def _meaning(machine: Machine) -> Meaning:
    """What the build's operation 1 does, by one byte in an arena; wrong bytes are found later."""
    dst, src = ARENAS[0].start, ARENAS[0].start + 1
    machine.memory.write(dst, bytes((0x0F, 0x33)))
    machine.call([Call(H_LOGICAL_MEMOP, (dst, src, 0, 1, 1))], full=False)
    stored = machine.memory.read(dst, 1)
    machine.memory.write(dst, bytes(2))
    return "xor" if stored == bytes((0x0F ^ 0x33,)) else "invert"
