"""Known deviations down, builds across: whether each shows on the builds in its range, and on no other.

A range is verified on a build by the scenario that the deviation names: when that was played and did not
show it the verdict is ``fixed``, and what shows outside of the range is a ``mismatch``.  What is left is a
scenario that was not played, so that nobody looked: this tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rig.check.deviations import Deviation
from rig.frozen import frozen
from rig.report.result import Result

_VERSION = re.compile(r"\d+(?:\.\d+)+")


@frozen
class Seen:
    """One deviation on one build: in how many scenarios it showed, and why it is not known to, if so."""

    count: int
    in_range: bool
    unverified: str = ""


@frozen
class Range:
    """One deviation on all builds of a run."""

    deviation: Deviation
    cells: tuple[Seen, ...]


def version(text: str) -> tuple[int, ...]:
    """The version at the beginning of a build's version text."""
    found = _VERSION.search(text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def ranges(
    results: Sequence[Result], versions: Sequence[Sequence[int]], known: Sequence[Deviation]
) -> Iterator[Range]:
    """The deviations that a run has shown, or whose scenario was part of it."""
    verdicts = {(result.scenario, result.build): result for result in results}
    scenarios = {result.scenario for result in results}
    for deviation in known:
        counts = [0] * len(versions)
        for result in results:
            counts[result.build] += deviation.id in result.deviations
        if not any(counts) and deviation.scenario not in scenarios:
            continue
        cells = []
        for build, count in enumerate(counts):
            named = verdicts.get((deviation.scenario, build))
            inside = deviation.concerns(versions[build])
            cells.append(Seen(count, inside, _unverified(deviation, named) if inside and not count else ""))
        yield Range(deviation, tuple(cells))


def _unverified(deviation: Deviation, named: Result | None) -> str:
    """Why it is not known whether a build still has a deviation that no scenario showed; empty when it is."""
    if named is None:
        return f"{deviation.scenario} was not played"
    if named.verdict in ("skipped", "error"):
        return f"{deviation.scenario} {named.verdict}: {(named.reason.splitlines() or [''])[0]}"
    return "does not show each time" if deviation.intermittent else ""


__all__ = ["Range", "Seen", "ranges", "version"]
