"""Deviation files: what they match, what they must not match, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rig.check.deviations import BadDeviations, Deviation, Deviations, Match, load
from rig.check.verdict import decide
from rig.check.violation import Violation

ENTRY = """
[[deviation]]
id = "zero-count"
summary = "accepts what it must not"
citation = "document, section"
versions = ">=5.2,<8"
severity = "semantic"
scenario = "memop/limits"
[[deviation.match]]
check = "r3"
call = "H_LOGICAL_MEMOP"
facts = ["count-zero"]
without = ["misaligned"]
observed = ["0x0"]
arguments = { esize = { min = 4 } }
"""
SEEN = Violation(
    "r3", "H_LOGICAL_MEMOP", "r3", value=0, arguments={"esize": 4}, facts=frozenset({"count-zero", "other"})
)


def known(tmp_path: Path, text: str = ENTRY) -> tuple[Deviation, ...]:
    (tmp_path / "deviations.toml").write_text(text)
    return load(tmp_path)


def test_the_shipped_file_is_sound() -> None:
    assert all(deviation.citation and deviation.scenario for deviation in load())


def test_a_described_violation_is_explained(tmp_path: Path) -> None:
    assert known(tmp_path)[0].explains(SEEN)


def test_what_needs_no_further_look_is_told_by_call_and_check(tmp_path: Path) -> None:
    alone = '[[deviation.match]]\ncheck = "memory"\ncall = ["A", "B"]\n'
    (one,) = known(tmp_path, f"{ENTRY}\n{alone}")
    assert Deviations([one], (7, 0)).whatever() == {("A", "memory"): one, ("B", "memory"): one}
    assert Deviations([one], (5, 0)).whatever() == {}
    # Another one comes first, and what that explains is its own.
    first = replace(one, id="first", match=(Match("memory", ("A",), frozenset({"count-zero"})),))
    assert Deviations([first, one], (7, 0)).whatever() == {}


def test_the_calls_that_end_qemu_are_told_before_they_are_made() -> None:
    (match,) = Deviations(load(), (10, 0)).lethal()["nvram-fetch"]
    assert match.foresees(frozenset(), {"length": 0})
    assert not match.foresees(frozenset({"out-of-range"}), {"length": 1})
    assert "nvram-fetch" not in Deviations(load(), (7, 2)).lethal()


@pytest.mark.parametrize(
    ("severity", "says", "calls"),
    [("availability", "", ["H_LOGICAL_MEMOP"]), ("semantic", "", []), ("availability", 'says = "x"', [])],
)
def test_what_ends_nothing_or_only_last_words_tell_foretells_nothing(
    tmp_path: Path, severity: str, says: str, calls: list[str]
) -> None:
    text = ENTRY.replace('"r3"', '"liveness"').replace("semantic", severity)
    assert list(Deviations(known(tmp_path, f"{text}\n{says}"), (7, 0)).lethal()) == calls


@pytest.mark.parametrize(
    "other",
    [
        replace(SEEN, check="memory"),
        replace(SEEN, call="H_RTAS"),
        replace(SEEN, value=1),
        replace(SEEN, arguments={"esize": 3}),
        replace(SEEN, arguments={}),
        replace(SEEN, facts=frozenset()),
        replace(SEEN, facts=frozenset({"count-zero", "misaligned"})),
    ],
)
def test_another_violation_is_not_explained(tmp_path: Path, other: Violation) -> None:
    assert not known(tmp_path)[0].explains(other)


@pytest.mark.parametrize(
    ("violations", "scenario", "version", "verdict"),
    [
        ([], "memop/other", (7, 2, 22), "conforms"),
        ([SEEN], "memop/limits", (7, 2, 22), "deviates"),
        ([SEEN, replace(SEEN, check="memory")], "memop/limits", (7, 2, 22), "mismatch"),
        ([], "memop/limits", (7, 2, 22), "fixed"),
        ([], "memop/limits", (8, 0, 0), "conforms"),
        ([SEEN], "memop/limits", (8, 0, 0), "mismatch"),
    ],
)
def test_verdicts(
    tmp_path: Path, violations: list[Violation], scenario: str, version: tuple[int, ...], verdict: str
) -> None:
    assert decide(scenario, violations, Deviations(known(tmp_path), version)).verdict == verdict


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('severity = "semantic"', 'severity = "semantic"\nintermittent = 1', "intermittent is true or false"),
        ('severity = "semantic"', 'severity = "semantic"\nsometimes = true', "keys must be"),
        ('severity = "semantic"', 'severity = "bad"', "severity must be one of"),
        ('versions = ">=5.2,<8"', 'versions = "newer"', "versions:"),
        ('citation = "document, section"\n', "", "keys must be"),
        ('check = "r3"\n', "", "a match has `check`"),
        ("{ min = 4 }", "{ least = 4 }", "argument esize: keys are"),
        ("[[deviation]]", "[[deviation", "cannot read deviations"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(BadDeviations, match=complaint) as raised:
        known(tmp_path, ENTRY.replace(old, new))
    assert "deviations.toml" in str(raised.value)


@pytest.mark.parametrize(("violations", "verdict"), [([], "conforms"), ([SEEN], "deviates")])
def test_an_intermittent_deviation_may_be_absent(
    tmp_path: Path, violations: list[Violation], verdict: str
) -> None:
    entries = known(tmp_path, ENTRY.replace("severity", "intermittent = true\nseverity"))
    opinion = decide("memop/limits", violations, Deviations(entries, (7, 2, 22)))
    assert opinion.verdict == verdict
    assert entries[0].when == "QEMU >=5.2,<8, not each time"


def test_what_qemu_said_tells_deviations_apart(tmp_path: Path) -> None:
    (entry,) = known(tmp_path, ENTRY.replace('call = "H_L', 'says = "cpus.c:442"\ncall = "H_L'))
    for words in ({"text": "died (cpus.c:442: failed)"}, {"observed": "died: cpus.c:442"}):
        assert entry.explains(replace(SEEN, **words))
    assert not entry.explains(replace(SEEN, text="died (cpus.c:443: failed)"))


@pytest.mark.parametrize(("version", "known_there"), [((5, 2, 0), True), ((7, 2, 22), False)])
def test_the_false_assertion_at_the_start_of_a_cpu_is_known(
    version: tuple[int, ...], known_there: bool
) -> None:
    words = "tcg-cpus.c:442:tcg_cpu_thread_fn: assertion failed: (cpu->halted)"
    died = Violation("liveness", "arrive", f"the call ended otherwise (killed by SIGABRT; {words})")
    explained = Deviations(load(), version).explain(died)
    assert (explained is not None and explained.id == "cpu-start-aborts") == known_there
    assert Deviations(load(), version).explain(replace(died, text="killed by SIGABRT")) is None


def test_an_id_used_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDeviations, match="zero-count"):
        known(tmp_path, ENTRY + ENTRY)


def test_from_a_move_on_the_other_build_counts(tmp_path: Path) -> None:
    entries = known(tmp_path)
    seen = Deviations(entries, (7, 2, 0)).until(3, Deviations(entries, (10, 0, 0)))
    assert seen.explain(replace(SEEN, step=2)) == entries[0]
    assert seen.explain(replace(SEEN, step=3)) is None


def test_a_refused_move_may_be_due_to_the_build_that_refuses() -> None:
    scenario = "state/carried/from-7.2-to-10.0"
    words = "Unknown savevm section or instance 'icp/server' 0"
    refused = Violation("host", "move", "QMP refused move", observed=words, step=3)
    sender = Deviations(load(), (7, 2, 22))
    assert sender.explain(refused) is None
    both = sender.beside(Deviations(load(), (10, 0, 2)))
    assert both.explain(refused) is not None
    assert both.explain(replace(refused, call="snapshot-load")) is None
    # It is missed where it should have shown, and only there.
    assert decide(scenario, [refused], both).verdict == "deviates"
    assert decide(scenario, [], both).verdict == "fixed"
    for receiver, verdict in (((10, 0, 2), "fixed"), ((10, 0, 13), "conforms")):
        moved = Deviations(load(), (7, 2, 22)).until(3, Deviations(load(), receiver))
        assert decide(scenario, [], moved).verdict == verdict
