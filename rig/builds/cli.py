"""``rig builds``: fetch, add and list the builds of the store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from rig.builds import debian
from rig.builds.describe import Description, describe
from rig.builds.store import FETCHABLE, BuildsError, NameTaken, Store, UnknownBuild, add, default_root
from rig.commands.common import InvalidInput, RunError
from rig.machine.build import BadBuild, probe


@click.group("builds", context_settings={"help_option_names": ["-h", "--help"]})
def builds() -> None:
    """Fetch, add and list QEMU builds; wherever a PATH of QEMU is asked for, a build's name will do."""


#: what the top-level command mounts
command = builds


@builds.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="debian:SUITE...")
@click.option("--refresh", is_flag=True, help="Replace a build that is here by what the suite holds today.")
def fetch(names: tuple[str, ...], refresh: bool) -> None:
    """Fetch the QEMU of a Debian suite: bullseye, bookworm, bookworm-backports, trixie, trixie-backports.

    Needs apt-get and dpkg-deb, no root; nothing is installed. RIG_DEBIAN_MIRROR names another mirror than
    http://deb.debian.org/debian.
    """
    for name in names:
        with _reporting(), _progress(name) as progress:
            found = debian.fetch(name, progress=progress, refresh=refresh)
        click.echo(f"{name} is ready: {found.argv[-1]}")


@builds.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="What to call it. Default: qemu- and its version.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with its firmware (-L), when it does not find that itself.",
)
def add_(path: Path, name: str | None, data_dir: Path | None) -> None:
    """Give the binary at PATH a name; it stays where it is."""
    with _reporting():
        build = probe(str(path.absolute()), data_dir)
        name = name or "qemu-{}.{}.{}".format(*build.version)
        add(path, name, data_dir)
    click.echo(f"{name} is {build.version_text} at {build.path}")


@builds.command("list")
def list_() -> None:
    """List the builds of the store: what each is and takes by default, and what could be fetched."""
    with _reporting():
        store = Store(default_root())
        names = store.names()
        with ThreadPoolExecutor(4) as executor:
            rows = list(executor.map(lambda name: _look(store, name), names))
    table = Table(
        "name", "version", "sha256", "-M pseries", "default CPU", "slof.bin", box=None, pad_edge=False
    )
    for name, row in zip(names, rows, strict=True):
        if isinstance(row, Description):
            firmware = row.firmware[:12] if row.firmware else "-"
            table.add_row(name, row.version, row.sha256[:12], row.machine, row.cpu, firmware)
        else:
            table.add_row(name, f"unusable: {row}")
    # a pipe has no width to fit: one line for each build
    console = Console(highlight=False, markup=False)
    console.width = console.width if console.is_terminal else 1000
    console.print(table)
    rest = [name for name in FETCHABLE if name not in names]
    if rest:
        click.echo(f"to be had with rig builds fetch: {', '.join(rest)}")


def _look(store: Store, name: str) -> Description | str:
    try:
        return describe(store.get(name))
    except (BuildsError, BadBuild) as error:
        return str(error)


@contextmanager
def _reporting() -> Iterator[None]:
    """What the user named wrongly exits with 4, what failed on the way with 3."""
    try:
        yield
    except (BadBuild, UnknownBuild, NameTaken) as error:
        raise InvalidInput(str(error)) from error
    except BuildsError as error:
        raise RunError(str(error)) from error


@contextmanager
def _progress(name: str) -> Iterator[debian.Progress]:
    """A bar on a terminal, silence in a log."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda what, percent: bar.update(
            task,
            description=f"{name}: {what}",
            total=None if percent is None else 100,
            completed=percent or 0,
        )
