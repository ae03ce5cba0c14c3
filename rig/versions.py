"""QEMU versions as text and in ranges; it neither probes a build nor knows which versions exist."""

from __future__ import annotations

from collections.abc import Sequence


def dotted(version: Sequence[int]) -> str:
    """A version such as (7, 2, 22) as text."""
    return ".".join(map(str, version))


def within(version: Sequence[int], wanted: str) -> bool:
    """Whether a version lies in a range such as ``>=6.0,<10.0``; release candidates count.

    Raises :class:`packaging.specifiers.InvalidSpecifier` for what is no range.
    """
    from packaging.specifiers import SpecifierSet  # slow to import, and a version is mostly only shown

    return SpecifierSet(wanted).contains(dotted(version), prereleases=True)
