"""The model as a target: it executes a program by taking the first case of every expectation.

It stands in for a machine in the rig's own tests and in comparisons of model with model.  Time stands
still in it, unless its owner moves :attr:`ModelTarget.now`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rig.model.expectation import Case, ExpectedEvent
from rig.model.memory import Memory
from rig.model.model import Model, registers_of
from rig.program import Arrive, Await, Call, Event, Host, Outcome, Run


class ModelTarget:
    """Implements :class:`rig.target.Target` on a model; ``now`` is its host's UTC clock in seconds since
    1970.
    """

    def __init__(self, model: Model, now: float = 1_000_000_000.0) -> None:
        self.model = model
        self.now = now
        self._emitted: list[Event] = []

    @property
    def memory(self) -> Memory:
        """RAM as it stands after the last step."""
        return self.model.memory

    def call(self, calls: Sequence[Call]) -> Sequence[Outcome]:
        """Execute resolved hypercalls; raises :class:`rig.model.model.UnresolvedCall`."""
        return [self._call(call) for call in calls]

    def together(self, parts: Sequence[Call | Run]) -> Sequence[Outcome]:
        """Execute hypercalls in the order given, which is one of those permitted.

        Raises :class:`ValueError` for a routine: the model knows no instructions.
        """
        calls = [part for part in parts if isinstance(part, Call)]
        if len(calls) < len(parts):
            raise ValueError("a model cannot execute guest code")
        return self.call(calls)

    def host(self, action: Host) -> Outcome:
        """Carry out one host action; the answer is QMP's empty one."""
        self.model.state.now = self.now
        case = self.model.expect_host(action).cases[0]
        return self._finish(case, {}, answer={})

    def wait(self, event: Await | Arrive) -> Outcome:
        """Take the first event emitted so far that ``event`` describes; no event when there is none."""
        if isinstance(event, Arrive):
            return self._finish(self.model.expect_arrival(event).cases[0], {})
        for seen in self._emitted:
            if seen.name == event.event and event.data.items() <= seen.data.items():
                self._emitted.remove(seen)
                return Outcome(events=(seen,), clock=(self.now, self.now))
        return Outcome(clock=(self.now, self.now))

    def _call(self, call: Call) -> Outcome:
        self.model.state.now = self.now
        case = self.model.expect(call).cases[0]
        return self._finish(case, {**registers_of(call), **call.registers})

    def _finish(self, case: Case, before: dict[str, int], answer: object = None) -> Outcome:
        for write in case.writes:
            self.memory.write(write.address, write.data)
        for cell in case.cells:
            value = cell.permitted.canonical & ((1 << 8 * cell.width) - 1)
            self.memory.write(cell.address, value.to_bytes(cell.width, "big"))
        changed = {name: permitted.canonical for name, permitted in case.registers.items()}
        events = tuple(_event(event) for event in case.events if event.required)
        outcome = Outcome(
            case.ending,
            {**before, **changed},
            before,
            events,
            case.console,
            answer,
            clock=(self.now, self.now),
        )
        self._emitted += events
        self.model.settle(case, outcome)
        return outcome


def _event(expected: ExpectedEvent) -> Event:
    return Event(expected.name, {key: _canonical(value) for key, value in expected.data.items()})


def _canonical(value: object) -> object:
    """A value that a :class:`Permitted` picks; a plain one as it is."""
    return getattr(value, "canonical", value)
