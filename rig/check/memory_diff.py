"""Every byte of RAM in which two memories differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rig.frozen import frozen
from rig.model.memory import Memory
from rig.target import Data, GuestMemory

#: bytes compared at once: larger buffers go back to the system each time, and to get them again takes longer
#: than all the rest; a page of the model's memory
CHUNK = 1 << 16
#: bytes that :class:`Standing` reads at once
PAGE = 1 << 12
#: holes are not looked for in ranges of at most so many bytes, which must be RAM
GRAIN = 1 << 12
#: equal bytes between two differences that still belong to one run
GAP = 8


class Standing:
    """Memory of a guest that stands still, kept by the page as it is read until :meth:`forget`.

    It implements :class:`rig.target.GuestMemory` for many small reads.
    """

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._pages: dict[int, bytes] = {}

    def forget(self) -> None:
        """The guest has run, or somebody has written."""
        self._pages.clear()

    def read(self, address: int, length: int) -> bytes:
        """The bytes at ``address``; raises :class:`ValueError` outside RAM."""
        number, at = divmod(address, PAGE)
        if at + length > PAGE:
            return self._memory.read(address, length)
        page = self._pages.get(number)
        if page is None:
            try:
                page = self._pages[number] = self._memory.read(address - at, PAGE)
            except ValueError:  # RAM ends in this page
                return self._memory.read(address, length)
        return page[at : at + length]

    def write(self, address: int, data: Data) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""
        self.forget()
        self._memory.write(address, data)

    def extents(self) -> Iterable[tuple[int, int]]:
        """As of the memory itself."""
        return self._memory.extents()


@frozen
class Difference:
    """A run of bytes at ``address``: what was ``expected`` and what was ``observed``."""

    address: int
    expected: bytes
    observed: bytes


def differences(
    expected: GuestMemory, observed: GuestMemory, ignored: Sequence[tuple[int, int]] = ()
) -> Iterator[Difference]:
    """Runs of differing bytes over all of RAM, ascending.

    Pages that neither side ever wrote are zero on both and are not read.  ``ignored`` are ascending
    (start, end) ranges that belong to the rig.
    """
    for chunk in chunks(expected, observed, ignored):
        yield from _runs(chunk.address, chunk.expected, chunk.observed)


def chunks(
    expected: GuestMemory, observed: GuestMemory, ignored: Sequence[tuple[int, int]] = ()
) -> Iterator[Difference]:
    """Unequal pieces of up to :data:`CHUNK` bytes over all of RAM, ascending; see :func:`differences`."""
    same = expected.holds if isinstance(expected, Memory) else None
    for start, end in _union(expected.extents(), observed.extents()):
        for low, high in _without(start, end, ignored):
            for address in range(low, high, CHUNK):
                length = min(CHUNK, high - address)
                theirs = observed.read(address, length)
                if same is None or not same(address, theirs):
                    ours = expected.read(address, length)
                    if ours != theirs:
                        yield Difference(address, ours, theirs)


def adopt(model: GuestMemory, observed: GuestMemory, start: int = 0, end: int = 1 << 64) -> None:
    """Make ``model`` equal to ``observed`` from ``start`` up to ``end``; holes on both sides are not read."""
    if end - start <= GRAIN:  # looking for holes would take longer
        model.write(start, observed.read(start, end - start))
        return
    for low, high in _union(model.extents(), observed.extents()):
        for address in range(max(low, start), min(high, end), CHUNK):
            model.write(address, observed.read(address, min(CHUNK, min(high, end) - address)))


def unequal(expected: bytes, observed: bytes) -> int:
    """In how many bytes two strings of one length differ."""
    import numpy as np

    if expected == observed:
        return 0
    return int(np.count_nonzero(np.frombuffer(expected, np.uint8) != np.frombuffer(observed, np.uint8)))


def _union(*extents: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    ranges = sorted((start, start + length) for side in extents for start, length in side)
    if not ranges:
        return
    low, high = ranges[0]
    for start, end in ranges[1:]:
        if start > high:
            yield low, high
            low, high = start, end
        else:
            high = max(high, end)
    yield low, high


def _without(start: int, end: int, ignored: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for low, high in ignored:
        if high <= start or low >= end:
            continue
        if low > start:
            yield start, low
        start = max(start, high)
    if start < end:
        yield start, end


def _runs(address: int, expected: bytes, observed: bytes) -> Iterator[Difference]:
    import numpy as np

    unequal = np.flatnonzero(np.frombuffer(expected, np.uint8) != np.frombuffer(observed, np.uint8))
    breaks = np.flatnonzero(np.diff(unequal) > GAP)
    firsts = np.concatenate(([0], breaks + 1))
    lasts = np.concatenate((breaks, [len(unequal) - 1]))
    for first, last in zip(unequal[firsts].tolist(), unequal[lasts].tolist(), strict=True):
        yield Difference(address + first, expected[first : last + 1], observed[first : last + 1])
