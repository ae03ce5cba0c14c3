"""``rig ab``: the same scenarios on two builds against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, find_builds, find_scenarios, json_option, qemu_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rig.ab.opinion import Opinion
    from rig.ab.session import Compared
    from rig.machine.build import Build

#: differences of one scenario that are shown
SHOWN = 12


@click.command("ab")
@click.argument("scenarios", nargs=-1)
@qemu_option
@click.option(
    "--jobs", type=click.IntRange(1, 32), default=1, show_default=True, help="Pairs of machines at once."
)
@click.option("--strict", is_flag=True, help="Differences that known deviations explain fail too.")
@json_option("Also write the differences here.")
def command(
    scenarios: tuple[str, ...], qemus: tuple[str, ...], jobs: int, strict: bool, json_file: Path | None
) -> int:
    """Run SCENARIOS (all without any) on two builds, --qemu A --qemu B, and compare what they leave behind.

    Registers, events, console and every page of RAM are compared without the model. Then the model says who
    is right: exit code 1 when a build is wrong and no known deviation explains it.
    """
    from rig.ab.session import run

    if len(qemus) != 2:
        raise click.UsageError("give two builds: --qemu A --qemu B")
    chosen = find_scenarios(scenarios)
    first, second = find_builds(qemus)
    compared: list[Compared] = []
    click.echo(f"A is QEMU {first.version_text} {first.path}\nB is QEMU {second.version_text} {second.path}")

    def on_compared(one: Compared) -> None:
        compared.append(one)
        show(one)

    try:
        run(chosen, (first, second), jobs, on_compared)
    except KeyboardInterrupt:
        click.echo("interrupted")
        return 2
    finally:
        if json_file is not None:
            write(json_file, (first, second), compared)
    click.echo(summary(compared))
    return exit_code(compared, strict)


def show(one: Compared) -> None:
    """The differences of one scenario, and who is right."""
    if one.error:
        click.echo(f"error {one.scenario}")
        for line in one.error.splitlines():
            click.echo(f"      {line}")
    if not one.differences:
        return
    click.echo(one.scenario)
    last: tuple[int, Opinion] | None = None
    for difference, opinion in one.differences[:SHOWN]:
        if last is not None and last[0] != difference.step:
            click.echo(f"      {verdict(last[1])}")
        click.echo(
            f"  step {difference.step} {difference.call}: {difference.what}\n"
            f"      A {difference.first}\n      B {difference.second}"
        )
        last = difference.step, opinion
    if last is not None:
        click.echo(f"      {verdict(last[1])}")
    if len(one.differences) > SHOWN:
        click.echo(f"  and {len(one.differences) - SHOWN} more differences")


def verdict(opinion: Opinion) -> str:
    """The model's opinion as a sentence."""
    words = {
        "both": "the contract permits both",
        "first": "A is right, B is wrong",
        "second": "B is right, A is wrong",
        "neither": "both are wrong",
        "unknown": "the model cannot tell",
    }[opinion.right]
    known = f" ({', '.join(opinion.deviations)})" if opinion.deviations else ""
    return f"-> {words}{known}" + (f": {opinion.reason}" if opinion.reason else "")


def summary(compared: Sequence[Compared]) -> str:
    """Why anything was skipped, and the counts."""
    skipped = Counter(one.skipped for one in compared if one.skipped)
    lines = [f"skipped {count}: {reason}" for reason, count in sorted(skipped.items())]
    differing = [one for one in compared if one.differences]
    wrong = sum(one.unexplained for one in differing)
    known = sum(one.deviates and not one.unexplained for one in differing)
    same = sum(not (one.differences or one.skipped or one.error) for one in compared)
    counts = (
        f"{same} alike, {len(differing)} differ ({wrong} wrong, {known} by known deviations, "
        f"{len(differing) - wrong - known} permitted), {skipped.total()} skipped, "
        f"{sum(bool(one.error) for one in compared)} errors; {sum(one.steps for one in compared)} steps"
    )
    return "\n".join([*lines, counts])


def exit_code(compared: Sequence[Compared], strict: bool) -> int:
    """0 alike or permitted, 1 a build is wrong, 3 an error, 5 nothing was compared."""
    if any(one.error for one in compared):
        return 3
    if any(one.unexplained or (strict and one.deviates) for one in compared):
        return 1
    return 5 if all(one.skipped for one in compared) else 0


def write(path: Path, builds: Sequence[Build], compared: Sequence[Compared]) -> None:
    """Everything as JSON."""
    from rig.report.files import build_json, write_json

    results = [
        {
            "scenario": one.scenario,
            "steps": one.steps,
            "skipped": one.skipped,
            "error": one.error,
            "differences": [asdict(difference) | asdict(opinion) for difference, opinion in one.differences],
        }
        for one in compared
    ]
    report = {"schema": 1, "builds": [build_json(build, "", "") for build in builds], "results": results}
    try:
        write_json(path, report)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
