"""Which binaries can be judged, and that the answer is remembered without being trusted blindly."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rig.deadline import Deadline
from rig.machine import build as module
from rig.machine.build import BadBuild, cpus, devices, probe


@pytest.fixture(autouse=True)
def cache(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(short_tmp / "cache"))
    return short_tmp / "cache" / "spapr-rig" / "probed"


def script(folder: Path, text: str) -> Path:
    path = folder / "qemu-system-ppc64"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_real_build_is_described(qemu: Path) -> None:
    build = probe(qemu)
    assert build.path == qemu
    assert build.argv == (str(qemu),)
    assert build.version >= (5, 0, 0)
    assert build.version_text.startswith(".".join(map(str, build.version)))
    assert build.sha256 == hashlib.sha256(qemu.read_bytes()).hexdigest()
    assert "pseries" in build.machine_types
    assert {"spapr-vty", "spapr-pci-host-bridge"} <= devices(build)
    assert "power9_v2.0" in cpus(build)


def test_a_name_is_looked_up_on_path(qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{qemu.parent}:/usr/bin:/bin")
    assert probe(qemu.name).path == qemu


def test_a_prefix_starts_the_binary_that_ends_it(qemu: Path, short_tmp: Path) -> None:
    build = probe(["/usr/bin/env", str(qemu)], data_dir=short_tmp)
    assert build.argv == ("/usr/bin/env", str(qemu))
    assert build.path == qemu
    assert build.data_dir == short_tmp


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/nonexistent/qemu", "/nonexistent/qemu does not exist"),
        ("no-such-qemu-anywhere", "no-such-qemu-anywhere does not exist"),
        ("", "no QEMU was named"),
        ("/etc/passwd", "/etc/passwd is not executable"),
        ("/tmp", "/tmp is a directory"),
        ("/bin/true", "/bin/true is not a QEMU system emulator: to -version it says 'nothing'"),
        ("/bin/echo", "/bin/echo is not a QEMU system emulator: to -version it says '-version'"),
        ("/bin/false", "/bin/false is not a working QEMU: .* exit status 1"),
        (sys.executable, "is not a"),
    ],
)
def test_what_is_not_qemu_is_refused_by_name(path: str, text: str) -> None:
    with pytest.raises(BadBuild, match=text):
        probe(path)


def test_another_architectures_qemu_is_refused(short_tmp: Path) -> None:
    path = script(
        short_tmp,
        'case "$1" in -version) echo "QEMU emulator version 7.2.0";;\n'
        '*) echo "Supported machines are:"; echo "pc   Standard PC (alias of pc-i440fx-7.2)";\n'
        'echo "q35  Q35";; esac',
    )
    with pytest.raises(
        BadBuild, match=r"has no pseries machine \(it has pc, q35\): give a qemu-system-ppc64"
    ):
        probe(path)


def test_a_binary_that_does_not_answer_is_refused(short_tmp: Path) -> None:
    with pytest.raises(BadBuild, match=r"did not answer -\w+.* within 0\.2 s"):
        probe(script(short_tmp, "exec cat /dev/zero >/dev/null"), deadline=Deadline(0.2))


def test_a_file_that_is_no_program_is_refused(short_tmp: Path) -> None:
    path = short_tmp / "qemu-system-ppc64"
    path.write_bytes(b"\x7fELF then nothing")
    path.chmod(0o755)
    with pytest.raises(BadBuild, match="cannot be executed"):
        probe(path)


def test_a_second_probe_runs_nothing(qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe(qemu)
    monkeypatch.setattr(module, "_ask", lambda *_: pytest.fail("the binary was run again"))
    assert probe(qemu) == first


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"key": 1}'])
def test_a_damaged_cache_is_made_anew(qemu: Path, cache: Path, damage: str) -> None:
    first = probe(qemu)
    [entry] = cache.iterdir()
    entry.write_text(damage)
    assert probe(qemu) == first
    assert json.loads(entry.read_text())["sha256"] == first.sha256


def test_a_replaced_binary_is_probed_again(qemu: Path, short_tmp: Path) -> None:
    path = short_tmp / "qemu-system-ppc64"
    shutil.copy(qemu, path)
    probe(path)
    path.unlink()
    script(short_tmp, "echo hello")
    with pytest.raises(BadBuild, match="says 'hello'"):
        probe(path)


def test_a_cache_that_cannot_be_written_does_not_matter(qemu: Path, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    assert probe(qemu).version >= (5, 0, 0)


def test_probes_at_the_same_time_agree(qemu: Path, cache: Path) -> None:
    with ThreadPoolExecutor(4) as executor:
        assert len({probe.sha256 for probe in executor.map(probe, [qemu] * 4)}) == 1
    assert [path.suffix for path in cache.iterdir()] == [".json"]
