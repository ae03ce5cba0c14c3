"""Where known deviations were looked for: what was not seen, and why, must be told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from rig.check.deviations import Deviation, load
from rig.machine.build import Build
from rig.report.ranges import Seen, ranges, version
from rig.report.result import Result
from rig.report.session import print_summary
from rig.scenario.loader import select
from rig.versions import within

#: the releases of which builds are at hand
RELEASES = ((5, 2, 0), (7, 2, 22), (10, 0, 2), (10, 0, 13), (11, 1, 3))
KNOWN = (
    Deviation("old", "", "", ">=5.2,<10.0", "semantic", "a/shows", ()),
    Deviation("other", "", "", ">=5.2", "semantic", "b/shows", ()),
    Deviation("at-times", "", "", ">=5.2", "semantic", "a/shows", (), intermittent=True),
)
VERSIONS = ((7, 2, 22), (10, 0, 13))


def cells(results: Sequence[Result]) -> dict[str, tuple[Seen, ...]]:
    return {row.deviation.id: row.cells for row in ranges(results, VERSIONS, KNOWN)}


def test_a_deviation_that_shows_where_its_range_says() -> None:
    found = cells([Result("a/shows", 0, "deviates", ("old",)), Result("a/shows", 1, "conforms")])
    assert found["old"] == (Seen(1, in_range=True), Seen(0, in_range=False))
    assert "other" not in found, "nothing of it was part of the run"


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (Result("a/shows", 0, "skipped", reason="no such device"), "a/shows skipped: no such device"),
        (Result("a/shows", 0, "error", reason="QEMU died\nmore"), "a/shows error: QEMU died"),
        (Result("a/shows", 0, "fixed"), ""),
        (Result("c/another", 0, "deviates", ("old",)), ""),
    ],
)
def test_a_deviation_that_nobody_looked_for_is_told(result: Result, why: str) -> None:
    assert cells([result, Result("a/shows", 1, "conforms")])["old"][0].unverified == why


def test_a_deviation_whose_scenario_was_played_elsewhere_only() -> None:
    found = cells([Result("b/shows", 0, "deviates", ("other",))])
    assert found["other"][1].unverified == "b/shows was not played"


def test_one_that_does_not_show_each_time_is_no_failure() -> None:
    assert cells([Result("a/shows", 0, "conforms")])["at-times"][0].unverified == "does not show each time"


def test_the_summary_tells_what_was_not_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    named = next(one for one in load() if one.versions == ">=5.2" and not one.intermittent)
    build = Build(Path("/qemu"), ("/qemu",), (7, 2, 22), "7.2.22", "0" * 64)
    print_summary([Result(named.scenario, 0, "skipped", reason="no such device")], [build], None)
    assert f"not looked for {named.id}: {named.scenario} skipped: no such device" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("10.0.13 (Debian 1:10.0.13+ds-0)", (10, 0, 13)), ("11.1.50 (v11.1.0-4-gabc)", (11, 1, 50)), ("", ())],
)
def test_the_version_of_a_build(text: str, numbers: tuple[int, ...]) -> None:
    assert version(text) == numbers


def test_each_known_deviation_names_a_scenario_that_its_builds_can_run() -> None:
    """Else a run could never tell that a range is wrong; what a move shows may be of the build moved to."""
    scenarios = {scenario.name: scenario for scenario in select()}
    for deviation in load():
        mine = [release for release in RELEASES if deviation.concerns(release)]
        assert mine, f"{deviation.id}: no build is in {deviation.versions}"
        requires = scenarios[deviation.scenario].requires
        for release in mine:
            played = not requires.versions or within(release, requires.versions)
            entered = bool(requires.newer) and within(release, requires.newer)
            assert played or entered, (deviation.id, release)
