"""Guest RAM, three ways: a mapping shared with QEMU, QMP ``pmemsave``, and gdb.

All are :class:`rig.target.GuestMemory` over the same RAM, so that a scenario can prove that they agree.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rig.deadline import Deadline

if TYPE_CHECKING:  # their libraries are imported while QEMU starts
    from rig.machine.debugger import Debugger
    from rig.machine.monitor import Monitor

PAGE = 0x1000
#: linux/falloc.h
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
#: seconds that one transfer through QEMU may take
TRANSFER = 60.0
#: bytes searched at a time for pages that are not zero
CHUNK = 1 << 24


def _check(address: int, length: int, size: int) -> None:
    if address < 0 or length < 0 or address + length > size:
        raise ValueError(f"{address:#x}..{address + length:#x} is not all RAM, which ends at {size:#x}")


class Anonymous:
    """A memory file without a name (memfd), so that nothing is left behind however the rig ends."""

    def __init__(self, name: str, size: int) -> None:
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)

    @property
    def path(self) -> str:
        """Its path for a child that inherits the descriptor."""
        return f"/proc/self/fd/{self.fd}"

    def extents(self, end: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of what was ever written below ``end``; the rest are holes."""
        start = 0
        while start < end:
            try:
                start = os.lseek(self.fd, start, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    return
                raise
            stop = min(os.lseek(self.fd, start, os.SEEK_HOLE), end)
            if start < stop:
                yield start, stop - start
            start = stop

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset``, zero past the end."""
        # pread rather than a mapping: reading a hole through a mapping would fill it with a page.
        data = os.pread(self.fd, length, offset)
        while 0 < len(data) < length and (more := os.pread(self.fd, length - len(data), offset + len(data))):
            data += more
        return data.ljust(length, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``; raises :class:`OSError` when memory is full."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fd, view, offset)
            view, offset = view[done:], offset + done

    def punch(self, size: int) -> None:
        """Make all of it a hole again, for everyone who maps it."""
        libc = ctypes.CDLL(None, use_errno=True)
        mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        if libc.fallocate(self.fd, mode, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
            raise OSError(ctypes.get_errno(), "guest RAM could not be cleared: fallocate failed")

    def close(self) -> None:
        """Give it up.  May be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Mapped:
    """RAM that QEMU maps from a file which the rig reads and writes directly; no call to QEMU is involved.

    It still can be read when QEMU is dead.  Writes are for data: QEMU does not learn of them, so code that it
    has translated already stays as it was (write code by the debugger's memory).
    """

    def __init__(self, file: Anonymous, size: int) -> None:
        self._file = file
        self.size = size

    def read(self, address: int, length: int) -> bytes:
        """The bytes at ``address``; raises :class:`ValueError` outside RAM."""
        _check(address, length, self.size)
        return self._file.read(address, length)

    def write(self, address: int, data: bytes) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""
        _check(address, len(data), self.size)
        self._file.write(address, data)

    def mapping(self) -> mmap.mmap:
        """A mapping of one's own, for arrays over guest memory.  Reading a hole through it fills the hole."""
        return mmap.mmap(self._file.fd, self.size)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Pages that anyone ever touched."""
        return self._file.extents(self.size)

    def clear(self) -> None:
        """Make all of RAM zero and untouched."""
        self._file.punch(self.size)


class ByDebugger:
    """RAM through gdb and the gdbstub.  Slow for much; writes also reach translated code."""

    def __init__(self, debugger: Debugger, size: int) -> None:
        self._debugger = debugger
        self.size = size

    def read(self, address: int, length: int) -> bytes:
        """The bytes at ``address``; raises :class:`ValueError` outside RAM."""
        _check(address, length, self.size)
        return self._debugger.read(address, length, Deadline(TRANSFER)) if length else b""

    def write(self, address: int, data: bytes) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""
        _check(address, len(data), self.size)
        self._debugger.write(address, data, Deadline(TRANSFER))

    def extents(self) -> Iterator[tuple[int, int]]:
        """All of RAM: the stub cannot tell what was touched."""
        yield 0, self.size


class Saved:
    """RAM through QMP ``pmemsave`` into a file of the rig's, written through gdb.

    A copy of all RAM is kept until :meth:`forget`, which whoever lets the guest run must call.
    """

    def __init__(self, monitor: Monitor, writer: ByDebugger, file: Anonymous, size: int) -> None:
        self._monitor = monitor
        self._writer = writer
        self._file = file
        self.size = size
        self._copied = False

    def _save(self, address: int, length: int) -> None:
        arguments = {"val": address, "size": length, "filename": self._file.path}
        self._monitor.execute("pmemsave", arguments, Deadline(TRANSFER))

    def forget(self) -> None:
        """The guest is about to run: what was copied will be stale."""
        self._copied = False

    def read(self, address: int, length: int) -> bytes:
        """The bytes at ``address``; raises :class:`ValueError` outside RAM."""
        _check(address, length, self.size)
        if self._copied or not length:
            return self._file.read(address, length)
        self._save(address, length)
        return self._file.read(0, length)

    def write(self, address: int, data: bytes) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""
        self._writer.write(address, data)
        if self._copied:
            self._file.write(address, data)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Pages that are not all zero."""
        import numpy as np

        if not self._copied:
            self._save(0, self.size)
            self._copied = True
        for offset in range(0, self.size, CHUNK):
            words = np.frombuffer(self._file.read(offset, min(CHUNK, self.size - offset)), np.uint64)
            used = np.concatenate(([False], words.reshape(-1, PAGE // 8).any(axis=1), [False]))
            edges = np.flatnonzero(used[1:] != used[:-1]).tolist()
            for first, last in zip(edges[::2], edges[1::2], strict=True):
                yield offset + first * PAGE, (last - first) * PAGE

    def clear(self) -> None:
        """Write zero over every page that holds anything else.

        What QEMU or the guest does not restore itself afterwards is then as after a start; unlike with a
        mapping, pages stay allocated.
        """
        for address, length in list(self.extents()):
            self.write(address, bytes(length))
        self.forget()
