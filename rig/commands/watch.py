"""``rig watch``: judge the calls that a real guest makes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from rig.commands.common import InvalidInput, RunError, find_builds, qemu_option


@click.command("watch", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@qemu_option
@click.option("--memory", type=click.IntRange(128), default=512, show_default=True, help="RAM in MiB.")
@click.option(
    "--seconds", type=click.FloatRange(1), default=180.0, show_default=True, help="Time for the guest."
)
def command(arguments: tuple[str, ...], qemus: tuple[str, ...], memory: int, seconds: float) -> int:
    """Judge the calls of SLOF's boot with a VGA device, or of the guest that QEMU's ARGUMENTS start.

    ARGUMENTS follow --, as in: rig watch -- -kernel IMAGE.  SLOF is watched up to its prompt, another guest
    until it ends or the time is over, twice: the first time shows where it calls RTAS from.  Calls of RTAS
    are judged in full; of other hypercalls only the arguments are seen, and it is judged whether the
    contract permits them.
    """
    from rig.check.deviations import Deviations, load
    from rig.check.verdict import decide
    from rig.machine.errors import MachineError
    from rig.program import MachineOptions
    from rig.watch import LISTED, how, watch

    builds = find_builds(qemus)
    if len(builds) != 1:
        raise InvalidInput("watch one build at a time")
    (build,) = builds
    own = ("-device", "VGA,romfile=", "-prom-env", "auto-boot?=false")
    options = MachineOptions(memory=memory, arguments=arguments or own, firmware="slof")
    with tempfile.TemporaryDirectory(prefix="rig-watch-") as folder:
        try:
            seen = watch(build, options, Path(folder), seconds, prompt=not arguments)
        except MachineError as error:
            raise RunError(str(error)) from error
    opinion = decide("watch", seen.violations, Deviations(load(), build.version))
    click.echo(f"QEMU {build.version_text}: watched until {seen.ended}")
    for name, count in seen.calls.most_common():
        click.echo(f"  {count:>7}  {name}: {how(name, seen)}")
    for (service, status), count in sorted(seen.rtas.items()):
        click.echo(f"  {count:>7}  {service}: status {status}")
    judged, made = sum(seen.rtas.values()), seen.calls["H_RTAS"]
    if judged != made:
        click.echo(f"  only {judged} of {made} calls of RTAS were judged: the others came from elsewhere")
    for text, count in seen.illegal.most_common(LISTED):
        click.echo(f"  the guest may not make this call ({count} times): {text}")
    for name in opinion.deviations:
        click.echo(f"  deviation {name}")
    if seen.failure:
        click.echo(f"mismatch: QEMU failed under this guest: {seen.failure}")
        return 1
    if not seen.calls or (made and not judged):
        click.echo("skipped: no call was judged")
        return 5
    click.echo(f"{opinion.verdict}{': ' + opinion.reason if opinion.verdict == 'mismatch' else ''}")
    return 1 if opinion.verdict in ("mismatch", "fixed") else 0
