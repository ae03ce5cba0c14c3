"""The stream engine on a real QEMU: clean on released builds, and what goes wrong is reported once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rig.campaign import examiner
from rig.campaign.engine import Report
from rig.campaign.health import Health
from rig.campaign.mix import DEFAULT, Mix
from rig.campaign.stream import LOOK, Stream
from rig.campaign.stream import SIZE as WHOLE
from rig.campaign.subject import Subject
from rig.check import deviations
from rig.deadline import Deadline
from rig.machine.build import Build, probe
from rig.model import memop
from rig.program import Call

Make = Callable[..., Stream]
SIZE = 512


@pytest.fixture
def stream(build: Build) -> Iterator[Make]:
    """Makes streams of a seed, which end with the test."""
    streams: list[Stream] = []

    def make(seed: int, **rest: Any) -> Stream:
        streams.append(Stream(build, seed, **rest))
        return streams[-1]

    yield make
    for one in streams:
        one.close()


def numbered(count: int, size: int = SIZE) -> Iterable[tuple[int, int]]:
    return ((number, size) for number in range(count))


def known(reports: Iterable[Report]) -> Counter[str]:
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report.deviations)
    return total


def test_a_released_build_shows_known_deviations_and_nothing_else(stream: Make) -> None:
    reports = list(stream(1, size=4096).run(numbered(2 * LOOK, 4096)))
    assert [report.batch for report in reports] == list(range(2 * LOOK))
    assert not any(report.errors or report.mismatches or report.findings for report in reports)
    assert sum(report.calls for report in reports) == 2 * LOOK * 4096
    assert {"memop-xor-inverts", "memop-outside-memory", "logical-ci-on-ram"} <= set(known(reports))


def test_a_slice_repeats_what_the_whole_found(stream: Make) -> None:
    whole = {report.batch: report.deviations for report in stream(2, size=SIZE).run(numbered(6))}
    parts = stream(2, size=SIZE).run([(5, SIZE), (1, SIZE), (3, SIZE), (2, SIZE)])
    assert all(report.deviations == whole[report.batch] for report in parts)
    (cut,) = stream(2, size=SIZE).run([(4, 100)])
    assert cut.calls == 100
    assert sum(cut.deviations.values()) < sum(whole[4].values())


def test_without_the_list_of_deviations_each_is_a_finding(stream: Make) -> None:
    reports = list(stream(1, size=SIZE, deviations=()).run(numbered(2)))
    findings = [finding for report in reports for finding in report.findings]
    signatures = {finding.signature for finding in findings}
    assert {"H_LOGICAL_MEMOP/memop.xor-inverts", "H_LOGICAL_MEMOP/memop.outside-memory"} <= signatures
    assert len(signatures) == len(findings)  # once each, whatever the number of calls
    for finding in findings:
        assert finding.calls == 1
        calls = [step for step in finding.steps if isinstance(step, Call)]
        assert len(calls) == 1
    mismatches = Counter[str]()
    for report in reports:
        mismatches.update(report.mismatches)
    assert mismatches["H_LOGICAL_MEMOP/memop.xor-inverts"] > 100


def test_the_other_revision_is_told_apart(stream: Make) -> None:
    """The revision as posted inverts for every operation but 0, which no released build does."""
    (report,) = stream(1, size=SIZE, revision="posted-v2").run([(0, SIZE)])
    assert [finding.signature for finding in report.findings] == ["H_LOGICAL_MEMOP/r3"]


def test_a_qemu_that_was_killed_is_an_error_and_the_next_batch_runs_on_another(stream: Make) -> None:
    engine = stream(1, size=SIZE)
    reports = []
    for report in engine.run(numbered(6)):
        reports.append(report)
        if report.batch == 1:
            psutil.Process(engine.subject.machine.pid).kill()
    errors = [words for report in reports for words in report.errors]
    assert len(errors) == 1
    assert "SIGKILL" in errors[0]
    assert [report.batch for report in reports] == list(range(6))
    assert not any(report.mismatches for report in reports)


def test_a_call_that_does_not_return_in_time_is_explained_or_found(
    stream: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examiner, "SHRINKING", 0.0)  # each try would take as long
    mix = Mix("long", DEFAULT.counts, slow=(0x8000_0000,))
    engine = stream(1, size=64, mix=mix, patience=0.5)
    (report,) = engine.run([(0, 64)])
    assert report.deviations.get("memop-long-count-blocks-monitor") == 1
    assert not report.errors
    assert not report.mismatches
    strict = stream(1, size=64, mix=mix, patience=0.5, deviations=())
    (report,) = strict.run([(0, 64)])
    assert "H_LOGICAL_MEMOP/liveness" in [finding.signature for finding in report.findings]


def test_what_else_there_is_in_a_batch_is_verified_without_the_calls_that_do_not_return(
    stream: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that executes one element more than the contract permits, which takes it minutes."""
    monkeypatch.setattr(examiner, "SHRINKING", 0.0)
    monkeypatch.setattr(memop, "MAX_COUNT", 0x7FFF_FFFF)
    mix = Mix("over", DEFAULT.counts, slow=(0x8000_0000,))
    first, second = stream(1, size=4096, mix=mix, patience=0.5).run(numbered(2, 4096))
    assert [finding.signature for finding in first.findings] == ["H_LOGICAL_MEMOP/liveness"]
    assert not second.findings
    hung = first.mismatches["H_LOGICAL_MEMOP/liveness"] + second.mismatches.get("H_LOGICAL_MEMOP/liveness", 0)
    assert 1 <= hung <= 4  # one for each situation that the model tells apart
    assert 3500 < first.calls < 4096
    assert 3500 < second.calls < 4096
    assert first.deviations["memop-xor-inverts"] > 500
    assert not first.errors + second.errors


