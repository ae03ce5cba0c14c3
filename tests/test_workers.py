"""Worker processes and the order of work, with judges that need no QEMU."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.pool import Pool
from rig.program import MachineOptions
from rig.report.result import Result
from rig.scenario.script import Playing, Scenario, Stage
from rig.schedule import Kind, Schedule, Task
from rig.workers import Workers

# a forked worker runs nothing but the judge; pytest-xdist has a thread beside it
pytestmark = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")

SMALL, LARGE = MachineOptions(memory=128), MachineOptions(memory=256)


@pytest.fixture(autouse=True)
def no_worker_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


def nothing(stage: Stage) -> Playing:
    yield []


def schedule(*kinds: tuple[str, int, MachineOptions]) -> Schedule:
    """One task for each (name, build, machine)."""
    return Schedule(
        (Kind(build, options), Scenario(name, "", nothing, options)) for name, build, options in kinds
    )


def many(count: int) -> Schedule:
    return schedule(*((str(number), 0, SMALL) for number in range(count)))


def conforms(task: Task, pool: Pool) -> Result:
    return Result(task.scenario.name, task.kind.build, "conforms", reason=str(os.getpid()))


def test_a_machine_is_kept_while_there_is_work_for_it_and_not_shared_before_need() -> None:
    left = schedule(("a", 0, SMALL), ("b", 0, SMALL), ("c", 0, LARGE), ("d", 1, SMALL), ("e", 1, SMALL))
    order = []
    task = left.next()
    while task is not None:
        order.append(task.scenario.name)
        task = left.next(task.kind)
    assert order == ["c", "a", "b", "d", "e"]
    assert left.left == 0

    left = schedule(("a", 0, SMALL), ("b", 0, SMALL), ("c", 0, SMALL), ("d", 1, SMALL), ("e", 1, SMALL))
    first = left.next()
    assert first is not None
    second = left.next(None, {first.kind})
    assert second is not None
    assert {first.scenario.name, second.scenario.name} == {"a", "d"}
    third = left.next(None, {first.kind, second.kind})
    assert third is not None
    assert third.scenario.name == "b"


def test_every_task_is_judged_once_and_by_several_processes() -> None:
    together = multiprocessing.get_context("fork").Barrier(2)

    def meet(task: Task, pool: Pool) -> Result:
        if task.number < 2:
            together.wait(30)
        return conforms(task, pool)

    results: list[Result] = []
    with Workers(many(20), 2, meet, isolate=False) as workers:
        workers.run(results.append)
    assert Counter(result.scenario for result in results) == Counter(map(str, range(20)))
    processes = {result.reason for result in results}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes


def test_a_worker_that_is_killed_costs_one_error_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def dies(task: Task, pool: Pool) -> Result:
        tempfile.mkdtemp()
        if task.number in (1, 2):
            os.kill(os.getpid(), signal.SIGKILL)
        return conforms(task, pool)

    results: list[Result] = []
    with Workers(many(8), 2, dies, isolate=False) as workers:
        workers.run(results.append)
    assert not list(tmp_path.iterdir())
    verdicts = {result.scenario: result.verdict for result in results}
    assert len(results) == 8
    assert [name for name, verdict in sorted(verdicts.items()) if verdict == "error"] == ["1", "2"]
    assert all("killed by SIGKILL" in result.reason for result in results if result.verdict == "error")


def test_an_interruption_keeps_what_came_and_lets_workers_close_what_they_have() -> None:
    context = multiprocessing.get_context("fork")
    busy, closed = context.Event(), context.Event()

    def hangs(task: Task, pool: Pool) -> Result:
        if task.number == 0:
            assert busy.wait(30)
            return conforms(task, pool)
        try:
            busy.set()
            threading.Event().wait(60)
        finally:
            closed.set()
        return conforms(task, pool)

    results: list[Result] = []

    def interrupted(result: Result) -> None:
        results.append(result)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Workers(many(2), 2, hangs, isolate=False) as workers:
        workers.run(interrupted)
    assert [result.scenario for result in results] == ["0"]
    assert closed.is_set()
