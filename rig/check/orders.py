"""Calls of several CPUs at once: find an order of whole calls that explains what they left behind.

Hypercalls are serialised (LoPAR 14.5.3), so whatever CPUs do at once, each outcome is that of some order in
which every CPU's own calls keep theirs.  The search runs forward through the model and remembers states that
it has been in, so that calls that do not meet cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rig.check.violation import Reporter, Violation
from rig.frozen import frozen
from rig.model.expectation import UNSPECIFIED, Case, Expectation
from rig.model.model import Model
from rig.program import Call, Outcome, Run
from rig.scenario.errors import BadScenario
from rig.target import GuestMemory

#: at most so many states are looked at: a scenario must be made so that this is enough
MAX_STATES = 20_000

Range = tuple[int, int]


class TooManyOrders(BadScenario):
    """The search was given up: fewer calls at once, or fewer that meet."""


@frozen
class Made:
    """A call with its place among the parts, and how it ended in the order found."""

    part: int
    call: Call
    expectation: Expectation
    case: Case


def explain(
    model: Model,
    calls: Mapping[int, Call],
    outcomes: Sequence[Outcome],
    observed: GuestMemory,
    free: Sequence[Range] = (),
) -> tuple[Made, ...] | None:
    """An order of ``calls``, by their place among the parts, that leaves ``observed``; ``None`` for none.

    Bytes in the ``free`` ranges are not looked at.  The model's memory is left as after that order, or as it
    was.  Registers are looked at as far as the model names them.
    """
    return _Search(model, calls, outcomes, observed, free).run()


class _Search:
    def __init__(
        self,
        model: Model,
        calls: Mapping[int, Call],
        outcomes: Sequence[Outcome],
        observed: GuestMemory,
        free: Sequence[Range],
    ) -> None:
        self.model = model
        self.outcomes = outcomes
        self.observed = observed
        self.free = free
        self.queues = [
            [(part, call) for part, call in calls.items() if call.cpu == cpu]
            for cpu in sorted({call.cpu for call in calls.values()})
        ]
        self.footprints: dict[int, tuple[Range, ...]] = {}
        for part, call in calls.items():
            footprint = model.footprint(call)
            if footprint is None:
                raise TooManyOrders("a call that may touch anything cannot be one of several at once")
            self.footprints[part] = footprint
        self.ranges = _joined([one for footprint in self.footprints.values() for one in footprint])
        self.final = self._blanked(observed)
        self.seen: set[tuple[tuple[int, ...], tuple[bytes, ...]]] = set()

    def run(self) -> tuple[Made, ...] | None:
        before = self._snapshot()
        found = self._from(tuple(0 for _ in self.queues), before)
        if found is None:
            self._restore(before)
        return found

    def _from(self, at: tuple[int, ...], memory: tuple[bytes, ...]) -> tuple[Made, ...] | None:
        """The rest of an order, from a state in which each CPU has made so many of its calls."""
        if (at, memory) in self.seen:
            return None
        self.seen.add((at, memory))
        if len(self.seen) > MAX_STATES:
            raise TooManyOrders(f"more than {MAX_STATES} states of {len(self.queues)} CPUs")
        if all(index == len(queue) for index, queue in zip(at, self.queues, strict=True)):
            self._restore(memory)
            return () if self._blanked(self.model.memory) == self.final else None
        for cpu, queue in enumerate(self.queues):
            if at[cpu] == len(queue):
                continue
            part, call = queue[at[cpu]]
            self._restore(memory)
            expectation = self.model.expect(call)
            for case in expectation.cases:
                if not self._happened(case, self.outcomes[part]):
                    continue
                then = tuple(index + (other == cpu) for other, index in enumerate(at))
                if not self._lasts(case, then):
                    continue
                self._restore(memory)
                self._apply(case)
                rest = self._from(then, self._snapshot())
                if rest is not None:
                    return (Made(part, call, expectation, case), *rest)
        return None

    def _happened(self, case: Case, outcome: Outcome) -> bool:
        return case.ending == outcome.ending and all(
            permitted.permits(outcome.registers.get(name, 0)) for name, permitted in case.registers.items()
        )

    def _lasts(self, case: Case, at: tuple[int, ...]) -> bool:
        """Whether what the call stores was observed, as far as no later call can have changed it."""
        left = [
            one
            for queue, index in zip(self.queues, at, strict=True)
            for part, _ in queue[index:]
            for one in self.footprints[part]
        ]
        return all(
            write.data == self.observed.read(write.address, len(write.data))
            for write in case.writes
            if not any(_meet((write.address, len(write.data)), one) for one in (*left, *self.free))
        )

    def _apply(self, case: Case) -> None:
        """What the call leaves; a value that the model leaves open is the one observed, if it may be."""
        memory = self.model.memory
        for write in case.writes:
            memory.write(write.address, write.data)
        for scratch in case.scratch:
            memory.write(scratch.address, self.observed.read(scratch.address, scratch.length))
        for cell in case.cells:
            value = int.from_bytes(self.observed.read(cell.address, cell.width), "big")
            if not cell.permitted.permits(value):
                value = cell.permitted.canonical & ((1 << 8 * cell.width) - 1)
            memory.write(cell.address, value.to_bytes(cell.width, "big"))

    def _snapshot(self) -> tuple[bytes, ...]:
        return tuple(self.model.memory.read(*one) for one in self.ranges)

    def _restore(self, memory: tuple[bytes, ...]) -> None:
        for (address, _), data in zip(self.ranges, memory, strict=True):
            self.model.memory.write(address, data)

    def _blanked(self, memory: GuestMemory) -> list[bytes]:
        """The touched ranges without what is free."""
        found = []
        for address, length in self.ranges:
            data = bytearray(memory.read(address, length))
            for start, size in self.free:
                low, high = max(start, address), min(start + size, address + length)
                if low < high:
                    data[low - address : high - address] = bytes(high - low)
            found.append(bytes(data))
        return found


def bare(made: Made) -> Expectation:
    """What the call left in registers only: its memory was compared with that of all calls together."""
    case = replace(made.case, cells=(), writes=(), scratch=(), relations=())
    return replace(made.expectation, cases=(case,))


def routine(run: Run, outcome: Outcome) -> Expectation:
    """Of guest code only that it ends: its registers and what it touches are the scenario's to judge."""
    case = Case("ended", dict.fromkeys(outcome.registers, UNSPECIFIED))
    return Expectation(f"routine {run.name}".strip(), (case,), footprint=run.touches)


def unexplained(expectation: Expectation, step: int) -> list[Violation]:
    """The violation of calls at once that no order of whole calls explains."""
    report = Reporter(expectation, step)
    report.add("order", "no order of whole calls leaves these registers and this memory", rule="LoPAR 14.5.3")
    return report.violations


def _meet(one: Range, other: Range) -> bool:
    return one[0] < sum(other) and other[0] < sum(one)


def _joined(ranges: Sequence[Range]) -> list[Range]:
    joined: list[Range] = []
    for start, length in sorted(ranges):
        if joined and start <= sum(joined[-1]):
            first, held = joined.pop()
            joined.append((first, max(held, start + length - first)))
        elif length:
            joined.append((start, length))
    return joined
