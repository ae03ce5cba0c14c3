"""H_LOGICAL_MEMOP for a batch: what each call may return, and what it moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rig.frozen import frozen
from rig.model import memop
from rig.model.environment import Region
from rig.model.vectorised.field import ELSEWHERE, I64, U64, Bits, Bytes, Field, bit

#: more bytes than this in one call are left to the scalar model
MAX_LENGTH = 1 << 20

#: elements moved at once, roughly: what is computed for each should stay in the processor's cache
AT_ONCE = 1 << 15

#: what operation 1 does to the build's memory
Meaning = Literal["invert", "xor"]
#: what a call stores
COPY, INVERT, XOR = range(3)
#: by log2 of the element size and what is stored: the bits that a source element changes
_FLIPS = tuple(np.array([0, (1 << (8 << esize)) - 1, 0], f"u{1 << esize}") for esize in range(4))

#: bits of a call's situation
COUNT_ZERO, INVALID_ESIZE, ESIZE_31_UP, MISALIGNED, OP_OVER_1, COUNT_OVER, OUTSIDE, OP_1 = (
    1 << bit for bit in range(8)
)
FAULTS = INVALID_ESIZE | MISALIGNED | OP_OVER_1 | COUNT_OVER


@frozen
class Moves:
    """One row a call.  ``situation`` has the bits of what matters to its verdict."""

    situation: Bytes
    #: whether the contract permits H_SUCCESS, and H_PARAMETER
    succeeds: Bits
    refuses: Bits
    #: whether memory moves if the call succeeds; of the rest of the columns only such rows mean anything
    moves: Bits
    deferred: Bits
    esize: I64
    #: elements, and positions of destination and source in the field
    count: I64
    dst: I64
    src: I64
    #: whether elements must be moved one after another, ``distance`` bytes apart
    chained: Bits
    distance: I64


def judge(registers: U64, field: Field, windows: Sequence[Region], revision: str) -> Moves:
    """What the contract says of calls whose r4..r8 are the rows of ``registers``."""
    dst, src, esize, count, op = registers
    shift = np.minimum(esize, np.uint64(memop.MAX_ESIZE))
    invalid = esize > np.uint64(memop.MAX_ESIZE)
    over = count > np.uint64(memop.MAX_COUNT)
    zero = count == 0
    length = memop.size_in_bytes(count, shift)
    situation = bit(zero, COUNT_ZERO)
    situation |= bit(invalid, INVALID_ESIZE)
    situation |= bit(esize >= 31, ESIZE_31_UP)
    situation |= bit((memop.misaligned(dst, src, shift) != 0) & ~invalid, MISALIGNED)
    situation |= bit(over, COUNT_OVER)
    situation |= bit(op == 1, OP_1)
    if not memop.operations(2, revision):
        situation |= bit(op > 1, OP_OVER_1)
    faults = situation & FAULTS
    moves = (faults == 0) & ~zero
    deferred: Bits = np.zeros(len(moves), np.bool_)
    # Most calls lie in the first span; the others are looked at more closely.
    into, out_of = field.offsets(dst), field.offsets(src)
    far = np.flatnonzero(moves & ~(field.within(into, length) & field.within(out_of, length)))
    beyond = _beyond(dst[far], length[far], field) | _beyond(src[far], length[far], field)
    situation[far] |= bit(beyond, OUTSIDE)
    deferred[far] = length[far] > MAX_LENGTH
    for addresses, positions in ((dst, into), (src, out_of)):
        positions[far] = found = field.positions(addresses[far])
        deferred[far] |= (found == ELSEWHERE) | field.overrun(found, length[far])
        deferred[far] |= beyond & _unclear(addresses[far], length[far], windows)
    either = (faults == INVALID_ESIZE) & (situation & (COUNT_ZERO | ESIZE_31_UP) == COUNT_ZERO | ESIZE_31_UP)
    inside = situation & (FAULTS | OUTSIDE) == 0
    moves[far] &= ~deferred[far]
    distance = dst - src
    chained = moves & (distance < length) & (distance != 0)
    near = np.flatnonzero(chained)
    chained[near] = ~memop.backward(dst[near], src[near], length[near])
    return Moves(
        situation,
        succeeds=inside | either,
        refuses=~inside,
        moves=moves,
        deferred=deferred,
        esize=shift.view(np.int64),
        count=(length >> shift).view(np.int64),
        dst=into,
        src=out_of,
        chained=chained,
        distance=distance.view(np.int64),
    )


def _beyond(start: U64, length: U64, field: Field) -> Bits:
    """Ranges that are not all RAM."""
    end = np.uint64(field.ram_end)
    found: Bits = (start + length > end) | (start > end)
    return found


def _unclear(start: U64, length: U64, windows: Sequence[Region]) -> Bits:
    """Ranges that run over the top of the address space or meet a device."""
    last = start + length - np.uint64(1)
    found = last < start
    for window in windows:
        found |= (start < np.uint64(window.end)) & (last >= np.uint64(window.start))
    return found


def stores(op: U64, meaning: Meaning) -> Bytes:
    """What valid operations store: every one but 0 inverts, if 1 does not mean xor."""
    stored: Bytes = (op != 0).astype(np.uint8)
    if meaning == "xor":
        stored[op == 1] = XOR
    return stored


def move(field: Field, calls: Moves, which: I64, stored: Bytes) -> None:
    """Bring the field to where the calls ``which`` leave it; their ranges must not meet.

    ``stored`` says for every call of the batch what it stores.
    """
    chained = calls.chained[which]
    if chained.any():
        _chain(field, calls, which[chained], stored)
        which = which[~chained]
    _by_size(field, calls.esize[which], calls.dst[which], calls.src[which], calls.count[which], stored[which])


def _chain(field: Field, calls: Moves, which: I64, stored: Bytes) -> None:
    """Calls that load what they have stored: ``distance`` bytes at a time, as the scalar model does."""
    esize, dst, src = calls.esize[which], calls.dst[which], calls.src[which]
    step, left, stored = calls.distance[which], calls.count[which], stored[which]
    while len(left):
        count = np.minimum(left, step >> esize)
        _by_size(field, esize, dst, src, count, stored)
        left = left - count
        rest = np.flatnonzero(left)
        dst, src, esize = (dst + step)[rest], (src + step)[rest], esize[rest]
        step, left, stored = step[rest], left[rest], stored[rest]


def _by_size(field: Field, esizes: I64, dst: I64, src: I64, count: I64, stored: Bytes) -> None:
    for esize in range(4):
        same = np.flatnonzero(esizes == esize)
        step = 1 + AT_ONCE * len(same) // (1 + int(count[same].sum()))
        for first in range(0, len(same), step):
            some = same[first : first + step]
            _move(field, esize, dst[some], src[some], count[some], stored[some])


def _move(field: Field, esize: int, dst: I64, src: I64, count: I64, stored: Bytes) -> None:
    """Every element at once: all are loaded before any is stored.

    Positions past the end of the field are clipped to its pad.
    """
    elements = field.elements[esize]
    into, out_of, flips = dst >> esize, src >> esize, stored
    last = np.cumsum(count)
    if last[-1] > len(count):  # else they have one element each
        running = np.arange(last[-1])
        first = last - count
        into, out_of = np.repeat(into - first, count), np.repeat(out_of - first, count)
        into += running
        out_of += running
        flips = np.repeat(stored, count)
    values = elements.take(out_of, mode="clip")
    values ^= _FLIPS[esize].take(flips)
    if (stored == XOR).any():
        values ^= np.where(flips == XOR, elements.take(into, mode="clip"), _FLIPS[esize][COPY])
    np.minimum(into, len(elements) - 1, out=into)
    elements[into] = values
    field.drop()
