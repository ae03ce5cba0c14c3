"""Guest RAM, three ways: a mapping shared with QEMU, QMP ``pmemsave``, and gdb.

All are :class:`rig.target.GuestMemory` over the same RAM, so that a scenario can prove that they agree.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rig.deadline import Deadline
from rig.program import MachineOptions
from rig.target import Data

if TYPE_CHECKING:  # their libraries are imported while QEMU starts
    from rig.machine.debugger import Debugger
    from rig.machine.monitor import Monitor

PAGE = 0x1000
#: linux/falloc.h
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
#: seconds that one transfer through QEMU may take
TRANSFER = 60.0
#: reads of up to so many bytes go by the mapping, and may make pages of zero where there were holes
SMALL = 1 << 21
#: bytes searched at a time for pages that are not zero
CHUNK = 1 << 24


def _check(address: int, length: int, size: int) -> None:
    if address < 0 or length < 0 or address + length > size:
        raise ValueError(f"{address:#x}..{address + length:#x} is not all RAM, which ends at {size:#x}")


def _runs(data: bytes, *, used: bool) -> Iterator[tuple[int, int]]:
    """(offset, length) of the runs of pages that hold anything but zero, or of those that do not."""
    import numpy as np

    pages = np.frombuffer(data, np.uint64).reshape(-1, PAGE // 8).any(axis=1) == used
    edges = np.flatnonzero(np.diff(np.concatenate(([False], pages, [False])))).tolist()
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        yield first * PAGE, (last - first) * PAGE


class Anonymous:
    """A memory file without a name (memfd), so that nothing is left behind however the rig ends."""

    def __init__(self, name: str, size: int) -> None:
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self._view: mmap.mmap | None = None

    @property
    def path(self) -> str:
        """Its path for a child that inherits the descriptor."""
        return f"/proc/self/fd/{self.fd}"

    @property
    def view(self) -> mmap.mmap:
        """A mapping of it, which is much faster than :meth:`read` and :meth:`write` while its size stays.

        Reading a hole through it makes pages of zero there.
        """
        if self._view is None:
            self._view = mmap.mmap(self.fd, 0)
        return self._view

    def extents(self, end: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of what was ever touched below ``end``; the rest are holes."""
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
        data = os.pread(self.fd, length, offset)
        while 0 < len(data) < length and (more := os.pread(self.fd, length - len(data), offset + len(data))):
            data += more
        return data.ljust(length, b"\0")

    def write(self, offset: int, data: Data) -> None:
        """Put ``data`` at ``offset``; raises :class:`OSError` when memory is full."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fd, view, offset)
            view, offset = view[done:], offset + done

    def punch(self, offset: int, length: int) -> None:
        """Make a range a hole again, for everyone who maps it."""
        libc = ctypes.CDLL(None, use_errno=True)
        mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        if libc.fallocate(self.fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
            raise OSError(ctypes.get_errno(), "guest RAM could not be cleared: fallocate failed")

    def trim(self, size: int) -> None:
        """Make holes of all pages below ``size`` that hold nothing but zero, while nobody writes."""
        for start, length in list(self.extents(size)):
            for offset in range(start, start + length, CHUNK):
                data = self.read(offset, min(CHUNK, start + length - offset))
                for first, count in _runs(data, used=False):
                    self.punch(offset + first, count)

    def close(self) -> None:
        """Give it up.  May be called twice."""
        if self._view is not None:
            self._view.close()
            self._view = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Mapped:
    """RAM that QEMU maps from files which the rig reads and writes directly; no call to QEMU is involved.

    It still can be read when QEMU is dead.  Writes are for data: QEMU does not learn of them, so code that it
    has translated already stays as it was (write code by the debugger's memory).
    """

    def __init__(self, file: Anonymous, size: int) -> None:
        #: (first address, bytes, file), ascending
        self._banks = [(0, size, file)]

    def attach(self, file: Anonymous, start: int, size: int) -> None:
        """A further file, which QEMU maps at ``start``; raises :class:`ValueError` where there is RAM."""
        if any(start < at + length and at < start + size for at, length, _ in self._banks):
            raise ValueError(f"{start:#x}..{start + size:#x} is RAM already")
        self._banks = sorted([*self._banks, (start, size, file)], key=lambda bank: bank[0])

    def _pieces(self, address: int, length: int) -> Iterable[tuple[Anonymous, int, int]]:
        """(file, offset, bytes) of a range, all of which must be RAM."""
        _, whole, first = self._banks[0]
        if 0 <= address <= address + length <= whole:  # as nearly always
            return ((first, address, length),)
        at, end = address, address + length
        found = []
        for start, size, file in self._banks:
            if start <= at < start + size:
                found.append((file, at - start, min(end, start + size) - at))
                at += found[-1][2]
        if length < 0 or at != end:
            raise ValueError(f"{address:#x}..{end:#x} is not all RAM")
        return found

    def read(self, address: int, length: int) -> bytes:
        """The bytes at ``address``; raises :class:`ValueError` outside RAM.

        More than :data:`SMALL` are read without filling holes.
        """
        if length > SMALL:
            return b"".join(file.read(offset, size) for file, offset, size in self._pieces(address, length))
        return b"".join(file.view[at : at + size] for file, at, size in self._pieces(address, length))

    def write(self, address: int, data: Data) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""
        rest = memoryview(data)
        for file, at, size in self._pieces(address, len(data)):
            file.view[at : at + size] = rest[:size]
            rest = rest[size:]

    def mapping(self) -> mmap.mmap:
        """A mapping of one's own of the RAM at 0, for arrays.  Reading a hole through it fills the hole."""
        _, size, file = self._banks[0]
        return mmap.mmap(file.fd, size)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Pages that anyone ever touched."""
        for start, size, file in self._banks:
            for offset, length in file.extents(size):
                yield start + offset, length

    def clear(self) -> None:
        """Make all of RAM zero and untouched."""
        for _, size, file in self._banks:
            file.punch(0, size)

    def trim(self) -> None:
        """Make holes of pages that are all zero, while the guest stands.

        QEMU touches all of RAM when it takes over the state of a machine, and what was touched is compared.
        """
        for _, size, file in self._banks:
            file.trim(size)


def mapped(files: Mapping[str, Anonymous], options: MachineOptions) -> Mapped | None:
    """The RAM that a machine starts with, one node after the other; ``None`` when nothing of it is mapped."""
    if not options.mapping:
        return None
    if not options.nodes:
        return Mapped(files["ram"], options.memory << 20)
    memory, at = Mapped(files["node0"], options.nodes[0] << 20), options.nodes[0] << 20
    for number, size in enumerate(options.nodes[1:], 1):
        memory.attach(files[f"node{number}"], at, size << 20)
        at += size << 20
    return memory


class ByDebugger:
    """RAM through gdb and the gdbstub.  Slow for much; writes also reach translated code."""

    def __init__(self, debugger: Debugger, size: int) -> None:
        self._debugger = debugger
        self.size = size

    def read(self, address: int, length: int) -> bytes:
        """The bytes at ``address``; raises :class:`ValueError` outside RAM."""
        _check(address, length, self.size)
        return self._debugger.read(address, length, Deadline(TRANSFER)) if length else b""

    def write(self, address: int, data: Data) -> None:
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

    def write(self, address: int, data: Data) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""
        self._writer.write(address, data)
        if self._copied:
            self._file.write(address, data)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Pages that are not all zero."""
        if not self._copied:
            self._save(0, self.size)
            self._copied = True
        for offset in range(0, self.size, CHUNK):
            for first, length in _runs(self._file.read(offset, min(CHUNK, self.size - offset)), used=True):
                yield offset + first, length

    def clear(self) -> None:
        """Write zero over every page that holds anything else.

        What QEMU or the guest does not restore itself afterwards is then as after a start; unlike with a
        mapping, pages stay allocated.
        """
        for address, length in list(self.extents()):
            self.write(address, bytes(length))
        self.forget()
