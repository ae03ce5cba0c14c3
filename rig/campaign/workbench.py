"""Where single programs are looked at: a machine of its own beside the one that runs the campaign."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rig.check.deviations import Deviation, Deviations
from rig.check.judge import Judge, Judged, Judgement
from rig.check.violation import Violation, sanitized
from rig.deadline import Deadline
from rig.frozen import frozen
from rig.machine.build import Build
from rig.machine.machine import Machine
from rig.machine.sanitizer import Report
from rig.model.memory import PAGE
from rig.model.model import Model
from rig.program import Call, MachineOptions, Step
from rig.scenario.script import Playing, Scenario, Stage

#: seconds that a machine may take to be ready
START = 30.0
#: programs played before the machine is made new: each leaves pages that all later ones must compare
PLAYS = 64


@frozen
class Replay:
    """What a program came to: deviations that its last step shows, violations that nothing explains in any
    step, and the last step as it was judged.
    """

    deviations: tuple[str, ...]
    unknown: tuple[Violation, ...]
    last: Judged | None

    @property
    def signatures(self) -> frozenset[str]:
        """Of the violations that nothing explains."""
        return frozenset(violation.signature for violation in self.unknown)


class Workbench:
    """Plays programs on a machine of ``build``, started when it is first needed; a slow judge of all."""

    def __init__(
        self,
        build: Build,
        options: MachineOptions,
        revision: str,
        deviations: Sequence[Deviation],
    ) -> None:
        self.build = build
        self.options = options
        self._revision = revision
        self._known = Deviations(deviations, build.version)
        self._machine: Machine | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._plays = 0

    def close(self) -> None:
        """End the machine.  May be called twice."""
        if self._machine is not None:
            self._machine.close()
            self._machine = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def play(self, steps: Sequence[Step]) -> Replay:
        """Play a program and judge every step of it; raises :class:`MachineError`."""
        machine = self._ready()
        _clean(machine)
        last: list[Judged] = []
        judge = Judge(machine, Model(machine.environment, self._revision), last.append)
        try:
            judgement = judge.play(scenario("workbench", "", steps, self.options))
        except BaseException:  # whatever it was, the guest may still be at it
            self.close()
            raise
        if not judgement.reusable:
            self.close()
        return self._replay(judgement, last[-1] if last else None)

    def known(self, report: Report) -> Deviation | None:
        """The deviation that explains what a sanitizer said."""
        return self._known.explain(sanitized(report))

    def _replay(self, judgement: Judgement, last: Judged | None) -> Replay:
        known = [self._known.explain(violation) for violation in judgement.violations]
        own = last.index if last else 0
        pairs = list(zip(judgement.violations, known, strict=True))
        return Replay(
            tuple(sorted({one.id for violation, one in pairs if one and _shown(violation, own)})),
            tuple(violation for violation, one in pairs if one is None),
            last,
        )

    def harmless(self, steps: Sequence[Step]) -> bool:
        """Whether no call of a program may write what belongs to the agent, if the model is right."""
        environment = self._ready().environment
        model = Model(environment, self._revision)
        written = (
            write
            for step in steps
            if isinstance(step, Call)
            for case in model.expect(step).cases
            for write in case.writes
        )
        owned = (environment.agent, environment.fdt)
        return not any(region.overlaps(one.address, len(one.data)) for one in written for region in owned)

    def _ready(self) -> Machine:
        if self._machine is None:
            self._folder = tempfile.TemporaryDirectory(prefix="rig-")
            machine = Machine(self.build, self.options, Path(self._folder.name), Deadline(START))
            machine.start()
            self._machine = machine
            self._plays = 0
        self._plays += 1
        if self._plays % PLAYS == 0:
            try:
                self._machine.reset()
            except BaseException:
                self.close()
                raise
        return self._machine


def _shown(violation: Violation, step: int) -> bool:
    """Whether it is what a call of ``step`` did: a sanitizer speaks once, of whatever call was the first."""
    return violation.step == step and violation.check != "sanitizer"


def _clean(machine: Machine) -> None:
    """Zero what earlier programs left, so that a program depends on nothing but its own seeds."""
    environment, memory = machine.environment, machine.memory
    ours = (environment.agent, environment.fdt)
    for start, length in list(memory.extents()):
        free = not any(region.overlaps(start, length) for region in ours)
        for page in (start,) if free else range(start, start + length, PAGE):
            size = length if free else PAGE
            if free or not any(region.overlaps(page, PAGE) for region in ours):
                memory.write(page, bytes(size))


def scenario(name: str, summary: str, steps: Sequence[Step], options: MachineOptions) -> Scenario:
    """Steps as a scenario that plays them in order."""

    def play(stage: Stage) -> Playing:
        yield tuple(steps)

    return Scenario(name, summary, play, options)
