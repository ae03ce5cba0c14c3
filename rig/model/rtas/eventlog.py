"""The logs that check-exception and event-scan return (LoPAR 10.3.2): parsed, and held to their format.

Pure functions over a log's bytes.  Which event a log must tell of is the business of
:mod:`rig.model.rtas.events`.
"""

from __future__ import annotations

from collections.abc import Mapping

from rig.frozen import frozen

#: event types of the fixed part
EPOW, HOT_PLUG = 64, 229
#: the optional section that a type requires (LoPAR R1-10.3.2.2.1-4)
REQUIRED_SECTION = {EPOW: b"EP", HOT_PLUG: b"HP"}

VERSION = 6
FIXED = 8
#: bytes of the extended log before its first section
PREAMBLE = 16
#: id, length, version, subtype, creator
SECTION_HEADER = 8
#: least lengths by which a section holds the fields that are looked at (LoPAR 10.3.2.2)
LEAST = {b"PH": 48, b"UH": 24, b"EP": 20, b"HP": 16}

NO_ERROR, RESERVED_SEVERITY = 0, 7
FULLY_RECOVERED = 0


@frozen
class Fixed:
    """The fixed part: Table 10.2, bits counted from the most significant."""

    version: int
    severity: int
    disposition: int
    extended: bool
    reserved: int
    type: int
    #: bytes of the extended log, 0 when there is none
    length: int


def fixed(log: bytes) -> Fixed:
    """The fixed part of a log of at least eight bytes."""
    summary = int.from_bytes(log[:4], "big")
    extended = bool(summary >> 18 & 1)
    return Fixed(
        summary >> 24,
        summary >> 21 & 7,
        summary >> 19 & 3,
        extended,
        summary >> 16 & 3,
        summary & 0xFF,
        int.from_bytes(log[4:8], "big") if extended else 0,
    )


def header_fault(log: bytes) -> str | None:
    """What is wrong with the fixed part, its disposition excepted."""
    part = fixed(log)
    if part.version != VERSION:
        return f"version {part.version} instead of {VERSION}"
    if part.severity in (NO_ERROR, RESERVED_SEVERITY):
        return f"severity {part.severity}"
    if part.reserved:
        return f"reserved bits 14:15 are {part.reserved:#x}"
    if part.type not in REQUIRED_SECTION:
        return f"event type {part.type} instead of {EPOW} or {HOT_PLUG}"
    return None


def sections(extended: bytes) -> Mapping[bytes, bytes] | str:
    """The sections of an extended log by their ids, or what is wrong with the log."""
    if len(extended) < PREAMBLE:
        return f"{len(extended)} bytes are no extended log"
    if not extended[0] & 0x80:
        return "the log is not marked valid"
    if extended[2] & 0x8F != 0x8E:
        return f"byte 2 is {extended[2]:#04x}, not that of a platform event log"
    if extended[12:16] != b"IBM\0":
        return f"bytes 12:15 are {extended[12:16]!r}"
    found: dict[bytes, bytes] = {}
    at = PREAMBLE
    while at < len(extended):
        name = extended[at : at + 2]
        length = int.from_bytes(extended[at + 2 : at + 4], "big")
        if length < SECTION_HEADER or at + length > len(extended):
            return f"section {name!r} at {at} has {length} bytes of {len(extended) - at}"
        if length < LEAST.get(name, 0):
            return f"section {name!r} has {length} bytes, fewer than {LEAST[name]}"
        found[name] = extended[at : at + length]
        at += length
    if list(found)[:2] != [b"PH", b"UH"]:
        return f"sections {list(found)} do not begin with PH and UH"
    if found[b"PH"][0x1B] != len(found):
        return f"PH counts {found[b'PH'][0x1B]} sections, there are {len(found)}"
    return found


def extended_fault(log: bytes) -> str | None:
    """What is wrong with the extended part of a whole log."""
    part = fixed(log)
    if not part.extended:
        return None
    found = sections(log[FIXED : FIXED + part.length])
    if isinstance(found, str):
        return found
    wanted = REQUIRED_SECTION.get(part.type, b"")
    if wanted not in found:
        return f"a log of type {part.type} has no section {wanted!r}"
    return _calendar_fault(found[b"PH"])


def _calendar_fault(ph: bytes) -> str | None:
    """Whether creation date and time of PH are binary-coded decimal in their ranges, or all zero."""
    text = ph[0x08:0x10].hex()
    if text == "0" * 16:
        return None
    if not text.isdecimal():
        return f"date and time {text} are not decimal"
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in (4, 6, 8, 10, 12))
    if 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60:
        return None
    return f"there is no date and time {text}"


@frozen
class Content:
    """What a log tells: its type and, when it has one, the EP or HP section."""

    type: int
    section: bytes = b""


def content(log: bytes) -> Content | None:
    """What a log tells; ``None`` when there is not even a fixed part."""
    if len(log) < FIXED:
        return None
    part = fixed(log)
    found = sections(log[FIXED : FIXED + part.length])
    wanted = REQUIRED_SECTION.get(part.type, b"")
    return Content(part.type, b"" if isinstance(found, str) else found.get(wanted, b""))


__all__ = [
    "EPOW",
    "FIXED",
    "FULLY_RECOVERED",
    "HOT_PLUG",
    "Content",
    "Fixed",
    "content",
    "extended_fault",
    "fixed",
    "header_fault",
    "sections",
]
