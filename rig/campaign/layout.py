"""Where in guest memory a stream works: two arenas in turn, and the last page of RAM.

While the guest works in one arena, the host compares the other and fills it anew.
"""

from __future__ import annotations

import numpy as np

from rig.frozen import frozen
from rig.model.address import pci_windows, pieces
from rig.model.environment import Environment, Region
from rig.model.vectorised.field import U64, Field, Span

#: bytes of one arena
ARENA = 16 << 20
#: of batches with even numbers, and of those with odd ones
ARENAS = (Region(16 << 20, ARENA), Region(64 << 20, ARENA))
#: the end of RAM, which belongs to batches with odd numbers
EDGE = 0x1000

#: where there may be no memory and no device: each candidate is the start of so many addresses
EMPTY = 0x20_0000
CANDIDATES = (1 << 32, 1 << 40, 1 << 62, (1 << 63) - EMPTY, 1 << 63, (1 << 64) - 2 * EMPTY)


class NoRoom(ValueError):
    """The machine's memory is not laid out as a stream needs it."""


@frozen
class Layout:
    """One machine's: where RAM ends, windows in which devices may answer, addresses at which nothing is."""

    ram_end: int
    windows: tuple[Region, ...]
    nowhere: U64

    @classmethod
    def of(cls, environment: Environment) -> Layout:
        """Raises :class:`NoRoom` when an arena or the end of RAM is not free."""
        ram, fdt = environment.ram, environment.fdt
        end = ram[-1].end
        wanted = (*ARENAS, Region(end - EDGE, EDGE))
        if any(
            not environment.is_ram(at.start, at.length) or fdt.overlaps(at.start, at.length) for at in wanted
        ):
            size = ARENAS[-1].end >> 20
            raise NoRoom(f"a stream needs {size} MiB of RAM and its last page: give the machine more memory")
        windows = pci_windows(environment)
        taken = (*ram, *windows)
        free = [at for at in (end, end + EMPTY, *CANDIDATES) if not pieces(taken, at, EMPTY)]
        return cls(end, windows, np.array([free[i % len(free)] for i in range(16)], np.uint64))

    @property
    def edge(self) -> Region:
        """The last page of RAM."""
        return Region(self.ram_end - EDGE, EDGE)

    def field(self, parity: int) -> Field:
        """The memory of batches with numbers of that parity."""
        spans = [Span(ARENAS[parity].start, ARENA, 0)]
        if parity:
            spans.append(Span(self.edge.start, EDGE, ARENA))
        return Field(spans, self.ram_end)
