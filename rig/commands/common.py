"""What several commands share: the builds asked for, the scenarios asked for, and errors as exit codes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rig.machine.build import Build
    from rig.scenario.script import Scenario

F = TypeVar("F", bound=Callable[..., Any])


class InvalidInput(click.ClickException):
    """Bad input: exit code 4."""

    exit_code = 4


class RunError(click.ClickException):
    """The rig, a build or the host failed: exit code 3."""

    exit_code = 3


def qemu_option(function: F) -> F:
    """``--qemu``, repeatable."""
    return click.option(
        "--qemu",
        "qemus",
        multiple=True,
        metavar="PATH",
        help="Build to judge: a path, a name from `rig builds list`, or debian:SUITE. Repeatable. "
        "Default: $QEMU_TEST_QEMU_BINARY, then $QEMU, then qemu-system-ppc64 on PATH.",
    )(function)


class OutputFile(click.Path):
    """A file that is written at the end; one that could not be is refused before anything is measured."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        # it takes the place of a regular file, too, by being renamed
        folder = path.resolve().parent
        if (path.is_file() or not path.exists()) and not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"{folder} is no folder that can be written to", param, ctx)
        return path


def json_option(purpose: str) -> Callable[[F], F]:
    """``--json FILE``."""
    return click.option("--json", "json_file", type=OutputFile(), help=purpose)


def history_option(function: F) -> F:
    """``--history``."""
    return click.option(
        "--history",
        "history_file",
        type=click.Path(path_type=Path),
        envvar="RIG_HISTORY",
        help="SQLite file that keeps the verdicts of runs. Default: $RIG_HISTORY.",
    )(function)


def find_builds(qemus: Sequence[str]) -> list[Build]:
    """Probe the builds asked for; raises :class:`InvalidInput` before anything is started."""
    from rig.builds.store import BuildsError, resolve
    from rig.machine.build import BadBuild, probe

    specs = list(qemus) or [default_qemu()]

    def one(spec: str) -> Build:
        found = resolve(spec)
        return probe(found.argv, found.data_dir)

    try:
        with ThreadPoolExecutor(len(specs)) as executor:
            return list(executor.map(one, specs))
    except (BuildsError, BadBuild) as error:
        raise InvalidInput(str(error)) from error


def default_qemu() -> str:
    """The binary used without ``--qemu``."""
    for name in ("QEMU_TEST_QEMU_BINARY", "QEMU"):
        if os.environ.get(name):
            return os.environ[name]
    found = shutil.which("qemu-system-ppc64")
    if found is None:
        raise InvalidInput("no qemu-system-ppc64 on PATH: name one with --qemu, or see `rig doctor`")
    return found


def find_scenarios(patterns: Sequence[str]) -> list[Scenario]:
    """The scenarios that the patterns select, all of them without patterns."""
    from rig.scenario.loader import BadScenario, select

    try:
        return list(select(patterns))
    except BadScenario as error:
        raise InvalidInput(str(error)) from error
