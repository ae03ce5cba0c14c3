"""Machines of the QEMU under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.deadline import Deadline
from rig.machine.build import Build, probe
from rig.machine.machine import Machine
from rig.program import MachineOptions

SMALL = MachineOptions(memory=256)


@pytest.fixture(scope="session")
def build(qemu: Path) -> Build:
    return probe(qemu)


@pytest.fixture
def boot(build: Build, short_tmp: Path) -> Iterator[Callable[..., Machine]]:
    """Starts machines that end with the test."""
    machines: list[Machine] = []

    def start(options: MachineOptions = SMALL, **rest: Path) -> Machine:
        machine = Machine(build, options, short_tmp / f"m{len(machines)}", Deadline(30), **rest)
        machines.append(machine)
        machine.start()
        return machine

    yield start
    for machine in machines:
        machine.close()


@pytest.fixture(scope="module")
def shared(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine for a module's tests that leave it standing."""
    with Machine(build, SMALL, tmp_path_factory.mktemp("shared"), Deadline(30)) as machine:
        yield machine


@pytest.fixture
def machine(shared: Machine) -> Machine:
    """That machine as after a start."""
    shared.reset()
    return shared
