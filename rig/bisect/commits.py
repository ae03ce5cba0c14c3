"""QEMU binaries by commit: build one with the user's command, keep it, and find it again.

A kept build is a folder ``bin`` beside ``share/qemu``, where QEMU looks for its firmware by itself, so that
the path of the binary is all that is needed to use it.  Git is :mod:`rig.bisect.tree`'s business.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from rig import resources
from rig.frozen import frozen

#: firmware that a pseries machine or one of its usual devices asks for, in QEMU's ``pc-bios``
FIRMWARE = ("slof.bin", "vof*.bin", "efi-*.rom", "pxe-*.rom", "vgabios*.bin")
#: where a build of QEMU leaves its binary
BINARY = "build/qemu-system-ppc64"
#: characters of a build's output that its failure quotes
TAIL = 400


class BuildFailed(Exception):
    """The build command failed, took too long, or left no binary."""


@frozen
class Recipe:
    """How a commit is built: a shell ``command``, the ``binary`` it leaves in the tree, and its limit."""

    command: str
    binary: str = BINARY
    #: seconds
    timeout: float = 3600.0

    @property
    def key(self) -> str:
        """Differs when builds of one commit may differ."""
        return hashlib.sha256(f"{self.command}\0{self.binary}".encode()).hexdigest()[:12]


def default_root() -> Path:
    """``$XDG_CACHE_HOME/spapr-rig/bisect``, below ``~/.cache`` when that is not set."""
    return resources.cache("bisect")


@frozen
class Binaries:
    """The builds of one recipe, below ``root``.  A build is there as a whole or not at all."""

    root: Path
    recipe: Recipe

    @property
    def folder(self) -> Path:
        """Where the recipe's builds are, by commit."""
        return self.root / self.recipe.key

    def get(self, commit: str) -> Path | None:
        """The binary of a commit, when it was built before."""
        path = self._binary(self.folder / commit)
        return path if path.exists() else None

    def make(self, commit: str, tree: Path) -> Path:
        """Build ``tree``, which has ``commit`` checked out, and keep the binary; returns where.

        What a command said that failed is kept too.  Raises :class:`BuildFailed`, and :class:`OSError` when
        the cache cannot be written.
        """
        log = self.root / f"{self.recipe.key}-logs" / f"{commit}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        built = tree / self.recipe.binary
        # a commit whose command builds nothing must not get the binary of the one before
        built.unlink(missing_ok=True)
        _run(self.recipe, tree, log)
        if not built.is_file():
            raise BuildFailed(f"the build command left no {self.recipe.binary}; {_said(log)}")
        log.unlink()
        return self._keep(commit, built, tree / "pc-bios")

    def _keep(self, commit: str, built: Path, firmware: Path) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            for partial in self.folder.glob(".new-*"):
                shutil.rmtree(partial)  # its process was killed: the lock is ours
            target, partial = self.folder / commit, self.folder / f".new-{commit}"
            try:
                binary = self._binary(partial)
                binary.parent.mkdir(parents=True)
                shutil.copy2(built, binary)
                data = partial / "share" / "qemu"
                data.mkdir(parents=True)
                for file in _firmware(firmware):
                    shutil.copy2(file, data)
                if target.exists():
                    shutil.rmtree(target)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return self._binary(target)

    def _binary(self, folder: Path) -> Path:
        return folder / "bin" / Path(self.recipe.binary).name


def _firmware(folder: Path) -> Iterator[Path]:
    for pattern in FIRMWARE:
        yield from (path for path in folder.glob(pattern) if path.is_file())


def _run(recipe: Recipe, tree: Path, log: Path) -> None:
    """Run the build command in a session of its own, so that all of it can be ended."""
    with log.open("wb") as output, ThreadPoolExecutor(1) as starter:
        # by a thread, which no signal interrupts: a command that has begun is always known and ended
        shell = starter.submit(
            subprocess.Popen,
            ["/bin/sh", "-c", recipe.command],
            cwd=tree,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.result().wait(recipe.timeout)
        except subprocess.TimeoutExpired:
            raise BuildFailed(
                f"the build command did not end within {recipe.timeout:g} s; {_said(log)}"
            ) from None
        finally:
            _end(shell.result())
    if status != 0:
        raise BuildFailed(f"the build command ended with status {status}; {_said(log)}")


def _end(shell: subprocess.Popen[bytes]) -> None:
    """Kill what the command left running; a server that it started must not outlive the bisection."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()


def _said(log: Path) -> str:
    tail = log.read_bytes()[-TAIL:].decode(errors="replace").strip()
    return f"it said last: {tail!r} (all of it: {log})" if tail else "it said nothing"
