"""``rig run``: the main job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rig.commands.common import (
    InvalidInput,
    RunError,
    find_builds,
    find_scenarios,
    history_option,
    qemu_option,
)

if TYPE_CHECKING:
    from rig.history import History
    from rig.machine.build import Build
    from rig.report.result import Result
    from rig.report.session import Session
    from rig.scenario.script import Scenario


#: exit codes for meson: skipped, and error
MESON = {5: 77, 3: 99, 4: 99}


class _Run(click.Command):
    """With ``--meson`` another exit code, also for what is refused before anything is started."""

    def invoke(self, ctx: click.Context) -> Any:
        if not ctx.params.pop("meson"):
            return super().invoke(ctx)
        try:
            code = super().invoke(ctx)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        return MESON.get(code, code)


@click.command("run", cls=_Run)
@click.argument("scenarios", nargs=-1)
@qemu_option
@click.option("--machine", metavar="M", help="Machine type instead of each scenario's (pseries).")
@click.option("--cpu", metavar="C", help="CPU model instead of each scenario's (power9_v2.0).")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=min(4, os.cpu_count() or 1),
    show_default=True,
    help="Machines at once.",
)
@click.option("--isolate", is_flag=True, help="A fresh machine for each scenario.")
@click.option("--strict", is_flag=True, help="Known deviations fail too.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Order of the scenarios; 0 is as listed.",
)
@click.option(
    "--report",
    "report_dir",
    type=click.Path(path_type=Path),
    help="Folder for report.json, junit.xml and evidence.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write report.json here.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Also write JUnit XML here.")
@click.option("--tap", is_flag=True, help="TAP on standard output instead of the summary.")
@click.option("--meson", is_flag=True, help="Exit codes for meson: 77 skipped, 99 error.")
@click.option("--trace", "trace_file", type=click.Path(path_type=Path), help="JSON lines, one a judged step.")
@history_option
def command(
    scenarios: tuple[str, ...],
    qemus: tuple[str, ...],
    machine: str | None,
    cpu: str | None,
    jobs: int,
    isolate: bool,
    strict: bool,
    seed: int,
    report_dir: Path | None,
    json_file: Path | None,
    junit_file: Path | None,
    tap: bool,
    trace_file: Path | None,
    history_file: Path | None,
) -> int:
    """Run SCENARIOS (ids, folders or globs; all without any) on each build and judge them."""
    from rig.report.files import build_json, interrupted
    from rig.report.result import exit_code
    from rig.report.session import Session, print_summary, print_tap

    chosen = find_scenarios(scenarios)
    if seed:
        import random

        random.Random(seed).shuffle(chosen)
    builds = find_builds(qemus)
    check_options(builds, machine, cpu)
    try:
        session = Session.open(report_dir, json_file, junit_file, trace_file)
    except OSError as error:
        raise InvalidInput(f"cannot write the report: {error}") from error
    history = None if history_file is None else begin_history(history_file)
    with session:
        results, stopped = run_all(session, chosen, builds, machine, cpu, jobs, isolate, quiet=tap)
        command_line = " ".join(["rig", *sys.argv[1:]])
        unplayed = len(chosen) * len(builds) - len(results) if stopped else 0
        session.finish(builds, results, seed, machine or "pseries", cpu or "", command_line, unplayed)
    if history is not None:
        from rig.history import BadHistory

        described = [build_json(build, machine or "pseries", cpu or "") for build in builds]
        try:
            history.append(described, results, seed, command_line)
        except BadHistory as error:
            raise RunError(str(error)) from error
    if tap:
        print_tap(results, builds, unplayed)
    else:
        print_summary(results, builds, report_dir)
        if stopped:
            click.echo(interrupted(unplayed))
    return exit_code(results, strict, stopped)


def begin_history(file: Path) -> History:
    """The history to add to, seen to be usable before anything is started; raises :class:`InvalidInput`."""
    from rig.history import BadHistory, History

    history = History(file)
    try:
        history.begin()
    except BadHistory as error:
        raise InvalidInput(str(error)) from error
    return history


def check_options(builds: list[Build], machine: str | None, cpu: str | None) -> None:
    """Refuse a CPU model that a build does not know, and a name that no machine type has.

    A machine type of another release is none of that: what would run on it is skipped.  Raises
    :class:`InvalidInput`.
    """
    from rig.machine.build import cpus, release

    for build in builds:
        if cpu is not None and cpu.split(",")[0] not in (known := cpus(build)):
            raise InvalidInput(f"{build.path} knows no CPU {cpu}; it knows {', '.join(sorted(known))}")
    if machine is None or release(machine):
        return
    known_types = sorted(
        {one for build in builds for one in build.machine_types if one.startswith("pseries")}
    )
    if machine.split(",")[0] not in known_types:
        raise InvalidInput(f"no build knows machine type {machine}; they know {', '.join(known_types)}")


def run_all(
    session: Session,
    chosen: list[Scenario],
    builds: list[Build],
    machine: str | None,
    cpu: str | None,
    jobs: int,
    isolate: bool,
    quiet: bool = False,
) -> tuple[list[Result], bool]:
    """Run everything with progress; returns the results in order, and whether the user interrupted."""
    from rig.runner import Runner, Settings

    results: list[Result] = []
    settings = Settings(jobs, isolate, machine, cpu, evidence=session.evidence, observe=session.observe)
    runner = Runner(builds, settings)
    interrupted = False
    with session.progress(len(chosen) * len(builds), quiet) as advance:

        def on_result(result: Result) -> None:
            results.append(result)
            session.add(result)
            advance(result)

        try:
            runner.run(chosen, on_result)
        except KeyboardInterrupt:
            interrupted = True
    order = {scenario.name: position for position, scenario in enumerate(chosen)}
    return sorted(results, key=lambda result: (result.build, order[result.scenario])), interrupted
