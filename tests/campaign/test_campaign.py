"""Campaigns as a whole: plans, workers, the journal, the command line."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import psutil
import pytest
from click.testing import CliRunner, Result

from rig.campaign.campaign import BLOCK, Plan, Spec, _work, run
from rig.campaign.engine import Finding, Report
from rig.campaign.tally import JOURNAL, BadJournal, Folder, Found, Tally
from rig.cli import cli
from rig.commands.common import InvalidInput
from rig.machine.build import Build
from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions
from rig.scenario.file import load_file

HEADER = {"schema": 3, "sha256": "x", "seed": 1, "mix": "default", "first": 0}
#: small batches, many of them
CALLS = 256


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["campaign", *words], standalone_mode=False)


def sums(reports: Iterable[Report]) -> tuple[int, Counter[str]]:
    tally = Tally()
    for report in reports:
        assert not report.errors
        assert not report.mismatches
        tally.add(report)
    return tally.calls, tally.deviations


def test_a_plan_gives_out_calls_and_leaves_out_what_is_done() -> None:
    assert list(Plan(100, 250, None)) == [(0, 100), (1, 100), (2, 50)]
    plan = Plan(100, 250, None, {1: 100})
    assert list(plan) == [(0, 100), (2, 50)]
    assert plan.given == {0: 100, 2: 50}
    assert list(Plan(100, None, 1e-9)) == []
    assert list(Plan(100, 320, None, {0: 100, 1: 20})) == [(2, 100), (3, 100)]  # one was the last, and cut
    assert list(Plan(100, 250, None, {8: 100}, first=7)) == [(7, 100), (9, 50)]
    endless = iter(Plan(10, None, 3600.0))
    assert [next(endless) for _ in range(3)] == [(0, 10), (1, 10), (2, 10)]


def test_two_workers_find_what_one_finds(build: Build) -> None:
    spec = Spec(build, "memop", 5)
    batches = [(number, CALLS) for number in range(2 * BLOCK + 3)]
    reports = list(run(spec, batches, jobs=2))
    assert sorted(report.batch for report in reports) == [number for number, _ in batches]
    assert sums(reports) == sums(run(spec, batches))


@pytest.mark.parametrize("count", [1, 2])
def test_more_workers_than_batches_end(build: Build, count: int) -> None:
    batches = [(number, CALLS) for number in range(count)]
    reports = list(run(Spec(build, "memop", 5), batches, jobs=3))
    assert sorted(report.batch for report in reports) == list(range(count))


def test_a_killed_worker_loses_nothing_and_counts_nothing_twice(
    build: Build, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    spec = Spec(build, "memop", 5)
    batches = [(number, CALLS) for number in range(4 * BLOCK)]
    reports: list[Report] = []
    for report in run(spec, batches, jobs=2):
        reports.append(report)
        if len(reports) == 3:
            workers = [child for child in psutil.Process().children() if "spawn_main" in str(child.cmdline())]
            assert list(short_tmp.glob("rig-*/rig-*"))  # what it writes, and cannot remove any more
            workers[0].kill()
    assert not list(short_tmp.iterdir())
    assert sorted(report.batch for report in reports) == [number for number, _ in batches]
    assert sums(reports) == sums(run(spec, batches))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), EOFError()])
def test_what_fails_in_a_worker_is_not_taken_for_the_parents_end(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the worker's is this process
    monkeypatch.setattr(tempfile, "tempdir", None)
    ours, theirs = Pipe()

    class Failing:
        def run(self, batches: Iterable[tuple[int, int]]) -> Iterator[Report]:
            yield from (report(number) for number, _ in batches)
            raise error

        def close(self) -> None:
            ours.close()

    spec: Any = SimpleNamespace(start=Failing)
    with theirs:
        ours.send([(3, 10)])
        ours.send([])
        with pytest.raises(type(error)):
            _work(spec, theirs, tmp_path)


def test_a_worker_ends_quietly_when_its_parent_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(tempfile, "tempdir", None)
    ours, theirs = Pipe()
    closed: list[bool] = []

    class Idle:
        def run(self, batches: Iterable[tuple[int, int]]) -> Iterator[Report]:
            yield from (report(number) for number, _ in batches)

        def close(self) -> None:
            closed.append(True)

    spec: Any = SimpleNamespace(start=Idle)
    with theirs:
        ours.send([(3, 10)])
        ours.close()
        _work(spec, theirs, tmp_path)
    assert closed == [True]


def report(batch: int, calls: int = 10, **rest: Any) -> Report:
    return Report(batch, calls, 0.5, 0.25, **rest)


def test_a_journal_is_continued_where_it_ended(tmp_path: Path) -> None:
    folder = Folder(tmp_path, HEADER, resume=False)
    folder.add("memop", report(0, deviations={"a": 2}), 10, 0.5)
    folder.add("memop", report(3, mismatches={"X/y": 1}, errors=("oh",)), 12, 0.5)
    steps = (Call(H_LOGICAL_MEMOP, (1, 2, 3)),)
    found = folder.keep("memop", Finding("X/y", "words", steps, MachineOptions(memory=256), 1, 3))
    assert found == Found("words", str(tmp_path / "x-y.yaml"), 1, "memop", 3)
    folder.close()
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write('{"engine": "memop", "batch": 4, "cal')  # killed while it wrote
    again = Folder(tmp_path, HEADER, resume=True)
    assert again.done == {"memop": {0: 10, 3: 12}}
    again.add("rtas", report(0), 10, 0.5)
    again.close()
    third = Folder(tmp_path, HEADER, resume=True)
    assert third.done == {"memop": {0: 10, 3: 12}, "rtas": {0: 10}}
    assert third.tally.calls == 30
    assert third.tally.deviations == {"a": 2}
    assert third.tally.findings == {"X/y": found}
    assert third.tally.errors == ["oh"]
    assert third.tally.exit_code() == 3
    third.close()
    (scenario,) = load_file(Path(found.program))
    assert scenario.steps is not None
    assert list(scenario.steps()) == list(steps)


def test_another_campaigns_journal_is_not_continued(tmp_path: Path) -> None:
    Folder(tmp_path, HEADER, resume=False).close()
    with pytest.raises(BadJournal, match="--resume"):
        Folder(tmp_path, HEADER, resume=False)
    with pytest.raises(BadJournal, match="no campaign to resume"):
        Folder(tmp_path / "other", HEADER, resume=True)
    assert not (tmp_path / "other").exists()
    with pytest.raises(BadJournal, match="another campaign"):
        Folder(tmp_path, {**HEADER, "seed": 2}, resume=True)
    for text in ("nonsense\n", "", '{"batch": 1}\n'):
        (tmp_path / JOURNAL).write_text(text)
        with pytest.raises(BadJournal, match="no journal of a campaign"):
            Folder(tmp_path, HEADER, resume=True)


def test_a_slice_is_what_the_whole_campaign_has_there(build: Build, tmp_path: Path) -> None:
    batch = Spec(build, "memop", 4).batch_size
    words = ["memop", "--qemu", str(build.path), "--seed", "4"]
    slices = {"whole": ["--calls", str(3 * batch)], "slice": ["--first", "1", "--calls", str(batch)]}
    for folder, length in slices.items():
        assert invoke(*words, *length, "--save", str(tmp_path / folder)).return_value == 0
    whole = [json.loads(line) for line in lines(tmp_path / "whole")[1:]]
    (part,) = (json.loads(line) for line in lines(tmp_path / "slice")[1:])
    assert part["batch"] == 1
    assert part["deviations"] == whole[1]["deviations"] != {}
    with pytest.raises(BadJournal, match="--first"):
        Folder(tmp_path / "slice", HEADER, resume=True)


def test_exit_codes() -> None:
    assert Tally().exit_code() == 5
    assert Tally(calls=1).exit_code() == 0
    assert Tally(calls=1, mismatches=Counter(x=1)).exit_code() == 1
    assert Tally(calls=1, mismatches=Counter(x=1), errors=["e"]).exit_code() == 3
    assert Tally(calls=1, errors=["e"]).exit_code(interrupted=True) == 2


def test_the_json_has_what_the_schema_says(qemu: Path, tmp_path: Path) -> None:
    file = tmp_path / "campaign.json"
    result = invoke("memop", "--qemu", str(qemu), "--calls", "3000", "--seed", "9", "--json", str(file))
    assert result.return_value == 0, result.output
    data = json.loads(file.read_text())
    assert data["schema"] == 1
    assert data["calls"] == 3000
    assert data["seed"] == 9
    assert data["first"] == 0
    assert data["findings"] == []
    assert data["errors"] == 0
    assert data["verified_per_second"] > 0
    assert data["raw_per_second"] > 0
    assert {"seconds", "guest_seconds", "deviations"} <= set(data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mix", "odd"], "no mix odd"),
        (["--resume"], "--save"),
        (["--seconds", "nan"], "no length of time"),
        (["--qemu", "/nonexistent"], "nonexistent"),
        (["--json", "/nonexistent/x.json"], "no folder"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(qemu: Path, words: list[str], message: str) -> None:
    given = words if "--qemu" in words else [*words, "--qemu", str(qemu)]
    result = invoke("memop", *given)
    assert isinstance(result.exception, InvalidInput | click.UsageError)
    assert message in str(result.exception)


def test_ctrl_c_loses_nothing_and_the_rest_follows_on_resume(qemu: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = ["memop", "--qemu", str(qemu), "--calls", "400000"]
    assert invoke(*words, "--save", str(whole)).return_value == 0
    command = [sys.executable, "-m", "rig", "campaign", *words, "--save", str(parts)]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "CI": "1"},
        start_new_session=True,
    ) as rig:
        while rig.poll() is None and len(lines(parts)) < 3:
            time.sleep(0.01)
        os.killpg(rig.pid, signal.SIGINT)
        assert rig.wait(60) == 2
    done = len(lines(parts))
    assert done >= 3
    assert invoke(*words, "--save", str(parts), "--resume").return_value == 0

    def counted(folder: Path) -> list[tuple[int, int, dict[str, int]]]:
        entries = [json.loads(line) for line in lines(folder)[1:]]
        return sorted((one["batch"], one["calls"], one["deviations"]) for one in entries)

    assert counted(parts) == counted(whole)


def lines(folder: Path) -> list[str]:
    journal = folder / JOURNAL
    return journal.read_text().splitlines() if journal.exists() else []
