"""Run scenarios on builds: what to skip, which machine to use, which verdict comes out.

It knows nothing of command lines or report formats: results are handed out as they come.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rig.frozen import frozen
from rig.machine.build import Build, devices, release
from rig.machine.errors import MachineError, Refused
from rig.machine.machine import Machine
from rig.machine.translation import translatable
from rig.pool import Caller, Pool
from rig.report.result import Result
from rig.scenario.errors import BadScenario
from rig.scenario.script import Scenario
from rig.schedule import Kind, Schedule, Task
from rig.versions import dotted, within

if TYPE_CHECKING:  # imported while QEMU starts: see prepare
    from rig.check.deviations import Deviations
    from rig.check.judge import Judge, Judged, Judgement

#: seconds a machine may take to be ready
START = 30.0


@frozen
class Settings:
    """How to run.  ``machine`` and ``cpu`` override every scenario's; failures go below ``evidence``."""

    jobs: int = 1
    isolate: bool = False
    machine: str | None = None
    cpu: str | None = None
    revision: str = "merged"
    evidence: Path | None = None
    #: told every judged step where it was judged: with several jobs, in a process of its own
    observe: Callable[[Scenario, Build, Judged], None] | None = None


def prepare() -> None:
    """Import and read all that judging needs, which takes longer than QEMU needs to start."""
    import rig.check.judge  # noqa: F401
    from rig.check.deviations import load

    load()


def newer(scenario: Scenario, builds: Sequence[Build]) -> Build | None:
    """The one of ``builds`` that the state of the scenario's machine is to be moved to."""
    if not (wanted := scenario.requires.newer):
        return None
    fitting = (
        build
        for build in builds
        if within(build.version, wanted) and scenario.machine.machine.split(",")[0] in build.machine_types
    )
    return next(fitting, None)


def unmet(scenario: Scenario, build: Build, builds: Sequence[Build] = ()) -> str:
    """Why a build cannot run a scenario, decided without starting a machine; empty when it can.

    ``builds`` are all those of the run, to which a machine's state may be moved.
    """
    needs = scenario.requires
    if needs.versions and not within(build.version, needs.versions):
        return f"needs QEMU {needs.versions}, this is {dotted(build.version)}"
    if needs.devices:
        missing = sorted(set(needs.devices) - devices(build))
        if missing:
            return f"this build has no device {', '.join(missing)}"
    if not translatable(scenario.machine.translation, scenario.machine.cpu):
        return f"{scenario.machine.cpu} has no {scenario.machine.translation} translation"
    if scenario.machine.machine.split(",")[0] not in build.machine_types:
        return _typeless(scenario.machine.machine, build)
    if needs.newer and newer(scenario, builds) is None:
        machine = scenario.machine.machine
        return f"needs a second build, QEMU {needs.newer} with the machine type {machine}: add --qemu PATH"
    return ""


def _typeless(machine: str, build: Build) -> str:
    """Why a build does not have a machine type."""
    here = sorted(filter(None, map(release, build.machine_types)))
    wanted = release(machine)
    reason = ""
    if here and wanted and wanted > here[-1]:
        reason = f": it is too new, the last one here is pseries-{dotted(here[-1])}"
    elif here and wanted and wanted < here[0]:
        reason = f": it is too old, the first one here is pseries-{dotted(here[0])}"
    return f"this build has no machine type {machine}{reason}"


