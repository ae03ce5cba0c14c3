"""Building commits and keeping their binaries."""

from __future__ import annotations

import os
import select
import shutil
import stat
from pathlib import Path

import pytest

from rig.bisect.commits import Binaries, BuildFailed, Recipe

COMMIT = "c0ffee" * 6 + "c0ff"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


def binaries(tmp_path: Path, command: str, binary: str = "out/qemu", timeout: float = 60) -> Binaries:
    return Binaries(tmp_path / "kept", Recipe(command, binary, timeout))


def kept(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_build_is_kept_with_its_firmware_where_qemu_looks_for_it(tmp_path: Path, source: Path) -> None:
    (source / "pc-bios").mkdir()
    for name in ("slof.bin", "efi-virtio.rom", "skiboot.lid"):
        (source / "pc-bios" / name).write_text(name)
    cache = binaries(tmp_path, "mkdir out; echo built > out/qemu; chmod 755 out/qemu")
    assert cache.get(COMMIT) is None
    binary = cache.make(COMMIT, source)
    assert cache.get(COMMIT) == binary
    assert binary.read_text() == "built\n"
    assert binary.stat().st_mode & stat.S_IXUSR
    data = binary.parent.parent / "share" / "qemu"
    assert sorted(path.name for path in data.iterdir()) == ["efi-virtio.rom", "slof.bin"]


def test_another_command_or_binary_is_another_build(tmp_path: Path, source: Path) -> None:
    binaries(tmp_path, "mkdir out; echo > out/qemu").make(COMMIT, source)
    assert binaries(tmp_path, "make").get(COMMIT) is None
    assert binaries(tmp_path, "mkdir out; echo > out/qemu", "out/other").get(COMMIT) is None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo oh dear >&2; exit 3", r"ended with status 3; it said last: 'oh dear' \(all of it: .*\.log\)"),
        ("true", "left no out/qemu; it said nothing"),
        ("mkdir -p out/qemu", "left no out/qemu"),
        ("exec sleep 600", "did not end within 1 s"),
    ],
)
def test_a_build_that_fails_leaves_nothing_but_its_log(
    tmp_path: Path, source: Path, command: str, words: str
) -> None:
    cache = binaries(tmp_path, command, timeout=1 if "sleep" in command else 60)
    with pytest.raises(BuildFailed, match=words):
        cache.make(COMMIT, source)
    assert cache.get(COMMIT) is None
    assert all(name.endswith(f"{COMMIT}.log") for name in kept(tmp_path / "kept"))


def test_the_binary_of_the_commit_before_is_not_taken_for_this_one(tmp_path: Path, source: Path) -> None:
    (source / "out").mkdir()
    (source / "out" / "qemu").write_text("old")
    with pytest.raises(BuildFailed, match="left no out/qemu"):
        binaries(tmp_path, "true").make(COMMIT, source)


def test_what_a_build_leaves_running_is_ended(tmp_path: Path, source: Path) -> None:
    os.mkfifo(source / "alive")
    reader = os.open(source / "alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        binaries(tmp_path, "mkdir out; exec 3> alive; sleep 600 & echo > out/qemu").make(COMMIT, source)
        hung_up = select.poll()
        hung_up.register(reader, select.POLLHUP)
        # whoever holds the other end is gone
        assert hung_up.poll(10_000) == [(reader, select.POLLHUP)]
    finally:
        os.close(reader)


def test_a_copy_that_fails_leaves_nothing_half_written(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = binaries(tmp_path, "mkdir -p out; echo built > out/qemu")

    def full(source: Path, target: Path) -> None:
        target.write_text("bui")
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(OSError, match="No space left"):
            cache.make(COMMIT, source)
    assert cache.get(COMMIT) is None
    assert not [name for name in kept(cache.folder) if name != ".lock"]
    assert cache.make(COMMIT, source).read_text() == "built\n"


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path, source: Path) -> None:
    cache = binaries(tmp_path, "mkdir -p out; echo built > out/qemu")
    partial = cache.folder / ".new-0000"
    partial.mkdir(parents=True)
    cache.make(COMMIT, source)
    assert not partial.exists()
