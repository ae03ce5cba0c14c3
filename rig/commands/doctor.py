"""``rig doctor``: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import click
import psutil

from rig.commands.common import InvalidInput
from rig.frozen import frozen


@frozen
class Finding:
    """One thing the rig uses: what was found, or how to get it when ``needed`` and missing."""

    name: str
    found: str
    remedy: str = ""
    needed: bool = True

    @property
    def missing(self) -> bool:
        """Whether the rig cannot do its main job for want of this."""
        return self.needed and not self.found


#: how to get each program: Debian, Fedora, openSUSE
PROGRAMS = {
    "gdb-multiarch": ("apt install gdb-multiarch (Fedora, openSUSE: gdb)", True),
    "setpriv": ("apt install util-linux", True),
    "powerpc64-linux-gnu-gcc": ("only to rebuild the agent: apt install gcc-powerpc64-linux-gnu", False),
}
LIBRARIES = (
    "qemu.qmp",
    "pygdbmi",
    "pexpect",
    "pytest",
    "pyyaml",
    "pydantic",
    "click",
    "rich",
    "numpy",
    "pylibfdt",
)


@click.command("doctor")
def command() -> int:
    """What is installed, what is missing, and how to get it; exit code 3 when the main job cannot run."""
    findings = list(examine())
    for one in findings:
        mark = "missing" if one.missing else "-" if not one.found else "ok"
        click.echo(f"{mark:<8} {one.name:<24} {one.found or one.remedy}")
    return 3 if any(one.missing for one in findings) else 0


def examine() -> Iterator[Finding]:
    """Everything the rig uses, in the order in which one would install it."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", version if sys.version_info >= (3, 11) else "", "Python 3.11 or newer")
    for library in LIBRARIES:
        try:
            yield Finding(library, metadata.version(library))
        except metadata.PackageNotFoundError:
            yield Finding(library, "", f"pip install {library}")
    yield _qemu()
    for program, (remedy, needed) in PROGRAMS.items():
        path = shutil.which(program)
        yield Finding(program, _first_line(path) if path else "", remedy, needed)
    free = psutil.virtual_memory().available >> 20
    yield Finding("memory", f"{free} MiB available" if free >= 1024 else "", "1 GiB for each machine at once")


def _qemu() -> Finding:
    from rig.commands.common import find_builds

    try:
        build = find_builds(())[0]
    except InvalidInput as error:
        return Finding(
            "qemu-system-ppc64",
            "",
            f"apt install qemu-system-ppc, or rig builds fetch debian:trixie ({error.message})",
        )
    return Finding("qemu-system-ppc64", f"{build.version_text} at {build.path}")


def _first_line(path: str) -> str:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.splitlines()[0] if done.stdout else path
