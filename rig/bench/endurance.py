"""Whether a stream is as fast after minutes as in the first, and whether its memory stays flat.

A host is faster at some times than at others; the raw rate of the same guest loop, read in turn with the
verified one, tells that apart from what the stream itself loses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import psutil

from rig.bench.campaign import SEED, Reader
from rig.bench.measurement import Measurement, Ratio
from rig.campaign.mix import DEFAULT
from rig.campaign.stream import Stream
from rig.machine.build import Build

MINUTE = 60.0
MIB = 1 << 20
#: batches in one reading: short ones, so that what slows the host for a while slows both of a pair
BATCHES = 8


@dataclass(slots=True)
class Readings:
    """What one stretch of a stream showed, pair by pair: calls a second, and MiB that rig and QEMU hold."""

    raw: list[float] = field(default_factory=list)
    verified: list[float] = field(default_factory=list)
    rig: list[float] = field(default_factory=list)
    qemu: list[float] = field(default_factory=list)


def measure(builds: Sequence[Build], minutes: float) -> Iterator[Measurement | Ratio]:
    """The first and the last minute of a stream on each build; thirds, when there are less than three."""
    seconds = minutes * MINUTE
    stretch = min(MINUTE, seconds / 3)
    for index, build in enumerate(builds):
        with closing(Stream(build, SEED, DEFAULT)) as stream:
            reader = Reader(stream, DEFAULT, BATCHES)
            reader.verified()  # every kind of call is looked at once
            began = time.monotonic()
            first = _read(reader, stream, began + stretch)
            while time.monotonic() < began + seconds - stretch:
                reader.verified()
            last = _read(reader, stream, began + seconds)
        yield from _compared(index, first, last)


def _read(reader: Reader, stream: Stream, until: float) -> Readings:
    found = Readings()
    own = psutil.Process()
    while not found.raw or time.monotonic() < until:
        found.raw.append(reader.raw())
        found.verified.append(reader.verified())
        found.rig.append(own.memory_info().rss / MIB)
        found.qemu.append(stream.subject.health.resident() / MIB)
    return found


def _compared(build: int, first: Readings, last: Readings) -> Iterator[Measurement | Ratio]:
    medians = {}
    for when, one in (("first", first), ("last", last)):
        shares = tuple(done / raw for done, raw in zip(one.verified, one.raw, strict=True))
        for name, unit, values in (
            ("verified calls", "1/s", tuple(one.verified)),
            ("verified / raw", "", shares),
            ("memory of the rig", "MiB", tuple(one.rig)),
            ("memory of QEMU", "MiB", tuple(one.qemu)),
        ):
            found = Measurement(f"{name}, {when} minute", build, unit, values)
            medians[name, when] = found.median
            yield found
    for name, goal in (
        ("verified / raw", "no less than 1"),
        ("memory of the rig", "about 1"),
        ("memory of QEMU", "about 1"),
    ):
        yield Ratio(
            f"{name}, last / first minute", build, medians[name, "last"] / medians[name, "first"], goal
        )
