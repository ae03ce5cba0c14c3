"""What the model says of a difference between two builds: who is right, and whether that is known.

It judges the scenario on each build by itself, in a run of its own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rig.check.deviations import Deviations, load
from rig.check.violation import Violation
from rig.runner import Runner, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from rig.check.judge import Judged
    from rig.machine.build import Build
    from rig.pool import Pool
    from rig.report.result import Result
    from rig.scenario.script import Disagreement, Scenario

#: ``both`` when the contract permits what either did; ``unknown`` when the model could not judge
Right = Literal["both", "first", "second", "neither", "unknown"]


@dataclass(frozen=True, slots=True)
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

    def opinion(
        self, step: int, views: tuple[Disagreement | None, Disagreement | None] = (None, None)
    ) -> Opinion:
        """Of the difference that ``step`` left; ``views`` are what a script said of either build there."""
        failed = next((one for one in self.results if one.verdict in ("error", "skipped")), None)
        if failed is not None:
            return Opinion("unknown", f"{failed.verdict}: {failed.reason}", known=False)
        first, second = (
            [*broken.get(step, []), *([] if view is None else [_violation(view, step)])]
            for broken, view in zip(self._broken, views, strict=True)
        )
        right: Right = "neither" if first and second else "second" if first else "first" if second else "both"
        found = [
            (violation, deviations.explain(violation))
            for deviations, violations in zip(self._deviations, (first, second), strict=True)
            for violation in violations
        ]
        ids = sorted({deviation.id for _, deviation in found if deviation is not None})
        unknown = [violation for violation, deviation in found if deviation is None]
        reason = str((unknown or [violation for violation, _ in found])[0]) if found else ""
        return Opinion(right, reason, tuple(ids), not unknown)


def _violation(view: Disagreement, step: int) -> Violation:
    """What a script reports, as the judge of a single build has it."""
    return Violation(view.check, "agreement", view.text, step=step)
