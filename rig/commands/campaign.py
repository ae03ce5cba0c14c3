"""``rig campaign``: generated programs by the million, judged as they run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, RunError, find_builds, json_option, qemu_option

if TYPE_CHECKING:
    from rig.campaign.campaign import Spec
    from rig.campaign.tally import Folder, Tally

ENGINES = {"memop": ("memop",), "rtas": ("rtas",), "all": ("memop", "rtas")}
#: calls of each engine when neither --calls nor --seconds says
CALLS = 1_000_000
#: seconds from one line of progress to the next where no terminal shows a bar
LINE = 10.0


@click.command("campaign")
@click.argument("what", type=click.Choice(list(ENGINES)), default="memop")
@qemu_option
@click.option("--calls", type=click.IntRange(1), help=f"Calls of each engine [default: {CALLS}].")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Seconds for each engine instead.")
@click.option("--seed", type=click.IntRange(0, (1 << 64) - 1), default=0, show_default=True)
@click.option(
    "--first",
    type=click.IntRange(0, (1 << 63) - 1),
    default=0,
    show_default=True,
    help="Number of the batch to begin with.",
)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Machines at once.")
@click.option(
    "--mix", default="default", show_default=True, help="Kind of memory calls: default or smallest."
)
@click.option("--slow", is_flag=True, help="Also legal calls that occupy QEMU for seconds or minutes.")
@json_option("Write the sums as JSON here.")
@click.option(
    "--save", type=click.Path(path_type=Path), help="Folder for findings as scenario files, and the journal."
)
@click.option("--scheduler", metavar="ADDRESS", help="Run on the dask.distributed cluster of this scheduler.")
@click.option("--resume", is_flag=True, help="Continue the campaign whose journal is in the --save folder.")
def command(
    what: str,
    qemus: tuple[str, ...],
    calls: int | None,
    seconds: float | None,
    seed: int,
    first: int,
    jobs: int,
    mix: str,
    slow: bool,
    json_file: Path | None,
    save: Path | None,
    scheduler: str | None,
    resume: bool,
) -> int:
    """Run generated programs on a build and report what differs from the contract, made small.

    memop: the memory calls, by the million; rtas: RTAS services and mixed programs; all: one after the other.

    Seed and number fix a batch for ever: --seed, --first and --calls run any slice of a campaign again.
    """
    from rig.campaign.campaign import Spec
    from rig.campaign.cluster import NoCluster
    from rig.campaign.mix import MIXES
    from rig.machine.errors import MachineError
    from rig.report.files import write_json

    mix = "slow" if slow else mix
    if mix not in MIXES:
        raise InvalidInput(f"no mix {mix}: there are {', '.join(MIXES)}")
    if resume and save is None:
        raise InvalidInput("--resume needs the --save folder of the campaign to continue")
    if seconds is not None and not isfinite(seconds):
        raise InvalidInput(f"--seconds {seconds} is no length of time")
    builds = find_builds(qemus)
    if len(builds) != 1:
        raise InvalidInput("a campaign runs on one build: name one --qemu")
    specs = [Spec(builds[0], engine, seed, mix) for engine in ENGINES[what]]
    limit = CALLS if calls is None and seconds is None else calls
    folder = _folder(save, specs[0], first, resume)
    try:
        tally, interrupted = _run(specs, first, limit, seconds, jobs, folder, scheduler)
    except NoCluster as error:
        raise InvalidInput(str(error)) from error
    except MachineError as error:
        raise RunError(str(error)) from error
    finally:
        if folder is not None:
            folder.close()
    if json_file is not None:
        write_json(json_file, tally.as_json(seed, first))
    _show(tally, specs)
    return tally.exit_code(interrupted=interrupted)


def _folder(save: Path | None, spec: Spec, first: int, resume: bool) -> Folder | None:
    if save is None:
        return None
    from rig.campaign.tally import BadJournal, Folder

    header = {
        "schema": 3,
        "sha256": spec.build.sha256,
        "seed": spec.seed,
        "mix": spec.mix,
        "first": first,
    }
    try:
        return Folder(save, header, resume=resume)
    except (BadJournal, OSError) as error:
        raise InvalidInput(f"cannot keep the campaign in {save}: {error}") from error


def _run(
    specs: Sequence[Spec],
    first: int,
    calls: int | None,
    seconds: float | None,
    jobs: int,
    folder: Folder | None,
    scheduler: str | None,
) -> tuple[Tally, bool]:
    """Run every engine; the sums, and whether the user interrupted."""
    from rig.campaign import cluster
    from rig.campaign.campaign import Plan, run
    from rig.campaign.tally import Tally, as_yaml, told

    tally = folder.tally if folder else Tally()
    before = tally.seconds
    began = last = time.monotonic()
    with _progress(calls and calls * len(specs), seconds and seconds * len(specs)) as advance:
        try:
            for spec in specs:
                done = folder.done.get(spec.engine, {}) if folder else {}
                plan = Plan(spec.batch_size, calls, seconds, done, first=first)
                for report in cluster.run(spec, plan, scheduler) if scheduler else run(spec, plan, jobs):
                    now = time.monotonic()
                    for finding in report.findings:
                        if finding.signature not in tally.findings:
                            kept = folder.keep(spec.engine, finding) if folder else told(spec.engine, finding)
                            tally.findings[finding.signature] = kept
                            if not folder:
                                click.echo(as_yaml(finding))
                    # After its findings: a batch whose line is there is not run again.
                    if folder is not None:
                        folder.add(spec.engine, report, plan.given[report.batch], now - last)
                    last = now
                    tally.add(report)
                    tally.seconds = before + now - began
                    advance(tally)
        except KeyboardInterrupt:
            return tally, True
    return tally, False


@contextmanager
def _progress(calls: int | None, seconds: float | None) -> Iterator[Callable[[Tally], None]]:
    """A bar with rate, findings and time left where a person looks; now and then a line elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    began = time.monotonic()
    if not sys.stderr.isatty() or os.environ.get("CI"):
        shown = began

        def line(tally: Tally) -> None:
            nonlocal shown
            if time.monotonic() - shown >= LINE:
                shown = time.monotonic()
                click.echo(_words(tally), err=True)

        yield line
        return
    columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=calls or seconds)

        def update(tally: Tally) -> None:
            done = tally.calls if calls else time.monotonic() - began
            bar.update(task, completed=done, description=_words(tally))

        yield update


