"""``rig list``: the scenarios, with what each needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from rig.commands.common import find_scenarios

if TYPE_CHECKING:
    from rig.program import MachineOptions
    from rig.scenario.script import Scenario


@click.command("list")
@click.argument("scenarios", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="JSON with machine options, needs and requirement ids.")
@click.option("--schema", is_flag=True, help="The JSON Schema of scenario files instead, for editors.")
def command(scenarios: tuple[str, ...], as_json: bool, schema: bool) -> None:
    """List SCENARIOS (ids, folders or globs; all without any), with what each needs."""
    if schema:
        from rig.scenario.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=1))
        return
    chosen = find_scenarios(scenarios)
    if as_json:
        click.echo(json.dumps([_entry(scenario) for scenario in chosen], indent=1))
        return
    width = max(len(scenario.name) for scenario in chosen)
    for scenario in chosen:
        needs = _needs(scenario)
        click.echo(f"{scenario.name:<{width}}  {scenario.summary}" + (f"  [{needs}]" if needs else ""))


def _needs(scenario: Scenario) -> str:
    """Everything that a build or a machine must have beyond the default, in words."""
    needs = scenario.requires
    words = [f"QEMU {needs.versions}"] if needs.versions else []
    words += [f"device {device}" for device in needs.devices]
    words += [f"service {service}" for service in needs.services]
    words += list(_changed(scenario.machine))
    return ", ".join(words)


def _changed(options: MachineOptions) -> list[str]:
    plain = asdict(type(options)())
    return [f"{name} {value}" for name, value in asdict(options).items() if value != plain[name]]


def _entry(scenario: Scenario) -> dict[str, object]:
    return {
        "name": scenario.name,
        "summary": scenario.summary,
        "machine": asdict(scenario.machine),
        "requires": asdict(scenario.requires),
        "requirements": list(scenario.requirements),
        "source": scenario.source,
        "line": scenario.line,
    }
