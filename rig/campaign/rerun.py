"""Run a batch again with fewer and fewer of its calls, until it is plain which of them are to blame.

For what a call does not show by itself: bytes changed far away, a sanitizer's report, an event.  Calls that
are left out are replaced by ones that do nothing, so that all others stay where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from rig.campaign.batch import Batch
from rig.campaign.layout import ARENAS
from rig.campaign.subject import Subject
from rig.campaign.verification import Kind, Verification
from rig.deadline import Deadline
from rig.frozen import frozen
from rig.machine.build import Build
from rig.machine.errors import Timeout
from rig.model.vectorised.field import I64
from rig.program import H_LOGICAL_MEMOP, Ending, MachineOptions, Seed, Step

#: seconds for a batch
PATIENCE = 20.0


@frozen
class Traces:
    """What a batch left: kinds of calls that differ, addresses outside all cells, functions of QEMU's of
    which a sanitizer reports, events.
    """

    kinds: frozenset[Kind] = frozenset()
    strays: tuple[int, ...] = ()
    reported: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    ending: Ending = "returned"
    #: whether the monitor answered after it
    answered: bool = True


#: whether a batch still shows what is looked for
Shows = Callable[[Traces], bool]


class Rerun:
    """Runs parts of batches on machines of ``build``, each a new one: some reports are made only once."""

    def __init__(self, build: Build, options: MachineOptions, size: int, revision: str) -> None:
        self._build, self._options, self._size, self._revision = build, options, size, revision

    def traces(self, batch: Batch, calls: int) -> Traces:
        """What the batch leaves on a new machine; raises :class:`rig.machine.errors.MachineError`."""
        subject = Subject(self._build, self._options, self._size)
        try:
            parity = batch.number % 2
            field = subject.fields[parity]
            verification = Verification(batch, calls, field, self._revision, subject.meaning)
            subject.prepare(batch, calls)
            subject.ring(parity, calls)
            ending = subject.wait(Deadline(PATIENCE))
            if ending != "returned":
                return Traces(ending=ending)
            reported = frozenset(report.where for report in subject.machine.reports())
            seen = verification.run(*subject.results(parity, calls), subject.arena(parity), subject.edge)
            try:
                events = frozenset(event.name for event in subject.events())
            except Timeout:
                return Traces(reported=reported, answered=False)
            kinds = frozenset(one.kind for one in seen)
            return Traces(kinds, tuple(subject.strays(parity)), reported, events)
        finally:
            subject.close()

    def blamed(
        self, batch: Batch, calls: int, shows: Shows, deadline: Deadline, first: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        """The fewest calls found that still show it; none when the whole batch does not, run again.

        The ``first`` ones are tried by themselves before any others.
        """
        kept = np.array(first, np.int64)
        if not (first and shows(self.traces(only(batch, kept), calls))):
            kept = np.arange(calls)
            if not shows(self.traces(batch, calls)):
                return ()
        size = (len(kept) + 1) // 2
        while size:
            at = 0
            while at < len(kept) and not deadline.expired:
                fewer = np.delete(kept, slice(at, at + size))
                if len(fewer) and shows(self.traces(only(batch, fewer), calls)):
                    kept = fewer
                else:
                    at += size
            size //= 2
        return tuple(kept.tolist())


def only(batch: Batch, calls: I64) -> Batch:
    """The batch with nothing but ``calls`` in it."""
    base = ARENAS[batch.number % 2].start
    nothing = np.array([H_LOGICAL_MEMOP, base, base, 0, 0, 0], np.uint64)[:, None]
    registers = np.repeat(nothing, batch.registers.shape[1], axis=1)
    registers[:, calls] = batch.registers[:, calls]
    return replace(batch, registers=registers)


def program(batch: Batch, calls: tuple[int, ...]) -> Iterator[Step]:
    """Some calls of a batch with the memory that they were given."""
    if set(calls) & set(batch.at_edge):
        yield Seed(batch.layout.edge.start, batch.edge.tobytes())
    for low, high in sorted({batch.cell(call) for call in calls if call not in batch.at_edge}):
        yield Seed(batch.arena + low, batch.content[low:high].tobytes())
    yield from (batch.call(call) for call in calls)
