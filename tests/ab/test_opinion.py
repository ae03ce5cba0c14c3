"""Which build is called wrong, when the judge names other steps than the comparison."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rig.ab import opinion
from rig.ab.lockstep import Difference
from rig.ab.opinion import Judges, Opinion
from rig.check.judge import Judged
from rig.check.verdict import Verdict
from rig.check.violation import Violation
from rig.model.expectation import Case, Expectation
from rig.program import Call, Outcome
from rig.report.result import Result
from rig.runner import Settings
from rig.scenario.script import Disagreement, Scenario

STRAY = Violation("stray", "H_X", "a byte changed", step=9)


def opinions(
    monkeypatch: pytest.MonkeyPatch,
    steps: tuple[int, ...],
    found: tuple[tuple[Violation, ...], tuple[Violation, ...]],
    verdicts: tuple[Verdict, Verdict] = ("mismatch", "conforms"),
    views: tuple[Disagreement | None, Disagreement | None] = (None, None),
) -> list[Opinion]:
    """Of differences at ``steps``, when two builds break ``found``."""

    class Judging:
        def __init__(self, _: object, settings: Settings) -> None:
            self.observe = settings.observe

        def judge(self, scenario: Scenario, index: int, _: object) -> Result:
            for one in found[index]:
                expectation, case = Expectation("H_X", ()), Case("any")
                judged = Judged(one.step, Call(1), Outcome(), expectation, case, [one])
                assert self.observe is not None
                self.observe(scenario, builds[index], judged)
            return Result("a/b", index, verdicts[index], reason="\n".join(map(str, found[index])))

    monkeypatch.setattr(opinion, "Runner", Judging)
    monkeypatch.setattr(opinion, "load", tuple)
    builds: Any = [type("Fake", (), {"version": (7, 2, 0), "path": Path("/x")})] * 2
    pools: Any = (None, None)
    scenario = Scenario("a/b", "", lambda _: iter(()))  # type: ignore[arg-type, return-value]
    with ThreadPoolExecutor(2) as executor:
        judges = Judges(scenario, builds, pools, executor)
    what = "page 0x1000" if views == (None, None) else "view"
    return judges.opinions([Difference(step, "H_X", what, "1", "2") for step in steps], views)


BOTH = Opinion("both")
WRONG = Opinion("second", str(STRAY), known=False)


def test_a_violation_at_another_step_counts_for_the_nearest_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert opinions(monkeypatch, (2, 7, 7, 30), ((STRAY,), ())) == [BOTH, WRONG, WRONG, BOTH]


def test_a_violation_at_a_difference_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Violation("r3", "H_X", "other", step=2)
    assert opinions(monkeypatch, (2, 8), ((here, STRAY), ())) == [
        Opinion("second", str(here), known=False),
        BOTH,
    ]


def test_both_may_be_wrong_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    found = opinions(monkeypatch, (2,), ((STRAY,), (STRAY,)), ("mismatch", "mismatch"))
    assert found == [Opinion("neither", str(STRAY), known=False)]


def test_a_mismatch_of_which_no_step_is_known_counts_for_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opinions(monkeypatch, (2, 8), ((), ())) == [BOTH, Opinion("second", known=False)]


def test_what_a_script_says_is_no_violation_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    view = Disagreement("agreement.memory", "two views differ")
    (found,) = opinions(monkeypatch, (4,), ((), ()), views=(view, None))
    assert found == Opinion("second", "step 4: agreement: two views differ", known=False)


def test_what_conforms_is_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opinions(monkeypatch, (2,), ((), ()), ("conforms", "conforms")) == [BOTH]
