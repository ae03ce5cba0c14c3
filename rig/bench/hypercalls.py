"""What hypercalls cost in the guest, and the claim behind H_LOGICAL_MEMOP.

The founding patch says that a range in one call is far cheaper than a call for each eight bytes: measured
here on plain RAM with what SLOF does to a frame buffer of 800x600x32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from rig.bench.loop import ARENA, Loop
from rig.bench.measurement import Measurement, Ratio, interleave
from rig.machine.build import Build
from rig.model.logical import (
    H_LOGICAL_CACHE_LOAD,
    H_LOGICAL_CACHE_STORE,
    H_LOGICAL_CI_LOAD,
    H_LOGICAL_CI_STORE,
)
from rig.program import H_LOGICAL_MEMOP, H_RTAS

#: calls in one reading
CALLS = 16384
#: elements of the calls that show what an element costs, of fewer calls
ELEMENTS, LONG_CALLS = 512, 1024
#: the frame buffer's size and one of its rows in bytes, in elements of eight
FRAME, ROW = 800 * 600 * 4 // 8, 800 * 4
#: where the second operand lies, and the RTAS block
FAR, BLOCK = ARENA + 0x40_0000, ARENA + 0x80_0000
OPERATIONS = ("copy", "invert")

Reading = Callable[[], float]


def measure(builds: Sequence[Build], rounds: int) -> Iterator[Measurement | Ratio]:
    """All builds in turn, round after round."""
    with ExitStack() as life:
        loops = [life.enter_context(Loop(build)) for build in builds]
        readings: dict[tuple[int, str], Reading] = {}
        for index, loop in enumerate(loops):
            loop.machine.memory.write(BLOCK, _clock_block(loop))
            readings |= {(index, name): reading for name, reading in _readings(loop).items()}
        values = interleave(readings, rounds)
    for index in range(len(builds)):
        mine = {name: values for (build, name), values in values.items() if build == index}
        for name in mine:
            yield Measurement(name, index, "ms" if name.startswith("frame") else "ns", tuple(mine[name]))
        for what in ("scrolled", "inverted"):
            one = Measurement("", index, "", tuple(mine[f"frame buffer {what}, one memop"]))
            many = Measurement("", index, "", tuple(mine[f"frame buffer {what}, 8 bytes a call"]))
            yield Ratio(f"frame buffer {what}: 8 bytes a call / one memop", index, many.median / one.median)


def _readings(loop: Loop) -> dict[str, Reading]:
    """Every quantity of one machine by its name."""

    def per_call(opcode: int, *args: int) -> Reading:
        return lambda: loop.seconds(CALLS, opcode, *args) / CALLS * 1e9

    def per_element(esize: int, op: int) -> Reading:
        def reading() -> float:
            long = loop.seconds(LONG_CALLS, H_LOGICAL_MEMOP, ARENA, FAR, esize, ELEMENTS, op)
            empty = loop.seconds(LONG_CALLS, H_LOGICAL_MEMOP, ARENA, FAR, esize, 0, op)
            return (long - empty) / (LONG_CALLS * ELEMENTS) * 1e9

        return reading

    readings = {"empty memop": per_call(H_LOGICAL_MEMOP, ARENA, FAR, 3, 0, 0)}
    for op, name in enumerate(OPERATIONS):
        for esize in range(4):
            readings[f"memop, an element of {1 << esize}, {name}"] = per_element(esize, op)
    readings |= {
        "CI_LOAD of 8 bytes": per_call(H_LOGICAL_CI_LOAD, 8, ARENA),
        "CI_STORE of 8 bytes": per_call(H_LOGICAL_CI_STORE, 8, ARENA, 1),
        "CACHE_LOAD of 8 bytes": per_call(H_LOGICAL_CACHE_LOAD, 8, ARENA),
        "CACHE_STORE of 8 bytes": per_call(H_LOGICAL_CACHE_STORE, 8, ARENA, 1),
        "RTAS get-time-of-day": per_call(H_RTAS, BLOCK),
    }
    for op, what in enumerate(("scrolled", "inverted")):
        source = ARENA + (0 if op else ROW)
        readings[f"frame buffer {what}, one memop"] = _frame(loop, source, op)
        readings[f"frame buffer {what}, 8 bytes a call"] = _by_words(loop, source)
    return readings


def _frame(loop: Loop, source: int, op: int) -> Reading:
    return lambda: loop.seconds(1, H_LOGICAL_MEMOP, ARENA, source, 3, FRAME, op) * 1e3


def _by_words(loop: Loop, source: int) -> Reading:
    """A load and a store for each eight bytes, as a guest without memop has to do it."""

    def reading() -> float:
        seconds = 0.0
        for first in range(0, FRAME, CALLS):
            calls = min(CALLS, FRAME - first)
            at = 8 * first
            seconds += loop.seconds(calls, H_LOGICAL_CI_LOAD, 8, source + at, step=(0, 8))
            seconds += loop.seconds(calls, H_LOGICAL_CI_STORE, 8, ARENA + at, 0, step=(0, 8))
        return seconds * 1e3

    return reading


def _clock_block(loop: Loop) -> bytes:
    cells = (loop.machine.environment.tokens["get-time-of-day"], 0, 8)
    return b"".join(cell.to_bytes(4, "big") for cell in cells)
