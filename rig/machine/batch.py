"""One batch of calls for one CPU: its vectors, and its records as outcomes.

It moves no bytes; what happened to the machine as a whole comes from :mod:`rig.machine.machine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rig.machine import agent
from rig.machine.errors import AgentError
from rig.machine.registers import RECORD_ONLY, Record
from rig.machine.translation import Translation, state_of
from rig.program import Call, Outcome, Run

#: registers that a record shows and a vector does not load
CARRIED = ("msr", "srr0", "srr1")


@dataclass(frozen=True, slots=True)
class Batch:
    """The vector of each call, for the CPU with index ``cpu``; ``full`` is the kind of vector and record."""

    vectors: tuple[bytes, ...]
    full: bool
    cpu: int
    #: what MSR has besides the agent's bits, and the routine that makes the calls; 0 is the agent itself
    msr: int = 0
    routine: int = 0
    #: address of the first vector
    at: int = agent.BATCH

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
        return cls(tuple(codec.vector(part, full) for part in parts), full, cpu, msr, routine, at)

    @property
    def count(self) -> int:
        """The number of calls."""
        return len(self.vectors)

    @property
    def records_at(self) -> int:
        """Address of the first record."""
        return agent.records_at(self.count, self.full, self.at)

    @property
    def unwritten(self) -> bytes:
        """The records before the agent has written any."""
        return agent.UNWRITTEN * agent.size(self.full) * self.count

    def outcomes(
        self, records: bytes, last: Outcome, carried: dict[str, int], codec: agent.Codec
    ) -> list[Outcome]:
        """An outcome for each call that was begun.

        ``last`` is the outcome of the batch as a whole, registers excepted.  ``carried`` are the registers
        that no vector loads, as they stood before; they are brought up to date.  Raises :class:`AgentError`
        when records are missing.
        """
        size = agent.size(self.full)
        pieces = [records[at : at + size] for at in range(0, len(records), size)]
        blank = agent.UNWRITTEN * size
        done = next((index for index, piece in enumerate(pieces) if piece == blank), len(pieces))
        if last.ending == "returned" and done < self.count:
            raise AgentError(f"the agent says that it is done, but wrote only {done} of {self.count} records")
        outcomes = []
        for index, piece in enumerate(pieces[:done]):
            before, after = self._before(index, codec), codec.record(piece, self.full)
            if isinstance(before, Record):
                own = {"sprg0": agent.mailbox_at(self.cpu), "sprg1": self.records_at + index * size}
                msr = {"msr": carried["msr"] | self.msr} if "msr" in carried else {}
                before = before.having(carried | msr | own)
                carried.update({name: after[name] for name in carried})
                if "msr" in carried:
                    carried["msr"] &= ~self.msr
            outcomes.append(Outcome(registers=after, before=before, clock=last.clock))
        if done == self.count:  # what came after all of them had returned is the last one's
            final = outcomes[-1]
            return [*outcomes[:-1], replace(last, registers=final.registers, before=final.before)]
        # The call after the last record is the one that did not come back.
        return [*outcomes, replace(last, before=self._before(done, codec))]

    def _before(self, index: int, codec: agent.Codec) -> Mapping[str, int]:
        """What the vector with that index loads."""
        loaded = codec.record(self.vectors[index], self.full)
        return Record(loaded.data, loaded.endian, RECORD_ONLY) if isinstance(loaded, Record) else loaded


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
