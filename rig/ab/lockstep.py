"""One program on two machines, step by step, and every difference in what it leaves behind.

No model takes part: registers, events, console, the way a step ends and each page of RAM of one machine are
compared with those of the other.  Who is right is :mod:`rig.ab.opinion`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rig.check.judge import RIG_OWNED
from rig.check.memory_diff import chunks
from rig.frozen import frozen
from rig.machine.errors import Timeout
from rig.program import Arrive, Await, Call, Event, Host, Outcome, Rtas, Run, Seed, Step, Together
from rig.scenario.errors import BadScenario
from rig.scenario.resolve import Names, Resolved, resolve_step
from rig.scenario.script import Disagreement, Playing, Scenario, Stage
from rig.target import Target

PAGE = 0x1000
#: bytes of a page that are shown
SHOWN = 16


@frozen
class Difference:
    """One thing that a step left otherwise on the second machine.

    ``what`` is a register, ``page 0x…``, ``ending``, ``events``, ``console``, ``answer``, ``view`` (of a
    script) or ``program`` (the program itself went on differently).
    """

    step: int
    call: str
    what: str
    first: str
    second: str


class Side(Target, Stage, Protocol):
    """What is needed of a machine."""


@dataclass(slots=True)
class _Player:
    """One machine with the program that is played on it."""

    machine: Side
    playing: Playing
    names: Names = field(default_factory=Names)
    answer: Any = None

    def next(self) -> Step | Sequence[Step] | Disagreement | None:
        """What the program does next; ``None`` at its end."""
        try:
            return self.playing.send(self.answer)
        except StopIteration:
            return None
        except Disagreement as difference:
            return difference

    def prepare(self, step: Step) -> tuple[Resolved, set[int]]:
        """Do the seeding of ``step``: what is left to execute, and the pages seeded.

        Raises :class:`BadScenario`.
        """
        resolved = resolve_step(step, self.names, self.machine.environment)
        pages: set[int] = set()
        for one in resolved:
            if isinstance(one, Seed):
                assert isinstance(one.address, int)
                self.machine.memory.write(one.address, one.data)
                pages.update(range(one.address & -PAGE, one.address + len(one.data), PAGE))
        return resolved[-1], pages

    def execute(self, step: Step, action: Resolved) -> Outcome:
        """Execute anything but a seed, and keep what later steps may refer to."""
        match action:
            case Call():
                outcome = self.machine.call([action])[-1]
            case Together():
                outcome = self._together(action)
            case Host():
                outcome = self.machine.host(action)
            case Await() | Arrive():
                try:
                    outcome = self.machine.wait(action)
                except Timeout:
                    outcome = Outcome(answer="it did not come")
            case Seed():
                return Outcome()
        self.names.record(step, outcome, self.machine.memory)
        return outcome

    def _together(self, action: Together) -> Outcome:
        """What CPUs do at once may come out in more than one way: only what one CPU does is compared."""
        parts = [part for part in action.parts if isinstance(part, Call | Run)]
        outcomes = tuple(self.machine.together(parts))
        alone = len({part.cpu for part in parts}) == 1
        return replace(outcomes[-1] if alone else Outcome(outcomes[-1].ending), parts=outcomes)


class Lockstep:
    """Plays ``scenario`` on two machines that were just reset.  Both do every step at the same time.

    ``steps`` counts those executed; ``reusable`` says whether the machines may be reset and used again.
    """

    def __init__(self, scenario: Scenario, machines: tuple[Side, Side], executor: Executor) -> None:
        self._players = tuple(_Player(machine, scenario.play(machine)) for machine in machines)
        self._executor = executor
        self._call = "the start"
        #: pages that differ, with a hash of both
        self._unequal: dict[int, int] = {}
        self._over = False
        self.steps = 0
        self.reusable = True
        #: what ended the script on either machine, where its views disagreed
        self.views: tuple[Disagreement | None, Disagreement | None] = (None, None)

    def play(self) -> Iterator[Difference]:
        """Every difference, in order; what differs before the first step (the device tree) is none."""
        first, second = self._players
        self._unequal = {page: hash((ours, theirs)) for page, ours, theirs in self._pages()}
        try:
            while True:
                item, other = first.next(), second.next()
                if isinstance(item, Disagreement) or isinstance(other, Disagreement) or item != other:
                    yield from self._parted(item, other)
                    return
                if item is None:
                    return
                outcomes: tuple[list[Outcome], ...] = ([], [])
                for step in item if isinstance(item, Sequence) else [item]:
                    yield from self._step(step, outcomes)
                    if self._over:
                        return
                for player, answer in zip(self._players, outcomes, strict=True):
                    player.answer = answer if isinstance(item, Sequence) else answer[0]
        finally:
            for player in self._players:
                player.playing.close()

    def _step(self, step: Step, outcomes: tuple[list[Outcome], ...]) -> Iterator[Difference]:
        self._call = _name(step)
        prepared = [self._prepared(player, step) for player in self._players]
        (action, seeded), (other, too) = prepared
        if isinstance(action, BadScenario) or isinstance(other, BadScenario):
            self._over = True
            if isinstance(action, BadScenario) and str(action) == str(other):
                raise action  # the scenario's fault, and no likeness of builds
            yield self._differ("program", _short(action), _short(other))
            return
        self._seeded(seeded | too)
        done = list(self._executor.map(_Player.execute, self._players, [step] * 2, [action, other]))
        yield from self._compare(*done)
        for kept, outcome in zip(outcomes, done, strict=True):
            kept.append(outcome)
        self.steps += 1
        endings = {outcome.ending for outcome in done}
        self._over = len(endings) > 1 or bool(endings & {"died", "running"})
        if isinstance(step, Host | Arrive) or endings != {"returned"}:
            self.reusable = False  # plugged devices, the clock and the like survive a reset

    @staticmethod
    def _prepared(player: _Player, step: Step) -> tuple[Resolved | BadScenario, set[int]]:
        try:
            return player.prepare(step)
        except BadScenario as error:
            return error, set()

    def _parted(self, item: object, other: object) -> Iterator[Difference]:
        """The programs did not do the same, or a script saw two views of one machine disagree."""
        if isinstance(item, Disagreement) and isinstance(other, Disagreement) and str(item) == str(other):
            return
        self.views = (
            item if isinstance(item, Disagreement) else None,
            other if isinstance(other, Disagreement) else None,
        )
        yield self._differ("view" if any(self.views) else "program", _short(item), _short(other))

    def _compare(self, one: Outcome, other: Outcome) -> Iterator[Difference]:
        if one.ending != other.ending:
            yield self._differ("ending", _ended(one), _ended(other))
        for name, value in one.registers.items():
            theirs = other.registers.get(name, value)
            changed = value != one.before.get(name) or theirs != other.before.get(name)
            if value != theirs and changed:
                yield self._differ(name, f"{value:#x}", f"{theirs:#x}")
        if one.events != other.events:
            yield self._differ("events", _events(one.events), _events(other.events))
        if one.console != other.console:
            yield self._differ("console", repr(one.console), repr(other.console))
        if _kind(one.answer) != _kind(other.answer):
            yield self._differ("answer", _kind(one.answer), _kind(other.answer))
        yield from self._memory(reset=one.ending == "reset")

    def _memory(self, *, reset: bool) -> Iterator[Difference]:
        """Pages that differ otherwise than they did before the step."""
        before, self._unequal = self._unequal, {}
        for page, first, second in self._pages():
            mark = self._unequal[page] = hash((first, second))
            if before.get(page) != mark and not (reset and self._rebuilt(page)):
                at = next(index for index in range(PAGE) if first[index] != second[index])
                shown = (f"{page + at:#x}: {_hex(data[at:])}" for data in (first, second))
                yield self._differ(f"page {page:#x}", *shown)

    def _rebuilt(self, page: int) -> bool:
        """Whether a page holds part of a device tree, which a reset makes anew."""
        trees = [player.machine.environment.fdt for player in self._players]
        return any(tree.overlaps(page, PAGE) for tree in trees)

    def _pages(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Every page in which the two machines differ."""
        first, second = (player.machine.memory for player in self._players)
        for chunk in chunks(first, second, RIG_OWNED):
            for at in range(0, len(chunk.expected), PAGE):
                ours, theirs = chunk.expected[at : at + PAGE], chunk.observed[at : at + PAGE]
                if ours != theirs:
                    yield chunk.address + at, ours, theirs

    def _seeded(self, pages: set[int]) -> None:
        """Seeds may differ by what they refer to: that is no difference."""
        for page in pages:
            ours, theirs = (player.machine.memory.read(page, PAGE) for player in self._players)
            self._unequal.pop(page, None)
            if ours != theirs:
                self._unequal[page] = hash((ours, theirs))

    def _differ(self, what: str, first: str, second: str) -> Difference:
        return Difference(self.steps, self._call, what, first, second)


