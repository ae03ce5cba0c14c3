"""The build under test, for campaigns."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.machine.build import Build, probe


@pytest.fixture(scope="session")
def build(qemu: Path) -> Build:
    return probe(qemu)
