"""Fetching: real apt and dpkg against an archive made by hand, and once against Debian's own."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from rig.builds.debian import (
    KEYRING,
    BuildBroken,
    DownloadFailed,
    FolderUnusable,
    Mirror,
    MirrorFailed,
    NoSuchSuite,
    ToolsMissing,
    fetch,
)
from rig.builds.describe import describe
from rig.builds.store import NotFetched, Store, StoreNotWritable, UnknownBuild, resolve
from rig.machine.build import probe

LIBRARIES = f"usr/lib/{platform.machine()}-linux-gnu"


class Archive(Protocol):
    root: Path
    mirror: Mirror

    def publish(self, suite: str) -> None: ...

    def add(self, suite: str, name: str, files: dict[str, Path | bytes], depends: str = "") -> Path: ...


def libraries_of(program: Path) -> dict[str, Path]:
    """The loader and the libraries of a program of this host, at the places they have in a package."""
    said = subprocess.check_output(["ldd", program], text=True)
    return {f"{LIBRARIES}/{Path(path).name}": Path(path) for path in re.findall(r"(/\S+) \(0x", said)}


def nothing_left(store: Store) -> bool:
    return not store.root.exists() or all(path.name.startswith(".lock-") for path in store.root.iterdir())


def test_a_suite_becomes_a_build_that_runs(archive: Archive, store: Store, qemu: Path) -> None:
    binary = qemu.resolve()
    package = archive.add(
        "trixie", "qemu-system-ppc", {"usr/bin/qemu-system-ppc64": binary}, "libs, firmware"
    )
    archive.add("trixie", "libs", {**libraries_of(binary)})
    archive.add("trixie", "firmware", {"usr/share/qemu/slof.bin": b"SLOF"})
    steps: list[tuple[str, float | None]] = []
    build = fetch("debian:trixie", store, archive.mirror, lambda *step: steps.append(step))

    assert build == resolve("debian:trixie", store)
    folder = store.folder("debian:trixie")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "root"]
    assert build.data_dir is not None
    assert (build.data_dir / "slof.bin").read_bytes() == b"SLOF"
    assert probe(build.argv, build.data_dir).sha256 == hashlib.sha256(binary.read_bytes()).hexdigest()
    assert describe(build).firmware == hashlib.sha256(b"SLOF").hexdigest()
    maps = subprocess.check_output([build.argv[0], "--list", *build.argv[1:]], text=True)
    assert str(folder) in maps
    assert not [line for line in maps.splitlines() if "=> /" in line and str(folder) not in line]
    assert not [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o6000]
    packages = {one.name: one for one in store.manifest("debian:trixie").packages}
    assert set(packages) == {"qemu-system-ppc", "libs", "firmware"}
    assert packages["qemu-system-ppc"].version == "1:2.3"
    assert packages["qemu-system-ppc"].sha256 == hashlib.sha256(package.read_bytes()).hexdigest()
    assert "unpacking" in [what for what, _ in steps]
    assert any(percent is not None for _, percent in steps)

    shutil.rmtree(archive.root)
    assert fetch("debian:trixie", store, archive.mirror) == build, "what is there is not fetched again"
    with pytest.raises(MirrorFailed):
        fetch("debian:trixie", store, archive.mirror, refresh=True)
    assert resolve("debian:trixie", store) == build, "what is there survives a failed refresh"


@pytest.mark.network
def test_debians_own_packages_become_a_build(store: Store) -> None:
    found = describe(fetch("debian:bookworm", store))
    assert found.version.startswith("7.2.")
    assert (found.machine, found.cpu) == ("pseries-7.2", "power9_v2.0")
    assert found.firmware is not None


@pytest.mark.parametrize(
    ("name", "error"), [("debian:sid", NoSuchSuite), ("debian:", NoSuchSuite), ("trixie", UnknownBuild)]
)
def test_a_suite_that_is_not_known_is_refused(name: str, error: type[Exception], store: Store) -> None:
    with pytest.raises(error, match=r"choose one of debian:bullseye, .*debian:trixie-backports"):
        fetch(name, store)


def test_an_unreachable_mirror_is_named(store: Store) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # a port that nobody listens on and nobody else can take
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/mirror"
        with pytest.raises(MirrorFailed, match=rf"{url}.*[Cc]onnect.*RIG_DEBIAN_MIRROR"):
            fetch("debian:trixie", store, Mirror(url))
    assert nothing_left(store)


def test_only_what_keeps_from_fetching_is_said(archive: Archive, store: Store) -> None:
    with pytest.raises(MirrorFailed) as failed:
        fetch("debian:bullseye", store, archive.mirror)
    assert "apt.conf.d" not in str(failed.value)
    assert nothing_left(store)


def test_an_archive_that_debian_did_not_sign_is_refused(archive: Archive, store: Store) -> None:
    archive.add("trixie", "qemu-system-ppc", {"usr/bin/qemu-system-ppc64": b""})
    with pytest.raises(MirrorFailed, match="not signed"):
        fetch("debian:trixie", store, Mirror(archive.mirror.url))
    assert nothing_left(store)


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_package_that_is_not_what_the_archive_says_is_refused(
    damage: str, archive: Archive, store: Store
) -> None:
    package = archive.add("trixie", "qemu-system-ppc", {"usr/bin/qemu-system-ppc64": bytes(9000)})
    content = package.read_bytes()
    match damage:
        case "truncated":
            package.write_bytes(content[: len(content) // 2])
        case "altered":
            package.write_bytes(content[:-1] + b"!")
        case _:
            package.unlink()
    with pytest.raises(DownloadFailed, match=r"qemu-system-ppc of trixie.*nothing was kept"):
        fetch("debian:trixie", store, archive.mirror)
    assert nothing_left(store)


def test_a_package_that_does_not_unpack_is_refused(archive: Archive, store: Store) -> None:
    package = archive.add("trixie", "qemu-system-ppc", {})
    package.write_bytes(b"!<arch>\nnonsense")
    archive.publish("trixie")
    with pytest.raises(DownloadFailed, match="cannot be unpacked"):
        fetch("debian:trixie", store, archive.mirror)
    assert nothing_left(store)


def test_a_dependency_that_cannot_be_met_is_named(archive: Archive, store: Store) -> None:
    archive.add("trixie", "qemu-system-ppc", {}, "libnowhere")
    with pytest.raises(DownloadFailed, match="Depends: libnowhere"):
        fetch("debian:trixie", store, archive.mirror)
    assert nothing_left(store)


def test_a_backport_that_is_gone_is_not_replaced_by_the_release(archive: Archive, store: Store) -> None:
    archive.add("trixie", "qemu-system-ppc", {})
    archive.publish("trixie-backports")
    with pytest.raises(DownloadFailed, match="qemu-system-ppc of trixie-backports"):
        fetch("debian:trixie-backports", store, archive.mirror)
    assert nothing_left(store)


@pytest.mark.parametrize("lack", ["qemu-system-ppc64", "dynamic loader", "firmware"])
def test_packages_without_an_essential_part_are_no_build(lack: str, archive: Archive, store: Store) -> None:
    parts: dict[str, tuple[str, Path | bytes]] = {
        "qemu-system-ppc64": ("usr/bin/qemu-system-ppc64", b""),
        "dynamic loader": (f"{LIBRARIES}/ld-linux.so.2", b""),
        "firmware": ("usr/share/qemu/slof.bin", b""),
    }
    files = dict(part for name, part in parts.items() if name != lack)
    archive.add("bookworm", "qemu-system-ppc", files)
    with pytest.raises(BuildBroken, match=f"hold no {lack}"):
        fetch("debian:bookworm", store, archive.mirror)
    assert nothing_left(store)


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", None])
def test_a_qemu_that_does_not_start_is_no_build(
    program: str | None, archive: Archive, store: Store, qemu: Path
) -> None:
    files: dict[str, Path | bytes] = {
        **libraries_of(qemu.resolve()),
        "usr/bin/qemu-system-ppc64": Path(program) if program else b"no program",
        "usr/share/qemu/slof.bin": b"",
    }
    archive.add("bookworm", "qemu-system-ppc", files)
    with pytest.raises(BuildBroken, match="debian:bookworm was fetched and does not start here"):
        fetch("debian:bookworm", store, archive.mirror)
    assert nothing_left(store)


def test_an_interrupted_fetch_leaves_nothing(archive: Archive, store: Store) -> None:
    archive.add("trixie", "qemu-system-ppc", {})

    def interrupt(_what: str, percent: float | None) -> None:
        if percent is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("debian:trixie", store, archive.mirror, interrupt)
    assert nothing_left(store)
    with pytest.raises(NotFetched, match="rig builds fetch debian:trixie"):
        resolve("debian:trixie", store)


def test_a_host_without_apt_is_told_so(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolsMissing, match=r"no apt-get, apt-config, dpkg-deb.*rig builds add PATH"):
        fetch("debian:trixie", store)


def test_a_host_without_debians_keys_is_told_so(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ToolsMissing, match="apt install debian-archive-keyring"):
        fetch("debian:trixie", store, Mirror(keyring=tmp_path / "none.gpg"))


def test_a_store_that_cannot_be_written_is_named() -> None:
    # sysfs refuses new folders to everyone, root included
    with pytest.raises(StoreNotWritable, match=r"/sys/spapr-rig.*XDG_CACHE_HOME"):
        fetch("debian:trixie", Store(Path("/sys/spapr-rig")))


def test_a_folder_that_the_loader_would_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderUnusable, match="XDG_CACHE_HOME"):
        fetch("debian:trixie", Store(tmp_path / "a:b"))
    assert not (tmp_path / "a:b").exists()


def test_the_mirror_is_debians_unless_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIG_DEBIAN_MIRROR", raising=False)
    assert Mirror.from_environment() == Mirror("http://deb.debian.org/debian", KEYRING)
    monkeypatch.setenv("RIG_DEBIAN_MIRROR", "http://mirror.example/debian/")
    assert Mirror.from_environment() == Mirror("http://mirror.example/debian", KEYRING)


@pytest.mark.parametrize(
    ("suite", "url", "sources"),
    [
        ("trixie", "http://m/debian", ["http://m/debian trixie", "http://m/debian-security trixie-security"]),
        ("trixie", "http://m/other", ["http://m/other trixie"]),
        (
            "trixie-backports",
            "http://m/debian",
            ["http://m/debian trixie", "http://m/debian trixie-backports"],
        ),
        ("trixie", "file:/m", ["copy:/m trixie"]),
    ],
)
def test_the_sources_of_a_suite(suite: str, url: str, sources: list[str]) -> None:
    option = f"[signed-by={KEYRING} check-valid-until=no]"
    assert Mirror(url).sources(suite) == [f"deb {option} {source} main" for source in sources]
