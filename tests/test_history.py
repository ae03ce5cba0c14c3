"""Runs kept in a file: what can be asked, and which files are refused."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rig import history
from rig.history import BadHistory, History
from rig.report.result import Result


def build(path: str = "/opt/qemu", version: str = "10.0.0", sha256: str = "aa") -> dict[str, object]:
    return {"path": path, "version": version, "sha256": sha256, "machine": "pseries", "cpu": ""}


def result(scenario: str, verdict: str = "conforms", *deviations: str, index: int = 0) -> Result:
    return Result(scenario, index, verdict, deviations, 3, 0.5, f"because {verdict}")  # type: ignore[arg-type]


@pytest.fixture
def kept(tmp_path: Path) -> History:
    made = History(tmp_path / "runs.sqlite")
    made.begin()
    return made


def test_a_scenario_by_build_over_time(kept: History) -> None:
    kept.append([build(), build("/usr/qemu", "7.2.0")], [result("a/x"), result("a/x", index=1)], 7, "rig run")
    kept.append([build(version="10.0.1", sha256="bb")], [result("a/x", "mismatch"), result("a/y")], 0, "")
    found = kept.of_scenario("a/x")
    assert [(one.path, one.version, one.sha256, one.verdict) for one in found] == [
        ("/opt/qemu", "10.0.0", "aa", "conforms"),
        ("/usr/qemu", "7.2.0", "aa", "conforms"),
        ("/opt/qemu", "10.0.1", "bb", "mismatch"),
    ]
    assert found[2].reason == "because mismatch"
    assert len(kept.of_scenario("a/*")) == 4
    assert kept.of_scenario("b/*") == []


def test_a_deviation_by_build_over_time(kept: History) -> None:
    kept.append([build()], [result("a/x", "deviates", "one", "two"), result("a/y")], 0, "")
    kept.append([build()], [result("a/x", "deviates", "two"), result("a/y")], 0, "")
    assert [one.deviations for one in kept.of_deviation("one")] == [("one", "two"), ("two",)]
    assert kept.of_deviation("on") == [], "a part of an id is no id"


def test_what_changed_since_the_last_run_of_a_build(kept: History) -> None:
    assert kept.changes() == []
    kept.append([build()], [result("a/x"), result("a/y"), result("a/z", "deviates", "one")], 0, "")
    assert kept.changes() == []
    kept.append([build()], [result("a/y")], 0, "a part of them")
    kept.append([build("/other")], [result("a/x", "error")], 0, "another build")
    kept.append(
        [build(sha256="bb")],
        [result("a/x", "mismatch"), result("a/y"), result("a/z", "deviates", "two"), result("a/new")],
        0,
        "",
    )
    changed = [(old.scenario, old.verdict, new.verdict, new.deviations) for old, new in kept.changes()]
    assert changed == [("a/x", "conforms", "mismatch", ()), ("a/z", "deviates", "deviates", ("two",))]
    assert {(one.path, one.scenario) for one in kept.last()} == {
        ("/other", "a/x"),
        *(("/opt/qemu", f"a/{name}") for name in ("x", "y", "z", "new")),
    }


def test_another_machine_or_cpu_is_another_build(kept: History) -> None:
    kept.append([build()], [result("a/x")], 0, "")
    kept.append([build() | {"cpu": "power10"}], [result("a/x", "mismatch")], 0, "")
    assert kept.changes() == []
    kept.append([build()], [result("a/x")], 0, "")
    assert [cpu for _, _, cpu in kept.first()] == ["power10"]


def test_runs_that_end_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    def run(number: int) -> None:
        kept = History(tmp_path / "shared.sqlite")
        kept.begin()
        kept.append([build(f"/qemu/{number}")], [result(f"a/{one}") for one in range(50)], 0, "")

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(run, range(16)))
    assert len(History(tmp_path / "shared.sqlite").of_scenario("*")) == 16 * 50


def test_a_run_is_kept_whole_or_not_at_all(kept: History) -> None:
    with pytest.raises(BadHistory, match="UNIQUE constraint"):
        kept.append([build()], [result("a/x"), result("a/x")], 0, "")
    assert kept.of_scenario("*") == []


def test_a_file_that_is_missing_is_not_made_by_asking(tmp_path: Path) -> None:
    with pytest.raises(BadHistory, match="there is no"):
        History(tmp_path / "none").last()
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like one. " * 100)
    before = path.read_bytes()
    with pytest.raises(BadHistory, match="cannot be used as a history: file is not a database"):
        History(path).begin()
    assert path.read_bytes() == before


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE song (name)")
    database.close()
    before = path.read_bytes()
    for use in (History(path).begin, History(path).last):
        with pytest.raises(BadHistory, match="a database of something else"):
            use()
    assert path.read_bytes() == before


def test_a_later_layout(kept: History) -> None:
    database = sqlite3.connect(kept.path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(BadHistory, match="has layout 2 and this rig knows 1"):
        kept.begin()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadHistory, match="unable to open database file"):
        History(tmp_path / "no" / "such" / "folder").begin()


def test_a_file_that_another_holds(kept: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PATIENCE", 0.1)
    database = sqlite3.connect(kept.path, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(BadHistory, match="database is locked"):
            kept.append([build()], [], 0, "")
    finally:
        database.close()
