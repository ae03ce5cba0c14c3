"""Run a campaign: which batches, on how many machines, until when.

What an engine needs is in a :class:`Spec`, which can be sent to another process or host; what comes back are
reports.  A batch counts when its report has arrived, and is done again when its worker died before.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from rig import scratch
from rig.campaign import stateful, stream
from rig.campaign.engine import Engine, Report
from rig.campaign.mix import MIXES
from rig.frozen import frozen
from rig.machine.build import Build
from rig.machine.errors import MachineError

#: batches of a stream handed to a worker at once
BLOCK = 16
#: seconds for a worker to end
GRACE = 30.0

Batches = Iterable[tuple[int, int]]


@frozen
class Spec:
    """All that fixes a campaign but its length: ``engine`` is ``memop`` or ``rtas``."""

    build: Build
    engine: str
    seed: int
    mix: str = "default"
    revision: str = "merged"

    @property
    def ahead(self) -> int:
        """Batches that a worker is given at once: a program takes seconds, and time may be up."""
        return 1 if self.engine == "rtas" else BLOCK

    @property
    def batch_size(self) -> int:
        """Calls in a whole batch of the engine."""
        return stateful.SIZE if self.engine == "rtas" else stream.SIZE

    def start(self) -> Engine:
        """The engine; its machines start with the first batch."""
        if self.engine == "rtas":
            return stateful.Stateful(self.build, self.seed, revision=self.revision)
        return stream.Stream(self.build, self.seed, MIXES[self.mix], revision=self.revision)


@dataclass(slots=True)
class Plan:
    """Numbers batches of ``size`` calls until ``calls`` are given out or ``seconds`` have passed.

    ``done`` has the calls that were given out for batches which need not be run again, by number; ``given``
    those of the others, as they go out.  The first has the number ``first``.
    """

    size: int
    calls: int | None
    seconds: float | None
    done: Mapping[int, int] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)
    first: int = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        end = None if self.seconds is None else time.monotonic() + self.seconds
        number, total = self.first, 0
        while (self.calls is None or total < self.calls) and (end is None or time.monotonic() < end):
            calls = self.done.get(number, 0)
            if not calls:
                calls = self.size if self.calls is None else min(self.size, self.calls - total)
                self.given[number] = calls
                yield number, calls
            total += calls
            number += 1


def run(spec: Spec, batches: Batches, jobs: int = 1) -> Iterator[Report]:
    """Reports as they come; with several ``jobs`` in any order.  Raises :class:`MachineError`."""
    if jobs > 1:
        yield from _Workers(spec, jobs).run(batches)
        return
    with closing(spec.start()) as engine:
        yield from engine.run(batches)


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    #: what it was given and has not reported
    owed: dict[int, int] = field(default_factory=dict)
    #: whether it knows that nothing follows, so that it need not wait before it ends what it is at
    told: bool = False


class _Workers:
    """Processes with an engine each."""

    def __init__(self, spec: Spec, jobs: int) -> None:
        self._spec, self._jobs = spec, jobs
        self._workers: list[_Worker] = []
        #: batches that a worker died of, or with
        self._again: deque[tuple[int, int]] = deque()
        self._died: set[int] = set()

    def run(self, batches: Batches) -> Iterator[Report]:
        with scratch.folder() as self._folder:
            yield from self._run(iter(batches))

    def _run(self, source: Iterator[tuple[int, int]]) -> Iterator[Report]:
        try:
            for _ in range(self._jobs):
                self._hire()
            while True:
                for worker in self._workers:
                    self._feed(worker, source)
                busy = [worker for worker in self._workers if worker.owed]
                if not busy:
                    return
                ready = wait([worker.pipe for worker in busy])
                for worker in [one for one in busy if one.pipe in ready]:
                    yield from self._take(worker)
        finally:
            for worker in self._workers:
                worker.pipe.close()
            for worker in self._workers:
                worker.process.join(GRACE)
                worker.process.kill()
                worker.process.join()

    def _hire(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(self._spec, theirs, self._folder), daemon=False)
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _feed(self, worker: _Worker, source: Iterator[tuple[int, int]]) -> None:
        """Keep a worker's pipe so full that it never waits for work."""
        ahead = self._spec.ahead
        if len(worker.owed) > ahead:
            return
        block: list[tuple[int, int]] = []
        while len(block) < ahead and (batch := self._again.popleft() if self._again else next(source, None)):
            block.append(batch)
        with suppress(BrokenPipeError):  # it has died, which is found out when its report is awaited
            if block:
                worker.owed.update(block)
                worker.told = False
                worker.pipe.send(block)
            if len(block) < ahead and worker.owed and not worker.told:
                worker.told = True
                worker.pipe.send([])

    def _take(self, worker: _Worker) -> Iterator[Report]:
        try:
            answer = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            yield from self._bury(worker)
            return
        if isinstance(answer, MachineError):
            raise answer
        assert isinstance(answer, Report)
        worker.owed.pop(answer.batch, None)
        yield answer

    def _bury(self, worker: _Worker) -> Iterator[Report]:
        """A worker died: another takes over what it owed, but not what has killed two."""
        worker.process.join()
        self._workers.remove(worker)
        first = min(worker.owed)
        if first in self._died:
            calls = worker.owed.pop(first)
            words = f"two workers died of batch {first} ({calls} calls), exit code {worker.process.exitcode}"
            yield Report(first, 0, 0.0, 0.0, errors=(words,))
        self._died.add(first)
        self._again.extend(sorted(worker.owed.items()))
        self._hire()


class _Alone(Exception):
    """The parent has closed the pipe, or is gone."""


@contextmanager
def _talk() -> Iterator[None]:
    """Around words with the parent alone: an :class:`OSError` of the engine is none of these."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise _Alone from error


def _work(spec: Spec, pipe: Connection, folder: Path) -> None:
    """A worker's life: run what comes through the pipe until it is closed.  An empty block ends a row."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent closes the pipe
    scratch.move_into(folder)

    def receive() -> list[tuple[int, int]]:
        with _talk():
            block: list[tuple[int, int]] = pipe.recv()
        return block

    def send(answer: Report | MachineError) -> None:
        with _talk():
            pipe.send(answer)

    def row(block: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        while block:
            yield from block
            block = receive()

    with closing(spec.start()) as engine, suppress(_Alone):
        while True:
            block = receive()
            try:
                for report in engine.run(row(block)):
                    send(report)
            except MachineError as error:
                send(MachineError(str(error)))
                return
