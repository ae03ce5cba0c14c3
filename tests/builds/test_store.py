"""The store: names become command lines, builds come in whole or not at all."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from rig.builds import store as module
from rig.builds.store import (
    FETCHABLE,
    DamagedBuild,
    Manifest,
    NameTaken,
    NotFetched,
    Package,
    Resolved,
    Store,
    StoreBusy,
    StoreNotWritable,
    UnknownBuild,
    add,
    default_root,
    now,
    resolve,
)

NAME = "debian:trixie"


def fill(folder: Path) -> Manifest:
    (folder / "qemu").write_text("binary")
    (folder / "share").mkdir()
    argv = ("{folder}/qemu", "-x", "{folder}/a:{folder}/b", "{folder}/qemu")
    return Manifest(NAME, argv, "{folder}/share", now(), (Package("qemu", "1:2", "ab" * 32),))


def test_a_build_that_was_put_is_found_by_name(store: Store) -> None:
    build = store.put(NAME, fill)
    folder = store.folder(NAME)
    argv = (f"{folder}/qemu", "-x", f"{folder}/a:{folder}/b", f"{folder}/qemu")
    assert build == resolve(NAME, store) == Resolved(argv, folder / "share", NAME)
    assert store.names() == [NAME]
    assert store.manifest(NAME).packages == (Package("qemu", "1:2", "ab" * 32),)


def test_a_store_can_be_moved(store: Store, tmp_path: Path) -> None:
    store.put(NAME, fill)
    moved = Store(store.root.rename(tmp_path / "elsewhere"))
    assert moved.get(NAME).argv[0] == f"{tmp_path}/elsewhere/debian-trixie/qemu"


def test_no_folder_of_a_build_holds_a_colon(store: Store) -> None:
    folders = {store.folder(name).name for name in (*FETCHABLE, "debian-trixie")}
    assert len(folders) == len(FETCHABLE) + 1
    assert not any(":" in folder for folder in folders)


@pytest.mark.parametrize("name", FETCHABLE)
def test_a_build_that_was_not_fetched_says_how(name: str, store: Store) -> None:
    with pytest.raises(NotFetched, match=f"rig builds fetch {name}$"):
        resolve(name, store)


@pytest.mark.parametrize("name", ["debian:sid", "nightly", ""])
def test_an_unknown_name_lists_those_that_are_known(name: str, store: Store, tmp_path: Path) -> None:
    add(tmp_path, "mine", store=store)
    with pytest.raises(UnknownBuild, match=rf"'{name}'.*debian:bookworm, .*mine"):
        resolve(name, store)


def test_a_path_is_taken_as_it_is(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("./build/qemu", store) == Resolved((f"{tmp_path}/build/qemu",), None, "./build/qemu")


def test_the_path_of_a_binary_in_the_store_means_its_build(store: Store) -> None:
    build = store.put(NAME, fill)
    assert resolve(build.argv[-1], store) == build
    other = f"{store.folder(NAME)}/share"
    assert resolve(other, store) == Resolved((other,), None, other)


def test_a_program_on_path_is_found_after_the_names_of_the_store(store: Store, tmp_path: Path) -> None:
    found = shutil.which("qemu-system-ppc64")
    assert found is not None
    assert resolve("qemu-system-ppc64", store) == Resolved((found,), None, "qemu-system-ppc64")
    (tmp_path / "mine").touch()
    add(tmp_path / "mine", "qemu-system-ppc64", store=store)
    assert resolve("qemu-system-ppc64", store).argv == (f"{tmp_path}/mine",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"name": "debian:trixie"}',
        '{"name": 1, "argv": [], "data_dir": null, "fetched_at": ""}',
        '{"schema": 2, "name": "x", "argv": ["x"], "data_dir": null, "fetched_at": ""}',
        '{"name": "x", "argv": [], "data_dir": null, "fetched_at": ""}',
    ],
)
def test_a_corrupt_manifest_is_named_and_replaced_by_the_next_fetch(text: str, store: Store) -> None:
    build = store.put(NAME, fill)
    path = store.folder(NAME) / "manifest.json"
    path.write_text(text)
    with pytest.raises(DamagedBuild, match=rf"{path}.*rig builds fetch {NAME}"):
        resolve(NAME, store)
    assert store.put(NAME, fill) == build == resolve(NAME, store)


@pytest.mark.parametrize("lost", ["qemu", "share"])
def test_a_build_that_lost_a_part_is_named(lost: str, store: Store) -> None:
    store.put(NAME, fill)
    (store.folder(NAME) / lost).rename(store.root / "gone")
    with pytest.raises(DamagedBuild, match=rf"debian-trixie/{lost} is missing.*rig builds fetch {NAME}"):
        resolve(NAME, store)


def test_a_failure_on_the_way_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> Manifest:
        fill(folder)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        store.put(NAME, fail)
    assert store.names() == []
    assert [path.name for path in store.root.iterdir()] == [".lock-debian-trixie"]


def test_a_failed_replacement_leaves_what_was_there(store: Store) -> None:
    def fail(_folder: Path) -> Manifest:
        raise ValueError

    build = store.put(NAME, fill)
    with pytest.raises(ValueError):  # noqa: PT011 it is ours, without a message
        store.put(NAME, fail, replace=True)
    assert store.get(NAME) == build


@pytest.mark.parametrize("moment", ["filling", "renaming", "removing"])
def test_what_a_killed_process_left_is_cleared_up(moment: str, store: Store) -> None:
    store.put(NAME, fill)
    folder = store.folder(NAME)
    match moment:
        case "filling":
            (store.root / ".new-debian-trixie").mkdir()
            (store.root / ".new-debian-trixie" / "half").touch()
        case "renaming":
            folder.rename(store.root / ".old-debian-trixie")
        case _:
            shutil.copytree(folder, store.root / ".old-debian-trixie")
    assert store.names() == ([] if moment == "renaming" else [NAME])
    store.put(NAME, fill, replace=True)
    assert sorted(path.name for path in store.root.iterdir()) == [".lock-debian-trixie", "debian-trixie"]


def test_processes_that_bring_the_same_build_share_one(store: Store) -> None:
    calls: list[Path] = []
    together = threading.Barrier(4)

    def count(folder: Path) -> Manifest:
        calls.append(folder)
        return fill(folder)

    def bring(_: int) -> Resolved:
        together.wait()
        return store.put(NAME, count)

    with ThreadPoolExecutor(4) as executor:
        builds = set(executor.map(bring, range(4)))
    assert len(calls) == len(builds) == 1


def test_waiting_for_another_process_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    store.root.mkdir()
    with FileLock(store.root / ".lock-debian-trixie"), pytest.raises(StoreBusy, match="fuser"):
        store.put(NAME, fill)


def test_a_store_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "builds")
    assert store.names() == []
    with pytest.raises(StoreNotWritable, match=r"file/builds.*set XDG_CACHE_HOME"):
        store.put(NAME, fill)


def test_an_added_binary_stays_where_it_is(store: Store, tmp_path: Path) -> None:
    binary = tmp_path / "qemu"
    binary.touch()
    build = add(binary, "mine", tmp_path, store)
    assert build == add(binary, "mine", tmp_path, store) == Resolved((str(binary),), tmp_path, "mine")
    assert store.names() == ["mine"]
    binary.unlink()
    with pytest.raises(DamagedBuild, match=rf"{binary} is missing.*rig builds add PATH --name mine"):
        resolve("mine", store)


def test_a_name_is_not_taken_from_another_binary(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    add(tmp_path / "a", "mine", store=store)
    with pytest.raises(NameTaken, match=rf"mine is {tmp_path}/a already.*--name"):
        add(tmp_path / "b", "mine", store=store)
    (store.folder("mine") / "manifest.json").write_text("corrupt")
    assert add(tmp_path / "b", "mine", store=store).argv == (f"{tmp_path}/b",)


@pytest.mark.parametrize("name", ["debian:trixie", "a/b", "..", "", "a b", "-x"])
def test_a_name_that_could_be_something_else_is_refused(name: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownBuild, match="cannot be a build's name"):
        add(tmp_path, name, store=store)


def test_the_store_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert default_root() == Path("/c/spapr-rig/builds")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert default_root() == Path("/h/.cache/spapr-rig/builds")


def test_a_user_without_a_home_has_no_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert resolve("/q") == Resolved(("/q",), None, "/q")
    with pytest.raises(NotFetched):
        resolve(NAME)


def test_the_manifest_is_readable_by_others(store: Store) -> None:
    store.put(NAME, fill)
    written = json.loads((store.folder(NAME) / "manifest.json").read_text())
    assert written.keys() == {"schema", "name", "argv", "data_dir", "fetched_at", "packages"}
    assert written["schema"] == 1
    assert written["packages"] == [{"name": "qemu", "version": "1:2", "sha256": "ab" * 32}]
