"""A copy of ``ci/`` beside a ``rig`` that is this one, and a set-up with nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: quick, and there on every build
ONE = "memop/outside/source-ram.end"


@dataclass(frozen=True, slots=True)
class Tree:
    """A checkout of the rig at ``path``; its ``.venv/bin`` is on the PATH."""

    path: Path
    qemu: Path

    def sh(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run shell commands at the root as a CI does; ``SPAPR_RIG_SCENARIOS`` is :data:`ONE`."""
        environment = {
            **os.environ,
            "PATH": f"{self.path / '.venv/bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "QEMU_TEST_QEMU_BINARY": str(self.qemu),
            "SPAPR_RIG_SCENARIOS": ONE,
            **variables,
        }
        return subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )


def program(path: Path, text: str) -> None:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def tree(tmp_path: Path, qemu: Path) -> Tree:
    path = tmp_path / "rig"
    shutil.copytree(ROOT / "ci", path / "ci")
    program(path / "ci/setup", "exit 0")
    program(path / ".venv/bin/rig", f'exec {sys.executable} -m rig "$@"')
    return Tree(path, qemu)
