"""What is left to run, and what a worker should take next."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable

from rig.frozen import frozen
from rig.program import MachineOptions
from rig.scenario.script import Scenario


@frozen
class Kind:
    """A machine that scenarios can share: ``build`` is an index into the run's builds."""

    build: int
    options: MachineOptions


@frozen
class Task:
    """One scenario to be judged on one kind of machine; ``number`` is its place in :attr:`Schedule.tasks`."""

    number: int
    kind: Kind
    scenario: Scenario


class Schedule:
    """Tasks by the machine they share, each handed out once."""

    def __init__(self, wanted: Iterable[tuple[Kind, Scenario]]) -> None:
        self.tasks = tuple(Task(number, *one) for number, one in enumerate(wanted))
        self._queues: dict[Kind, deque[Task]] = defaultdict(deque)
        for task in self.tasks:
            self._queues[task.kind].append(task)

    @property
    def left(self) -> int:
        """How many tasks are still to be handed out."""
        return sum(map(len, self._queues.values()))

    def next(self, current: Kind | None = None, taken: Collection[Kind] = ()) -> Task | None:
        """What to do with the machine ``current``, or else with another; ``None`` when nothing is left.

        ``taken`` are the machines of the other workers.  Scenarios that share their machine with few come
        first: they tend to be the long ones, and what is left for the end can then be divided evenly.
        """
        if current not in self._queues:
            free = [kind for kind in self._queues if kind not in taken]
            if free:
                current = min(free, key=self._length)
            else:
                current = max(self._queues, key=self._length, default=None)
            if current is None:
                return None
        queue = self._queues[current]
        task = queue.popleft()
        if not queue:
            del self._queues[current]
        return task

    def _length(self, kind: Kind) -> int:
        return len(self._queues[kind])
