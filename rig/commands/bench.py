"""``rig bench``: what the rig and a build cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, RunError, find_builds, json_option, qemu_option

if TYPE_CHECKING:
    from rig.bench.measurement import Measurement, Ratio
    from rig.machine.build import Build

GROUPS = ("startup", "debugger", "hypercalls", "campaign")
#: takes minutes
LONG = "endurance"


@click.command("bench")
@click.argument("groups", nargs=-1, type=click.Choice((*GROUPS, LONG)))
@qemu_option
@click.option(
    "--rounds", type=click.IntRange(1), default=7, show_default=True, help="Readings of each quantity."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.1),
    default=10,
    show_default=True,
    help="Length of the stream of endurance; comparing takes twelve more.",
)
@json_option("Also write JSON here.")
@click.option(
    "--report",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write a page of charts.",
)
def command(
    groups: tuple[str, ...],
    qemus: tuple[str, ...],
    rounds: int,
    minutes: float,
    json_file: Path | None,
    folder: Path | None,
) -> None:
    """Measure GROUPS (all but endurance without any) on each build: medians, spread, and ratios of one run.

    startup and debugger: what the rig itself costs; hypercalls: what calls cost in the guest, by build, and
    the frame buffer of the founding patch; campaign: what judging costs a stream, and RTAS programs;
    endurance: whether a stream is as fast after --minutes as when it was new, and its memory flat.
    """
    from rig.bench import page
    from rig.bench.measurement import Ratio
    from rig.machine.errors import MachineError
    from rig.report.files import build_json, write_json

    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"the report folder {folder} cannot be written: {error.strerror}") from error
    builds = find_builds(qemus)
    for index, build in enumerate(builds):
        click.echo(f"[{index}] QEMU {build.version_text}  {build.path}")
    measurements: list[dict[str, object]] = []
    ratios: list[dict[str, object]] = []
    try:
        for one in _measure(groups or GROUPS, builds, rounds, minutes):
            if isinstance(one, Ratio):
                ratios.append(one.as_json())
                click.echo(f"[{one.build}] {one.name:<48} {one.value:12.2f}        {one.note}")
            else:
                measurements.append(one.as_json())
                low, high = min(one.values), max(one.values)
                click.echo(
                    f"[{one.build}] {one.name:<48} {one.median:12.3f} {one.unit:<4}  {low:.3f}..{high:.3f}"
                )
    except (MachineError, RuntimeError) as error:
        raise RunError(str(error)) from error
    report = {
        "schema": 1,
        "builds": [build_json(build, "pseries", "") for build in builds],
        "measurements": measurements,
        "ratios": ratios,
    }
    if json_file is not None:
        write_json(json_file, report)
    if folder is not None:
        click.echo(f"report: {page.write(folder, report)}")


def _measure(
    groups: Sequence[str], builds: Sequence[Build], rounds: int, minutes: float
) -> Iterator[Measurement | Ratio]:
    from rig.bench import campaign, debugger, endurance, hypercalls, startup

    for index, build in enumerate(builds):
        if "startup" in groups:
            yield from startup.measure(index, build, rounds)
        if "debugger" in groups:
            yield from debugger.measure(index, build)
    if "hypercalls" in groups:
        yield from hypercalls.measure(builds, rounds)
    if "campaign" in groups:
        yield from campaign.measure(builds, rounds)
    if LONG in groups:
        yield from endurance.measure(builds, minutes)
