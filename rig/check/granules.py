"""Which calls may share a batch: those whose footprints have no granule in common."""

from __future__ import annotations

from collections.abc import Sequence

#: footprints are compared in granules of this many bytes
GRANULE = 64
#: a call that may touch more bytes runs alone
MAX_FOOTPRINT = 1 << 16


def granules(footprint: Sequence[tuple[int, int]] | None) -> set[int] | None:
    """The granules of (address, length) ranges; ``None`` when the call must run alone."""
    if footprint is None:
        return None
    if len(footprint) == 1:  # most have a parameter block only, and that in one granule
        ((start, length),) = footprint
        if (granule := start // GRANULE) == (start + max(1, length) - 1) // GRANULE:
            return {granule}
    found: set[int] = set()
    total = 0
    for start, length in footprint:
        total += length
        if total > MAX_FOOTPRINT:
            return None
        found.update(range(start // GRANULE, (start + max(1, length) - 1) // GRANULE + 1))
    return found
