"""``rig bisect-step``: 0, 1, 125 and 128, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rig.bisect.drive import GUARD

from .conftest import XIVE, Repository, Rig


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "qemu-system-ppc64"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("machine", "code", "said"), [("", 0, " is good"), (XIVE, 1, " is bad")])
def test_good_and_bad(
    rig: Rig, scenario: Path, tmp_path: Path, qemu: Path, machine: str, code: int, said: str
) -> None:
    binary = program(tmp_path, f'exec {qemu} "$@" {machine}')
    done = rig("bisect-step", scenario, "--qemu", binary, "--expect", "skipped")
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--qemu", "{binary}"], "is not a QEMU"),
        (["--qemu", "/nonexistent"], "does not exist"),
        (["--qemu", "{qemu}", "--expect", "mismatch"], "everything was skipped"),
    ],
)
def test_what_cannot_be_tested_is_125(
    rig: Rig, tmp_path: Path, qemu: Path, words: list[str], said: str
) -> None:
    never = tmp_path / "never.yaml"
    never.write_text(
        "scenarios:\n"
        "  - {name: a, summary: b, requires: {versions: '>=99'}, steps: [{host: {command: stop}}]}\n"
    )
    binary = program(tmp_path, "echo hello")
    done = rig("bisect-step", never, *(word.format(binary=binary, qemu=qemu) for word in words))
    assert done.returncode == 125, done.stdout + done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument"),
        (["--no-such-option"], "No such option"),
        (["no/such/scenario", "--qemu", "x"], "no scenario is called"),
        (["{scenario}"], "give either --build or --qemu"),
        (["{scenario}", "--qemu", "x", "--expect", "nonsense"], "nothing that a scenario can show"),
        (["{scenario}", "--qemu", "x", "--control", "/nonexistent"], "/nonexistent does not exist"),
        (["{scenario}", "--build", "make"], "has no commit checked out"),
    ],
)
def test_what_is_no_fault_of_the_commit_is_128(rig: Rig, scenario: Path, words: list[str], said: str) -> None:
    done = rig("bisect-step", *(word.format(scenario=scenario) for word in words))
    assert done.returncode == 128, done.stdout + done.stderr
    assert said in done.stdout + done.stderr


def test_a_host_without_gdb_is_128(
    rig: Rig, scenario: Path, qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = tmp_path / "bin"
    only.mkdir()
    for name in ("setpriv", "git"):
        (only / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(only))
    monkeypatch.delenv("RIG_GDB", raising=False)
    done = rig("bisect-step", scenario, "--qemu", qemu)
    assert done.returncode == 128, done.stdout + done.stderr
    assert "no gdb was found" in done.stdout


def test_a_control_that_fails_as_well_is_128(rig: Rig, scenario: Path, tmp_path: Path, qemu: Path) -> None:
    """Both start without a machine and not with one, as when the host has no memory left."""
    broken = program(tmp_path, f'case "$*" in *-chardev*) exit 1;; esac; exec {qemu} "$@"')
    done = rig("bisect-step", scenario, "--qemu", broken)
    assert done.returncode == 125, done.stdout + done.stderr
    done = rig("bisect-step", scenario, "--qemu", broken, "--control", qemu)
    assert done.returncode == 125, "the control works: it is the build's fault"
    done = rig("bisect-step", scenario, "--qemu", broken, "--control", broken)
    assert done.returncode == 128, done.stdout + done.stderr
    assert "which worked before, fails as well" in done.stdout


def test_git_bisect_run_by_hand(rig: Rig, repository: Repository, scenario: Path) -> None:
    repository.commit("zero")
    for number in range(3):
        repository.commit(f"good {number}")
    for number in range(3):
        repository.commit(f"bad {number}", machine=XIVE)
    repository.git("bisect", "start", "main", repository.commits["zero"])
    home = str(Path(__file__).parents[2])
    start = f"import sys; sys.path.append({home!r}); import rig.cli; rig.cli.main()"
    step = [sys.executable, "-c", start, "bisect-step", str(scenario), "--build", "sh make.sh"]
    said = repository.git("bisect", "run", *step, "--expect", "skipped")
    assert f"{repository.commits['bad 0']} is the first bad commit" in said


def test_a_tree_with_other_changes_is_not_built_by_hand(
    rig: Rig, repository: Repository, scenario: Path
) -> None:
    repository.commit("one")
    (repository.path / "start").write_text("changed")
    done = rig("bisect-step", scenario, "--build", "sh make.sh", cwd=repository.path)
    assert done.returncode == 128
    assert "commit or stash changes" in done.stdout
    assert (repository.path / "start").read_text() == "changed"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("echo -n 0 > answer; exit 0", 0),
        ("echo -n 1 > answer; exit 1", 1),
        ("echo -n 125 > answer; exit 125", 125),
        ("exit 1", 128),
        ("exit 0", 128),
        ("exit 5", 128),
        ("exit 127", 128),
        ("echo -n 0 > answer; exit 1", 128),
        ("kill -9 $$", 128),
    ],
)
def test_only_a_code_that_the_step_wrote_down_reaches_git(tmp_path: Path, command: str, code: int) -> None:
    guard, answer = tmp_path / "guard.sh", tmp_path / "answer"
    guard.write_text(GUARD)
    answer.write_text("1")  # of the step before
    done = subprocess.run(
        ["sh", guard, answer, "sh", "-c", command], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == code
