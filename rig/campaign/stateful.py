"""The stateful engine: programs in which calls share state, with full records, judged step by step.

Each program begins on a machine as after a start.  A machine is thrown away when a program altered what a
reset keeps, when it ended otherwise than it should, and when a known deviation has left QEMU ready to abort.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

from rig.campaign.engine import Finding, Report
from rig.campaign.health import GROWTH, Health
from rig.campaign.lane import Lane
from rig.campaign.programs import USUAL, Programs, Shares
from rig.campaign.shrink import shrink
from rig.check import deviations as known
from rig.check.judge import Judge, Judged, Judgement
from rig.check.violation import Violation
from rig.deadline import Deadline
from rig.machine.build import Build
from rig.machine.errors import MachineError
from rig.machine.machine import Machine
from rig.model import dispatch
from rig.model.environment import Environment
from rig.model.model import Model
from rig.pool import Pool
from rig.program import Call, MachineOptions, Rtas, Seed, Step, Value
from rig.scenario.errors import BadScenario
from rig.scenario.resolve import Names, literal
from rig.scenario.script import Playing, Scenario, Stage

#: calls of one program
SIZE = 1 << 15
#: seconds a machine may take to be ready
START = 30.0
#: seconds for making one finding small
SHRINKING = 60.0

#: the signature of a QEMU whose own memory grows
GREW = "machine/growth"

#: devices for the services to be called on: a bridge, functions with MSI and MSI-X, a virtual device
OPTIONS = MachineOptions(
    memory=256,
    devices=(
        "pci-bridge,id=bridge,chassis_nr=1",
        "e1000e,id=msix,bus=pci.0,romfile=",
        "virtio-rng-pci,id=behind,bus=bridge,addr=2",
        "spapr-vscsi,id=vscsi",
    ),
)

Program = tuple[Step, ...]
#: makes a judge
Kind = Callable[[Machine, Model, Callable[[Judged], None]], Judge]
#: the steps of a program, a chunk at a time
Chunks = Callable[[Environment], Iterator[Sequence[Step]]]


class Stateful:
    """Plays the programs of ``seed`` on ``build``; implements :class:`rig.campaign.engine.Engine`."""

    def __init__(
        self,
        build: Build,
        seed: int,
        *,
        size: int = SIZE,
        shares: Shares = USUAL,
        only: frozenset[str] = frozenset(),
        revision: str = "merged",
        deviations: Sequence[known.Deviation] | None = None,
        options: MachineOptions = OPTIONS,
        registry: dispatch.Registry | None = None,
        shrinking: float = SHRINKING,
        growth: int = GROWTH,
    ) -> None:
        self.batch_size = size
        self._build, self._seed, self._options = build, seed, options
        self._shares, self._only, self._revision = shares, only, revision
        self._registry = registry or dispatch.installed()
        self._known = known.Deviations(known.load() if deviations is None else deviations, build.version)
        #: what need not be looked at closer: a machine goes on as if nothing had been wrong
        self._expected = {
            where: one for where, one in self._known.whatever().items() if one.severity != "availability"
        }
        self._shrinking = shrinking
        self._growth = growth
        self._health: Health | None = None
        self._pool = Pool()
        self._programs: Programs | None = None
        self._found: set[str] = set()

    def close(self) -> None:
        """End the machines.  May be called twice."""
        self._pool.__exit__(None, None, None)

    def run(self, batches: Iterable[tuple[int, int]]) -> Iterator[Report]:
        """As :meth:`Engine.run`; raises :class:`MachineError` when no machine can be had."""
        for number, calls in batches:
            yield self._batch(number, calls)

    def _program(
        self, environment: Environment, number: int, calls: int, deferred: Iterable[Step] = ()
    ) -> Iterator[Sequence[Step]]:
        """The chunks of program ``number``: the same for every machine of these options."""
        if self._programs is None:
            self._programs = Programs(environment, self._registry, self._seed, self._shares, self._only)
        return self._programs.chunks(number, calls, deferred)

    def _batch(self, number: int, calls: int) -> Report:
        began = time.monotonic()
        deferred: list[Rtas] = []
        deviations: Counter[str] = Counter()
        lane = partial(
            Lane,
            lethal=self._known.lethal(),
            deferred=deferred,
            expected=self._expected,
            met=deviations,
        )
        played = self._play(lambda environment: self._program(environment, number, calls, deferred), lane)
        mismatches: Counter[str] = Counter()
        findings: list[Finding] = []
        errors = [played.error] if played.error and not self._again(played) else []
        for violation in played.violations:
            deviation = self._known.explain(violation)
            if deviation is not None:
                deviations[deviation.id] += 1
                continue
            mismatches[violation.signature] += 1
            if violation.signature not in self._found:
                self._found.add(violation.signature)
                steps = self._small(played, violation.step + 1, violation.signature)
                findings.append(self._described(violation.signature, str(violation), steps, number))
        if played.error and not errors:
            played.symptoms[f"machine/{played.failure}"] = played.error
        for signature, words in played.symptoms.items():
            mismatches[signature] += 1
            if signature not in self._found:
                self._found.add(signature)
                # What grew may have grown by all of the program.
                grew = signature == GREW
                every = len(played.executed)
                steps = tuple(played.executed) if grew else self._small(played, every, signature)
                findings.append(self._described(signature, words, steps, number))
        seconds = time.monotonic() - began
        return Report(
            number,
            played.calls,
            seconds,
            played.guest,
            deviations,
            mismatches,
            tuple(findings),
            tuple(errors),
        )

    # ---- one program ---------------------------------------------------------------------------------------

    def _play(self, chunks: Chunks, kind: Kind = Judge) -> Played:
        """Play a program on a machine as after a start; raises :class:`MachineError` when there is none."""
        machine = self._fresh()
        if self._health is None or self._health.machine is not machine:
            self._health = Health(machine)
            self._health.grown()
        played = Played()
        judge = kind(machine, Model(machine.environment, self._revision, self._registry), played.observe)
        played.names = judge.names

        def play(_: Stage) -> Playing:
            for chunk in chunks(machine.environment):
                if not judge.model.state.fragile:
                    yield chunk

        keep = False
        try:
            with _uncollected():
                judge.play(Scenario("campaign", "", play, self._options))
            keep = judge.result.reusable and not played.uncertain
        except MachineError as error:
            played.error, played.failure = str(error), type(error).__name__
        finally:
            played.judgement = judge.result
            if (grown := self._health.grown()) > self._growth:
                played.symptoms[GREW] = f"QEMU grew by {grown >> 20} MiB of its own"
            if not keep or played.symptoms:
                self._pool.discard(machine)
        return played

    def _fresh(self) -> Machine:
        try:
            return self._pool.take(self._build, self._options, START)
        except MachineError:
            # That of the program before cannot be reset and was closed; another can perhaps be started.
            return self._pool.take(self._build, self._options, START)

    # ---- findings ------------------------------------------------------------------------------------------

    def _described(self, signature: str, summary: str, steps: Program, number: int) -> Finding:
        for violation in self._violations(steps):
            if violation.signature == signature:
                summary = str(violation)
                break
        calls = sum(isinstance(step, Call | Rtas) for step in steps)
        return Finding(signature, summary, steps, self._options, calls, number)

    def _small(self, played: Played, length: int, signature: str) -> Program:
        """The shortest program found that shows ``signature`` as the first ``length`` steps did.

        All of these when it shows only once.
        """
        executed = tuple(played.executed[:length])
        # Steps that refer to each other cannot be left out one by one.
        apart = tuple(literal(step, played.names) for step in executed)
        deadline = Deadline(self._shrinking)

        def holds(steps: Program) -> bool:
            return signature in self._signatures(steps)

        for candidate in chain(_likely(apart), (executed,)):
            if deadline.expired:
                return executed
            if holds(candidate):
                break
        else:
            return executed
        return shrink(candidate, holds, deadline)

    def _signatures(self, steps: Program) -> frozenset[str]:
        played = self._try(steps)
        if played is None:
            return frozenset()
        broken = {one.signature for one in played.violations if self._known.explain(one) is None}
        broken |= played.symptoms.keys()
        return frozenset(broken | ({f"machine/{played.failure}"} if played.failure else set()))

    def _violations(self, steps: Program) -> Sequence[Violation]:
        played = self._try(steps)
        return () if played is None else played.violations

    def _try(self, steps: Program) -> Played | None:
        """Play a candidate; ``None`` when it refers to a call that was left out."""
        try:
            return self._play(lambda _: iter([steps]))
        except (BadScenario, MachineError):
            return None

    def _again(self, played: Played) -> bool:
        """Whether a program after which the machine did not answer does that again."""
        return f"machine/{played.failure}" in self._signatures(tuple(played.executed))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, of which a program makes few: it would take a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Played:
    """What playing one program came to."""

    def __init__(self) -> None:
        self.judgement = Judgement()
        self.names = Names()
        #: why the machine did not answer, and the kind of error
        self.error = self.failure = ""
        #: what else was wrong with QEMU, in words by signature
        self.symptoms: dict[str, str] = {}
        #: whether a service may have changed what a reset keeps although the model does not know
        self.uncertain = False
        #: seconds in the guest
        self.guest = 0.0

    @property
    def calls(self) -> int:
        """Calls that were judged."""
        return self.judgement.calls

    @property
    def violations(self) -> Sequence[Violation]:
        """All that was broken."""
        return self.judgement.violations

    @property
    def executed(self) -> Sequence[Step]:
        """The steps that were begun."""
        return self.judgement.executed

    def observe(self, judged: Judged) -> None:
        """Look at one step."""
        self.guest += judged.outcome.seconds
        self.uncertain = self.uncertain or "wrong-shape" in judged.expectation.facts


def _likely(executed: Program) -> Iterator[Program]:
    """Parts of a program that may suffice, shortest first: the last step, with others like it, with those
    that name one of its large numbers (an address, a unit ID), with those before it, with all.
    """
    last = executed[-1]
    yield (last,)
    yield tuple(step for step in executed if _subject(step) == _subject(last))
    named = _named(last)
    yield (*(step for step in executed[:-1] if named & _named(step)), last)
    for size in (8, 64, 512):
        if size < len(executed):
            yield (executed[0], *executed[-size:])
    yield executed


def _named(step: Step) -> frozenset[Value]:
    """The arguments of a call, or the address of a seed, that hardly occur by chance."""
    args = step.args if isinstance(step, Call | Rtas) else (step.address,) if isinstance(step, Seed) else ()
    return frozenset(arg for arg in args if isinstance(arg, int) and arg > 0xFF)


def _subject(step: Step) -> object:
    match step:
        case Rtas():
            return step.service
        case Call():
            return step.opcode
    return type(step)


__all__ = ["OPTIONS", "SIZE", "Stateful"]
