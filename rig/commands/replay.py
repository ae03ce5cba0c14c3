"""``rig replay``: one program file again, with the full trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, find_builds, qemu_option

if TYPE_CHECKING:
    from rig.check.judge import Judged
    from rig.machine.build import Build
    from rig.scenario.script import Scenario


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path))
@qemu_option
@click.option(
    "--trace", "trace_file", type=click.Path(path_type=Path), help="Also write the trace as JSON lines."
)
@click.option("--strict", is_flag=True, help="Known deviations fail too.")
def command(file: Path, qemus: tuple[str, ...], trace_file: Path | None, strict: bool) -> int:
    """Run the program in FILE again and show every step: arguments, result, what the contract permits."""
    from rig.pool import Pool
    from rig.report.result import Result, exit_code
    from rig.report.session import Session, print_summary
    from rig.runner import Runner, Settings, unmet
    from rig.scenario.file import load_file
    from rig.scenario.loader import BadScenario

    try:
        chosen = load_file(file)
    except BadScenario as error:
        raise InvalidInput(str(error)) from error
    builds = find_builds(qemus)
    results = []
    try:
        session = Session.open(None, None, None, trace_file)
    except OSError as error:
        raise InvalidInput(f"cannot write the trace: {error}") from error
    with session:

        def observe(scenario: Scenario, build: Build, judged: Judged) -> None:
            show(judged)
            if session.observe is not None:
                session.observe(scenario, build, judged)

        runner = Runner(builds, Settings(observe=observe))
        for index, build in enumerate(builds):
            with Pool() as pool:
                for scenario in chosen:
                    click.echo(f"{scenario.name} on QEMU {build.version_text}")
                    reason = unmet(scenario, build, builds)
                    skipped = Result(scenario.name, index, "skipped", reason=reason)
                    results.append(skipped if reason else runner.judge(scenario, index, pool))
    print_summary(results, builds, None)
    return exit_code(results, strict)


def show(judged: Judged) -> None:
    """One step in a few lines."""
    expectation, case, outcome = judged.expectation, judged.case, judged.outcome
    named = ", ".join(f"{name}={value:#x}" for name, value in expectation.arguments.items())
    result = f"r3={outcome.registers['r3']:#x}" if "r3" in outcome.registers else ""
    click.echo(
        f"  {judged.index:>4}  {expectation.call}({named})  {outcome.ending} {result}  case: {case.name}"
    )
    for cell in case.cells:
        click.echo(f"          {cell.what}: permitted {cell.permitted}")
    for event in outcome.events:
        click.echo(f"          event {event.name} {dict(event.data)}")
    for violation in judged.violations:
        click.echo(f"        ! {violation}")
