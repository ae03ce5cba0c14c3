"""Campaigns on a real scheduler with two workers, one of which is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.campaign import cluster
from rig.campaign.campaign import Spec
from rig.machine.build import Build

pytest.importorskip("distributed")
# dask's own threads and sockets may outlive a closed client for a moment
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

CALLS = 40


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self._folder = folder
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.workers = [self.worker() for _ in range(2)]

    def worker(self) -> subprocess.Popen[bytes]:
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(self._folder))
        return self._start("worker", "--host", "127.0.0.1", *options)

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(self.file)]
        return subprocess.Popen(
            [*words, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"TMPDIR": str(self._folder)},  # where killed ones leave their logs
        )

    @property
    def address(self) -> str:
        import json

        for _ in range(600):
            if self.file.exists() and self.file.read_text():
                return str(json.loads(self.file.read_text())["address"])
            time.sleep(0.1)
        raise AssertionError("the scheduler did not come up")

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def started(short_tmp: Path) -> Iterator[Callable[[], Cluster]]:
    clusters: list[Cluster] = []

    def start() -> Cluster:
        clusters.append(Cluster(short_tmp))
        return clusters[-1]

    yield start
    for one in clusters:
        one.close()


def test_a_worker_killed_in_the_middle_loses_no_shard_and_counts_none_twice(
    started: Callable[[], Cluster], build: Build
) -> None:
    running = started()
    spec = Spec(build, "rtas", 1)
    seen: list[tuple[int, int]] = []
    for report in cluster.run(spec, [(number, CALLS) for number in range(6)], running.address, shard=1):
        if not seen:
            running.workers[0].kill()
            running.workers[0].wait()
        assert not report.errors
        seen.append((report.batch, report.calls))
    assert sorted(number for number, _ in seen) == list(range(6))


def test_what_runs_elsewhere_comes_to_the_same(started: Callable[[], Cluster], build: Build) -> None:
    running = started()
    spec = Spec(build, "memop", 3)
    batches = [(number, 500) for number in range(3)]
    there = {one.batch: one.calls for one in cluster.run(spec, batches, running.address)}
    assert there == {one.batch: one.calls for one in cluster.execute(spec, tuple(batches))}


def test_no_scheduler_is_said_so(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    with pytest.raises(cluster.NoCluster, match="no dask scheduler at tcp://127"):
        list(cluster.run(Spec(build, "memop", 0), [(0, 1)], "tcp://127.0.0.1:9"))
