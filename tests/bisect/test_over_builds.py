"""``rig bisect --builds``: Debian's own builds, and programs that start the QEMU under test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import XIVE, Rig


def start(folder: Path, qemu: Path, name: str, machine: str = "", text: str = "") -> str:
    path = folder / name
    path.write_text(f'#!/bin/sh\n# {name}\n{text}\nexec {qemu} "$@" {machine}\n')
    path.chmod(0o755)
    return str(path)


def test_names_the_first_bad_build(rig: Rig, scenario: Path, tmp_path: Path, qemu: Path) -> None:
    builds = [start(tmp_path, qemu, f"good-{number}") for number in range(3)]
    builds.insert(2, start(tmp_path, qemu, "broken", text="exit 1"))
    builds += [start(tmp_path, qemu, f"bad-{number}", XIVE) for number in range(3)]
    done = rig("bisect", scenario, "--builds", ",".join(builds), "--expect", "skipped")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the first bad build is {tmp_path}/bad-0\n" in done.stdout
    assert f"last good:  {tmp_path}/good-2\n" in done.stdout
    assert f"reproducer: rig run {scenario} --qemu {tmp_path}/bad-0\n" in done.stdout


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["bad-0", "bad-1"], "bad-0, given as good, is bad"),
        (["good-0", "good-1"], "good-1, given as bad, is good"),
        (["broken", "bad-0"], "broken, given as good, cannot be tested"),
    ],
)
def test_wrong_ends(
    rig: Rig, scenario: Path, tmp_path: Path, qemu: Path, names: list[str], words: str
) -> None:
    builds = [
        start(
            tmp_path,
            qemu,
            name,
            XIVE if name.startswith("bad") else "",
            "exit 1" if name == "broken" else "",
        )
        for name in names
    ]
    done = rig("bisect", scenario, "--builds", ",".join(builds), "--expect", "skipped")
    assert done.returncode == 4, done.stdout + done.stderr
    assert words in done.stderr


@pytest.mark.parametrize("option", ["--good", "--bad", "--build", "--binary"])
def test_what_is_for_commits_is_not_passed_over(rig: Rig, scenario: Path, option: str) -> None:
    done = rig("bisect", scenario, "--builds", "a,b", option, "word")
    assert done.returncode == 4
    assert "go with --source, not with --builds" in done.stderr


@pytest.mark.network
@pytest.mark.parametrize(
    ("scenario", "sign", "first"),
    [
        ("rtas/fadump/properties", ("--gone", "skipped"), "debian:trixie-backports"),
        ("releases/waiting/joined", ("--gone", "cpu-waiting-is-stopped"), "debian:trixie"),
        ("releases/known/entry-order", ("--gone", "entry-64-bit"), "debian:bookworm"),
        ("rtas/ddw/query", ("--expect", "ddw-page-size-2m"), "debian:bookworm"),
    ],
)
def test_debian_builds_are_told_apart(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, scenario: str, sign: tuple[str, str], first: str
) -> None:
    """ibm,configure-kernel-dump came with 10.2, the state "stopped" got its own flag after 7.2."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    suites = ["debian:bullseye", "debian:bookworm", "debian:trixie", "debian:trixie-backports"]
    fetched = rig("builds", "fetch", *suites)
    assert fetched.returncode == 0, fetched.stderr
    done = rig("bisect", scenario, "--builds", ",".join(suites), *sign)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the first bad build is {first}\n" in done.stdout
    assert f"reproducer: rig run {scenario} --qemu " in done.stdout
