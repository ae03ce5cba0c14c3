"""``rig bisect``: the first commit, or the first build, that shows a failure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, RunError, find_scenarios, json_option

if TYPE_CHECKING:
    from rig.bisect.drive import Finding
    from rig.bisect.trial import Hunt
    from rig.machine.build import Build


@click.command("bisect")
@click.argument("scenarios", nargs=-1, required=True)
@click.option("--builds", metavar="A,B,C", help="Search these builds, oldest first (paths or names).")
@click.option("--source", type=click.Path(path_type=Path), help="Search the commits of this git checkout.")
@click.option("--good", metavar="REV", help="A revision that does not show it.")
@click.option("--bad", metavar="REV", help="A later revision that shows it.")
@click.option("--build", "recipe", metavar="COMMAND", help="Shell command that builds a checkout.")
@click.option("--binary", metavar="PATH", help="What it leaves. Default: build/qemu-system-ppc64.")
@click.option("--build-timeout", type=click.FloatRange(1), default=3600, show_default=True, metavar="SECONDS")
@click.option("--expect", metavar="SIGNATURE", default="", help="Only what shows this is bad.")
@click.option("--gone", metavar="SIGNATURE", default="", help="What no longer shows this is bad.")
@click.option("--repeat", type=click.IntRange(1), default=1, help="Runs of each; unstable ones are skipped.")
@click.option(
    "--save", type=click.Path(file_okay=False, path_type=Path), help="Folder for the evidence of failures."
)
@json_option("Also write the result here.")
def command(
    scenarios: tuple[str, ...],
    builds: str | None,
    source: Path | None,
    good: str | None,
    bad: str | None,
    recipe: str | None,
    binary: str | None,
    build_timeout: float,
    expect: str,
    gone: str,
    repeat: int,
    save: Path | None,
    json_file: Path | None,
) -> int:
    """Find the first commit or build that is bad: on which SCENARIOS show a mismatch, or the SIGNATURE.

    A SIGNATURE is CALL/CHECK as in report.json (wildcards allowed), the id of a deviation, or a verdict.
    `--gone skipped` finds where something appears, `--gone ID` where a deviation ends. Commits are built in
    a worktree of their own and their binaries kept; yours is left as it is.
    """
    from rig.bisect import drive
    from rig.bisect.commits import BINARY, Binaries, Recipe, default_root
    from rig.bisect.step import HostBroken
    from rig.bisect.tree import BadTree, GitFailed

    if (builds is None) == (source is None):
        raise click.UsageError("give either --builds, or --source with --good, --bad and --build")
    if builds is not None and (good, bad, recipe, binary) != (None,) * 4:
        raise click.UsageError("--good, --bad, --build and --binary go with --source, not with --builds")
    hunt = hunt_of(scenarios, expect, gone, repeat)
    evidence = None if save is None else save.absolute() / "evidence"
    try:
        if builds is not None:
            named = probes(builds)
            found = drive.over_builds(
                list(named), lambda name: _probe(named[name]), hunt, evidence, click.echo
            )
        else:
            assert source is not None
            if good is None or bad is None or recipe is None:
                raise click.UsageError("--source needs --good, --bad and --build")
            how = Recipe(recipe, binary or BINARY, build_timeout)
            words = _words(scenarios, how, hunt, evidence)
            found = drive.over_commits(
                source, (good, bad), Binaries(default_root(), how), hunt, words, evidence, click.echo
            )
    except (BadTree, drive.WrongEnd) as error:
        raise InvalidInput(str(error)) from error
    except (HostBroken, drive.Undecided, GitFailed, OSError) as error:
        raise RunError(str(error)) from error
    _report(found, source, hunt, scenarios, save, json_file)
    return 0 if len(found.candidates) == 1 else 3


def hunt_of(scenarios: Sequence[str], expect: str, gone: str, repeat: int) -> Hunt:
    """What to look for, checked; raises :class:`InvalidInput`."""
    from rig.bisect.trial import BadSign, Hunt, check_sign

    if expect and gone:
        raise click.UsageError("give either --expect or --gone")
    try:
        if expect or gone:
            check_sign(expect or gone)
    except BadSign as error:
        raise InvalidInput(str(error)) from error
    return Hunt(tuple(find_scenarios(scenarios)), expect or gone, bool(gone), repeat)


def probes(builds: str) -> dict[str, tuple[tuple[str, ...], Path | None]]:
    """Command and firmware folder of each build by name, in order; raises :class:`InvalidInput`.

    Whether one can be judged is found out when it is its turn.
    """
    from rig.builds.store import BuildsError, resolve

    names = [name.strip() for name in builds.split(",") if name.strip()]
    if len(names) < 2:
        raise InvalidInput("--builds needs at least two builds, a good one first and a bad one last")
    named = {}
    try:
        for name in names:
            found = resolve(name)
            named[name] = (found.argv, found.data_dir)
    except BuildsError as error:
        raise InvalidInput(str(error)) from error
    if len(named) < len(names) or len(set(named.values())) < len(names):
        raise InvalidInput("--builds names a build twice: nothing lies between a build and itself")
    return named


def _probe(how: tuple[tuple[str, ...], Path | None]) -> Build:
    from rig.machine.build import probe

    return probe(*how)


def _words(scenarios: Sequence[str], how: object, hunt: Hunt, evidence: Path | None) -> list[str]:
    """The same question as arguments of ``rig bisect-step``."""
    from rig.bisect.commits import Recipe

    assert isinstance(how, Recipe)
    # a step runs in another folder
    words = [str(Path(one).absolute()) if Path(one).is_file() else one for one in scenarios]
    words += ["--build", how.command, "--binary", how.binary, "--build-timeout", str(how.timeout)]
    words += ["--repeat", str(hunt.repeat)]
    if hunt.sign:
        words += ["--gone" if hunt.gone else "--expect", hunt.sign]
    if evidence is not None:
        words += ["--evidence", str(evidence)]
    return words


def _report(
    found: Finding,
    source: Path | None,
    hunt: Hunt,
    scenarios: Sequence[str],
    save: Path | None,
    json_file: Path | None,
) -> None:
    """Name the first bad one, the scenario, and how to see it again."""
    from rig.bisect.tree import described
    from rig.report.files import write_json

    def spelt(name: str) -> str:
        return name if source is None else described(source, name)

    kind = "build" if source is None else "commit"
    bad = found.bad
    if len(found.candidates) == 1:
        click.echo(f"the first bad {kind} is {spelt(bad.name)}")
    else:
        click.echo(f"the first bad {kind} is one of these:")
        for name in found.candidates:
            note = "seen to be bad" if name == bad.name else "cannot be tested"
            click.echo(f"  {spelt(name)} ({note})")
    # the id of a scenario in a file of the user's means nothing without that file
    by_id = bad.scenario and not any(Path(one).is_file() for one in scenarios)
    again = f"rig run {bad.scenario if by_id else shlex.join(scenarios)} --qemu {shlex.quote(bad.path)}"
    if save is not None and bad.evidence:
        program = save / bad.evidence / "program.yaml"
        again = f"rig replay {shlex.quote(str(program))} --qemu {shlex.quote(bad.path)}"
    click.echo(f"  scenario:   {bad.scenario or ' '.join(scenarios)}")
    click.echo(f"  what:       {bad.reason}")
    click.echo(f"  last good:  {spelt(found.good)}")
    click.echo(f"  reproducer: {again}")
    if json_file is not None:
        report = asdict(found) | {
            "schema": 1,
            "kind": kind,
            "sign": hunt.sign,
            "gone": hunt.gone,
            "reproducer": again,
        }
        write_json(json_file, report)
