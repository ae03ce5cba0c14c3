"""What the model says of a difference between two builds: who is right, and whether that is known.

It judges the scenario on each build by itself, in a run of its own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from rig.check.deviations import Deviations, load
from rig.check.violation import Violation
from rig.frozen import frozen
from rig.runner import Runner, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from rig.ab.lockstep import Difference
    from rig.check.deviations import Deviation
    from rig.check.judge import Judged
    from rig.machine.build import Build
    from rig.pool import Pool
    from rig.report.result import Result
    from rig.scenario.script import Disagreement, Scenario

    #: in words, and the known deviation that it is
    _Wrong = tuple[str, Deviation | None]

#: ``both`` when the contract permits what either did; ``unknown`` when the model could not judge
Right = Literal["both", "first", "second", "neither", "unknown"]


@frozen
class Opinion:
    """Who is right at one step, and why in words.

    ``deviations`` explain what is wrong; ``known`` is set when they explain all of it.
    """

    right: Right
    reason: str = ""
    deviations: tuple[str, ...] = ()
    known: bool = True


class Judges:
    """The model's view of one scenario on two builds, judged at the same time."""

    def __init__(
        self, scenario: Scenario, builds: Sequence[Build], pools: Sequence[Pool], executor: Executor
    ) -> None:
        self._deviations = [Deviations(load(), build.version) for build in builds]

        def judge(index: int) -> tuple[Result, Mapping[int, list[Violation]]]:
            broken: dict[int, list[Violation]] = defaultdict(list)

            def observe(_: Scenario, __: Build, judged: Judged) -> None:
                broken[judged.index] += judged.violations

            runner = Runner(builds, Settings(observe=observe))
            return runner.judge(scenario, index, pools[index]), broken

        judged = list(executor.map(judge, range(len(builds))))
        self.results = [result for result, _ in judged]
        self._broken = [broken for _, broken in judged]

    def opinions(
        self,
        differences: Sequence[Difference],
        views: tuple[Disagreement | None, Disagreement | None] = (None, None),
    ) -> list[Opinion]:
        """Of each difference; ``views`` are what a script said of either build where that is one."""
        failed = next((one for one in self.results if one.verdict in ("error", "skipped")), None)
        if failed is not None:
            reason = f"{failed.verdict}: {failed.reason}"
            return [Opinion("unknown", reason, known=False)] * len(differences)
        first, second = (self._wrongs(index, differences, view) for index, view in enumerate(views))
        return [_opinion(first[one.step], second[one.step]) for one in differences]

    def _wrongs(
        self, index: int, differences: Sequence[Difference], view: Disagreement | None
    ) -> dict[int, list[_Wrong]]:
        """What is wrong with one build at each step that differs."""
        broken, explain = self._broken[index], self._deviations[index].explain
        wrongs = {
            one.step: [(str(violation), explain(violation)) for violation in broken.get(one.step, ())]
            for one in differences
        }
        for one in differences:
            if one.what == "view" and view is not None:
                violation = _violation(view, one.step)
                wrongs[one.step].append((str(violation), explain(violation)))
        unknown = any(deviation is None for found in wrongs.values() for _, deviation in found)
        if self.results[index].verdict == "mismatch" and not unknown:
            # A stray byte counts for a call of the batch in which it was found, not always for the one that
            # stored it, which is where the difference is.
            elsewhere = (step for step, found in broken.items() if not all(map(explain, found)))
            at = next(elsewhere, differences[-1].step)  # a disagreement of views is at the end
            nearest = min(wrongs, key=lambda step: abs(step - at))
            wrongs[nearest].append((self.results[index].reason.split("\n")[0], None))
        return wrongs


def _opinion(first: Sequence[_Wrong], second: Sequence[_Wrong]) -> Opinion:
    """What is wrong with either build makes the other one right."""
    right: Right = "neither" if first and second else "second" if first else "first" if second else "both"
    found = [*first, *second]
    ids = sorted({deviation.id for _, deviation in found if deviation is not None})
    unknown = [reason for reason, deviation in found if deviation is None]
    reason = (unknown or [reason for reason, _ in found] or [""])[0]
    return Opinion(right, reason, tuple(ids), not unknown)


def _violation(view: Disagreement, step: int) -> Violation:
    """What a script reports, as the judge of a single build has it."""
    return Violation(view.check, "agreement", view.text, step=step)
