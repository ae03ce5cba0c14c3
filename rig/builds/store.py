"""The store of builds: where they lie, how one gets in, and how a name becomes a command line.

A build is a folder with a ``manifest.json``; everything else in it belongs to whoever filled it.  A folder
appears under its name only when it is complete, so a reader needs no lock (while one is being replaced, it
is missing for a moment).  The store knows nothing of Debian (:mod:`rig.builds.debian`) and does not judge a
binary (:mod:`rig.machine.build`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rig import resources
from rig.frozen import frozen

if TYPE_CHECKING:  # not needed to resolve a path, which every run does
    from pydantic import TypeAdapter

#: what ``rig builds fetch`` can bring: Debian suites with a qemu-system-ppc that runs on any newer kernel
FETCHABLE = tuple(
    f"debian:{suite}"
    for suite in ("bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports")
)
#: stands for the build's folder in a manifest, so that the store can be moved
FOLDER = "{folder}"
MANIFEST = "manifest.json"
#: seconds to wait for another process that is bringing the same build
PATIENCE = 1800.0


class BuildsError(Exception):
    """A build that cannot be found, stored or fetched; the message says what to do."""


class UnknownBuild(BuildsError):
    """A name that no build has or can have."""


class NotFetched(BuildsError):
    """A build that can be fetched and has not been."""


class NameTaken(BuildsError):
    """A name that another binary has."""


class DamagedBuild(BuildsError):
    """A build of the store that is no longer whole."""


class StoreNotWritable(BuildsError):
    """The store's folder cannot be written."""


class StoreBusy(BuildsError):
    """Another process has been bringing the same build for too long."""


@frozen
class Package:
    """A package that a build is made of; ``sha256`` is that of the package file, in hex."""

    name: str
    version: str
    sha256: str


@frozen
class Manifest:
    """What a build is.  In ``argv`` and ``data_dir``, :data:`FOLDER` stands for the build's folder.

    ``argv`` starts QEMU and ends in its binary; ``data_dir`` is for ``-L``, when the binary does not find it.
    ``fetched_at`` is an ISO 8601 time with its zone.
    """

    name: str
    argv: tuple[str, ...]
    data_dir: str | None
    fetched_at: str
    packages: tuple[Package, ...] = ()
    schema: Literal[1] = 1


@frozen
class Resolved:
    """How to start a build: the words before QEMU's own options, the folder for ``-L``, and its name."""

    argv: tuple[str, ...]
    data_dir: Path | None
    name: str


@cache
def _manifests() -> TypeAdapter[Manifest]:
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def default_root() -> Path:
    """``$XDG_CACHE_HOME/spapr-rig/builds``, below ``~/.cache`` when that is not set."""
    return resources.cache("builds")


