"""``rig bench``: what the rig and a build cost."""

from __future__ import annotations

from pathlib import Path

import click

from rig.commands.common import find_builds, qemu_option


@click.command("bench")
@qemu_option
@click.option(
    "--rounds", type=click.IntRange(1), default=7, show_default=True, help="Readings of each quantity."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def command(qemus: tuple[str, ...], rounds: int, json_file: Path | None) -> None:
    """Measure start-up, gdb commands and memory on each build: medians, spread, and ratios of one run."""
    from rig.bench import debugger, startup
    from rig.bench.measurement import Measurement, Ratio
    from rig.report.files import build_json, write_json

    builds = find_builds(qemus)
    measurements: list[Measurement] = []
    ratios: list[Ratio] = []
    for index, build in enumerate(builds):
        click.echo(f"QEMU {build.version_text}")
        for one in (*startup.measure(index, build, rounds), *debugger.measure(index, build)):
            if isinstance(one, Ratio):
                ratios.append(one)
                click.echo(f"  {one.name:<48} {one.value:10.2f}        {one.goal}")
            else:
                measurements.append(one)
                low, high = min(one.values), max(one.values)
                click.echo(f"  {one.name:<48} {one.median:10.3f} {one.unit:<4}  {low:.3f}..{high:.3f}")
    if json_file is not None:
        report = {
            "schema": 1,
            "builds": [build_json(build, "pseries", "") for build in builds],
            "measurements": [one.as_json() for one in measurements],
            "ratios": [one.as_json() for one in ratios],
        }
        write_json(json_file, report)
