"""The benchmark as one page: every figure as a bar, builds side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rig.report.template import page

Entry = Mapping[str, Any]


def write(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write ``index.html`` into ``folder`` from what ``rig bench --json`` writes; where it is."""
    path = folder / "index.html"
    path.write_text(page(Path(__file__).parent).render(report=report, charts=dict(_charts(report))))
    return path


def _charts(report: Mapping[str, Any]) -> Iterator[tuple[str, list[Entry]]]:
    """A heading, and bars of one unit."""
    measurements: Sequence[Entry] = report["measurements"]
    for unit in dict.fromkeys(one["unit"] for one in measurements):
        mine = [one for one in measurements if one["unit"] == unit]
        yield unit, _bars({**one, "value": one["median"], "note": _spread(one)} for one in mine)
    if report["ratios"]:
        yield "ratios", _bars({**one, "value": one["ratio"]} for one in report["ratios"])


def _spread(one: Entry) -> str:
    return f"{one['low']:.4g}..{one['high']:.4g}"


def _bars(entries: Iterable[Entry]) -> list[Entry]:
    """The entries with their length in percent of the longest."""
    held = list(entries)
    longest = max(one["value"] for one in held) or 1
    return [{**one, "length": 100 * one["value"] / longest} for one in held]