class Runner:
    """Runs (scenario, build) pairs: here with one job, in worker processes with more."""

    def __init__(self, builds: Sequence[Build], settings: Settings) -> None:
        self.builds = builds
        self.settings = settings

    def run(self, scenarios: Sequence[Scenario], on_result: Callable[[Result], None]) -> None:
        """Run everything; ``on_result`` is told each result here as it comes."""
        wanted: list[tuple[Kind, Scenario]] = []
        for index, build in enumerate(self.builds):
            for scenario in map(self._adapted, scenarios):
                reason = unmet(scenario, build, self.builds)
                if reason:
                    on_result(Result(scenario.name, index, "skipped", reason=reason))
                else:
                    wanted.append((Kind(index, scenario.machine), scenario))
        schedule = Schedule(wanted)
        jobs = min(self.settings.jobs, len(wanted))
        if jobs > 1:
            from rig.workers import Workers  # of no use to a single worker, and slow to import

            prepare()  # once, for all that are forked
            with Workers(schedule, jobs, self._judge, isolate=self.settings.isolate) as workers:
                workers.run(on_result)
            return
        with Pool(self.settings.isolate, prepare) as pool:
            task = schedule.next()
            while task is not None:
                on_result(self._judge(task, pool))
                task = schedule.next(task.kind)

    def _judge(self, task: Task, pool: Pool) -> Result:
        return self.judge(task.scenario, task.kind.build, pool)

    def _adapted(self, scenario: Scenario) -> Scenario:
        machine = scenario.machine
        if self.settings.machine:
            machine = replace(machine, machine=self.settings.machine)
        if self.settings.cpu:
            machine = replace(machine, cpu=self.settings.cpu)
        return replace(scenario, machine=machine)

    def judge(self, scenario: Scenario, index: int, pool: Pool) -> Result:
        """One scenario on one build; every failure of rig or build becomes an ``error`` result."""
        build = self.builds[index]
        started = time.monotonic()
        machine: Caller | None = None
        judge: Judge | None = None
        try:
            machine = pool.caller(build, scenario.machine, START)
            if isinstance(machine, Machine):
                machine.newer = newer(scenario, self.builds)
            missing = sorted(set(scenario.requires.services) - set(machine.environment.tokens))
            if missing:
                return Result(
                    scenario.name, index, "skipped", reason=f"this build has no {', '.join(missing)}"
                )
            from rig.check.judge import Judge
            from rig.check.verdict import decide
            from rig.model.model import Model

            observe = self.settings.observe
            judge = Judge(
                machine,
                Model(machine.environment, self.settings.revision),
                None if observe is None else lambda judged: observe(scenario, build, judged),
            )
            judgement = judge.play(scenario)
            opinion = decide(scenario.name, judgement.violations, _known(build, machine, judgement))
        except (MachineError, Refused, BadScenario) as error:
            return self._failed(scenario, index, machine, judge, pool, started, str(error))
        except Exception:  # noqa: BLE001 - whatever the rig did wrong must not end the run
            return self._failed(scenario, index, machine, judge, pool, started, traceback.format_exc())
        result = Result(
            scenario.name,
            index,
            opinion.verdict,
            opinion.deviations,
            judgement.calls,
            time.monotonic() - started,
            opinion.reason,
            signatures=tuple(sorted({violation.signature for violation in judgement.violations})),
            returns=dict(judgement.returns),
            endings=dict(judgement.endings),
            requirements=scenario.requirements,
        )
        if opinion.verdict == "mismatch":
            result = self._with_evidence(result, scenario, machine, judgement)
        elif machine.pictures:
            result = self._with_pictures(result, scenario, machine)
        if not judgement.reusable:
            pool.discard(machine)
        return result

    def _failed(
        self,
        scenario: Scenario,
        index: int,
        machine: Caller | None,
        judge: Judge | None,
        pool: Pool,
        started: float,
        reason: str,
    ) -> Result:
        result = Result(scenario.name, index, "error", seconds=time.monotonic() - started, reason=reason)
        if machine is not None:
            from rig.check.judge import Judgement

            judgement = judge.result if judge else Judgement()
            result = replace(result, calls=judgement.calls)
            result = self._with_evidence(result, scenario, machine, judgement)
            pool.discard(machine)
        return result

    def _with_evidence(
        self, result: Result, scenario: Scenario, machine: Caller, judgement: Judgement
    ) -> Result:
        """The result with all that a person needs to look into it."""

        def write(folder: Path) -> None:
            from rig.report import evidence

            builds = [self.builds[result.build], newer(scenario, self.builds)]
            qemus = " ".join(f"--qemu {build.path}" for build in builds if build is not None)
            evidence.write(
                folder,
                scenario,
                judgement.executed,
                judgement.broken,
                machine.pastable,
                {**machine.logs, **machine.pictures},
                f"rig replay {folder / 'program.yaml'} {qemus}",
                machine.memory if machine.alive else None,
            )

        return self._kept(result, write)

    def _with_pictures(self, result: Result, scenario: Scenario, machine: Caller) -> Result:
        """The result with what the screen showed, worth a look also when nothing is wrong with it."""

        def write(folder: Path) -> None:
            from rig.report import evidence

            evidence.keep(folder, machine.pictures)

        return self._kept(result, write)

    def _kept(self, result: Result, write: Callable[[Path], None]) -> Result:
        """The result with its evidence folder; a verdict is not lost because that cannot be written."""
        if self.settings.evidence is None:
            return result
        name = _folder(result.scenario, self.builds[result.build])
        try:
            write(self.settings.evidence / name)
        except (OSError, MachineError) as error:
            words = f"its evidence could not be written: {error}"
            return replace(result, reason=f"{result.reason}\n{words}".strip())
        return replace(result, evidence=f"{self.settings.evidence.name}/{name}")


def _known(build: Build, machine: Caller, judgement: Judgement) -> Deviations:
    """The deviations of ``build``, and of the build that the machine was moved to, or should have been."""
    from rig.check.deviations import Deviations, load

    known = Deviations(load(), build.version)
    if judgement.moved is not None:
        return known.until(judgement.moved, Deviations(load(), machine.build.version))
    if isinstance(machine, Machine) and machine.newer is not None:
        return known.beside(Deviations(load(), machine.newer.version))
    return known


def _folder(scenario: str, build: Build) -> str:
    """Name of the evidence folder of a scenario on a build."""
    return f"{scenario.replace('/', '-')}--{dotted(build.version)}-{build.sha256[:8]}"
