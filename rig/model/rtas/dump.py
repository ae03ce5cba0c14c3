"""The Kernel Assisted Dump Memory Structure and the CPU state in a dump (LoPAR 7.3.26 and appendix H.1).

Only the formats: what a platform does with them is :mod:`rig.model.rtas.fadump`'s business.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from rig.frozen import frozen

#: version, sections, status, offset of the first section, disk (4 fields), time to automatic reboot
_HEADER = struct.Struct(">IHHIIQQII")
#: request flags, type, errors, source, length, length dumped, destination
_SECTION = struct.Struct(">IHHQQQQ")

HEADER, SECTION = _HEADER.size, _SECTION.size
VERSION = 1
MAX_SECTIONS = 10

#: status flags of the header
PERFORMED, TRIGGERED, ERROR = 0x8000, 0x4000, 0x2000

#: request flag: the platform copies the section's source to its destination
COPY = 1

#: types of sections; OS_DEFINED is the first of those that an operating system gives a meaning to
CPU_STATE, PAGE_TABLE, REAL_MODE, OS_NAME, OS_DEFINED = 1, 2, 0x11, 0x12, 0x100

#: error flags of a section
INVALID_TYPE, INVALID_SOURCE, EXCEEDS_SOURCE, INVALID_DESTINATION, TOO_SMALL = (0x8000 >> n for n in range(5))

#: the CPU state begins with it; NumCpusOffset is at 12
MAGIC = b"REGSAVE\0"
#: a register's name and value
ENTRY = 16


@frozen
class Section:
    """One section; ``errors`` and ``dumped`` are the platform's."""

    flags: int
    kind: int
    errors: int
    source: int
    length: int
    dumped: int
    destination: int

    @property
    def known(self) -> bool:
        """Whether its type is one of LoPAR's or left to the operating system."""
        return self.kind >= OS_DEFINED or self.kind in (CPU_STATE, PAGE_TABLE, REAL_MODE, OS_NAME)

    @property
    def request(self) -> tuple[int, ...]:
        """What the operating system asked for."""
        return self.flags, self.kind, self.source, self.length, self.destination


@frozen
class Structure:
    """A dump memory structure: ``announced`` sections, of which those that are there follow."""

    version: int
    announced: int
    status: int
    first: int
    sections: tuple[Section, ...]

    @property
    def whole(self) -> bool:
        """Whether it is of the one version there is, and all announced sections are there."""
        return self.version == VERSION and len(self.sections) == self.announced <= MAX_SECTIONS


def parse(data: bytes) -> Structure | None:
    """The structure that begins ``data``; ``None`` when not even its header is there."""
    if len(data) < HEADER:
        return None
    version, announced, status, first, *_ = _HEADER.unpack_from(data)
    places = range(first, first + announced * SECTION, SECTION)
    sections = tuple(Section(*_SECTION.unpack_from(data, at)) for at in places if at + SECTION <= len(data))
    return Structure(version, announced, status, first, sections)


class BadCpuState(ValueError):
    """An area is no CPU state in LoPAR's format; the message says why."""


def cpu_state(data: bytes) -> tuple[list[Mapping[str, int]], int]:
    """The registers of every CPU by LoPAR's names, ``CPUSTRT`` being the CPU's number, and the bytes used.

    Raises :class:`BadCpuState`.
    """
    if data[:8] != MAGIC:
        raise BadCpuState(f"it begins with {data[:8].hex()}")
    offset = int.from_bytes(data[12:16], "big")
    count = int.from_bytes(data[offset : offset + 4], "big")
    entries = _entries(data, offset + 4)
    cpus: list[Mapping[str, int]] = []
    used = offset + 4
    while len(cpus) < count:
        registers: dict[str, int] = {}
        for used, name, value in entries:
            if (name == "CPUSTRT") == bool(registers):
                raise BadCpuState(f"entry {name!r} is out of place before {used:#x}")
            if name == "CPUEND":
                break
            registers[name] = value
        else:
            raise BadCpuState(f"it announces {count} CPUs and ends after {len(cpus)}")
        cpus.append(registers)
    return cpus, used


def _entries(data: bytes, start: int) -> Iterator[tuple[int, str, int]]:
    """Where each entry ends, its name and its value."""
    for at in range(start, len(data) - ENTRY + 1, ENTRY):
        name = data[at : at + 8].rstrip(b"\0").decode("latin-1")
        yield at + ENTRY, name, int.from_bytes(data[at + 8 : at + ENTRY], "big")


__all__ = [
    "BadCpuState",
    "Section",
    "Structure",
    "cpu_state",
    "parse",
]
