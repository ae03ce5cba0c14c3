"""``rig explain``: the contract of a hypercall or RTAS service, who tests it, and what is known of it."""

from __future__ import annotations

import difflib

import click

from rig.commands.common import InvalidInput


@click.command("explain")
@click.argument("name")
def command(name: str) -> None:
    """Print the contract of NAME (H_LOGICAL_MEMOP, 0xf001, get-time-of-day), its scenarios and deviations."""
    from rig.check.deviations import load
    from rig.model.dispatch import installed
    from rig.model.rtas.families import SERVICES
    from rig.model.rtas.unseen import why
    from rig.scenario.loader import select

    calls = list(installed())
    hypercall = next((one for one in calls if name.upper() == one.name or _number(name) == one.opcode), None)
    service = SERVICES.get(name)
    if hypercall is None and service is None:
        known = [*(one.name for one in calls), *SERVICES]
        near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {', '.join(near)}?" if near else "known are " + ", ".join(known)
        raise InvalidInput(f"no hypercall or RTAS service {name}: {hint}")
    if hypercall is not None:
        title, about = f"{hypercall.name} ({hypercall.opcode:#x})", hypercall.name
        text, source, requirements = hypercall.text, hypercall.source, hypercall.requirements
        arguments = hypercall.arguments
    else:
        assert service is not None
        shapes = " or ".join(f"{nargs}/{nret}" for nargs, nret in service.shapes)
        title, about = f"{service.name} (RTAS, {shapes} cells in/out)", service.name
        text, source, requirements = service.text, service.source, service.requirements
        arguments = service.arguments
    click.secho(title, bold=True)
    click.echo(text.strip())
    click.echo(f"\nSource: {source}")
    if requirements:
        click.echo(f"Requirements: {', '.join(requirements)}")
    for argument in arguments:
        click.echo(f"  {argument.name:<16} {argument.kind}  {argument.text}".rstrip())
    if service is not None:
        click.echo(f"  results: {', '.join(('status', *service.results))}")
        click.echo("  statuses:")
        for status in sorted(service.statuses, reverse=True):
            click.echo(f"    {status:<6} {why(service.name, status)}".rstrip())
    scenarios = {scenario.name for scenario in select(()) if scenario.calls(about)}
    click.echo("\nScenarios:")
    for scenario in sorted(scenarios):
        click.echo(f"  {scenario}")
    every = {*(one.name for one in calls), *SERVICES}
    click.echo("\nDeviations:")
    for deviation in load():
        named = {call for match in deviation.match for call in match.call}
        # One that names no call is about every call that its scenario makes.
        if about in named or (deviation.scenario in scenarios and not named & every):
            click.echo(f"  {deviation.id} ({deviation.severity}, {deviation.when}): {deviation.summary}")
            click.echo(f"    {deviation.citation}")


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
