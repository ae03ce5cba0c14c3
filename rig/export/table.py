"""The player's table: what its bare-metal interpreter (``player.S``) does, operation by operation, as bytes.

All numbers are big-endian doublewords; texts and data are padded to eight bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rig.model.hypercall import MASK64
from rig.scenario.reserved import AGENT

PLAYER = Path(__file__).with_name("player.bin")
#: where the table begins; the image may have at most 4 MiB (QEMU, ``-bios`` of pseries)
TABLE = 0x1_0000
LIMIT = 4 << 20

END, TEXT, SEED, CALL, CELL, REGISTER, HEX, BETWEEN, BYTES, CHECK, PAUSE = range(11)
#: r3..r12
REGISTERS = 10


class CannotExport(ValueError):
    """A program that a single image cannot play; the message says which step, and why."""


@dataclass(slots=True)
class Table:
    """A table under way; ``terminal`` is the unit address of the console's ``spapr-vty``."""

    terminal: int
    _parts: list[bytes] = field(default_factory=list)

    def text(self, text: str) -> None:
        """Print."""
        self._parts += [_words(TEXT), _counted(text.encode("ascii", "replace"))]

    def seed(self, address: int, data: bytes) -> None:
        """Put bytes into memory."""
        if AGENT.overlaps(address, len(data)):
            raise CannotExport(f"memory at {address:#x} belongs to the image: choose another address")
        self.block(address, data)

    def block(self, address: int, data: bytes) -> None:
        """Put bytes into memory that may be the image's own."""
        self._parts += [_words(SEED, address), _counted(data)]

    def call(self, registers: Sequence[int]) -> None:
        """Perform a hypercall with r3.. as given and the others nought."""
        self._parts.append(_words(CALL, *registers, *[0] * (REGISTERS - len(registers))))

    def take_cell(self, address: int, width: int) -> None:
        """Take a cell of memory in hand and print it."""
        self._parts.append(_words(CELL, width, address, HEX, 2 * width))

    def take_register(self, number: int) -> None:
        """Take r3..r12 in hand, as the last call left it, and print it."""
        self._parts.append(_words(REGISTER, number, HEX, 16))

    def between(self, low: int, high: int) -> None:
        """The value in hand is permitted if it is in this range."""
        self._parts.append(_words(BETWEEN, low, high))

    def bytes_at(self, address: int, data: bytes) -> None:
        """It is permitted that memory holds these bytes."""
        self._parts += [_words(BYTES, address), _counted(data)]

    def check(self, permitted: str, otherwise: str) -> None:
        """Print one text or the other, and count what was not permitted."""
        self._parts += [_words(CHECK), _counted(permitted.encode()), _counted(otherwise.encode())]

    def pause(self) -> None:
        """Wait for a character from the console; an exclamation mark counts as not permitted."""
        self._parts.append(_words(PAUSE))

    def end(self, conforms: str, differs: str, opcode: int, r4: int) -> None:
        """Print the verdict and end QEMU by one last hypercall."""
        self._parts += [_words(END), _counted(conforms.encode()), _counted(differs.encode())]
        self._parts.append(_words(opcode, r4))

    def image(self) -> bytes:
        """The image to be given to ``-bios``; raises :class:`CannotExport` when it is too large."""
        image = PLAYER.read_bytes().ljust(TABLE, b"\0") + _words(self.terminal) + b"".join(self._parts)
        if len(image) > LIMIT:
            raise CannotExport(
                f"the program needs {len(image)} bytes, but an image has at most {LIMIT}: shrink it first"
            )
        return image


def _words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}Q", *(value & MASK64 for value in values))


def _counted(data: bytes) -> bytes:
    return _words(len(data)) + data.ljust((len(data) + 7) & ~7, b"\0")
