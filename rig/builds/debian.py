"""Fetch the QEMU of a Debian suite, with every library it needs, without touching the host.

A private apt (its own sources, lists, cache and an empty list of installed packages) resolves, downloads
and checks the packages; ``dpkg-deb`` unpacks them below one folder; QEMU is started by that folder's own
dynamic loader, so a build for another release of Debian runs beside the host's.  No root is needed, nothing
is installed and no maintainer script runs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rig.builds.store import (
    FETCHABLE,
    FOLDER,
    BuildsError,
    Manifest,
    Package,
    Resolved,
    Store,
    UnknownBuild,
    default_root,
    now,
)
from rig.frozen import frozen

PACKAGE = "qemu-system-ppc"
#: the archive's public keys, as Debian and its derivatives install them
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: apt also names what it could not do as a warning, when an older list would serve it
_COMPLAINT = re.compile(r"^[EW]: (.+)$", re.MULTILINE)
_PROGRESS = re.compile(r"^dlstatus:\d+:([\d.]+):(.*)$")
#: characters that ld.so gives a meaning in --library-path (ld.so(8))
_SPECIAL = re.compile(r"[:;$]")

#: told what is being done, and how far it is in percent where that is known
Progress = Callable[[str, float | None], None]


class ToolsMissing(BuildsError):
    """The host has no apt to fetch with."""


class FolderUnusable(BuildsError):
    """The dynamic loader cannot be told of a folder with this name."""


class MirrorFailed(BuildsError):
    """The package lists could not be had from the mirror, or are not signed by Debian."""


class NoSuchSuite(BuildsError):
    """Debian has no such suite, or one that the rig does not know."""


class DownloadFailed(BuildsError):
    """A package could not be resolved, or did not arrive as the archive describes it."""


class BuildBroken(BuildsError):
    """The packages arrived and do not make a QEMU that starts."""


@frozen
class Mirror:
    """Where packages come from: an address as in sources.list, and the keys that must have signed.

    A mirror that ends in ``/debian`` is taken to have its ``/debian-security`` beside it; from any other, the
    release itself is fetched.  Without ``keyring`` nothing is checked: for a repository made by hand.
    """

    url: str = "http://deb.debian.org/debian"
    keyring: Path | None = KEYRING

    @classmethod
    def from_environment(cls) -> Mirror:
        """The mirror that ``RIG_DEBIAN_MIRROR`` names, else Debian's own."""
        url = os.environ.get("RIG_DEBIAN_MIRROR")
        return cls(url.rstrip("/")) if url else cls()

    def sources(self, suite: str) -> list[str]:
        """The lines of sources.list for a suite: a backport depends on its release."""
        # old releases are what this is for: their lists have run out and stay signed
        option = f"signed-by={self.keyring}" if self.keyring else "trusted=yes"
        options = f"[{option} check-valid-until=no]"
        # apt leaves packages of file: where they are; copy: brings them to its cache
        url = re.sub("^file:", "copy:", self.url)
        release = suite.removesuffix("-backports")
        lines = [f"deb {options} {url} {release} main"]
        if suite != release:
            lines.append(f"deb {options} {url} {suite} main")
        elif url.endswith("/debian"):
            lines.append(f"deb {options} {url}-security {release}-security main")
        return lines


def fetch(
    name: str,
    store: Store | None = None,
    mirror: Mirror | None = None,
    progress: Progress = lambda _what, _percent: None,
    *,
    refresh: bool = False,
) -> Resolved:
    """Bring ``debian:SUITE`` into the store, unless it is there; ``refresh`` replaces it by today's.

    About 120 MB are downloaded and 140 MB kept.  Raises :class:`BuildsError`; then nothing is left behind.
    """
    store = store or Store(default_root())
    mirror = mirror or Mirror.from_environment()
    if name not in FETCHABLE:
        kind = NoSuchSuite if name.startswith("debian:") else UnknownBuild
        raise kind(f"{name!r} cannot be fetched: choose one of {', '.join(FETCHABLE)}")
    if _SPECIAL.search(str(store.root)):
        raise FolderUnusable(
            f"{store.root} holds one of : ; $, which the dynamic loader misreads: "
            "set XDG_CACHE_HOME to another folder"
        )
    _need_tools(mirror)
    return store.put(name, lambda folder: _make(name, mirror, folder, progress), replace=refresh)