def now() -> str:
    """The time for :attr:`Manifest.fetched_at`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def resolve(spec: str, store: Store | None = None) -> Resolved:
    """How to start ``debian:SUITE``, a name that was added, a path, or a program on PATH, in this order.

    A path (anything with a slash) is taken as it is: whether it can be judged is for
    :func:`rig.machine.build.probe` to say.  Only the path of a binary in the store, as reports give it, means
    that build, for by itself it would run with the host's libraries.  Raises :class:`BuildsError`.
    """
    store = store or Store(default_root())
    if "/" in spec:
        path = Path(spec).absolute()
        return store.holding(path) or Resolved((str(path),), None, spec)
    if spec in FETCHABLE or spec in store.names():
        return store.get(spec)
    on_path = None if ":" in spec else shutil.which(spec)
    if on_path is None:
        known = ", ".join(sorted({*FETCHABLE, *store.names()}))
        raise UnknownBuild(
            f"no build is called {spec!r}: give the path of a qemu-system-ppc64, or one of {known}"
        )
    return Resolved((on_path,), None, spec)


@frozen
class Store:
    """The builds below ``root``; made on the first write."""

    root: Path

    def names(self) -> list[str]:
        """Every build in the store, sorted."""
        folders = (path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST}"))
        return sorted(_name(folder) for folder in folders)

    def manifest(self, name: str) -> Manifest:
        """What is known of a build; raises :class:`NotFetched` or :class:`DamagedBuild`."""
        from pydantic import ValidationError

        path = self.folder(name) / MANIFEST
        try:
            manifest = _manifests().validate_json(path.read_bytes())
        except FileNotFoundError:
            raise NotFetched(f"{name} is not in {self.root}: {_how_to_get(name)}") from None
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no manifest of this rig"
            raise DamagedBuild(f"{path} cannot be used: {why}; to replace it, {_how_to_get(name)}") from error
        if not manifest.argv:
            raise DamagedBuild(f"{path} names no program; to replace it, {_how_to_get(name)}")
        return manifest

    def get(self, name: str) -> Resolved:
        """How to start a build; raises :class:`NotFetched` or :class:`DamagedBuild`."""
        manifest, folder = self.manifest(name), str(self.folder(name))
        argv = tuple(word.replace(FOLDER, folder) for word in manifest.argv)
        data_dir = Path(manifest.data_dir.replace(FOLDER, folder)) if manifest.data_dir else None
        for path in (Path(argv[0]), Path(argv[-1]), data_dir):
            if path is not None and not path.exists():
                raise DamagedBuild(
                    f"{name} is not whole, {path} is missing; to replace it, {_how_to_get(name)}"
                )
        return Resolved(argv, data_dir, name)

    def holding(self, binary: Path) -> Resolved | None:
        """The build whose binary, below :attr:`root`, this is."""
        if not binary.is_relative_to(self.root):
            return None
        inside = [name for name in self.names() if binary.is_relative_to(self.folder(name))]
        builds = [self.get(name) for name in inside]
        return next((build for build in builds if build.argv[-1] == str(binary)), None)

    def put(self, name: str, fill: Callable[[Path], Manifest], *, replace: bool = False) -> Resolved:
        """Bring a build into the store: ``fill`` makes it in the folder it is given and describes it.

        A build that is there already is left alone unless ``replace`` is set or it is damaged.  Processes
        that bring the same build wait for each other.  When ``fill`` fails, nothing of it stays; when the
        process is killed, the next one clears up.  Raises :class:`BuildsError` and whatever ``fill`` raises.
        """
        folder = self.folder(name)
        new, old = (self.root / f".{kind}-{folder.name}" for kind in ("new", "old"))
        with self._writing(), self._locked(folder):
            if old.exists() and not folder.exists():
                old.rename(folder)  # a process was killed between the two renames below
            if not replace and self._is_whole(name):
                return self.get(name)
            _remove(new)
            _remove(old)
            new.mkdir()
            try:
                manifest = fill(new)
                (new / MANIFEST).write_bytes(_manifests().dump_json(manifest, indent=1) + b"\n")
                if folder.exists():
                    folder.rename(old)
                new.rename(folder)
            finally:
                _remove(new)
            _remove(old)
            return self.get(name)

    def folder(self, name: str) -> Path:
        """Where a build lies; a colon has a meaning in library paths and does not occur in it."""
        return self.root / (name.replace(":", "-") if ":" in name else f"added-{name}")

    def _is_whole(self, name: str) -> bool:
        try:
            self.get(name)
        except (NotFetched, DamagedBuild):
            return False
        return True

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = self.root / f".lock-{folder.name}"
        try:
            with FileLock(lock, timeout=PATIENCE):
                yield
        except Timeout:
            raise StoreBusy(
                f"another process has held {lock} for {PATIENCE:g} s: "
                f"look what it is doing (fuser {lock}), or end it"
            ) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise StoreNotWritable(
                f"cannot write below {self.root} ({error}): "
                "set XDG_CACHE_HOME to a folder with room that you may write"
            ) from error


def add(path: Path, name: str, data_dir: Path | None = None, store: Store | None = None) -> Resolved:
    """Give the binary at ``path`` a name in the store; it stays where it is.

    Raises :class:`UnknownBuild` for a name that is none and :class:`NameTaken` when another binary has it.
    """
    store = store or Store(default_root())
    path = path.absolute()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~-]*", name):
        raise UnknownBuild(f"{name!r} cannot be a build's name: use letters, digits and . _ + ~ -")
    try:
        holder = store.manifest(name).argv[-1]
    except (NotFetched, DamagedBuild):
        holder = str(path)
    if holder != str(path):
        raise NameTaken(f"{name} is {holder} already: give another --name")
    manifest = Manifest(name, (str(path),), str(data_dir.absolute()) if data_dir else None, now())
    return store.put(name, lambda _: manifest, replace=True)


def _name(folder: str) -> str:
    kind, _, rest = folder.partition("-")
    return rest if kind == "added" else f"{kind}:{rest}"


def _how_to_get(name: str) -> str:
    if name in FETCHABLE:
        return f"run: rig builds fetch {name}"
    return f"run: rig builds add PATH --name {name}"


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
