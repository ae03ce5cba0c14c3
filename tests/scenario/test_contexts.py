"""Scenarios in another context."""

from __future__ import annotations

import pytest

from rig.program import MachineOptions
from rig.scenario import contexts
from rig.scenario.errors import BadScenario
from rig.scenario.loader import select
from rig.scenario.script import Scenario


def scenario(name: str, machine: MachineOptions = MachineOptions()) -> Scenario:
    return Scenario(name, "does something", lambda stage: iter(()), machine)  # type: ignore[arg-type, return-value]


def test_a_context_changes_the_machine_and_the_id() -> None:
    varied = contexts.context("le").apply(scenario("memop/limits/first", MachineOptions(memory=256)))
    assert varied is not None
    assert varied.name == "memop/limits/first@le"
    assert varied.machine == MachineOptions(memory=256, endian="little")


@pytest.mark.parametrize(
    "given",
    [
        scenario("agreement/views/memory"),
        scenario("memop/limits/first", MachineOptions(endian="little")),
    ],
)
def test_some_scenarios_cannot_be_in_a_context(given: Scenario) -> None:
    assert contexts.context("le").apply(given) is None


def test_unknown_contexts_are_refused_by_name() -> None:
    with pytest.raises(BadScenario, match="no context 'el'; there are le, hash, radix"):
        select(["memop@el"])


def test_a_pattern_selects_in_a_context() -> None:
    plain = select(["memop/alignment"])
    assert [one.name for one in select(["memop/alignment@radix"])] == [f"{one.name}@radix" for one in plain]
    assert all(one.machine.translation == "radix" for one in select(["memop/alignment@radix"]))


def test_everything_includes_what_each_context_always_has() -> None:
    names = {one.name for one in select()}
    assert {"memop/alignment/bytes@le", "memop/alignment/bytes@hash", "memop/alignment/bytes@radix"} <= names
    assert not any(name.startswith("memop/large/") and "@" in name for name in names)


def test_every_folder_of_a_context_has_scenarios() -> None:
    for context in contexts.CONTEXTS:
        for folder in context.always:
            assert select([f"{folder}@{context.name}"])
