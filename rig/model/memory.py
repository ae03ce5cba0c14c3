"""Guest-physical memory of the model: RAM only, sparse, zero until written.

It is not the memory map (:mod:`rig.model.environment`): it knows no image and no device tree, only bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rig.model.environment import Region
from rig.target import Data

PAGE = 0x10000
#: a page that was never written
ZEROS = bytes(PAGE)


class Memory:
    """Sparse RAM in pages of 64 KiB; implements :class:`rig.target.GuestMemory`."""

    def __init__(self, ram: Iterable[Region]) -> None:
        self.ram = tuple(ram)
        self._pages: dict[int, bytearray] = {}
        #: whether all of a page is RAM where any of it is: one that was written needs no further check
        self._whole = all(not (region.start | region.length) % PAGE for region in self.ram)

    def _check(self, address: int, length: int) -> None:
        end = address + length
        at = address
        for region in self.ram:
            if region.start <= at < region.end:
                at = min(end, region.end)
        if at != end:
            raise ValueError(f"{address:#x}..{end:#x} is not all RAM")

    def _pieces(self, address: int, length: int) -> Iterator[tuple[int, int, int]]:
        end = address + length
        while address < end:
            page, offset = divmod(address, PAGE)
            size = min(PAGE - offset, end - address)
            yield page, offset, size
            address += size

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes at ``address``; raises :class:`ValueError` outside RAM."""
        number, at = divmod(address, PAGE)
        if self._whole and at + length <= PAGE and (known := self._pages.get(number)) is not None:
            return bytes(memoryview(known)[at : at + length])
        self._check(address, length)
        return b"".join(
            memoryview(self._pages.get(page, ZEROS))[offset : offset + size]
            for page, offset, size in self._pieces(address, length)
        )

    def holds(self, address: int, data: bytes) -> bool:
        """Whether these bytes are at ``address``; raises :class:`ValueError` outside RAM."""
        number, at = divmod(address, PAGE)
        known = self._pages.get(number)
        if self._whole and known is not None and not at and len(data) == PAGE:
            return known == data  # by far the most frequent case, and worth no copy
        return self.read(address, len(data)) == data

    def write(self, address: int, data: Data) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""
        number, at = divmod(address, PAGE)
        if self._whole and at + len(data) <= PAGE and (known := self._pages.get(number)) is not None:
            known[at : at + len(data)] = data
            return
        self._check(address, len(data))
        done = 0
        view = memoryview(data)
        for page, offset, size in self._pieces(address, len(data)):
            if size == PAGE:
                self._pages[page] = bytearray(view[done : done + size])
            else:
                held = self._pages.setdefault(page, bytearray(PAGE))
                held[offset : offset + size] = view[done : done + size]
            done += size

    def extents(self) -> Iterable[tuple[int, int]]:
        """Runs of pages that were ever written, ascending."""
        start = length = 0
        for page in sorted(self._pages):
            address = page * PAGE
            if length and address == start + length:
                length += PAGE
                continue
            if length:
                yield start, length
            start, length = address, PAGE
        if length:
            yield start, length

    def clear(self) -> None:
        """Back to all zero."""
        self._pages.clear()
