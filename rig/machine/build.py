"""One QEMU binary to judge: what it is and what it supports, or why it cannot be judged.

Probing runs the binary for its version and machine types and remembers the answer in the user's cache
directory; it starts no guest.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rig import resources
from rig.deadline import Deadline
from rig.errors import UserError
from rig.frozen import frozen

#: layout of a cache entry
SCHEMA = 1
#: seconds that a binary may take to describe itself
PATIENCE = 20.0


class BadBuild(UserError):
    """A binary that cannot be judged; the message names it and says why."""


@frozen
class Build:
    """A QEMU for pseries.  ``argv`` starts it and ends in ``path`` unless a wrapper does otherwise.

    ``version`` is (major, minor, micro), ``version_text`` QEMU's own wording, ``sha256`` that of the file, in
    hex.  ``data_dir`` is where it finds firmware (``-L``), when not where it was configured to look.
    """

    path: Path
    argv: tuple[str, ...]
    version: tuple[int, int, int]
    version_text: str
    sha256: str
    data_dir: Path | None = None
    machine_types: frozenset[str] = frozenset()


def release(machine: str) -> tuple[int, ...]:
    """The release whose machine type ``pseries-7.2`` or ``pseries-2.12-sxxm`` is; empty for another name."""
    found = re.match(r"pseries-(\d+)\.(\d+)(?=$|[,-])", machine)
    return tuple(int(number) for number in found.groups()) if found else ()


def probe(
    path_or_argv: str | Path | Sequence[str], data_dir: Path | None = None, deadline: Deadline | None = None
) -> Build:
    """Learn what a binary is; raises :class:`BadBuild`.

    ``path_or_argv`` is a path, a name on PATH, or a command prefix whose last word is the binary.
    """
    deadline = deadline or Deadline(PATIENCE)
    argv = [str(path_or_argv)] if isinstance(path_or_argv, str | Path) else list(map(str, path_or_argv))
    found = shutil.which(argv[0]) if argv else None
    path = Path(argv[-1] if len(argv) > 1 else found or "".join(argv))
    if found is None or not path.exists():
        raise BadBuild(_unusable(path, argv))
    path = path.absolute()
    argv = [str(path)] if len(argv) == 1 else [found, *argv[1:-1], str(path)]
    key = _key(argv)
    build = _remembered(key)
    if build is None:
        build = _examine(path, tuple(argv), deadline)
        _remember(key, build)
    return Build(
        path, tuple(argv), build.version, build.version_text, build.sha256, data_dir, build.machine_types
    )


def _unusable(path: Path, argv: Sequence[str]) -> str:
    if not argv or not argv[0]:
        return "no QEMU was named: give the path of a qemu-system-ppc64"
    if path.is_dir():
        return f"{path} is a directory: give the path of a qemu-system-ppc64"
    if path.exists():
        return f"{path} is not executable: chmod +x it, or give another qemu-system-ppc64"
    return f"{path} does not exist: give the path of a qemu-system-ppc64"


def _examine(path: Path, argv: tuple[str, ...], deadline: Deadline) -> Build:
    with ThreadPoolExecutor(3) as executor:
        digest = executor.submit(_sha256, path)
        version = executor.submit(_ask, argv, ("-version",), deadline)
        machines = executor.submit(_ask, argv, ("-machine", "help"), deadline)
        said = version.result()
        match = re.search(r"QEMU emulator version ((\d+)\.(\d+)\.(\d+)\S*[^\n]*)", said)
        if match is None:
            first = said.strip().splitlines()[0] if said.strip() else "nothing"
            raise BadBuild(f"{path} is not a QEMU system emulator: to -version it says {first[:200]!r}")
        types = frozenset(re.findall(r"^(\S+)\s{2,}\S", machines.result(), re.MULTILINE))
        if not any(name == "pseries" or name.startswith("pseries-") for name in types):
            some = ", ".join(sorted(types)[:4]) or "none at all"
            raise BadBuild(
                f"{path} has no pseries machine (it has {some}): give a qemu-system-ppc64 with pseries"
            )
        numbers = (int(match[2]), int(match[3]), int(match[4]))
        return Build(path, argv, numbers, match[1].strip(), digest.result(), None, types)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ask(argv: Sequence[str], arguments: Sequence[str], deadline: Deadline) -> str:
    """What the binary prints on stdout to ``arguments``."""
    words = [*argv, *arguments]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline.remaining(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        asked = " ".join(arguments)
        raise BadBuild(f"{argv[-1]} did not answer {asked} within {deadline.seconds:g} s") from None
    except OSError as error:
        raise BadBuild(f"{argv[-1]} cannot be executed: {error.strerror}") from error
    if done.returncode != 0:
        tail = done.stderr.decode(errors="replace").strip()[-300:]
        raise BadBuild(
            f"{argv[-1]} is not a working QEMU: {' '.join(arguments)} gave exit status {done.returncode}, "
            f"stderr {tail!r}"
        )
    return done.stdout.decode(errors="replace")


@functools.cache
def devices(build: Build) -> frozenset[str]:
    """Device types and their aliases that ``-device help`` lists."""
    said = _ask(build.argv, ("-device", "help"), Deadline(PATIENCE))
    return frozenset(re.findall(r'(?:name|alias) "([^"]+)"', said))


@functools.cache
def cpus(build: Build) -> frozenset[str]:
    """CPU models and their aliases that ``-cpu help`` lists for pseries."""
    said = _ask(build.argv, ("-machine", "pseries", "-cpu", "help"), Deadline(PATIENCE))
    return frozenset(re.findall(r"^\s*(?:PowerPC |ppc )?(\w[\w.+-]*)\s+(?:PVR|\(alias)", said, re.MULTILINE))


# ---- the cache ---------------------------------------------------------------------------------------------


def _key(argv: Sequence[str]) -> list[object]:
    """Changes when any file that ``argv`` names is replaced or written."""
    key: list[object] = [SCHEMA]
    for word in argv:
        key.append(word)
        try:
            stat = Path(word).stat()
        except OSError:
            continue  # not every word is a file
        key += [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns]
    return key


def _entry(key: list[object]) -> Path:
    return resources.cache("probed") / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


def _remembered(key: list[object]) -> Build | None:
    """The build of an earlier probe; ``None`` when there is none or its entry is damaged."""
    try:
        entry = json.loads(_entry(key).read_text())
        if entry["key"] != key:
            return None
        major, minor, micro = entry["version"]
        return Build(
            Path(entry["path"]),
            tuple(entry["argv"]),
            (int(major), int(minor), int(micro)),
            str(entry["version_text"]),
            str(entry["sha256"]),
            None,
            frozenset(entry["machine_types"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None  # RuntimeError: there is no home directory


def _remember(key: list[object], build: Build) -> None:
    """Keep what was learnt; a cache that cannot be written only costs time."""
    entry = {
        "key": key,
        "path": str(build.path),
        "argv": build.argv,
        "version": build.version,
        "version_text": build.version_text,
        "sha256": build.sha256,
        "machine_types": sorted(build.machine_types),
    }
    try:
        target = _entry(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, suffix=".new", delete=False) as file:
            json.dump(entry, file)
        Path(file.name).replace(target)  # atomic: a reader sees all of it or the old one
    except (OSError, RuntimeError):
        return
