"""What lies at a range of guest-physical addresses: RAM, a PCI window, or nothing.

Addresses are 64 bits and a range may run over the top of them.  This is only the map; the bytes are in
:mod:`rig.model.memory`.
"""

from __future__ import annotations

from collections.abc import Iterable

from rig.frozen import frozen
from rig.model.environment import Environment, Region
from rig.model.hypercall import State
from rig.model.memory import Memory

SPACE = 1 << 64


@frozen
class Piece:
    """A part of a range that lies in a region; ``offset`` counts bytes from the range's start."""

    offset: int
    address: int
    length: int


def _whole(regions: Iterable[Region], address: int, length: int) -> bool:
    """Whether one region holds all of a range: by far the most frequent case, and worth no :class:`Piece`."""
    end = address + length
    return any(region.start <= address and end <= region.start + region.length for region in regions)


def pieces(regions: Iterable[Region], address: int, length: int) -> list[Piece]:
    """The parts of ``length`` bytes at ``address`` that lie in ``regions``, in the range's own order.

    Addresses count modulo 2^64: past the top the range goes on at 0.
    """
    length = min(length, SPACE)
    found = []
    for region in regions:
        for start in (address, address - SPACE):
            low = max(region.start, start)
            high = min(region.end, start + length)
            if low < high:
                found.append(Piece(low - start, low, high - low))
    return sorted(found, key=lambda piece: piece.offset)


def load(memory: Memory, address: int, length: int) -> bytes:
    """The bytes of a range, zero where there is no RAM."""
    if _whole(memory.ram, address, length):
        return memory.read(address, length)
    data = bytearray(length)
    for piece in pieces(memory.ram, address, length):
        data[piece.offset : piece.offset + piece.length] = memory.read(piece.address, piece.length)
    return bytes(data)


def pci_windows(environment: Environment) -> tuple[Region, ...]:
    """The I/O and memory windows of the PCI host bridges (``ranges`` of the root's ``pci`` children).

    An entry is seven cells: PCI address (3), address in the parent (2), size (2).
    """
    windows = []
    for node in environment.tree.children.values():
        if node.properties.get("device_type", b"").rstrip(b"\0") != b"pci":
            continue
        cells = node.cells("ranges")
        for i in range(0, len(cells) - 6, 7):
            windows.append(Region(cells[i + 3] << 32 | cells[i + 4], cells[i + 5] << 32 | cells[i + 6]))
    return tuple(windows)


class Windows:
    """The PCI windows of one machine, looked up once."""

    def __init__(self, environment: Environment) -> None:
        self.regions = pci_windows(environment)

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree."""
        self.regions = pci_windows(environment)


def in_window(state: State, address: int, length: int) -> bool:
    """Whether any byte of the range belongs to a PCI window: a device may answer there."""
    return bool(pieces(state.of(Windows).regions, address, length))


def in_ram(state: State, address: int, length: int) -> bool:
    """Whether every byte of the range is RAM; an empty range is."""
    ram = state.environment.ram
    return (
        _whole(ram, address, length) or sum(piece.length for piece in pieces(ram, address, length)) == length
    )


def ram_of(state: State, address: int, length: int) -> tuple[tuple[int, int], ...]:
    """The (address, length) parts of a range that are RAM, as a footprint lists them."""
    ram = state.environment.ram
    if _whole(ram, address, length):
        return ((address, length),) if length else ()
    return tuple((piece.address, piece.length) for piece in pieces(ram, address, length))
