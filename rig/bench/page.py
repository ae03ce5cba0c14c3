"""The benchmark as one page: every figure as a bar, builds side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Entry = Mapping[str, Any]


def write(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write ``index.html`` into ``folder`` from what ``rig bench --json`` writes; where it is."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("page.html").read_text())
    path = folder / "index.html"
    path.write_text(template.render(report=report, charts=dict(_charts(report))))
    return path


def _charts(report: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Entry]]]:
    """A heading, and bars of one unit: entry, value, spread or goal, length in percent of the longest."""
    measurements: Sequence[Entry] = report["measurements"]
    for unit in dict.fromkeys(one["unit"] for one in measurements):
        mine = [one for one in measurements if one["unit"] == unit]
        longest = max(one["median"] for one in mine) or 1
        yield (
            unit,
            [
                {**one, "value": one["median"], "note": f"{one['low']:.4g}..{one['high']:.4g}"}
                | {"length": 100 * one["median"] / longest}
                for one in mine
            ],
        )
    if report["ratios"]:
        longest = max(one["ratio"] for one in report["ratios"]) or 1
        bars = [
            {**one, "value": one["ratio"], "note": one["goal"], "length": 100 * one["ratio"] / longest}
            for one in report["ratios"]
        ]
        yield "ratios", bars