def test_a_write_outside_all_cells_is_found_and_blamed_on_a_call(
    monkeypatch: pytest.MonkeyPatch, stream: Make
) -> None:
    """A build that leaves a mark far away whenever a batch has calls of 33 elements."""
    wait = Subject.wait
    monkeypatch.setattr(Subject, "wait", marking(wait))
    reports = list(stream(1, size=64).run(numbered(LOOK + 2, 64)))
    (finding,) = [finding for report in reports for finding in report.findings]
    assert finding.signature == "stream/stray write"
    (call,) = [step for step in finding.steps if isinstance(step, Call)]
    assert call.args[3] == 33
    assert not any(report.errors for report in reports)


def marking(wait: Callable[[Subject, Deadline], Any]) -> Callable[[Subject, Deadline], Any]:
    def marked(self: Subject, deadline: Deadline) -> Any:
        ending = wait(self, deadline)
        for parity in (0, 1):
            if (self._rows(self._vectors_at(parity))[:, 4] == 33).any():
                self.machine.memory.write(0xA00_0000, b"stray")
        return ending

    return marked


def test_a_sanitizers_report_is_a_finding(build: Build, tmp_path: Path) -> None:
    wrapper = tmp_path / "qemu"
    wrapper.write_text(f'#!/bin/sh\necho "x.c:1:2: runtime error: shift" >&2\nexec {build.path} "$@"\n')
    wrapper.chmod(0o755)
    engine = Stream(probe(wrapper), 1, size=4)
    try:
        (report,) = engine.run([(0, 4)])
    finally:
        engine.close()
    (finding,) = report.findings
    assert finding.signature == "x.c/sanitizer"
    assert "runtime error: shift" in finding.summary
    assert finding.calls == 1


def test_a_qemu_that_grows_is_a_finding(stream: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter(range(0, 10**12, 10**9))
    monkeypatch.setattr(Health, "grown", lambda self: next(sizes))
    reports = list(stream(1, size=SIZE).run(numbered(2 * LOOK)))
    (finding,) = [finding for report in reports for finding in report.findings]
    assert finding.signature == "stream/growth"
    assert sum(report.mismatches.get("stream/growth", 0) for report in reports) >= 1


def test_the_wrong_expectation_of_one_call_in_thousands_is_enough(stream: Make) -> None:
    """A deviation whose range ended: the calls that show it are findings again."""
    left = tuple(one for one in deviations.load() if one.id != "memop-zero-count-any-element-size")
    reports = list(stream(7, deviations=left).run(numbered(6, WHOLE)))
    (finding,) = [finding for report in reports for finding in report.findings]
    assert finding.signature == "H_LOGICAL_MEMOP/r3"
    assert "H_LOGICAL_MEMOP" in finding.summary
