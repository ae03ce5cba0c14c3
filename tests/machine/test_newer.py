"""The second build that a machine's state is to be moved to."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.machine.build import Build
from rig.program import MachineOptions, Requirement
from rig.runner import newer, unmet
from rig.scenario.script import Playing, Scenario, Stage


def nothing(_: Stage) -> Playing:
    """A scenario without steps."""
    yield from ()


MOVES = Scenario(
    "moves",
    "goes over to a newer build",
    nothing,
    machine=MachineOptions(machine="pseries-7.2"),
    requires=Requirement(newer=">=10.0"),
)


def build(version: tuple[int, int, int], *types: str) -> Build:
    text = ".".join(map(str, version))
    return Build(Path(f"/q/{text}"), ("/q",), version, text, "0" * 64, None, frozenset(types))


OLD = build((7, 2, 0), "pseries-7.2")


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        (build((10, 0, 0), "pseries-7.2", "pseries-10.0"), True),
        (build((10, 0, 0), "pseries-10.0"), False),
        (build((8, 0, 0), "pseries-7.2"), False),
    ],
)
def test_it_must_have_the_version_and_the_machine_type(other: Build, fits: bool) -> None:
    assert (newer(MOVES, [OLD, other]) == other) is fits
    assert (unmet(MOVES, OLD, [OLD, other]) == "") is fits


def test_a_machine_type_that_a_build_lacks_is_a_reason() -> None:
    assert "no machine type pseries-7.2" in unmet(MOVES, build((11, 1, 0), "pseries-11.1"))
