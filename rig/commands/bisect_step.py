"""``rig bisect-step``: one step of ``git bisect run``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rig.bisect.step import Entry

BROKEN = 128


class _Step(click.Command):
    """Ends with 0, 1, 125 or 128 whatever happens: git takes most other codes for "bad"."""

    def make_context(self, *args: Any, **rest: Any) -> click.Context:
        try:
            return super().make_context(*args, **rest)
        except click.ClickException as error:
            error.show()
            raise click.exceptions.Exit(BROKEN) from error

    def invoke(self, ctx: click.Context) -> object:
        from rig.bisect.drive import MARK

        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            why: object = error.format_message()
        except Exception as error:  # noqa: BLE001 - a defect of the rig is no defect of the commit
            why = f"{type(error).__name__}: {error}"
        except KeyboardInterrupt:
            why = "interrupted"
        click.echo(f"{MARK}broken: {why}")
        return BROKEN


@click.command("bisect-step", cls=_Step)
@click.argument("scenarios", nargs=-1, required=True)
@click.option(
    "--build", "recipe", metavar="COMMAND", help="Shell command that builds the commit checked out."
)
@click.option("--binary", metavar="PATH", help="What it leaves. Default: build/qemu-system-ppc64.")
@click.option("--build-timeout", type=click.FloatRange(1), default=3600, show_default=True, metavar="SECONDS")
@click.option("--qemu", metavar="PATH", help="Judge this binary, built already, instead of --build.")
@click.option("--expect", metavar="SIGNATURE", default="", help="Only what shows this is bad.")
@click.option("--gone", metavar="SIGNATURE", default="", help="What no longer shows this is bad.")
@click.option("--repeat", type=click.IntRange(1), default=1, help="Runs; answers that differ are 125.")
@click.option("--control", metavar="PATH", help="A binary that works; when it fails too, the host is broken.")
@click.option("--ours", is_flag=True, hidden=True)
@click.option("--evidence", type=click.Path(path_type=Path), hidden=True)
@click.option("--journal", type=click.Path(path_type=Path), hidden=True)
@click.option("--answer", type=click.Path(path_type=Path), hidden=True)
def command(
    scenarios: tuple[str, ...],
    recipe: str | None,
    binary: str | None,
    build_timeout: float,
    qemu: str | None,
    expect: str,
    gone: str,
    repeat: int,
    control: str | None,
    ours: bool,
    evidence: Path | None,
    journal: Path | None,
    answer: Path | None,
) -> int:
    """Judge the commit that a git bisection in the current folder asks about, by SCENARIOS.

    For `git bisect run`: exit code 0 good, 1 bad, 125 it cannot be tested (no build, no launch, everything
    skipped, unstable), 128 the host itself is broken, which ends the bisection.
    """
    from rig.bisect import step
    from rig.bisect.commits import BINARY, Binaries, Recipe, default_root
    from rig.bisect.drive import MARK
    from rig.commands.bisect import hunt_of
    from rig.machine.build import probe

    signal.signal(signal.SIGTERM, _end)
    hunt = hunt_of(scenarios, expect, gone, repeat)
    working = probe(control) if control else None
    if (qemu is None) == (recipe is None):
        raise click.UsageError("give either --build or --qemu")
    here = Path.cwd()
    if qemu is not None:
        found = step.ask(Path(qemu), hunt, evidence)
        step.blame(found, hunt, working, here)
        entry = step.entry(qemu, found, Path(qemu))
    else:
        assert recipe is not None
        binaries = Binaries(default_root(), Recipe(recipe, binary or BINARY, build_timeout))
        entry = step.take(here, hunt, binaries, ours=ours, evidence=evidence, control=working)
    code = step.CODES[entry.answer]
    click.echo(f"{MARK}{entry}")
    _keep(entry, code, journal, answer)
    return code


def _keep(entry: Entry, code: int, journal: Path | None, answer: Path | None) -> None:
    from rig.bisect import step

    if journal is not None:
        step.write(journal, entry)
    if answer is not None:
        answer.write_text(str(code))


def _end(number: int, frame: FrameType | None) -> None:
    """SIGTERM: unwind, so that a build under way is ended too."""
    sys.exit(BROKEN)
