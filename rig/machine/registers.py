"""The registers of a full vector or record (images/PROTOCOL.md): where each stands, what it holds at entry.

A record is decoded register by register as somebody asks: a campaign looks at few of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Endian = Literal["big", "little"]

FULL_SIZE = 2048
MASK64 = (1 << 64) - 1

#: argument registers, the opcode first; all that a lean vector has
ARGUMENTS = tuple(f"r{n}" for n in range(3, 13))
#: names of a full record's doublewords from offset 0 on
_GPRS = tuple(f"r{n}" for n in range(32))
_CORE = (
    *_GPRS,
    "cr",
    "lr",
    "ctr",
    "xer",
    "msr",
    "srr0",
    "srr1",
    "sprg0",
    "sprg1",
    "sprg3",
    "fpscr",
    "vrsave",
)
_VSRS = tuple(f"vs{n}" for n in range(64))
#: in a record but not loaded from a vector
RECORD_ONLY = frozenset({"msr", "srr0", "srr1", "sprg0", "sprg1"})
ALL = (*_CORE, "vscr", *_VSRS)
NAMES = frozenset(ALL) - RECORD_ONLY

#: where VSCR and the vector registers stand, and where the gap between them begins
_VSCR, _GAP, _VSRS_AT = 0x160, 0x170, 0x400
#: offset and bytes of each
_PLACES: Mapping[str, tuple[int, int]] = {
    **{name: (8 * n, 8) for n, name in enumerate(_CORE)},
    "vscr": (_VSCR, 16),
    **{name: (_VSRS_AT + 16 * n, 16) for n, name in enumerate(_VSRS)},
}
#: the core registers of either byte order, where only equality counts
_DOUBLEWORDS = struct.Struct(f"={len(_CORE)}Q")


def _pattern() -> dict[str, int]:
    """Values that no register shares with another and that each keeps as they are written.

    CR, XER (SO, OV, CA), FPSCR (the exception enables), VRSAVE and VSCR (NJ, SAT) have fewer bits than 64.
    """
    values = {name: (n or 0x20) * 0x0101_0101_0101_0101 for n, name in enumerate(_GPRS)}
    for n, name in enumerate(_VSRS):
        values[name] = (0x40 + n) * 0x0101_0101_0101_0101 << 64 | (0x80 + n) * 0x0101_0101_0101_0101
    return values | {
        "cr": 0x8421_4218,
        "lr": 0x1BAD_1BAD_1BAD_1BAC,
        "ctr": 0xFEDC_BA98_7654_3210,
        "xer": 0xE000_0000,
        "sprg3": 0x5959_5959_5959_5959,
        "fpscr": 0xF8,
        "vrsave": 0x6A6A_6A6A,
        "vscr": 0x0001_0001,
    }


#: what a register holds at entry unless the call sets it
PATTERN: Mapping[str, int] = _pattern()


@dataclass(slots=True, eq=False)  # thousands a second: frozen ones take seven times as long to make
class Record(Mapping[str, int]):
    """Registers by name, unsigned, 64 bits or 128 (``vscr``, ``vs0``..``vs63``), out of ``data``.

    ``hidden`` are those that it does not show.
    """

    data: bytes
    endian: Endian
    hidden: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> int:
        if name in self.hidden:
            raise KeyError(name)
        at, size = _PLACES[name]
        if size == 16 and name != "vscr":  # two doublewords, the higher one first
            high, low = self.data[at : at + 8], self.data[at + 8 : at + 16]
            return int.from_bytes(high, self.endian) << 64 | int.from_bytes(low, self.endian)
        return int.from_bytes(self.data[at : at + size], self.endian)

    def __iter__(self) -> Iterator[str]:
        return (name for name in ALL if name not in self.hidden)

    def __len__(self) -> int:
        return len(ALL) - len(self.hidden)

    def __repr__(self) -> str:
        return repr(dict(self))

    def changed(self, after: Record) -> list[str]:
        """The names of the registers that hold something else in ``after``, and that both show."""
        ours, theirs = self.data, after.data
        pairs = zip(_CORE, _DOUBLEWORDS.unpack_from(ours), _DOUBLEWORDS.unpack_from(theirs), strict=True)
        names = [name for name, before, now in pairs if before != now]
        # What lies between the core and the vector registers is not the agent's to write.
        if ours[_VSCR:_GAP] != theirs[_VSCR:_GAP] or ours[_VSRS_AT:] != theirs[_VSRS_AT:]:
            places = ((name, *_PLACES[name]) for name in ("vscr", *_VSRS))
            names += [name for name, at, size in places if ours[at : at + size] != theirs[at : at + size]]
        if self.hidden or after.hidden:
            return [name for name in names if name not in self.hidden and name not in after.hidden]
        return names

    def having(self, registers: Mapping[str, int]) -> Record:
        """Another one, in which ``registers`` hold what is given and are shown."""
        data = bytearray(self.data)
        for name, value in registers.items():
            put(data, name, value, self.endian)
        return Record(bytes(data), self.endian, self.hidden.difference(registers))


def doubleword(name: str) -> int:
    """Where a register of 64 bits stands, in doublewords."""
    return _PLACES[name][0] // 8


def put(data: bytearray, name: str, value: int, endian: Endian) -> None:
    """Let a register of a full vector hold ``value``; raises :class:`ValueError` when it does not fit."""
    at, size = _PLACES[name]
    if not 0 <= value < 1 << 8 * size:
        raise ValueError(f"{name} = {value:#x} does not fit the register")
    if size == 16 and name != "vscr":
        data[at : at + 8] = (value >> 64).to_bytes(8, endian)
        data[at + 8 : at + 16] = (value & MASK64).to_bytes(8, endian)
    else:
        data[at : at + size] = value.to_bytes(size, endian)


def _template(endian: Endian) -> bytes:
    data = bytearray(FULL_SIZE)
    for name, value in PATTERN.items():
        put(data, name, value, endian)
    return bytes(data)


#: the full vector of :data:`PATTERN`
TEMPLATE: Mapping[Endian, bytes] = {"big": _template("big"), "little": _template("little")}
