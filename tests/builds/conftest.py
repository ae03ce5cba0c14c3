"""A store of its own for each test, and an archive of Debian packages made by hand."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rig.builds.debian import Mirror
from rig.builds.store import Store


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: fetches from Debian's mirror")


@dataclass
class Archive:
    """A mirror at ``root``; ``mirror`` names it as one whose signatures are not checked."""

    root: Path
    packages: dict[str, dict[Path, str]] = field(default_factory=dict)

    @property
    def mirror(self) -> Mirror:
        return Mirror(f"file:{self.root}", keyring=None)

    def publish(self, suite: str) -> None:
        """Write the lists of a suite: every package that was added to it as it is now, perhaps none."""
        text = ""
        for path, control in self.packages.get(suite, {}).items():
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            text += f"{control}Filename: {path.name}\nSize: {len(content)}\nSHA256: {digest}\n\n"
        architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
        folder = self.root / "dists" / suite
        lists = f"main/binary-{architecture}/Packages"
        (folder / lists).parent.mkdir(parents=True, exist_ok=True)
        (folder / lists).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        (folder / "Release").write_text(
            f"Suite: {suite}\nCodename: {suite}\nArchitectures: {architecture}\nComponents: main\n"
            f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {digest} {len(text)} {lists}\n"
        )

    def add(self, suite: str, name: str, files: Mapping[str, Path | bytes], depends: str = "") -> Path:
        """Make a package of ``files``, by their path in it, and publish it; returns the package file."""
        tree = self.root / "trees" / name
        control = (
            f"Package: {name}\nVersion: 1:2.3\nArchitecture: all\nMaintainer: Nobody <nobody@localhost>\n"
        )
        control += f"Depends: {depends}\n" if depends else ""
        control += "Description: made by a test\n"
        for where, what in {"DEBIAN/control": control.encode(), **files}.items():
            path = tree / where
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(what if isinstance(what, bytes) else what.read_bytes())
            # every program has set-user-ID, as some in real dependencies do
            path.chmod(0o4755 if "/bin/" in where or "/ld" in where else 0o644)
        package = self.root / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, package],
            check=True,
            capture_output=True,
        )
        self.packages.setdefault(suite, {})[package] = control
        self.publish(suite)
        return package


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "builds")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")