def _name(step: Step) -> str:
    match step:
        case Rtas():
            return step.service if isinstance(step.service, str) else f"RTAS token {step.service}"
        case Call():
            return f"hypercall {step.opcode:#x}" if isinstance(step.opcode, int) else str(step.opcode)
        case Run():
            return f"routine {step.name}"
        case Together():
            return f"{len(step.parts)} parts at once"
        case Host():
            return step.command
        case Await():
            return f"await {step.event}"
        case Arrive():
            return f"arrival of CPU {step.cpu}"
        case Seed():
            return "seed"


def _ended(outcome: Outcome) -> str:
    return outcome.ending + (f" ({outcome.last_words})" if outcome.last_words else "")


def _events(events: Sequence[Event]) -> str:
    return "; ".join(f"{event.name} {dict(event.data)}" for event in events) or "none"


def _kind(answer: object) -> str:
    """Whether a command was carried out; what it returned differs from version to version by design."""
    if isinstance(answer, Mapping):
        return f"refused: {answer['error']}" if "error" in answer else "done"
    return "" if answer is None else str(answer)


def _short(item: object) -> str:
    text = "the end" if item is None else str(item)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _hex(data: bytes) -> str:
    return data[:SHOWN].hex(" ") + (" …" if len(data) > SHOWN else "")
