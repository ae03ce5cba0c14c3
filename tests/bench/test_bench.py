"""Benchmarks: what they read is what they say, and a build that fails does not pass for a fast one."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from rig.bench import campaign, endurance
from rig.bench.loop import ARENA, Loop
from rig.bench.measurement import Measurement, Ratio, interleave, interval
from rig.cli import cli
from rig.deadline import Deadline
from rig.machine.build import Build, probe
from rig.machine.errors import MachineError
from rig.program import H_LOGICAL_MEMOP


@pytest.fixture(scope="module")
def build(qemu: Path) -> Build:
    return probe(qemu)


def test_readings_are_taken_in_turn() -> None:
    order: list[str] = []

    def reading(name: str) -> float:
        order.append(name)
        return len(order)

    values = interleave({"a": lambda: reading("a"), "b": lambda: reading("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert values == {"a": [1, 3], "b": [2, 4]}


def test_a_measurement_has_median_and_spread() -> None:
    one = Measurement("x", 1, "ns", (3.0, 1.0, 2.0))
    assert one.as_json() == {"name": "x", "build": 1, "unit": "ns", "median": 2.0, "low": 1.0, "high": 3.0}


def test_a_loop_does_what_it_is_timed_for(build: Build) -> None:
    with Loop(build) as loop:
        memory = loop.machine.memory
        memory.write(ARENA, b"12345678")
        assert loop.seconds(100, H_LOGICAL_MEMOP, ARENA + 8, ARENA, 3, 1, 0, step=(8, 8)) > 0
        assert memory.read(ARENA + 800, 8) == b"12345678"
        with pytest.raises(RuntimeError, match="did not succeed"):
            loop.seconds(10, H_LOGICAL_MEMOP, ARENA, ARENA + 1, 3, 1, 0)


def test_the_campaign_figures_come_in_pairs(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "BATCHES", 2)
    monkeypatch.setattr(campaign, "PROGRAM", 64)
    found = list(campaign.measure([build], 1))
    names = [one.name for one in found if isinstance(one, Measurement)]
    for mix in ("default", "smallest"):
        assert {f"raw calls, {mix} mix", f"verified calls, {mix} mix"} <= set(names)
    assert "verified calls, RTAS programs on 2 machines" in names
    ratios = {one.name: one.value for one in found if isinstance(one, Ratio)}
    assert set(ratios) == {
        "verified / raw, default mix",
        "verified / raw, smallest mix",
        "verified calls / tests that boot",
    }
    assert all(value > 0 for value in ratios.values())


def test_a_stream_is_compared_with_itself_when_it_was_new(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endurance, "ROWS", 2)
    monkeypatch.setattr(endurance, "PAIRS", 2)
    monkeypatch.setattr(endurance, "SLICE", 2)
    found = list(endurance.measure([build], 0.02))
    values = {one.name: one for one in found if isinstance(one, Measurement)}
    ratios = {one.name: one for one in found if isinstance(one, Ratio)}
    age = "verified calls, after 0.02 minutes"
    assert len(values[age].values) == len(values["verified calls, when new"].values) == 4
    kept = values[f"{age} / when new"].values
    assert len(kept) == 2
    ratio = ratios[f"{age} / when new"]
    assert ratio.value == pytest.approx(sum(kept) / 2)
    assert ratio.within == pytest.approx(
        (ratio.value - abs(kept[0] - kept[1]), ratio.value + abs(kept[0] - kept[1]))
    )
    for name in ("memory of the rig", "memory of QEMU"):
        first, last = values[f"{name}, first minute"], values[f"{name}, last minute"]
        assert ratios[f"{name}, last / first minute"].value == last.median / first.median
    assert all(one.median > 0 for one in values.values())


@pytest.mark.parametrize(("slower", "kept"), [(1, 1), (2, 0.5)])
def test_what_the_host_does_to_both_streams_is_left_out(slower: float, kept: float) -> None:
    """The host halves its speed; the first stream loses no more, or the half of that again."""
    new = [[(300.0, 330.0), (280.0, 308.0)]] * 2
    old = [[(one / 2 / slower, two / 2) for one, two in row] for row in new]
    *_, ratio = endurance._rates(0, "after", new, old)
    assert isinstance(ratio, Ratio)
    assert ratio.value == pytest.approx(kept)


def _machines(stream: endurance.Aside) -> list[psutil.Process]:
    """The stream's own QEMU, and the one on which deviations are looked at again."""
    children = psutil.Process(stream.process.pid).children(recursive=True)
    return [one for one in children if one.name().startswith("qemu")]


def test_a_stream_stands_still_unless_it_is_asked(build: Build) -> None:
    with endurance.Aside(build) as stream:
        assert stream.read().rate > 0
        deadline = Deadline(10)  # the answer comes just before
        while not any(one.status() == psutil.STATUS_STOPPED for one in _machines(stream)):
            assert not deadline.expired
            time.sleep(0.001)
        assert stream.read().rate > 0


@pytest.mark.parametrize("victim", ["rig", "qemu"])
def test_a_stream_that_ends_has_no_rate_and_leaves_no_files(
    build: Build, victim: str, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short_tmp))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with endurance.Aside(build) as stream:
        stream.read()
        for process in _machines(stream) if victim == "qemu" else [psutil.Process(stream.process.pid)]:
            process.kill()
        with pytest.raises(MachineError):
            stream.read()
    assert not list(short_tmp.iterdir())


def test_an_interval_is_two_standard_errors_wide() -> None:
    assert interval([1.0, 3.0] * 8) == pytest.approx(
        (2 - 2 * (16 / 15) ** 0.5 / 4, 2 + 2 * (16 / 15) ** 0.5 / 4)
    )


def test_an_interval_is_told_with_its_ratio() -> None:
    one = Ratio("x", 0, 0.99, "no less than 1", (0.98, 1.004))
    assert one.note == "no less than 1; within 0.980..1.004, by 95 %"
    assert one.as_json()["within"] == (0.98, 1.004)


def test_the_command_measures_hypercalls_of_every_build(qemu: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    words = [
        "bench",
        "hypercalls",
        "--qemu",
        str(qemu),
        "--qemu",
        str(qemu),
        "--rounds",
        "1",
        "--json",
        str(file),
        "--report",
        str(tmp_path / "report"),
    ]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert result.exception is None, result.output
    data = json.loads(file.read_text())
    assert data["schema"] == 1
    assert len(data["builds"]) == 2
    names = {(one["build"], one["name"]) for one in data["measurements"]}
    for build in (0, 1):
        assert {(build, "empty memop"), (build, "memop, an element of 8, copy")} <= names
        assert (build, "frame buffer scrolled, one memop") in names
    page = (tmp_path / "report/index.html").read_text()
    assert page.count("<h2>") == 3  # nanoseconds, milliseconds, ratios
    assert page.count('class="bar') == len(data["measurements"]) + len(data["ratios"])
    assert all(name in page for _, name in names)
    assert len(data["ratios"]) == 4
    assert all(one["ratio"] > 0 for one in data["ratios"])


def test_a_report_folder_that_cannot_be_is_refused_before_anything_is_measured(
    qemu: Path, tmp_path: Path
) -> None:
    (tmp_path / "report").write_text("in the way")
    words = ["bench", "debugger", "--qemu", str(qemu), "--report", str(tmp_path / "report" / "below")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 4
    assert "cannot be written: Not a directory" in result.output
