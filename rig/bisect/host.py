"""Whether a failure is the host's rather than the build's: a commit must never be blamed for a full disk."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rig.bisect import trial
from rig.machine import agent, debugger
from rig.machine.errors import LaunchError

if TYPE_CHECKING:
    from rig.machine.build import Build

#: bytes without which neither a build nor a machine's logs can be written
ROOM = 64 << 20


def trouble(*folders: Path) -> str:
    """What keeps this host from testing any build, in words; empty when nothing is seen to.

    ``folders`` are looked at besides the one for temporary files.
    """
    if shutil.which("setpriv") is None:
        return "setpriv is not on PATH; install util-linux"
    try:
        debugger.find()
        agent.image("big")
        agent.image("little")
    except LaunchError as error:
        return str(error)
    for folder in (*folders, Path(tempfile.gettempdir())):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
            free = shutil.disk_usage(folder).free
        except OSError as error:
            return f"{folder} cannot be written: {error.strerror}"
        if free < ROOM:
            return f"{folder} has only {free >> 20} MiB left"
    return ""


def fails_too(control: Build, hunt: trial.Hunt) -> str:
    """Why a build that is known to work fails as well; empty when it still works."""
    again = trial.run(replace(hunt, repeat=1), control)
    return f"{control.path}, which worked before, fails as well: {again.reason}" if again.failed else ""
