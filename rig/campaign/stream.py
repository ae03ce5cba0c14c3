"""The stream engine: memory calls by the million.

The guest runs free and works at one batch while the host judges the one before and prepares the next, each
in its own arena.  What differs from the contract is looked at again, one program at a time, on a second
machine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rig.campaign.batch import Batch, draw, pool
from rig.campaign.engine import Report
from rig.campaign.examiner import Examined, Examiner, Explanation
from rig.campaign.health import GROWTH
from rig.campaign.mix import DEFAULT, Mix
from rig.campaign.rerun import Rerun, Shows
from rig.campaign.sample import Sample
from rig.campaign.shun import Shunned
from rig.campaign.subject import Subject
from rig.campaign.verification import Verification
from rig.campaign.workbench import Workbench
from rig.check import deviations as known
from rig.deadline import Deadline
from rig.machine import sanitizer
from rig.machine.build import Build
from rig.machine.errors import MachineError
from rig.model.memop import MAX_COUNT
from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions

#: calls in a batch: two of them fit into the agent's batch area, one keeps the guest busy for milliseconds
SIZE = 3 << 13
#: seconds for a batch, of which no call takes more than one
PATIENCE = 20.0
#: and for one with calls that may take minutes
SLOW_PATIENCE = 1800.0
#: batches from one look at all of memory, the monitor and QEMU itself to the next; odd, so that the arenas
#: take turns
LOOK = 15
#: number of the batch with which the largest legal count is tried
LIMIT = 7
#: seconds that this may take: it is accepted if it is still running
GLANCE = 0.25
#: calls that are kept of a batch at which that was seen
GROWING = 64

OPTIONS = MachineOptions(memory=256)


@dataclass(slots=True)
class _Flight:
    """A batch in the guest, or ready for it."""

    batch: Batch
    calls: int
    verification: Verification
    #: calls that others stand in for, which do nothing
    left_out: int = 0
    began: float = 0.0
    #: seconds that the guest needed
    took: float = 0.0
    #: what sanitizers said of it
    reports: tuple[sanitizer.Report, ...] = ()

    @property
    def parity(self) -> int:
        return self.batch.number % 2


class Stream:
    """Streams batches of ``mix`` through a machine of ``build``; implements :class:`Engine`."""

    def __init__(
        self,
        build: Build,
        seed: int,
        mix: Mix = DEFAULT,
        *,
        size: int = SIZE,
        revision: str = "merged",
        patience: float | None = None,
        deviations: Sequence[known.Deviation] | None = None,
        options: MachineOptions = OPTIONS,
    ) -> None:
        self.batch_size = size
        self._build, self._seed, self._mix, self._revision = build, seed, mix, revision
        self._options = options
        self._patience = patience or (SLOW_PATIENCE if mix.slow else PATIENCE)
        self._memory = pool(seed)
        self._subject: Subject | None = None
        self.workbench = Workbench(
            build, options, revision, known.load() if deviations is None else deviations
        )
        self._examiner = Examiner(self.workbench, Rerun(build, options, size, revision))
        self._shunned = Shunned()
        self._sample = Sample()
        self._recent: deque[tuple[int, int]] = deque(maxlen=LOOK)
        self._growth = GROWTH
        #: what was seen outside single calls, and what it was found to mean
        self._blamed: dict[str, Explanation] = {}
        self._last = time.monotonic()

    def close(self) -> None:
        """End the machines.  May be called twice."""
        self._discard()
        self.workbench.close()

    def _discard(self) -> None:
        if self._subject is not None:
            self._subject.close()
            self._subject = None

    @property
    def subject(self) -> Subject:
        """The machine that runs the stream; a new one if there is none."""
        if self._subject is None:
            self._subject = Subject(self._build, self._options, self.batch_size)
        return self._subject

    def run(self, batches: Iterable[tuple[int, int]]) -> Iterator[Report]:
        """As :meth:`Engine.run`; raises :class:`MachineError` when no machine can be had."""
        self._last = time.monotonic()
        running: _Flight | None = None
        for number, calls in batches:
            if running is not None and running.parity == number % 2:  # one arena for both: one after another
                yield self._land(running)
                running = None
            flight = self._ready(number, calls)
            lost = None
            if running is not None:
                lost = self._wait(running)
                if lost is not None:
                    flight = self._ready(number, calls)
            self.subject.ring(flight.parity, calls)
            flight.began = time.monotonic()
            if running is not None:
                yield lost or self._judge(running)
            running = flight
        if running is not None:
            yield self._land(running, last=True)

    def _ready(self, number: int, calls: int) -> _Flight:
        """Draw a batch and put it where the guest will find it."""
        subject = self.subject
        verification, left_out = self._drawn(number, calls)
        subject.prepare(verification.batch, calls)
        return _Flight(verification.batch, calls, verification, left_out)

    def _drawn(self, number: int, calls: int) -> tuple[Verification, int]:
        """What must come of a batch, and how many of its calls are left out."""
        subject = self.subject

        def verification(batch: Batch) -> Verification:
            return Verification(batch, calls, subject.fields[number % 2], self._revision, subject.meaning)

        whole = verification(
            draw(self._seed, number, self._mix, self.batch_size, subject.layout, self._memory)
        )
        batch, left_out = self._shunned.without(whole)
        return (verification(batch) if left_out else whole), left_out

    def _land(self, flight: _Flight, *, last: bool = False) -> Report:
        return self._wait(flight, last=last) or self._judge(flight, last=last)

    def _wait(self, flight: _Flight, *, last: bool = False) -> Report | None:
        """Wait for the guest; when it does not come back, a report, with one more run without such calls."""
        subject = self.subject
        try:
            ending = subject.wait(Deadline(self._patience))
            if ending == "returned":
                flight.took = time.monotonic() - flight.began
                flight.reports = subject.machine.reports()
                return None
            words = subject.machine.last_words() if ending == "died" else f"after {self._patience:g} s"
        except MachineError as error:
            ending, words = "running", str(error)
        flight.took = time.monotonic() - flight.began
        call = min(subject.bell.index, flight.calls - 1)
        self._discard()
        result = Examined()
        explanation = self._examiner.ended(flight.batch, call, ending, words, self._patience, result)
        if explanation == Explanation() or not self._shunned.add(flight.verification, call):
            return self._report(flight, 1, result)  # what came before it was not verified
        again = self._ready(flight.batch.number, flight.calls)
        self.subject.ring(again.parity, again.calls)
        again.began = time.monotonic()
        return self._land(again, last=last).after(self._report(flight, 1, result))

    def _judge(self, flight: _Flight, *, last: bool = False) -> Report:
        """Judge a batch that the guest has done, while it may be at the next."""
        subject, batch, calls = self.subject, flight.batch, flight.calls
        result = Examined()
        r3, r4 = subject.results(flight.parity, calls)
        seen = flight.verification.run(r3, r4, subject.arena(flight.parity), subject.edge)
        sample = self._sample.of(flight.verification)
        self._examiner.batch(batch, seen, flight.verification.deferred, sample, result)
        if batch.number == LIMIT:
            far = int(batch.layout.nowhere[0])
            longest = Call(H_LOGICAL_MEMOP, (far, far, 0, MAX_COUNT, 0), timeout=GLANCE)
            self._examiner.program(batch, (longest,), result)
        for report in flight.reports:
            self._reported(report, flight, result)
        self._recent.append((batch.number, calls))
        if last or batch.number % LOOK == 0:
            self._look_around(flight.parity, result)
        return self._report(flight, calls - flight.left_out, result)

    def _reported(self, report: sanitizer.Report, flight: _Flight, result: Examined) -> None:
        """Find which calls of a batch made a sanitizer speak, unless that is known."""
        deviation = self.workbench.known(report)
        if deviation is not None:
            result.deviations[deviation.id] += 1
            return
        words = f"sanitizer: {report.words}"
        explanation = self._examiner.blame(
            flight.batch, flight.calls, lambda traces: report.where in traces.reported, words, result
        )
        if explanation == Explanation():
            result.errors.append(f"batch {flight.batch.number}: {words}; not when it is run again")
        result.count(explanation, 1)

    def _look_around(self, parity: int, result: Examined) -> None:
        """All of memory, the monitor, and QEMU's size."""
        subject = self.subject
        if strays := list(subject.strays(parity)):
            words = f"stray write: {strays[0]:#x} is in the cell of no call"
            self._blame(lambda traces: bool(traces.strays), words, result)
        try:
            events = frozenset(event.name for event in subject.events())
        except MachineError as error:
            self._blame(lambda traces: not traces.answered, f"silence: {error}", result)
            return
        if events:
            words = f"event: {', '.join(sorted(events))}"
            self._blame(lambda traces: bool(events & traces.events), words, result)
        grown = subject.health.grown()
        if grown > self._growth:
            self._growth = 2 * grown
            batch = self._drawn(*self._recent[-1])[0].batch
            words = f"growth: QEMU grew by {grown >> 20} MiB of its own"
            result.count(self._examiner.noted(batch, tuple(range(GROWING)), words, result), 1)

    def _blame(self, shows: Shows, words: str, result: Examined) -> None:
        """Find who of the last batches did it; what one batch was found to do, is its doing again."""
        what = words.partition(":")[0]
        for number, calls in self._recent if what not in self._blamed else ():
            batch = self._drawn(number, calls)[0].batch
            explanation = self._examiner.blame(batch, calls, shows, words, result)
            if explanation != Explanation():
                self._blamed[what] = explanation
                break
        if what in self._blamed:
            result.count(self._blamed[what], 1)
        else:
            first, last = self._recent[0][0], self._recent[-1][0]
            result.errors.append(f"{words}, in batches {first} to {last}; not when they are run again")

    def _report(self, flight: _Flight, calls: int, result: Examined) -> Report:
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        return Report(
            flight.batch.number,
            calls,
            seconds,
            flight.took,
            result.deviations,
            result.mismatches,
            tuple(result.findings),
            tuple(result.errors),
        )
