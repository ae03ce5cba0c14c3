"""Every RTAS service of every build at hand has a model and a scenario."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from rig.builds.store import Store, default_root, resolve
from rig.deadline import Deadline
from rig.machine.build import probe
from rig.machine.machine import Machine
from rig.model.rtas.families import SERVICES
from rig.program import MachineOptions, Rtas
from rig.resources import scenario_root
from rig.scenario.loader import load_all
from rig.scenario.script import Playing, Scenario, Stage


def uncovered(services: Iterable[str], scenarios: Iterable[Scenario]) -> dict[str, list[str]]:
    """The services without a model, and those that no scenario calls."""
    called = {one for scenario in scenarios for one in scenario.issues()}
    names = set(services)
    return {"model": sorted(names - SERVICES.keys()), "scenario": sorted(names - called)}


#: found now: while a test runs, the user's cache is another folder
STORE = Store(default_root())


@pytest.mark.parametrize("name", ["", *STORE.names()])
def test_nothing_that_a_build_lists_is_left_out(name: str, qemu: Path, short_tmp: Path) -> None:
    found = resolve(name or str(qemu), STORE)
    with Machine(probe(found.argv, found.data_dir), MachineOptions(), short_tmp, Deadline(30)) as machine:
        listed = machine.environment.tokens
    assert len(listed) >= 40
    assert uncovered(listed, load_all(scenario_root())) == {"model": [], "scenario": []}


def test_what_is_left_out_is_found() -> None:
    def play(_: Stage) -> Playing:
        yield Rtas("get-time-of-day")

    scenarios = [Scenario("a", "", play, issues=lambda: frozenset({"get-time-of-day"}))]
    assert uncovered(["get-time-of-day", "ibm,new-service", "nvram-fetch"], scenarios) == {
        "model": ["ibm,new-service"],
        "scenario": ["ibm,new-service", "nvram-fetch"],
    }
