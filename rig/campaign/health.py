"""What a QEMU shows of its health besides its answers: memory that grows."""

from __future__ import annotations

import psutil

from rig.machine.machine import Machine

#: bytes that QEMU itself may grow; translated code is a part of it
GROWTH = 256 << 20


class Health:
    """One machine, from its start on."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._resident = 0

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
