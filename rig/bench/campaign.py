"""What judging costs: a stream's verified calls a second against the guest's raw rate, and RTAS programs'."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from rig.bench.measurement import Measurement, Ratio
from rig.campaign import stateful
from rig.campaign.batch import draw, pool
from rig.campaign.campaign import Spec, run
from rig.campaign.mix import DEFAULT, SMALLEST, Mix
from rig.campaign.stream import LIMIT, OPTIONS, PATIENCE, Stream
from rig.deadline import Deadline
from rig.machine.build import Build
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, Call

#: calls of one program
PROGRAM = stateful.SIZE
#: as many as there are cores at least
MACHINES = 2
#: batches in one reading
BATCHES = 32
SEED = 1
GOALS = {DEFAULT.name: "at least 0.9", SMALLEST.name: "at least 0.75"}


def measure(builds: Sequence[Build], rounds: int) -> Iterator[Measurement | Ratio]:
    """Raw and verified rates in turn, for each mix, programs, and tests that boot a QEMU each."""
    for index, build in enumerate(builds):
        verified = 0.0
        for mix in (DEFAULT, SMALLEST):
            with closing(Stream(build, SEED, mix)) as stream:
                reader = Reader(stream, mix, BATCHES)
                reader.verified()  # every kind of call is looked at once
                pairs = [(reader.raw(), reader.verified()) for _ in range(rounds)]
            raw = Measurement(f"raw calls, {mix.name} mix", index, "1/s", tuple(one for one, _ in pairs))
            done = Measurement(
                f"verified calls, {mix.name} mix", index, "1/s", tuple(two for _, two in pairs)
            )
            yield raw
            yield done
            name = f"verified / raw, {mix.name} mix"
            # Each pair was read in one go: what slows the host for a while slows both.
            ratios = Measurement(name, index, "", tuple(two / one for one, two in pairs))
            yield Ratio(name, index, ratios.median, GOALS[mix.name])
            verified = verified or done.median
        name = f"verified calls, RTAS programs on {MACHINES} machines"
        yield Measurement(name, index, "1/s", tuple(_programs(build, rounds)))
        boots = Measurement("a boot for one call", index, "s", tuple(_boot(build) for _ in range(rounds)))
        yield boots
        yield Ratio("verified calls / tests that boot", index, verified * boots.median, "at least 100")


class Reader:
    """Batches of a stream of :data:`SEED`, run with and without being judged.

    They come after the one in which a call is let run that takes minutes.
    """

    def __init__(self, stream: Stream, mix: Mix, batches: int) -> None:
        self._stream, self._mix = stream, mix
        self._numbers = range(LIMIT + 1, LIMIT + 1 + batches)
        self._memory = pool(SEED)

    def raw(self) -> float:
        """Calls a second of the guest loop alone, preparation left out."""
        subject, size, seconds = self._stream.subject, self._stream.batch_size, 0.0
        for number in self._numbers:
            batch = draw(SEED, number, self._mix, size, subject.layout, self._memory)
            subject.prepare(batch, size)
            began = time.perf_counter()
            subject.ring(number % 2, size)
            subject.wait(Deadline(PATIENCE))
            seconds += time.perf_counter() - began
            subject.adopt(number % 2)
        return len(self._numbers) * size / seconds

    def verified(self) -> float:
        """Calls a second from the first batch drawn to the last one judged."""
        size = self._stream.batch_size
        began = time.perf_counter()
        reports = list(self._stream.run((number, size) for number in self._numbers))
        seconds = time.perf_counter() - began
        wrong = [words for report in reports for words in (*report.errors, *report.mismatches)]
        if wrong:
            raise RuntimeError(f"the stream is not clean: {wrong[0]}")
        return len(self._numbers) * size / seconds


def _programs(build: Build, rounds: int) -> Iterator[float]:
    """Calls a second of :data:`MACHINES` that play programs of RTAS calls at once, by each program."""
    spec = Spec(build, "rtas", SEED)
    programs = [(number, PROGRAM) for number in range(MACHINES * (rounds + 1))]
    for report in run(spec, programs, MACHINES):
        if wrong := (*report.errors, *report.mismatches):
            raise RuntimeError(f"the programs are not clean: {wrong[0]}")
        if report.batch >= MACHINES:  # the first ones wait for their machines
            yield MACHINES * report.calls / report.seconds


def _boot(build: Build) -> float:
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="rig-") as folder,
        Machine(build, OPTIONS, Path(folder), Deadline(PATIENCE)) as machine,
    ):
        machine.call([Call(H_LOGICAL_MEMOP, (0x100_0000, 0x101_0000, 3, 1, 0))])
    return time.perf_counter() - began
