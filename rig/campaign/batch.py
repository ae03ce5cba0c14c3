"""Batches of memory calls, drawn as columns: seed and number fix one for ever.

Each call works in a *cell* of its own, so that the whole batch can be compared at once; some calls form
groups of up to :data:`GROUP`, executed far apart, that share a cell, and a few work at the end of RAM.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rig.campaign.layout import ARENA, ARENAS, EDGE, Layout
from rig.campaign.mix import FRACTIONS, STEPS, Mix
from rig.frozen import frozen
from rig.model.vectorised.field import I64, U64, Bytes
from rig.model.vectorised.logical import OPCODES
from rig.program import H_LOGICAL_MEMOP, Call, Seed, Step

I32 = NDArray[np.int32]
Bits16 = NDArray[np.uint16]

#: calls that share one cell, and calls of a batch that work at the end of RAM
GROUP = 4
#: a call that runs over the top of the address space is in one batch of so many
WRAPPING = 16
#: bytes at the end of RAM that one call uses at most
REACH = 512
#: random bytes from which every batch takes a part
POOL = 2 * ARENA

#: odd, and of no pattern: makes further numbers of those that were drawn
MIXER = np.uint64(0x9E37_79B9_7F4A_7C15)

_OPCODES = np.array(OPCODES, np.uint64)


def pool(seed: int) -> Bytes:
    """What memory holds before batches, wherever they cut it out."""
    return np.random.PCG64(seed).random_raw(POOL // 8).astype("<u8").view(np.uint8)


@frozen
class Batch:
    """One batch: ``registers`` has a row for each of r3..r8 and a column for each call.

    ``starts`` and ``ends`` bound each call's cell in the arena; a call that shares the cell of its group's
    first has none of its own.  ``rounds`` numbers the calls of one cell in order.  Memory holds ``content``
    before, the page at the end of RAM ``edge``.
    """

    number: int
    registers: U64
    starts: I64
    ends: I64
    rounds: I64
    content: Bytes
    edge: Bytes
    #: the first call of the first group, and how many groups there are
    groups: tuple[int, int]
    #: calls at the end of RAM
    at_edge: tuple[int, ...]
    layout: Layout

    @property
    def arena(self) -> int:
        """Guest-physical address of the arena."""
        return ARENAS[self.number % 2].start

    def cells_of(self, positions: I64) -> I64:
        """The first call of the cell that holds each position in the field."""
        found = np.searchsorted(self.ends, positions, "right")
        return np.where(positions >= ARENA, self.at_edge[0] if self.at_edge else 0, found)

    def companions(self, call: int) -> tuple[int, ...]:
        """All calls that share the cell of ``call``, in order."""
        if call in self.at_edge:
            return self.at_edge
        first, count = self.groups
        stride = self.registers.shape[1] // GROUP
        group = (call - first) % stride
        if call < first or call >= GROUP * stride or group >= count:
            return (call,)
        return tuple(range(first + group, GROUP * stride, stride))

    def call(self, index: int) -> Call:
        """One call as a step."""
        opcode, *args = self.registers[:, index].tolist()
        return Call(opcode, tuple(args if opcode == H_LOGICAL_MEMOP else args[:3]))

    def program(self, call: int) -> Iterator[Step]:
        """``call`` by itself: the memory of its cell, and those before it that share it."""
        before = [one for one in self.companions(call) if one <= call]
        if call in self.at_edge:
            yield Seed(self.layout.edge.start, self.edge.tobytes())
        else:
            low, high = self.cell(call)
            yield Seed(self.arena + low, self.content[low:high].tobytes())
        yield from (self.call(one) for one in before)

    def cell(self, call: int) -> tuple[int, int]:
        """Start and end of the cell in which ``call`` works, in the arena."""
        start = int(self.starts[call])
        return start, int(self.ends[np.searchsorted(self.ends, start, "right")])


def draw(seed: int, number: int, mix: Mix, size: int, layout: Layout, memory: Bytes) -> Batch:
    """Batch ``number`` of ``size`` calls; ``memory`` is the :func:`pool` of the seed."""
    generator = np.random.Philox(key=seed, counter=[0, 0, number, 1])
    raw = generator.random_raw(2 * size + 8)
    bits = raw[: 2 * size].astype("<u8").view("<u2").reshape(8, size)
    value, more = (raw[:size] ^ raw[size : 2 * size]) * MIXER, raw[2 * size :].tolist()

    registers, source, distance, extent = _memops(bits, mix)
    logical = np.flatnonzero((bits[1] & 0x3F) < mix.logical * 64)
    if len(logical):
        access = mix.size_table[bits[2][logical] & 0xFF]
        offset = value[logical] & np.uint64(7)
        mask = np.where(bits[5][logical] & 7, np.uint64(0) - access, np.uint64(7))
        source[logical] = offset & mask
        extent[logical] = 16

    wrapping = more[0] % size if number % WRAPPING == WRAPPING // 2 else -1
    if wrapping >= 0:
        extent[wrapping] = max(256, extent[wrapping])
    groups, rounds = _share(extent, more[1], mix.shared)
    ends = np.cumsum(extent, dtype=np.int64)
    starts = ends - extent
    first, shared = groups
    stride = size // GROUP
    for member in range(1, GROUP):
        at = first + member * stride
        starts[at : at + shared] = starts[first : first + shared]

    base = np.int64(ARENAS[number % 2].start)
    src, dst = registers[2].view(np.int64), registers[1].view(np.int64)
    np.add(starts, source, out=src)
    src += base
    np.add(src, distance, out=dst)
    if len(logical):
        registers[0][logical] = _OPCODES[(bits[0][logical] & 0x3F) % len(_OPCODES)]
        registers[1][logical] = access
        registers[3][logical] = value[logical] >> np.uint64(3)

    _nowhere(registers, bits, value, mix, layout)
    if mix.slow:
        nothing = layout.nowhere[0]
        count = np.uint64(mix.slow[number % len(mix.slow)])
        registers[:, more[2] % size] = H_LOGICAL_MEMOP, nothing, nothing, np.uint64(0), count, np.uint64(0)
    if wrapping >= 0:
        top = (1 << 64) - 8 * (1 + more[3] % 4)
        start = int(starts[wrapping] + base)
        registers[:, wrapping] = H_LOGICAL_MEMOP, start, top, 3, 1 + more[4] % 8, more[5] % 2
    full = np.flatnonzero(ends > ARENA)
    full = np.concatenate((full, np.flatnonzero(starts + extent > ARENA)))
    if len(full):  # no room left: a call without elements
        registers[:, full] = np.array([H_LOGICAL_MEMOP, base, base, 0, 0, 0], np.uint64)[:, None]
        np.minimum(ends, ARENA, out=ends)
        starts = np.minimum(starts, ends)
    at_edge: tuple[int, ...] = ()
    if number % 2:
        aside = (first + shared + (stride - shared) // 2) % stride  # in no group
        at_edge = tuple(range(aside, GROUP * stride, stride))
        for turn, index in enumerate(at_edge):
            registers[:, index] = _at_edge(bits[:, index].tolist(), layout.ram_end)
            rounds[index] = turn
    offset_in_pool = more[6] % (POOL - ARENA - EDGE) & ~7
    content = memory[offset_in_pool:][: int(ends[-1])]
    edge = memory[offset_in_pool + ARENA :][:EDGE]
    return Batch(number, registers, starts, ends, rounds, content, edge, groups, at_edge, layout)


def _memops(bits: Bits16, mix: Mix) -> tuple[U64, I32, I32, I32]:
    """Every call as a memop, addresses still to come: where in its cell it has its source, how far behind it
    the destination, and how much it needs.
    """
    size = bits.shape[1]
    registers = np.empty((6, size), np.uint64)
    registers[0] = H_LOGICAL_MEMOP
    esize, count = bits[0] >> 6, bits[2] >> 4
    tables = (mix.esize_table, mix.count_table, mix.operation_table)
    for row, (table, index) in enumerate(zip(tables, (esize, count, bits[1] >> 6), strict=True), 3):
        table.take(index, mode="clip", out=registers[row])
    shift = mix.shift_table.take(esize, mode="clip")
    length = mix.length_table.take(count, mode="clip") << shift
    distance = length * FRACTIONS.take(bits[3] >> 8, mode="clip")
    distance >>= shift + 8
    distance += STEPS.take(bits[3] & 0xFF, mode="clip")
    distance <<= shift
    source = (bits[4] & 7) >> shift << shift
    source -= np.minimum(distance, 0)
    extent = length + np.abs(distance)
    extent += 31
    extent &= ~15
    odd = np.flatnonzero(bits[5] < mix.misaligned * 0x10000)
    source[odd] += bits[5][odd] >> 3 & 7
    distance[odd] += (bits[5][odd] & 7).astype(np.int32) - (bits[5][odd] >> 3 & 7)
    return registers, source, distance, extent


def _share(extent: I32, random: int, share: float) -> tuple[tuple[int, int], I64]:
    """Make groups: their first calls have cells for all, the others none; the calls' rounds."""
    size = len(extent)
    stride = size // GROUP
    count = int(share * stride)
    first = random % (stride - count) if count else 0
    rounds = np.zeros(size, np.int64)
    parts = [slice(first + turn * stride, first + turn * stride + count) for turn in range(GROUP)]
    for turn, part in enumerate(parts[1:], 1):
        np.maximum(extent[parts[0]], extent[part], out=extent[parts[0]])
        extent[part] = 0
        rounds[part] = turn
    return (first, count), rounds


