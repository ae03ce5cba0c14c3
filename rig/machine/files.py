"""Files that a machine's arguments ask for: ``{file nvram 65536}`` is the path of one of 65536 zero bytes.

A third word is the byte, in hexadecimal, that it is filled with instead.

They lie in the machine's own directory and outlive its QEMU, so that another can be started on them.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from rig.program import MachineOptions

_WANTED = re.compile(r"\{file (?P<name>[a-z][a-z0-9-]*) (?P<size>[0-9]+)(?: (?P<fill>[0-9a-f]{2}))?\}")


def wanted(options: MachineOptions) -> bool:
    """Whether the arguments ask for files."""
    return any(_WANTED.search(word) for word in options.arguments)


def place(options: MachineOptions, directory: Path) -> MachineOptions:
    """``options`` with paths in place of the files wanted; a file that is missing is made."""

    def path(match: re.Match[str]) -> str:
        file = directory.absolute() / f"{match['name']}.img"
        if not file.exists():
            directory.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as new:
                if match["fill"]:
                    new.write(bytes.fromhex(match["fill"]) * int(match["size"]))
                else:
                    new.truncate(int(match["size"]))
        return os.fspath(file).replace(",", ",,")

    if not wanted(options):
        return options
    return replace(options, arguments=tuple(_WANTED.sub(path, word) for word in options.arguments))
