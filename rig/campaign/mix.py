"""How often a stream has which calls: weights for what the memory calls take as arguments.

A choice is drawn by looking a random number up in a table, which has as many equal places for a value as its
weight says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rig.model.memop import MAX_COUNT, MAX_ESIZE
from rig.model.vectorised.field import U64

#: the largest count that a call's cell has room for
LARGEST = 1 << 13

#: a weight, and the first and last of evenly spread values
Share = tuple[float, int, int]


def table(shares: Sequence[Share], size: int) -> U64:
    """``size`` places, shared out by weight."""
    bounds = np.rint(
        np.cumsum([0.0, *(weight for weight, _, _ in shares)]) / sum(s[0] for s in shares) * size
    )
    places: list[int] = []
    for (_, low, high), start, end in zip(shares, bounds, bounds[1:], strict=False):
        count = int(end - start)
        places += [low + (high - low) * place // max(1, count - 1) for place in range(count)]
    return np.array(places, np.uint64)


def each(weight: float, values: Sequence[int]) -> list[Share]:
    """Values that share a weight evenly."""
    return [(weight / len(values), value, value) for value in values]


#: 0xf00d in the upper half: a build that looks at 32 bits takes it for the lower half
HIGH = 0xF00D << 32
INVALID_ESIZES = (4, 5, 7, 8, 16, 30, 31, 32, 33, 63, 64, 255, 1 << 32, HIGH | 3, 1 << 63, (1 << 64) - 1)
OVER_LIMIT = (
    *(MAX_COUNT + more for more in (1, 2, 8)),
    0xFFFF_FFFF,
    1 << 32,
    HIGH | 1,
    1 << 61,
    1 << 63,
    (1 << 64) - 1,
)
INVALID_OPERATIONS = (2, 3, 4, 255, 1 << 31, 1 << 32, HIGH, HIGH | 1, 1 << 63, (1 << 64) - 1)
INVALID_SIZES = (0, 3, 5, 6, 7, 9, 16, 32, 1 << 32, HIGH | 8, 1 << 63, (1 << 64) - 1)


@dataclass(frozen=True)
class Mix:
    """Shares of one kind of stream; those without a comment are of 1.

    ``counts`` are element counts that the contract permits; ``slow`` ones may take more than a second each.
    """

    name: str
    counts: tuple[Share, ...]
    #: calls that are not memop
    logical: float = 0.1
    #: calls in groups that work on the same memory
    shared: float = 0.08
    misaligned: float = 0.04
    outside: float = 0.03
    invalid: float = 0.02
    slow: tuple[int, ...] = ()

    @cached_property
    def count_table(self) -> U64:
        """4096 element counts."""
        legal = [(weight * (1 - self.invalid), low, high) for weight, low, high in self.counts]
        return table([*legal, *each(self.invalid, OVER_LIMIT)], 4096)

    @cached_property
    def esize_table(self) -> U64:
        """1024 values of log2 of the element size."""
        return table([*each(1 - self.invalid, range(4)), *each(self.invalid, INVALID_ESIZES)], 1024)

    @cached_property
    def length_table(self) -> NDArray[np.int32]:
        """The same counts; none where no cell is that large, because they are invalid or point nowhere."""
        return np.where(self.count_table <= LARGEST, self.count_table, 0).astype(np.int32)

    @cached_property
    def shift_table(self) -> NDArray[np.int32]:
        """The element sizes again, invalid ones as the largest."""
        return np.minimum(self.esize_table, MAX_ESIZE).astype(np.int32)

    @cached_property
    def operation_table(self) -> U64:
        """1024 operations."""
        valid = [(0.6, 0, 0), (0.4 - self.invalid, 1, 1)]
        return table([*valid, *each(self.invalid, INVALID_OPERATIONS)], 1024)

    @cached_property
    def size_table(self) -> U64:
        """256 access sizes of the logical calls."""
        return table([*each(0.9, (1, 2, 4, 8)), *each(0.1, INVALID_SIZES)], 256)


#: weights must sum to 1
DEFAULT = Mix(
    "default",
    (
        (0.06, 0, 0),
        (0.10, 1, 1),
        (0.10, 2, 3),
        (0.34, 4, 16),
        (0.25, 17, 48),
        *each(0.10, (31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257)),
        (0.045, 49, 256),
        (0.005, 257, 4096),
    ),
)
SMALLEST = Mix("smallest", ((0.2, 0, 0), (0.8, 1, 1)), logical=0.0, shared=0.0)
#: legal calls that occupy QEMU for seconds or minutes too
SLOW = Mix("slow", DEFAULT.counts, slow=(1 << 20, 1 << 24, (1 << 28) + 1, MAX_COUNT - 1, MAX_COUNT))
MIXES = {mix.name: mix for mix in (DEFAULT, SMALLEST, SLOW)}

#: destination minus source, in 256ths of the length: on either side, in place, anywhere in between
FRACTIONS: NDArray[np.int32] = (
    table([*each(0.45, (0, 512)), *each(0.15, (256,)), (0.4, 0, 512)], 256).astype(np.int32) - 256
)
#: elements added to it: mostly none, else next to a limit
STEPS: NDArray[np.int32] = (
    table([(0.5, 8, 8), *each(0.3, (7, 9)), *each(0.1, (6, 10)), (0.1, 0, 16)], 256).astype(np.int32) - 8
)