def _nowhere(registers: U64, bits: Bits16, value: U64, mix: Mix, layout: Layout) -> None:
    """Move destinations, sources and accesses of some calls to where there is no memory."""
    chosen = np.flatnonzero(bits[6] < mix.outside * 0x10000)
    pick = bits[7][chosen]
    away = layout.nowhere[pick & 15] + (value[chosen] >> np.uint64(20) & np.uint64(0xF_FFF8))
    memop = registers[0][chosen] == H_LOGICAL_MEMOP
    for row, wanted in ((1, memop & (pick & 0x30 != 0x10)), (2, ~memop | (pick & 0x30 <= 0x10))):
        rows = chosen[wanted]
        registers[row][rows] = away[wanted] + (registers[row][rows] & np.uint64(7))


def _at_edge(bits: list[int], end: int) -> list[int]:
    """A memop of which destination, source or both end at the end of RAM, or an element or more beyond."""
    esize = bits[0] % 4
    width = 1 << esize
    count = 1 + bits[1] % (REACH // width)
    near = end - (count + (-1, 0, 1, bits[2] % count)[bits[3] % 4]) * width
    far = end - (1 + bits[4] % (REACH // width)) * width - 2 * REACH
    close = near + (bits[4] % 33 - 16) * width
    dst, src = ((near, far), (far, near), (near, close), (close, near))[bits[5] % 4]
    return [H_LOGICAL_MEMOP, dst, src, esize, count, bits[6] % 2]
