"""``rig run --history`` and ``rig history``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rig.history import History
from rig.report.files import build_json
from rig.report.result import Result

from .conftest import Rig

DEVIATES = "memop/outside/source-ram.end"
CONFORMS = "memop/limits/count-over-0xffffffff"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


def test_runs_are_kept_and_shown(rig: Rig, qemu: Path, file: Path) -> None:
    assert rig("run", DEVIATES, CONFORMS, "--qemu", qemu, "--history", file).code == 0
    done = rig("history", "--history", file)
    assert done.code == 0
    assert f"{qemu}: 1 conforms, 1 deviates" in done.out
    assert "its first run" in done.out
    assert rig("run", CONFORMS, "--qemu", qemu, "--history", file).code == 0
    assert "nothing changed since the run before" in rig("history", "--history", file).out

    of_scenario = rig("history", DEVIATES, "--history", file)
    assert of_scenario.code == 0
    assert "deviates (memop-" in of_scenario.out
    (name,) = json.loads(rig("history", DEVIATES, "--history", file, "--json").out)[0]["deviations"]
    of_deviation = rig("history", name, "--history", file)
    assert "shows in 1 of 1 scenario " in of_deviation.out


def test_what_changed_is_shown(rig: Rig, qemu: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rig.machine.build import probe

    kept = History(file)
    kept.begin()
    described = build_json(probe(qemu), "pseries", "")
    kept.append([described], [Result(CONFORMS, 0, "mismatch", reason="it was wrong")], 0, "")
    monkeypatch.setenv("RIG_HISTORY", str(file))
    assert rig("run", CONFORMS, "--qemu", qemu).code == 0
    done = rig("history")
    assert f"  {CONFORMS}: mismatch (" in done.out
    assert ") -> conforms\n" in done.out
    (change,) = json.loads(rig("history", "--json").out)["changes"]
    assert (change["before"]["verdict"], change["after"]["verdict"]) == ("mismatch", "conforms")
    assert "mismatch" not in rig("history", "--build", "another").out


def test_a_deviation_that_shows_by_chance_is_no_change_of_each_scenario(rig: Rig, file: Path) -> None:
    kept = History(file)
    kept.begin()
    build = {"path": "/qemu", "version": "7.2.22", "sha256": "aa", "machine": "pseries", "cpu": ""}
    one, two, both = ("clock",), ("new",), ("clock", "new")
    kept.append([build], [Result("a", 0, "deviates", one), Result("b", 0, "conforms")], 0, "")
    kept.append([build], [Result("a", 0, "conforms"), Result("b", 0, "deviates", one)], 0, "")
    shown = rig("history", "--history", file).out
    assert "  not in the same scenarios, but seen in both runs: clock\n" in shown
    assert "->" not in shown
    kept.append([build], [Result("a", 0, "deviates", both), Result("b", 0, "mismatch", two)], 0, "")
    shown = rig("history", "--history", file).out
    assert "  a: conforms (" in shown
    assert "  b: deviates (clock) (" in shown
    assert len(json.loads(rig("history", "--history", file, "--json").out)["changes"]) == 2


@pytest.mark.usefixtures("qemu")
def test_a_file_that_cannot_be_used_is_refused_before_any_machine_is_made(
    rig: Rig, qemu: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rig.pool.Machine", lambda *_, **__: pytest.fail("a machine was made"))
    file.write_text("no database at all, only words " * 100)
    done = rig("run", CONFORMS, "--qemu", qemu, "--history", file)
    assert done.code == 4
    assert "cannot be used as a history" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which history?"),
        (["--history", "/nonexistent/runs"], "there is no /nonexistent/runs"),
        (["--history", "{file}"], "has no run\n"),
        (["--history", "{file}", "--build", "zzz"], "has no run of a build with zzz in its path or version"),
        (["no/such/scenario", "--history", "{file}"], "has no run of a scenario, and no deviation, called"),
    ],
)
def test_wrong_questions(rig: Rig, file: Path, words: list[str], said: str) -> None:
    History(file).begin()
    done = rig("history", *(word.format(file=file) for word in words))
    assert done.code == 4
    assert said in done.err
