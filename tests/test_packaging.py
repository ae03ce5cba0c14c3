"""The wheel and the source archive hold everything that an installed rig needs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(kind: str, into: Path) -> Path:
    """Build with the backend that is installed; nothing is downloaded."""
    done = subprocess.run(
        [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", into, ROOT],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = into.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The root of the built wheel."""
    return zipfile.Path(build("wheel", tmp_path_factory.mktemp("wheel")))


def files(wheel: zipfile.Path) -> set[str]:
    return {name for name in wheel.root.namelist() if not name.endswith("/")}


def in_tree(*folders: str) -> set[str]:
    """The files below the folders of the source tree that belong to the project."""
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".o"
    }


def test_every_module_is_inside_and_it_is_typed(wheel: zipfile.Path) -> None:
    assert in_tree("rig") <= files(wheel)
    assert "rig/py.typed" in files(wheel)


def test_scenarios_and_images_are_inside(wheel: zipfile.Path) -> None:
    data = in_tree("scenarios", "images")
    assert "images/PROTOCOL.md" in data
    assert {f"rig/_data/{name}" for name in data} <= files(wheel)


def test_nothing_else_is_inside(wheel: zipfile.Path) -> None:
    wanted = in_tree("rig") | {f"rig/_data/{name}" for name in in_tree("scenarios", "images")}
    surplus = {name for name in files(wheel) - wanted if ".dist-info/" not in name}
    assert not surplus


def test_the_entry_points_are_those_of_the_project(wheel: zipfile.Path) -> None:
    (info,) = [path for path in wheel.iterdir() if path.name.endswith(".dist-info")]
    text = (info / "entry_points.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group, entries in {"console_scripts": project["scripts"], **project["entry-points"]}.items():
        assert f"[{group}]" in text
        for name, place in entries.items():
            assert f"{name} = {place}" in text


def test_the_source_archive_can_be_set_up_and_tested(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert in_tree("rig", "scenarios", "images", "tests", "ci") <= names
    assert {"pyproject.toml", "LICENSE", "README.md", ".ci/run"} <= names
    assert not {name for name in names if name.startswith(".venv")}
