"""One batch of calls for one CPU: its vectors, and its records as outcomes.

It moves no bytes; what happened to the machine as a whole comes from :mod:`rig.machine.machine`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rig.frozen import frozen
from rig.machine import agent
from rig.machine.errors import AgentError
from rig.machine.registers import MASK64, RECORD_ONLY, Endian, Record, doubleword
from rig.machine.translation import Translation, state_of
from rig.program import Call, Outcome, Run

if TYPE_CHECKING:  # few need it
    import numpy as np
    from numpy.typing import NDArray

    #: a row of doublewords for each call, in the agent's byte order, laid out as a record is
    Rows = NDArray[np.uint64]

#: registers that a record shows and a vector does not load
CARRIED = ("msr", "srr0", "srr1")
#: registers in which the agent keeps its own
OWN = ("sprg0", "sprg1")


@frozen
class Batch:
    """The vectors of ``count`` calls, one after the other, for the CPU with index ``cpu``.

    ``full`` is the kind of vector and record.
    """

    vectors: bytes | bytearray
    count: int
    full: bool
    cpu: int
    #: what MSR has besides the agent's bits, and the routine that makes the calls; 0 is the agent itself
    msr: int = 0
    routine: int = 0
    #: address of the first vector
    at: int = agent.BATCH
    #: whether the vectors differ in opcodes and arguments only
    uniform: bool = False

    @classmethod
    def of(
        cls,
        parts: Sequence[Call | Run],
        codec: agent.Codec,
        translation: Translation = "off",
        *,
        full: bool = True,
        at: int = agent.BATCH,
    ) -> Batch:
        """The batch of resolved calls, all of one :func:`kind`, or of a routine.

        Raises :class:`ValueError` for registers that no vector can hold.
        """
        cpu, msr, routine = kind(parts[0], translation)
        if routine and not full:
            raise ValueError("a call in another state than the agent's needs a full record")
        uniform = not any(part.registers for part in parts)
        return cls(codec.vectors(parts, full), len(parts), full, cpu, msr, routine, at, uniform)

    @property
    def records_at(self) -> int:
        """Address of the first record."""
        return agent.records_at(self.count, self.full, self.at)

    @property
    def unwritten(self) -> memoryview:
        """The records before the agent has written any."""
        return agent.unwritten(self.count, self.full)

    def outcomes(
        self, records: bytes, last: Outcome, carried: dict[str, int], codec: agent.Codec
    ) -> Outcomes:
        """An outcome for each call that was begun.

        ``last`` is the outcome of the batch as a whole, registers excepted.  ``carried`` are the registers
        that no vector loads, as they stood before; they are brought up to date.  Raises :class:`AgentError`
        when records are missing.
        """
        outcomes = Outcomes(self, records, last, dict(carried), codec)
        if last.ending == "returned" and outcomes.done < self.count:
            raise AgentError(
                f"the agent says that it is done, but wrote only {outcomes.done} of {self.count} records"
            )
        carried.update(outcomes.carried(outcomes.done))
        return outcomes

    def before(self, index: int, codec: agent.Codec) -> Mapping[str, int]:
        """What the vector with that index loads."""
        size = agent.size(self.full)
        loaded = codec.record(bytes(self.vectors[index * size : (index + 1) * size]), self.full)
        return Record(loaded.data, loaded.endian, RECORD_ONLY) if isinstance(loaded, Record) else loaded


class Outcomes:
    """The outcomes of one batch, each decoded when it is asked for.

    ``done`` counts the calls that came back; ``last`` is the outcome of the batch as a whole.
    """

    def __init__(
        self, batch: Batch, records: bytes, last: Outcome, carried: Mapping[str, int], codec: agent.Codec
    ) -> None:
        size = agent.size(batch.full)
        blank = agent.UNWRITTEN * size
        self.last = last
        self.done = next(
            (at // size for at in range(0, len(records), size) if records.startswith(blank, at)),
            len(records) // size,
        )
        self._batch, self._records, self._size = batch, records, size
        self._carried, self._codec = carried, codec

    @property
    def endian(self) -> Endian:
        """The agent's byte order."""
        return self._codec.endian

    def __len__(self) -> int:
        return min(self.done + 1, self._batch.count)

    def __iter__(self) -> Iterator[Outcome]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> Outcome:
        index = range(len(self))[index]
        if index == self.done:  # the call after the last record is the one that did not come back
            return replace(self.last, before=self._batch.before(index, self._codec))
        before, after = self._before(index), self._after(index)
        if index == self._batch.count - 1:  # what came after all had returned is the last one's
            return replace(self.last, registers=after, before=before)
        return Outcome("returned", after, before, clock=self.last.clock)

    def brief(self, index: int) -> Outcome:
        """The outcome of a call that came back and is not the last one, as far as it costs next to nothing.

        Before the call only what its vector loads is shown.
        """
        before = self._batch.before(index, self._codec)
        return Outcome("returned", self._after(index), before, clock=self.last.clock)

    def carried(self, index: int) -> dict[str, int]:
        """The registers that no vector loads, as they stood before the call with that index."""
        if not index or not self._batch.full:
            return dict(self._carried)
        after = self._after(index - 1)
        held = {name: after[name] for name in self._carried}
        if "msr" in held:
            held["msr"] &= ~self._batch.msr
        return held

    def _before(self, index: int) -> Mapping[str, int]:
        before = self._batch.before(index, self._codec)
        if not isinstance(before, Record):
            return before
        held = self.carried(index)
        if "msr" in held:
            held["msr"] |= self._batch.msr
        return before.having(held | self._own(index))

    @property
    def rows(self) -> Rows:
        """What each of the calls that came back left in registers, of full records."""
        import numpy as np

        shape = (self.done, self._size // 8)
        words = np.dtype(">u8" if self._codec.endian == "big" else "<u8")
        return np.frombuffer(self._records, words, self.done * shape[1]).reshape(shape)

    def disturbed(self, preserved: bytes) -> NDArray[np.bool_]:
        """Which of the calls that came back changed a bit that is 1 in ``preserved``, of full records.

        Those do not count of which nobody knows what they were.
        """
        import numpy as np

        rows = self.rows
        before = np.frombuffer(self._batch.vectors, np.uint64).reshape(-1, rows.shape[1])
        before = before[: 1 if self._batch.uniform else self.done]
        after, mask = rows.view(np.uint64), np.frombuffer(preserved, np.uint64)
        changed = (after != before) & (mask != 0)
        for column in np.flatnonzero((mask != 0) & (~mask != 0)).tolist():
            changed[:, column] = (after[:, column] ^ before[:, column]) & mask[column] != 0
        for name in RECORD_ONLY:
            column = doubleword(name)
            stood = self._stood(name, rows[:, column]).view(np.uint64)
            changed[:, column] = (after[:, column] ^ stood) & mask[column] != 0
        disturbed: NDArray[np.bool_] = changed.any(axis=1)
        return disturbed

    def _stood(self, name: str, after: Rows) -> Rows:
        """What a register that no vector loads held before each of the calls."""
        import numpy as np

        before = after.copy()
        if name in self._carried and self.done:
            before[1:] = after[:-1]
            before[0] = self._carried[name]
            if name == "msr":
                before[1:] &= np.uint64(MASK64 & ~self._batch.msr)
                before |= np.uint64(self._batch.msr)
        elif name in OWN:
            step = self._own(1)[name] - (first := self._own(0)[name])
            before[:] = first + step * np.arange(self.done, dtype=np.uint64)
        return before

    def _own(self, index: int) -> dict[str, int]:
        """The registers in which the agent keeps its own."""
        batch = self._batch
        held = agent.mailbox_at(batch.cpu), batch.records_at + index * self._size
        return dict(zip(OWN, held, strict=True))

    def _after(self, index: int) -> Mapping[str, int]:
        at = index * self._size
        return self._codec.record(self._records[at : at + self._size], self._batch.full)


def kind(part: Call | Run, translation: Translation) -> tuple[int, int, int]:
    """CPU, additional bits of MSR, and address of the routine: what is the same throughout a batch."""
    if isinstance(part, Run):
        if not isinstance(part.address, int):
            raise ValueError(f"the routine at {part.address} is a reference that was not resolved")
        return part.cpu, 0, part.address
    msr = state_of(translation, problem=part.problem)
    return part.cpu, msr, agent.ELSEWHERE if msr else 0


def seconds(calls: Sequence[Call | Run], patience: float) -> float:
    """How long a batch may take: the sum of its calls' own limits, plus ``patience`` if any has none."""
    own = sum(call.timeout for call in calls if call.timeout is not None)
    return own + (patience if any(call.timeout is None for call in calls) else 0.0)
