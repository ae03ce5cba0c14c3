"""The benchmark as one page: a chart for each unit, and every figure with its spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: pixels of a chart's width, of its frame, and of one bar
WIDTH, FRAME, BAR = 900, 90, 22

Entry = Mapping[str, Any]


class NoCharts(RuntimeError):
    """What draws charts is not installed."""


def check() -> None:
    """Raise :class:`NoCharts` unless charts can be drawn."""
    try:
        import pygal  # noqa: F401
    except ImportError:
        raise NoCharts("charts need pygal: pip install 'spapr-rig[charts]', or take --json only") from None


def write(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write ``index.html`` into ``folder`` from what ``rig bench --json`` writes; where it is."""
    from jinja2 import Environment, StrictUndefined

    builds, measurements, ratios = report["builds"], report["measurements"], report["ratios"]
    charts: dict[str, str] = {}
    for unit in dict.fromkeys(one["unit"] for one in measurements):
        charts[unit] = _chart(builds, [one for one in measurements if one["unit"] == unit], "median")
    if ratios:
        charts["ratios"] = _chart(builds, ratios, "ratio")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("page.html").read_text())
    path = folder / "index.html"
    path.write_text(template.render(report=report, charts=charts))
    return path


def _chart(builds: Sequence[Entry], entries: Sequence[Entry], value: str) -> str:
    """Bars as an SVG element: quantities down, builds side by side."""
    import pygal

    names = list(dict.fromkeys(entry["name"] for entry in entries))
    chart = pygal.HorizontalBar(
        js=[],
        disable_xml_declaration=True,
        width=WIDTH,
        height=FRAME + BAR * len(names) * len(builds),
        print_values=True,
        value_formatter=lambda number: f"{number:.3g}",
    )
    chart.x_labels = names
    for index, build in enumerate(builds):
        mine = {entry["name"]: entry[value] for entry in entries if entry["build"] == index}
        chart.add(f"QEMU {build['version']}", [mine.get(name) for name in names])
    return str(chart.render(is_unicode=True))
