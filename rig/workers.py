"""Worker processes: each judges one task after another and sends back what came of it.

Processes, because the model's half of the work is Python, of which one process runs only one thread at a
time.  Forked ones, because a scenario is a closure and cannot be sent.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import NoReturn

from rig import scratch
from rig.pool import Pool
from rig.report.result import Result
from rig.schedule import Schedule, Task

#: seconds that a worker may take to close its machines
GRACE = 10.0
#: linux/prctl.h
PR_SET_PDEATHSIG = 1

#: judges a task on a machine of the pool
Judge = Callable[[Task, Pool], Result]


@dataclass(slots=True)
class _Worker:
    """One process and the task it is at."""

    process: ForkProcess
    pipe: Connection
    task: Task | None = None


class Workers:
    """At most ``jobs`` processes at work on ``schedule``; a context manager that leaves none behind."""

    def __init__(self, schedule: Schedule, jobs: int, judge: Judge, *, isolate: bool) -> None:
        self._schedule = schedule
        self._jobs = jobs
        self._judge = judge
        self._isolate = isolate
        self._undo = ExitStack()
        self._workers: dict[Connection, _Worker] = {}
        #: those that have nothing left to do and close their machines
        self._leaving: list[_Worker] = []

    def __enter__(self) -> Workers:
        self._folder = self._undo.enter_context(scratch.folder())
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in (*self._workers.values(), *self._leaving):
            _end(worker)
        self._undo.close()

    def run(self, on_result: Callable[[Result], None]) -> None:
        """Hand out everything; a worker that ends by itself costs one ``error`` and is replaced."""
        for _ in range(self._jobs):
            self._start()
        while self._workers:
            for pipe in wait(list(self._workers)):
                assert isinstance(pipe, Connection)
                worker = self._workers[pipe]
                try:
                    result: Result = pipe.recv()
                except (EOFError, ConnectionResetError):
                    del self._workers[pipe]
                    _end(worker)
                    on_result(_lost(worker))
                    self._start()
                else:
                    on_result(result)
                    self._hand_out(worker)

    def _start(self) -> None:
        """One more worker, if there is anything to do."""
        if not self._schedule.left:
            return
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=self._serve, args=(theirs,))
        process.start()
        theirs.close()  # so that the end of the worker is the end of what can be read
        self._workers[ours] = worker = _Worker(process, ours)
        self._hand_out(worker)

    def _hand_out(self, worker: _Worker) -> None:
        """Give a worker its next task, or let it go."""
        others = (other.task for other in self._workers.values() if other is not worker)
        current = None if worker.task is None else worker.task.kind
        worker.task = self._schedule.next(current, {task.kind for task in others if task is not None})
        if worker.task is None:
            self._leaving.append(self._workers.pop(worker.pipe))
        # a number is enough: the worker has had all tasks since it was forked
        with suppress(BrokenPipeError):  # it has just died, and will be found so
            worker.pipe.send(None if worker.task is None else worker.task.number)

    def _serve(self, pipe: Connection) -> None:
        """The life of a worker.  Ctrl-C reaches it too, but when to end is the rig's to say, by SIGTERM."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _leave)
        scratch.move_into(self._folder)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
        with Pool(self._isolate) as pool:
            while (number := pipe.recv()) is not None:
                pipe.send(self._judge(self._schedule.tasks[number], pool))


def _lost(worker: _Worker) -> Result:
    """What is said of the task during which a worker ended."""
    assert worker.task is not None
    code = worker.process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return Result(
        worker.task.scenario.name,
        worker.task.kind.build,
        "error",
        reason=f"the rig's own process that judged it ended: {how}",
    )


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End the worker by way of every ``with``, once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()


def _end(worker: _Worker) -> None:
    """Wait for a worker that was told to end, and make sure."""
    worker.process.join(GRACE)
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()
