"""Play a scenario on a machine and judge every step against the model.

Calls are executed in batches as far as their footprints are disjoint, so that each can still be judged by
itself; everything else runs one by one.  After each batch all of RAM is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from rig.check import orders, unjudged
from rig.check.compare import Comparison
from rig.check.granules import granules
from rig.check.memory_diff import adopt
from rig.check.violation import Reporter, Violation, sanitized
from rig.frozen import frozen
from rig.machine.errors import MachineError, Timeout
from rig.machine.sanitizer import Report
from rig.model.environment import Environment
from rig.model.expectation import Case, Expectation, ExpectedEvent
from rig.model.model import Model
from rig.policy import Policy
from rig.program import (
    LOAD,
    MOVE,
    RESTART,
    SAVE,
    Arrive,
    Await,
    Call,
    Host,
    Outcome,
    Run,
    Seed,
    Step,
    Together,
)
from rig.scenario.reference import references
from rig.scenario.resolve import Names, Resolved, resolve_step
from rig.scenario.script import Disagreement, Scenario, Stage
from rig.target import Target

#: mailbox and batch area: the rig's own, changed by every batch (images/PROTOCOL.md)
RIG_OWNED = ((0x8000, 0x9000), (0x1_0000, 0x80_0000))
#: at most so many calls in one batch; the agent has room for 1,968
MAX_BATCH = 1920
#: a step's violations are kept with their registers for so many steps
MAX_BROKEN = 32


class Subject(Target, Stage, Protocol):
    """What the judge needs of a machine: a target that scripts may look at."""

    def reports(self) -> Sequence[Report]:
        """What sanitizers have said since the last time."""


@frozen
class Judged:
    """One step with all that is known of it."""

    index: int
    step: Resolved
    outcome: Outcome
    expectation: Expectation
    case: Case
    violations: list[Violation]


@dataclass(slots=True)
class Judgement:
    """What one scenario came to on one machine."""

    calls: int = 0
    violations: list[Violation] = field(default_factory=list)
    #: the steps as they were given, for a replay
    executed: list[Step] = field(default_factory=list)
    #: (call, code) and how often: the status of an RTAS service, r3 otherwise, signed
    returns: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: (call, ending) and how often, of calls that did not return or of whose status nothing is seen
    endings: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: the judged steps that broke something
    broken: list[Judged] = field(default_factory=list)
    #: the step by which the machine went over to another QEMU
    moved: int | None = None
    #: whether the machine may be used again
    reusable: bool = True


@dataclass(slots=True)
class Pending:
    """A call that waits for its batch, and where its outcome goes."""

    index: int
    step: Step
    call: Call
    outcomes: list[Outcome]
    position: int


class Judge:
    """Judges one scenario on one machine; ``observe`` is told every judged step.

    ``names`` are what its steps have returned so far.
    """

    def __init__(
        self, machine: Subject, model: Model, observe: Callable[[Judged], None] | None = None
    ) -> None:
        self.machine = machine
        self.model = model
        self.result = Judgement()
        self._observe = observe
        self._comparison = Comparison(
            model.memory, machine.memory, owned(machine.environment), model.state.late
        )
        self.names = Names()
        self._batch: list[Pending] = []
        self._touched: set[int] = set()
        #: whether a sanitizer has spoken: it will not say the same again
        self._reported = False

    def play(self, scenario: Scenario) -> Judgement:
        """Play the scenario to its end, or to where the machine can go no further."""
        adopt(self.model.memory, self.machine.memory)
        playing = scenario.play(self.machine)
        answer: Outcome | list[Outcome] | None = None
        try:
            while self.result.reusable:
                item = playing.send(answer)
                if isinstance(item, Sequence):
                    answer = self._steps(item)
                else:
                    answer = self._steps([item])[0]
        except StopIteration:
            pass
        except Disagreement as difference:
            report = Reporter(Expectation("agreement", ()), len(self.result.executed))
            report.add(difference.check, difference.text)
            self.result.violations += report.violations
        finally:
            playing.close()
        self.result.reusable &= Policy.of(self.model.state.environment.options).resets
        self.result.reusable &= not (self.model.state.altered or self._reported)
        return self.result

    @property
    def _index(self) -> int:
        """Of the step under way."""
        return len(self.result.executed) - 1

    def _steps(self, steps: Sequence[Step]) -> list[Outcome]:
        """Execute steps in order; one outcome for each that was reached."""
        outcomes = [Outcome() for _ in steps]
        for position, step in enumerate(steps):
            used = references(step)
            if used and any(pending.step.name in used for pending in self._batch):
                self._flush()
            if not self.result.reusable:
                return outcomes[:position]
            self.result.executed.append(step)
            for resolved in resolve_step(step, self.names, self.model.state.environment):
                match resolved:
                    case Seed():
                        self._seed(resolved)
                    case Call():
                        self._call(resolved, step, outcomes, position)
                    case Together():
                        self._flush()
                        outcomes[position] = self._together(resolved)
                    case _:
                        self._flush()
                        outcomes[position] = self._act(resolved, step)
        self._flush()
        return outcomes

    def _act(self, action: Host | Await | Arrive, step: Step) -> Outcome:
        if isinstance(action, Arrive):
            expectation = self.model.expect_arrival(action)
            outcome = self.machine.wait(action)
        elif isinstance(action, Await):
            awaited = ExpectedEvent(action.event, action.data, required=False)
            expectation = Expectation(f"await {action.event}", (Case("came", events=(awaited,)),))
            try:
                outcome = self.machine.wait(action)
            except Timeout:
                outcome = Outcome(answer=False)
        else:
            expectation = self.model.expect_host(action)
            outcome = self.machine.host(action)
            if action.command == RESTART:
                self._restarted()
            elif action.command in (SAVE, LOAD, MOVE) and _succeeded(outcome):
                self._travelled(action.command)
            elif self.machine.environment.ram != self.model.state.environment.ram:
                self.model.state.grow(self.machine.environment)
        self._comparison.observed.forget()
        case, violations = self._comparison.step(expectation, outcome, self._index)
        violations += _answered(action, expectation, outcome, self._index)
        self.names.record(step, outcome, self.machine.memory)
        self._conclude([Judged(self._index, action, outcome, expectation, case, violations)])
        return outcome

    def _together(self, step: Together) -> Outcome:
        """Calls of several CPUs at once, which some order of them must explain, and routines."""
        parts = [part for part in step.parts if isinstance(part, Call | Run)]
        outcomes = self.machine.together(parts)
        self._comparison.observed.forget()
        calls = {place: part for place, part in enumerate(parts) if isinstance(part, Call)}
        free = [touched for part in parts if isinstance(part, Run) for touched in part.touches]
        order = orders.explain(self.model, calls, outcomes, self.machine.memory, free)
        made = {one.part: one for one in order or ()}
        judged: list[Judged] = []
        for place, (part, outcome) in enumerate(zip(parts, outcomes, strict=True)):
            if place in made:
                expectation = orders.bare(made[place])
            elif isinstance(part, Call):
                expectation = self.model.expect(part)
            else:
                expectation = orders.routine(part, outcome)
            case, violations = self._comparison.step(expectation, outcome, self._index)
            if words := unjudged.reason(expectation, outcome, violations):
                raise MachineError(words)
            judged.append(Judged(self._index, step, outcome, expectation, case, violations))
        if order is None and all(outcome.ending == "returned" for outcome in outcomes):
            violations += orders.unexplained(expectation, self._index)
        for address, length in free:
            adopt(self.model.memory, self.machine.memory, address, address + length)
        self.result.calls += len(calls)
        self._settle(judged[:-1])
        self._conclude(judged)
        outcome = replace(outcomes[-1], parts=tuple(outcomes))
        self.names.record(step, outcome, self._comparison.observed)
        return outcome

    def _travelled(self, how: str) -> None:
        """Go on with what was saved, or with all of it in another process."""
        if how == SAVE:
            self.model.keep()
        elif how == LOAD:
            self.model.recall()
        else:
            self.model.state.environment = self.machine.environment
            self.result.moved = self._index
        self.model.state.lasting = True
        self._comparison = Comparison(
            self.model.memory,
            self.machine.memory,
            owned(self.machine.environment),
            self.model.state.late,
        )

    def _restarted(self) -> None:
        """Go on with another process, whose memory is another and as QEMU made it."""
        self.model.restart(self.machine.environment)
        adopt(self.model.memory, self.machine.memory)
        self._comparison = Comparison(
            self.model.memory,
            self.machine.memory,
            owned(self.machine.environment),
            self.model.state.late,
        )

    def _seed(self, seed: Seed) -> None:
        address = seed.address
        assert isinstance(address, int)
        reach = granules([(address, len(seed.data))])
        if reach is None or reach & self._touched:
            self._flush()
        self._put(address, seed.data)

    def _put(self, address: int, data: bytes) -> None:
        """Let machine and model hold ``data`` at ``address``."""
        self.machine.memory.write(address, data)
        self.model.memory.write(address, data)

    def _call(self, call: Call, step: Step, outcomes: list[Outcome], position: int) -> None:
        reach = granules(self.model.footprint(call))
        alone = reach is None or not reach.isdisjoint(self._touched)
        if self._batch and (alone or self._batch[-1].call.cpu != call.cpu or len(self._batch) >= MAX_BATCH):
            self._flush()
            if not self.result.reusable:
                return
            reach = granules(self.model.footprint(call))  # the calls before may have made its block
        self._batch.append(Pending(self._index, step, call, outcomes, position))
        if reach is None or call.timeout is not None:
            self._flush()
        else:
            self._touched |= reach

    def _flush(self) -> None:
        """Execute what has been gathered, and judge it call by call: what is expected of one depends on what
        became of those before it.
        """
        batch, self._batch = self._batch, []
        self._touched = set()
        if not batch or not self.result.reusable:
            return
        outcomes = self.machine.call([pending.call for pending in batch])
        self._comparison.observed.forget()
        judged: list[Judged] = []
        for pending, outcome in zip(batch, outcomes, strict=False):
            self._settle(judged[-1:])
            judged.append(self._judge(pending, outcome))
        self.result.calls += len(outcomes)
        self._conclude(judged)

    def _judge(self, pending: Pending, outcome: Outcome) -> Judged:
        """What became of one call, memory outside its own excepted."""
        pending.outcomes[pending.position] = outcome
        expectation = self.model.expect(pending.call)
        case, violations = self._comparison.step(expectation, outcome, pending.index)
        if words := unjudged.reason(expectation, outcome, violations):
            raise MachineError(words)
        self.names.record(pending.step, outcome, self._comparison.observed)
        return Judged(pending.index, pending.call, outcome, expectation, case, violations)

    def _conclude(self, judged: list[Judged]) -> None:
        """Compare RAM after a batch, let the model settle after its last step, and keep what broke."""
        ending = judged[-1].outcome.ending
        if ending == "reset":
            self.model.reset(self.machine.environment)
            environment = self.machine.environment
            for region in (environment.agent, environment.fdt):
                adopt(self.model.memory, self.machine.memory, region.start, region.end)
        if ending in ("died", "running"):
            self.result.reusable = False
        else:
            self._sweep(judged)
            self._report(judged[-1])
        self._settle(judged[-1:])
        for one in judged:
            if isinstance(one.step, Call) or one.case.cells:  # system_wakeup lets a call return
                self._count(one.expectation, one.case, one.outcome)
            if one.violations:
                self.result.violations += one.violations
                if len(self.result.broken) < MAX_BROKEN:
                    self.result.broken.append(one)
            if self._observe is not None:
                self._observe(one)

    def _sweep(self, judged: list[Judged]) -> None:
        """Compare all of RAM, and tell each step what it did to memory that is not its own."""
        strays = self._comparison.sweep([(one.index, one.expectation) for one in judged])
        for one in judged:
            one.violations.extend(stray for stray in strays if stray.step == one.index)

    def _report(self, last: Judged) -> None:
        """Tell the last step of a batch what sanitizers said of any."""
        reports = self.machine.reports()
        last.violations.extend(sanitized(report, last.index) for report in reports)
        self._reported |= bool(reports)

    def _settle(self, judged: Sequence[Judged]) -> None:
        """Let the model go where these steps took the build."""
        for one in judged:
            self.model.settle(one.case, one.outcome)

    def _count(self, expectation: Expectation, case: Case, outcome: Outcome) -> None:
        code = outcome.registers.get("r3", 0)
        status = next((cell for cell in case.cells if cell.what.startswith("status")), None)
        if status is not None:
            code = int.from_bytes(self._comparison.observed.read(status.address, 4), "big", signed=True)
        else:
            code -= (code >> 63) << 64
        name = expectation.call
        if outcome.ending != "returned":
            self.result.endings[name, outcome.ending] += 1
        elif status is None and "token" in expectation.arguments and name != "H_RTAS":
            self.result.endings[name, "returned"] += 1  # a service that was given no room for its status
        else:
            self.result.returns[name, code] += 1


def _succeeded(outcome: Outcome) -> bool:
    return not (isinstance(outcome.answer, Mapping) and "error" in outcome.answer)


def owned(environment: Environment) -> tuple[tuple[int, int], ...]:
    """The ascending (start, end) ranges of RAM that are no business of a program's."""
    if environment.options.firmware != "slof":
        return RIG_OWNED
    return tuple((region.start, region.end) for region in environment.busy)


def _answered(
    action: Host | Await | Arrive, expectation: Expectation, outcome: Outcome, index: int
) -> list[Violation]:
    """Whether QMP's answer, or the event waited for, is the one that the program expects."""
    report = Reporter(expectation, index)
    if isinstance(action, Await):
        if outcome.answer is False:
            report.add(
                "event",
                f"no {action.event} event within {action.timeout:g} s",
                expected=str(dict(action.data)),
            )
        return report.violations
    if isinstance(action, Arrive):
        return report.violations
    answer = outcome.answer if isinstance(outcome.answer, Mapping) else {}
    error = answer.get("error")
    if action.fails is None:
        if error is not None:
            report.add("host", f"QMP refused {action.command}", expected="success", observed=str(error))
    elif error is None or action.fails not in str(error):
        report.add(
            "host", f"QMP answered {action.command} otherwise", expected=action.fails, observed=str(answer)
        )
    return report.violations
