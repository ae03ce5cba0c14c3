"""What a QEMU shows of its health besides its answers: a sanitizer's report, and memory that grows."""

from __future__ import annotations

import psutil

from rig.machine.machine import Machine

#: what a sanitizer's report has in it
SANITIZERS = ("Sanitizer", "runtime error:")
#: bytes that QEMU itself may grow; translated code is a part of it
GROWTH = 256 << 20


class Health:
    """One machine, from its start on."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._resident = 0
        self._reported = 0

    def sanitized(self) -> str:
        """The first line of a sanitizer's report that is new, if any."""
        log = self.machine.logs["stderr.log"]
        size = log.stat().st_size
        if size <= self._reported:
            return ""
        with log.open("rb") as stream:
            stream.seek(self._reported)
            text = stream.read(1 << 16).decode(errors="replace")
        self._reported = size
        return next((line for line in text.splitlines() if any(word in line for word in SANITIZERS)), "")

    def resident(self) -> int:
        """Bytes of QEMU's own memory; the guest's RAM is shared.  Raises :class:`psutil.NoSuchProcess`."""
        memory = psutil.Process(self.machine.pid).memory_info()
        return int(memory.rss - memory.shared)

    def grown(self) -> int:
        """Bytes of QEMU's own memory beyond what it had at the first look."""
        try:
            own = self.resident()
        except psutil.NoSuchProcess:
            return 0
        self._resident = self._resident or own
        return own - self._resident
