"""Guest memory as one array: a few spans of RAM, and a pad that stands for everything that is no memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rig.frozen import frozen

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
Bits = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

#: bytes past the end of the spans: they are loaded as zero, and what is stored there is dropped
PAD = 16
#: position of an address in RAM that no span holds
ELSEWHERE = -1


def bit(where: Bits, value: int) -> Bytes:
    """``value``, at most 128, where a condition holds; otherwise 0."""
    return where.view(np.uint8) * np.uint8(value)


@frozen
class Span:
    """``length`` bytes of RAM at guest-physical ``address``; they lie ``start`` bytes into the array.

    All three are multiples of 8.
    """

    address: int
    length: int
    start: int


class Field:
    """The bytes of ``spans``, in order and without gaps, of a guest whose RAM ends at ``ram_end``."""

    def __init__(self, spans: Sequence[Span], ram_end: int) -> None:
        self.spans = tuple(spans)
        self.ram_end = ram_end
        self.size = spans[-1].start + spans[-1].length
        self.data: Bytes = np.zeros(self.size + PAD, np.uint8)
        #: the same bytes as elements of 1, 2, 4 and 8 bytes
        self.elements = tuple(self.data.view(f"u{1 << esize}") for esize in range(4))

    def offsets(self, addresses: U64) -> I64:
        """How far addresses lie behind the start of the first span: their positions, if they lie in it."""
        return (addresses - np.uint64(self.spans[0].address)).view(np.int64)

    def within(self, offsets: I64, lengths: U64) -> Bits:
        """Whether ranges at such offsets lie in the first span as a whole."""
        room = np.uint64(self.spans[0].length)
        found: Bits = (offsets.view(np.uint64) <= room - lengths) & (lengths <= room)
        return found

    def positions(self, addresses: U64) -> I64:
        """Where addresses lie in the array: ``size`` outside RAM, :data:`ELSEWHERE` between the spans."""
        first = self.spans[0]
        offsets = addresses - np.uint64(first.address)
        found = offsets.view(np.int64)
        others = np.flatnonzero(offsets >= np.uint64(first.length))
        if len(others):
            rest = addresses[others]
            places = np.where(rest >= np.uint64(self.ram_end), self.size, ELSEWHERE)
            for span in self.spans[1:]:
                offsets = rest - np.uint64(span.address)
                places = np.where(
                    offsets < np.uint64(span.length), offsets.view(np.int64) + span.start, places
                )
            found[others] = places
        return found

    def overrun(self, positions: I64, lengths: U64) -> Bits:
        """Ranges that begin in a span and go on where the array holds something else than the guest's RAM."""
        found: Bits = np.zeros(len(positions), np.bool_)
        ends = positions + lengths.view(np.int64)
        for span in self.spans:
            if span.address + span.length != self.ram_end:
                end = span.start + span.length
                found |= (positions >= span.start) & (positions < end) & (ends > end)
        return found

    def drop(self) -> None:
        """Forget what was stored where there is no memory."""
        self.data[self.size :] = 0
