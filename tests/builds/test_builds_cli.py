"""``rig builds`` as a user types it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rig.builds.cli import builds
from rig.builds.describe import NoAnswer, describe
from rig.builds.store import Resolved


def rig_builds(*arguments: str | Path) -> Result:
    return CliRunner().invoke(builds, [str(word) for word in arguments])


def test_an_empty_store_says_what_can_be_fetched() -> None:
    done = rig_builds("list")
    assert done.exit_code == 0
    assert "rig builds fetch: debian:bullseye, debian:bookworm," in done.output


def test_an_added_build_is_listed_with_what_it_is(qemu: Path) -> None:
    found = describe(Resolved((str(qemu),), None, ""))
    done = rig_builds("add", qemu)
    assert done.exit_code == 0, done.output
    name = f"qemu-{found.version.split()[0]}"
    assert done.output.startswith(f"{name} is {found.version} at {qemu}")
    (line,) = [line for line in rig_builds("list").output.splitlines() if line.startswith(name)]
    for column in (found.version, found.sha256[:12], found.machine, found.cpu):
        assert column in line
    assert found.sha256 == hashlib.sha256(qemu.read_bytes()).hexdigest()
    assert found.machine.startswith("pseries-")
    assert found.cpu.startswith("power")


def test_the_firmware_of_a_named_folder_is_listed(qemu: Path, tmp_path: Path) -> None:
    (tmp_path / "slof.bin").write_bytes(b"SLOF")
    assert rig_builds("add", qemu, "--name", "mine", "--data-dir", tmp_path).exit_code == 0
    assert hashlib.sha256(b"SLOF").hexdigest()[:12] in rig_builds("list").output


def test_a_build_that_went_away_is_listed_as_unusable(qemu: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    assert rig_builds("add", qemu, "--name", "mine", "--data-dir", gone).exit_code == 0
    gone.rmdir()
    done = rig_builds("list")
    assert done.exit_code == 0
    assert f"unusable: mine is not whole, {gone} is missing" in done.output


def test_a_binary_that_is_no_qemu_is_not_added() -> None:
    done = rig_builds("add", "/bin/true")
    assert done.exit_code == 4
    assert "/bin/true is not a QEMU" in done.output


@pytest.mark.parametrize(
    ("name", "code"), [("debian:sid", 3), ("debian:", 3), ("trixie", 4), ("/usr/bin/true", 4)]
)
def test_a_suite_that_does_not_exist_is_an_error_and_another_name_invalid_input(name: str, code: int) -> None:
    done = rig_builds("fetch", name)
    assert done.exit_code == code
    assert "choose one of debian:bullseye" in done.output


def test_a_host_that_cannot_fetch_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = rig_builds("fetch", "debian:trixie")
    assert done.exit_code == 3
    assert "no apt-get" in done.output


def test_a_binary_without_pseries_cannot_be_described(tmp_path: Path) -> None:
    fake = tmp_path / "qemu"
    fake.write_text(
        '#!/bin/sh\ncase "$*" in\n*version*) echo "QEMU emulator version 1.2.3";;\n'
        '*help*) echo "pseries  a machine";;\n*) echo oops >&2; exit 1;;\nesac\n'
    )
    fake.chmod(0o755)
    with pytest.raises(NoAnswer, match=r"no machine with the alias pseries: exit status 1, 'oops'"):
        describe(Resolved((str(fake),), None, ""))