def _words(tally: Tally) -> str:
    found = f", {len(tally.findings)} findings" if tally.findings else ""
    return f"{tally.calls:,} calls, {tally.rate:,.0f}/s{found}"


def _show(tally: Tally, specs: Sequence[Spec]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]QEMU {escape(specs[0].build.version_text)}[/]")
    by_engine = {spec.engine: spec for spec in specs}
    for signature, found in tally.findings.items():
        console.print(f"  [red]mismatch[/] {escape(signature)} ({_calls(tally.mismatches[signature])})")
        console.print(f"      {escape(found.summary)}")
        if found.program:
            console.print(f"      replay: rig replay {escape(found.program)}  ({_calls(found.calls)})")
        console.print(f"      seen first by {_again(by_engine[found.engine], found.batch)}")
    for error in tally.errors[:10]:
        console.print(f"  [red]error[/] {escape(error)}")
    for name, count in sorted(tally.deviations.items()):
        console.print(f"  [yellow]deviation[/] {escape(name)} ({_calls(count)})")
    console.print(
        f"  {tally.calls} calls in {tally.seconds:.1f} s: {tally.rate:,.0f} verified calls a second"
    )


def _again(spec: Spec, batch: int) -> str:
    """The command that runs one batch of a campaign."""
    mix = "" if spec.mix == "default" else f" --mix {spec.mix}"
    return f"rig campaign {spec.engine}{mix} --seed {spec.seed} --first {batch} --calls {spec.batch_size}"


def _calls(count: int) -> str:
    return f"{count} call{'s' if count != 1 else ''}"
