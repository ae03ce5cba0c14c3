"""Git repositories whose commits change how a real QEMU is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

#: what the commits' machines have, or have not
SCENARIO = """\
scenarios:
  - name: xics
    summary: the services of the XICS interrupt controller
    requires: {services: ["ibm,get-xive"]}
    steps:
      - memop: {destination: 0x1000100, source: 0x1000000, esize: 3, count: 1}
"""
#: a machine without those services
XIVE = "-machine ic-mode=xive"
#: what a good commit builds, and what leaves nothing
WORKS = "mkdir -p build && install -m 755 start build/qemu-system-ppc64"
BINARY = "build/qemu-system-ppc64"


@dataclass
class Repository:
    """A repository at ``path``; ``commits`` by the names they were given."""

    path: Path
    qemu: Path
    commits: dict[str, str] = field(default_factory=dict)

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", "-C", self.path, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, name: str, machine: str = "", build: str = WORKS, start: str = "") -> str:
        """Commit a program that starts QEMU with further arguments, and how to "build" it."""
        start = start or f'exec {self.qemu} "$@" {machine}'
        (self.path / "start").write_text(f"#!/bin/sh\n# {name}\n{start}\n")
        (self.path / "make.sh").write_text(f"{build}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", name)
        self.commits[name] = self.git("rev-parse", "HEAD")
        return self.commits[name]

    def state(self) -> list[str]:
        """Everything of the user's that a bisection must leave alone."""
        return [
            self.git("rev-parse", "HEAD"),
            self.git("symbolic-ref", "HEAD"),
            self.git("status", "--porcelain"),
            self.git("for-each-ref"),
            self.git("worktree", "list"),
        ]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is kept in the user's cache, and git does not read the user's settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Nobody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "nobody@localhost")
    return tmp_path / "cache" / "spapr-rig" / "bisect"


Rig = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Runs ``rig`` in a process of its own, in a folder that is not the rig's."""

    def run(*words: object, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*words), cwd=cwd, env=environment(), capture_output=True, text=True, check=False
        )

    return run


def command(*words: object) -> list[str]:
    """The words that start this rig anywhere."""
    return [sys.executable, "-m", "rig", *map(str, words)]


def environment() -> dict[str, str]:
    """Where it finds itself."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def repository(tmp_path: Path, qemu: Path) -> Repository:
    path = tmp_path / "source"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", path], check=True)
    return Repository(path, qemu)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "interrupts.yaml"
    path.write_text(SCENARIO)
    return path