def _need_tools(mirror: Mirror) -> None:
    missing = [tool for tool in ("apt-get", "apt-config", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise ToolsMissing(
            f"this host has no {', '.join(missing)}, so it cannot fetch Debian's packages: "
            "fetch on Debian or Ubuntu, or build QEMU and name it with: rig builds add PATH"
        )
    if mirror.keyring is not None and not mirror.keyring.exists():
        raise ToolsMissing(
            f"{mirror.keyring} is missing, without which Debian's packages cannot be checked: "
            "apt install debian-archive-keyring"
        )


def _make(name: str, mirror: Mirror, folder: Path, progress: Progress) -> Manifest:
    """Fill a folder of the store."""
    suite = name.removeprefix("debian:")
    apt, root = folder / "apt", folder / "root"
    packages = sorted(_download(suite, mirror, apt, progress))
    progress("unpacking", None)
    root.mkdir()
    for path in packages:
        _dpkg_deb("--extract", path, root)
    contents = tuple(_describe(path) for path in packages)
    shutil.rmtree(apt)
    _drop_privileges(root)
    argv, data_dir = _launcher(root)
    _try(name, argv)
    inside = tuple(word.replace(str(folder), FOLDER) for word in argv)
    return Manifest(name, inside, str(data_dir).replace(str(folder), FOLDER), now(), contents)


# ---- apt ---------------------------------------------------------------------------------------------------


def _download(suite: str, mirror: Mirror, apt: Path, progress: Progress) -> Iterator[Path]:
    """The package files of the suite's QEMU and of all it depends on, checked by apt."""
    for folder in ("etc/apt.conf.d", "lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "etc" / "sources.list").write_text("\n".join(mirror.sources(suite)) + "\n")
    config = apt / "apt.conf"
    config.write_text("\n".join([*_network_settings(), *_private_settings(apt)]) + "\n")
    complaints = _apt(config, ["update"], progress)
    if complaints is not None:
        raise MirrorFailed(
            f"cannot read the package lists of {suite} from {mirror.url}: {complaints}; check the network, "
            "or name another mirror in RIG_DEBIAN_MIRROR (http://archive.debian.org/debian has what is old)"
        )
    wanted = [PACKAGE]
    if suite.endswith("-backports"):
        # by its suite too, or apt would quietly take the release's QEMU when the backport is gone
        wanted = [f"{PACKAGE}/{suite}", "--target-release", suite]
    complaints = _apt(config, ["install", "--yes", "--download-only", *wanted], progress)
    if complaints is not None:
        raise DownloadFailed(
            f"cannot download {PACKAGE} of {suite} from {mirror.url}: {complaints}; "
            "nothing was kept, try again"
        )
    return (apt / "cache" / "archives").glob("*.deb")


def _network_settings() -> list[str]:
    """The host's proxies and timeouts; of the rest of its configuration, hooks could change the host."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    return [line for line in dump.splitlines() if line.startswith(("Acquire::http", "Acquire::https"))]


def _private_settings(apt: Path) -> list[str]:
    settings = {
        "Dir": apt,
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "Dir::Etc": apt / "etc",
        "Dir::Log": apt,
        # apt cannot become another user without root, and with it that user could not enter the cache
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "APT::Install-Recommends": "false",
        "APT::Update::Error-Mode": "any",
        "APT::Status-Fd": 1,
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
    }
    return [f'{key} "{value}";' for key, value in settings.items()]


def _apt(config: Path, arguments: list[str], progress: Progress) -> str | None:
    """Run apt-get; returns its complaints when it fails."""
    what = "reading the package lists" if arguments[0] == "update" else "downloading"
    progress(what, None)
    unmet: list[str] = []
    environment = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"}
    command = ["apt-get", "--quiet", *arguments]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if match := _PROGRESS.match(line):
                    progress(what, float(match[1]))
                elif "Depends: " in line:
                    unmet.append(line.strip())
            status = process.wait()
        except BaseException:
            process.terminate()
            raise
        errors.seek(0)
        said = errors.read()
    if status == 0:
        return None
    return (
        " / ".join([*unmet, *_COMPLAINT.findall(said)])
        or said.strip()[-300:]
        or f"apt-get gave exit status {status}"
    )


# ---- packages ----------------------------------------------------------------------------------------------


def _dpkg_deb(*arguments: str | Path) -> str:
    done = subprocess.run(["dpkg-deb", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DownloadFailed(
            f"a package cannot be unpacked: {done.stderr.strip()}; nothing was kept, try again"
        )
    return done.stdout


def _describe(path: Path) -> Package:
    name, version = _dpkg_deb("--show", "--showformat=${Package} ${Version}", path).split()
    with path.open("rb") as file:
        return Package(name, version, hashlib.file_digest(file, "sha256").hexdigest())


def _drop_privileges(root: Path) -> None:
    """Take set-user-ID off what was unpacked: dependencies bring su and its like, which nobody here needs."""
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            path.chmod(stat.S_IMODE(mode) & 0o755)


def _launcher(root: Path) -> tuple[tuple[str, ...], Path]:
    """The command that starts the unpacked QEMU, and its data folder with the firmware."""
    programs, data_dir = root / "usr" / "bin", root / "usr" / "share" / "qemu"
    qemu = programs / "qemu-system-ppc64"
    # a release with merged /usr ships no link at the old place, so a library is at one of the two
    libraries = [
        path for path in (*root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*")) if path.is_dir()
    ]
    loaders = [path for folder in libraries for path in sorted(folder.glob("ld*.so.*"))]
    for what, found in (
        ("qemu-system-ppc64", qemu.is_file()),
        ("dynamic loader", bool(loaders)),
        ("firmware (slof.bin)", (data_dir / "slof.bin").is_file()),
    ):
        if not found:
            raise BuildBroken(
                f"the packages hold no {what}: the mirror is no archive of Debian, or an incomplete one"
            )
    # QEMU takes the folder of /proc/self/exe, which is the loader, for its own, and from 7.1 on looks in its
    # qemu-bundle before the paths of /usr: so the host's modules and configuration are not this build's
    loader = programs / loaders[0].name
    loader.hardlink_to(loaders[0].resolve())
    (programs / "qemu-bundle").symlink_to("../..")
    return (str(loader), "--library-path", ":".join(map(str, libraries)), str(qemu)), data_dir


def _try(name: str, argv: tuple[str, ...]) -> None:
    try:
        done = subprocess.run([*argv, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildBroken(
            f"{name} was fetched and does not start here ({error}): add another build"
        ) from error
    if done.returncode != 0 or "QEMU emulator" not in done.stdout:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise BuildBroken(f"{name} was fetched and does not start here ({said!r}): add another build")
