"""``rig export``: a program as a folder that needs nothing but QEMU."""

from __future__ import annotations

from pathlib import Path

import click

from rig.commands.common import InvalidInput, RunError, find_builds, qemu_option


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--standalone",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder to write: image, run.sh and README.",
)
@click.option("--scenario", "name", help="The scenario of FILE to export, when there are several.")
@qemu_option
def command(file: Path, folder: Path, name: str | None, qemus: tuple[str, ...]) -> int:
    """Write the program in FILE as a reproducer that anybody can run.

    It is played once on the first build given, which resolves its references.
    """
    from rig.export.standalone import export
    from rig.export.table import CannotExport
    from rig.machine.errors import MachineError
    from rig.scenario.errors import BadScenario
    from rig.scenario.file import load_file

    try:
        found = [one for one in load_file(file) if name in (None, one.name.rpartition("/")[2], one.name)]
        if len(found) != 1:
            names = ", ".join(one.name for one in load_file(file))
            raise InvalidInput(f"{file} has {names}: choose one with --scenario")
        exported = export(found[0], find_builds(qemus)[0], folder)
    except (BadScenario, CannotExport) as error:
        raise InvalidInput(str(error)) from error
    except (MachineError, OSError) as error:
        raise RunError(str(error)) from error
    click.echo(f"{exported.folder}: {exported.calls} calls; ./run.sh performs them")
    for one in exported.broken:
        click.echo(f"  differs: {one}")
    return 0
