"""What one wants to know of a build before using it: its default machine and CPU, and its firmware.

Starts the binary with no machine to ask it; :mod:`rig.machine.build` decides whether it can be judged.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rig.builds.store import BuildsError, Resolved
from rig.frozen import frozen
from rig.machine.build import probe

#: seconds that a binary may take to answer
PATIENCE = 30.0
_ASK = "".join(json.dumps({"execute": what}) for what in ("qmp_capabilities", "query-machines", "quit"))


class NoAnswer(BuildsError):
    """A binary that does not say what its default machine is."""


@frozen
class Description:
    """``sha256`` and ``firmware`` are hex digests, the latter that of ``slof.bin`` where its place is known.

    ``machine`` is what ``-M pseries`` stands for, ``cpu`` the model that machine has without ``-cpu``.
    """

    version: str
    sha256: str
    machine: str
    cpu: str
    firmware: str | None


def describe(build: Resolved) -> Description:
    """Ask a build what it is; raises :class:`NoAnswer` and :class:`rig.machine.build.BadBuild`."""
    probed = probe(build.argv, build.data_dir)
    machine = _default_machine(build.argv)
    data_dir = build.data_dir or Path(build.argv[-1]).parent.parent / "share" / "qemu"
    slof = data_dir / "slof.bin"
    cpu = machine.get("default-cpu-type", "").removesuffix("-powerpc64-cpu")
    firmware = hashlib.sha256(slof.read_bytes()).hexdigest() if slof.is_file() else None
    return Description(probed.version_text, probed.sha256, machine["name"], cpu, firmware)


def _default_machine(argv: Sequence[str]) -> dict[str, Any]:
    """The entry of ``query-machines`` that has the alias ``pseries``."""
    command = [*argv, "-M", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio"]
    try:
        done = subprocess.run(
            command, input=_ASK, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(f"{argv[-1]} did not list its machines: {error}") from error
    for machine in _machines(done.stdout):
        if machine.get("alias") == "pseries":
            return machine
    raise NoAnswer(
        f"{argv[-1]} has no machine with the alias pseries: exit status {done.returncode}, "
        f"{done.stderr.strip()[-300:]!r}"
    )


def _machines(said: str) -> Iterator[dict[str, Any]]:
    for line in said.splitlines():
        try:
            answer = json.loads(line).get("return")
        except ValueError:
            continue  # a warning among the answers
        if isinstance(answer, list):
            yield from answer
