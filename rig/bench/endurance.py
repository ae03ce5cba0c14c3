"""Whether a stream is as fast after minutes as when it was new, and whether its memory stays flat.

A host is faster at some times than at others, and one QEMU than the next.  So the stream is read in turn with
a second one, batch by batch, when both are new, and again when it alone has run for minutes: what the second
one, which stood still meanwhile, has gained or lost is the host's doing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from statistics import fmean, median

import psutil

from rig import scratch
from rig.bench.campaign import SEED
from rig.bench.measurement import Measurement, Ratio, interval
from rig.campaign.mix import DEFAULT
from rig.campaign.stream import LOOK, Stream
from rig.frozen import frozen
from rig.machine.build import Build
from rig.machine.errors import MachineError

MINUTE = 60.0
MIB = 1 << 20
#: batches from one look at the memory to the next: seconds
SLICE = 4 * LOOK
#: batches that are no reading: every kind of call is looked at once
FIRST = 2 * LOOK
#: rows of readings when the streams are new and as many afterwards, and readings of each stream in a row
ROWS = 40
PAIRS = 60
#: seconds for a process to end
GRACE = 30.0


@frozen
class Reading:
    """Verified calls a second, and MiB that the rig's process and QEMU itself hold."""

    rate: float
    rig: float
    qemu: float


class Aside:
    """A stream on ``build`` in a process of its own; a context manager.

    Nothing of it runs but while it is read.
    """

    def __init__(self, build: Build) -> None:
        self._undo = ExitStack()
        folder = self._undo.enter_context(scratch.folder())
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(build, folder, theirs))
        self.process.start()
        theirs.close()

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        with self._undo:
            self._pipe.close()
            self.process.join(GRACE)
            self.process.kill()
            self.process.join()

    def read(self, batches: int = 1) -> Reading:
        """Judge the next batches.

        Raises :class:`MachineError` when the stream is not clean, there is no machine, or the process ended.
        """
        try:
            self._pipe.send(batches)
            answer: Reading | MachineError = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self.process.join(GRACE)
            code = self.process.exitcode
            raise MachineError(f"the process of a stream ended by itself, exit code {code}") from error
        if isinstance(answer, MachineError):
            raise answer
        return answer


def measure(builds: Sequence[Build], minutes: float) -> Iterator[Measurement | Ratio]:
    """A stream of ``minutes`` on each build: its memory in the first and the last, its rate before and after.

    Raises :class:`MachineError`, as :meth:`Aside.read` does.
    """
    for index, build in enumerate(builds):
        with Aside(build) as stream, Aside(build) as other:
            for one in (stream, other):
                one.read(FIRST)
            new = _rows(stream, other)
            yield from _memory(index, stream, minutes)
            old = _rows(stream, other)
        yield from _rates(index, f"after {minutes:g} minutes", new, old)


def _memory(index: int, stream: Aside, minutes: float) -> Iterator[Measurement | Ratio]:
    """The first minute and the last; thirds, when there are less than three."""
    seconds = minutes * MINUTE
    stretch = min(MINUTE, seconds / 3)
    began = time.monotonic()
    ends = (began + stretch, began + seconds - stretch, began + seconds)
    first, _, last = ([stream.read(SLICE), *_until(end, stream)] for end in ends)
    for name, part in (("memory of the rig", attrgetter("rig")), ("memory of QEMU", attrgetter("qemu"))):
        before = Measurement(f"{name}, first minute", index, "MiB", tuple(map(part, first)))
        after = Measurement(f"{name}, last minute", index, "MiB", tuple(map(part, last)))
        yield before
        yield after
        yield Ratio(f"{name}, last / first minute", index, after.median / before.median, "about 1")


def _until(end: float, stream: Aside) -> Iterator[Reading]:
    while time.monotonic() < end:
        yield stream.read(SLICE)


Rows = list[list[tuple[float, float]]]


def _rows(stream: Aside, other: Aside) -> Rows:
    """Rates of both, in pairs."""
    return [[_pair(stream, other, turn) for turn in range(PAIRS)] for _ in range(ROWS)]


def _pair(stream: Aside, other: Aside, turn: int) -> tuple[float, float]:
    """A reading of each; they take turns in being first."""
    if turn % 2:
        second = other.read().rate
        return stream.read().rate, second
    return stream.read().rate, other.read().rate


def _rates(index: int, age: str, new: Rows, old: Rows) -> Iterator[Measurement | Ratio]:
    """What became of the first stream's rate, in units of the second one's, row by row."""
    shares = []
    for when, rows in (("when new", new), (age, old)):
        values = tuple(one for row in rows for one, _ in row)
        yield Measurement(f"verified calls, {when}", index, "1/s", values)
        shares.append([median(one / two for one, two in row) for row in rows])
    kept = tuple(after / before for before, after in zip(*shares, strict=True))
    name = f"verified calls, {age} / when new"
    yield Measurement(name, index, "", kept)
    yield Ratio(name, index, fmean(kept), "no less than 1", interval(kept))


def _serve(build: Build, folder: Path, pipe: Connection) -> None:
    """The life of the process, until the pipe is closed.  Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    scratch.move_into(folder)
    with suppress(EOFError, ConnectionError), closing(Stream(build, SEED, DEFAULT)) as stream:
        try:
            qemu = psutil.Process(stream.subject.machine.pid)
            reports = stream.run((number, stream.batch_size) for number in count())
            while True:
                with _standing(qemu):
                    wanted = pipe.recv()
                calls, began = 0, time.perf_counter()
                for report in islice(reports, wanted):
                    if wrong := (*report.errors, *report.mismatches):
                        raise MachineError(f"the stream is not clean: {wrong[0]}")
                    calls += report.calls
                rate = calls / (time.perf_counter() - began)
                rig = psutil.Process().memory_info().rss
                pipe.send(Reading(rate, rig / MIB, stream.subject.health.resident() / MIB))
        except MachineError as error:
            pipe.send(error)


@contextmanager
def _standing(qemu: psutil.Process) -> Iterator[None]:
    """Neither the batch under way goes on, nor does a guest without work look for it."""
    qemu.suspend()
    try:
        yield
    finally:
        qemu.resume()
