"""The agent's protocol (images/PROTOCOL.md) as bytes: vectors, records and the mailbox.

It performs no input or output and knows no debugger; the machine moves the bytes and rings the doorbell.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from rig.frozen import frozen
from rig.machine.errors import AgentError, LaunchError
from rig.machine.registers import ARGUMENTS, FULL_SIZE, NAMES, TEMPLATE, Endian, Record, put
from rig.model.environment import Region
from rig.program import Call, Run, Value
from rig.resources import image_root

MAGIC = 0x5249474147454E54
VERSION = 1
IMAGE_SIZE = 0x10000
DONE = 0x2000
#: the instruction after the one at the stop label, which does nothing
PAST_DONE = 0x2004
FAULT = 0x2040
MAILBOX = 0x8000
MAILBOX_SIZE = 0x100
#: bytes from one CPU's mailbox to the next one's, all in the boot CPU's page
MAILBOX_STRIDE = 0x100
CPUS = 16
#: where a further CPU is to be started, with the address of its mailbox in r3
SECONDARY = 0x3000
#: offsets in the mailbox of what the rig writes
AT_SEQUENCE = 0x10
AT_REQUEST = 0x18
AT_ELSEWHERE = 0xF0
#: and of the last batch completed
AT_DONE = 0x40
#: the agent's routine for calls that are made in another state than its own
ELSEWHERE = 0x4000
BATCH = 0x10000
#: what is left of the agent's memory for tables of translation
TABLES = 0x7C0000
#: everything that belongs to the agent, in guest-physical addresses
REGION = Region(0, 0x800000)

LEAN_SIZE = 80
#: where the registers of a lean vector stand in a full one
LEAN_AT = 8 * 3

#: SF, VEC, VSX and FP: what the agent adds to the MSR that it was entered with
MSR_AGENT = 1 << 63 | 0x0280_2000

READY, BATCH_DONE, BAD_MAILBOX, EXCEPTION = range(4)
REMEDY = "restore it from the distribution, or run make in images/"
#: a record that the agent has not written
UNWRITTEN = b"\xa7"


def image(endian: Endian) -> Path:
    """The prebuilt image; raises :class:`LaunchError` unless it is whole."""
    path = image_root() / f"agent-{'be' if endian == 'big' else 'le'}.bin"
    check_image(path, endian)
    return path


def client() -> Path:
    """The prebuilt image that the firmware of ``x-vof=on`` starts; raises :class:`LaunchError`."""
    image("big")  # which it carries
    path = image_root() / "client-be.elf"
    if not path.is_file():
        raise LaunchError(f"the guest image {path} is missing: {REMEDY}")
    return path


def check_image(path: Path, endian: Endian) -> None:
    """Raise :class:`LaunchError` unless ``path`` is an agent of this protocol: size, magic and version."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LaunchError(f"the guest image {path} cannot be read ({error.strerror}): {REMEDY}") from error
    if len(data) != IMAGE_SIZE:
        raise LaunchError(f"the guest image {path} has {len(data)} bytes instead of {IMAGE_SIZE}: {REMEDY}")
    found = struct.unpack_from(f"{_order(endian)}QQ", data, MAILBOX)
    if found != (MAGIC, VERSION):
        raise LaunchError(
            f"the guest image {path} has magic {found[0]:#x} and version {found[1]} at {MAILBOX:#x}, "
            f"not {MAGIC:#x} and {VERSION}: {REMEDY}"
        )


def _order(endian: Endian) -> str:
    return ">" if endian == "big" else "<"


@frozen
class Mailbox:
    """What the agent published."""

    magic: int
    version: int
    #: sequence number of the last batch posted
    sequence: int
    #: sequence number of the last batch completed, and how many vectors of it were executed
    done: int
    index: int
    state: int
    #: r3, MSR, r1, r4, r5, r6, r7 at entry
    entry: tuple[int, ...]
    #: vector, SRR0, SRR1, DAR, DSISR of the exception that ended it
    fault: tuple[int, ...]
    #: whether the agent has started
    started: bool

    @property
    def boot(self) -> Mapping[str, int]:
        """Registers at entry by name."""
        return dict(zip(("r3", "msr", "r1", "r4", "r5", "r6", "r7"), self.entry, strict=True))

    @property
    def stumbled(self) -> bool:
        """Whether a CPU that was started could not execute its first instruction."""
        return self.state == EXCEPTION and self.fault[1] == SECONDARY

    def __str__(self) -> str:
        if self.state == EXCEPTION:
            vector, srr0, srr1, dar, dsisr = self.fault
            return (
                f"the agent took exception {vector:#x} at vector {self.index} of its batch "
                f"(SRR0 {srr0:#x}, SRR1 {srr1:#x}, DAR {dar:#x}, DSISR {dsisr:#x})"
            )
        return f"agent state {self.state}, batch {self.done} done, index {self.index}"


class Codec:
    """Registers to bytes and back for an agent of either byte order."""

    def __init__(self, endian: Endian) -> None:
        self.endian = endian
        order = _order(endian)
        self._lean = struct.Struct(f"{order}10Q")
        self._doublewords = [struct.Struct(f"{order}{count}Q") for count in range(len(ARGUMENTS) + 1)]
        self._mailbox = struct.Struct(f"{order}{MAILBOX_SIZE // 8}Q")
        self._order = order

    # ---- mailbox -------------------------------------------------------------------------------------------

    def mailbox(self, data: bytes) -> Mailbox:
        """The mailbox from its first :data:`MAILBOX_SIZE` bytes."""
        words = self._mailbox.unpack(data)
        magic, version, sequence = words[:3]
        done, index, state = words[8:11]
        started = bool(words[29])
        return Mailbox(magic, version, sequence, done, index, state, words[11:18], words[24:29], started)

    def blank(self) -> bytes:
        """The mailbox of a CPU that is yet to be started."""
        return self._mailbox.pack(MAGIC, VERSION, *bytes(MAILBOX_SIZE // 8 - 2))

    def request(self, vectors: int, records: int, count: int, full: bool, msr: int = 0) -> bytes:
        """Mailbox fields 0x18..0x3f: addresses of first vector and record, number of vectors, kind, MSR."""
        return struct.pack(f"{self._order}5Q", vectors, records, count, int(full), msr)

    def elsewhere(self, routine: int, segment: int) -> bytes:
        """Mailbox fields 0xf0..0xff: the routine that full vectors go to, 0 for none, and its SLB entry."""
        return struct.pack(f"{self._order}2Q", routine, segment)

    def sequence(self, number: int) -> bytes:
        """Mailbox field 0x10, which must be written last."""
        return struct.pack(f"{self._order}Q", number)

    # ---- vectors and records -------------------------------------------------------------------------------

    def vectors(self, parts: Sequence[Call | Run], full: bool) -> bytearray:
        """The vectors of several, one after the other; raises as :meth:`vector`."""
        size, at = (FULL_SIZE, LEAN_AT) if full else (LEAN_SIZE, 0)
        data = bytearray(memoryview(_patterns(self.endian, full))[: size * len(parts)])
        for start, part in zip(range(0, len(data), size), parts, strict=True):
            if isinstance(part, Call) and not part.registers and len(part.args) < len(ARGUMENTS):
                try:
                    self._doublewords[1 + len(part.args)].pack_into(data, start + at, part.opcode, *part.args)
                    continue
                except struct.error:
                    pass  # a reference, or a number that does not fit
            data[start : start + size] = self.vector(part, full)
        return data

    def vector(self, part: Call | Run, full: bool) -> bytes:
        """The vector of a call or routine: its own registers, and the pattern in the others.

        Raises :class:`ValueError` for a register that a vector of this kind does not load, for a value that
        does not fit, and for an unresolved reference.
        """
        own = (part.opcode, *part.args) if isinstance(part, Call) else ()
        if len(own) > len(ARGUMENTS):
            raise ValueError(f"{part.name or 'a call'} has {len(own) - 1} arguments; r4..r12 hold nine")
        data = bytearray(TEMPLATE[self.endian])
        loaded = NAMES if full else ARGUMENTS
        single: dict[str, Value] = dict(part.registers)
        try:
            struct.pack_into(f"{self._order}{len(own)}Q", data, LEAN_AT, *own)
        except struct.error:  # find out which of them it is
            single = dict(zip(ARGUMENTS, own, strict=False)) | single
        for name, value in single.items():
            if name not in loaded:
                raise ValueError(f"{name} is not loaded by a {'full' if full else 'lean'} vector")
            if not isinstance(value, int):
                raise ValueError(f"{name} = {value} is a reference that was not resolved")
            put(data, name, value, self.endian)
        return bytes(data if full else data[LEAN_AT : LEAN_AT + LEAN_SIZE])

    def record(self, data: bytes, full: bool) -> Mapping[str, int]:
        """The registers in one record."""
        if not full:
            return dict(zip(ARGUMENTS, self._lean.unpack(data), strict=True))
        return Record(data, self.endian)


@cache
def _patterns(endian: Endian, full: bool) -> bytes:
    """As many vectors of nothing but the pattern as a batch may have."""
    vector = TEMPLATE[endian] if full else TEMPLATE[endian][LEAN_AT : LEAN_AT + LEAN_SIZE]
    return vector * capacity(full)


@cache
def _unwritten() -> bytes:
    return UNWRITTEN * (TABLES - BATCH)


def unwritten(count: int, full: bool) -> memoryview:
    """So many records before the agent has written any."""
    return memoryview(_unwritten())[: count * size(full)]


def mailbox_at(cpu: int) -> int:
    """Address of the mailbox of the CPU with index ``cpu``."""
    if not 0 <= cpu < CPUS:
        raise AgentError(f"CPU {cpu} has no mailbox; the agent has room for {CPUS} CPUs")
    return MAILBOX + cpu * MAILBOX_STRIDE


def size(full: bool) -> int:
    """Bytes of one vector or record."""
    return FULL_SIZE if full else LEAN_SIZE


def capacity(full: bool) -> int:
    """How many calls one batch can hold."""
    return (TABLES - BATCH) // (2 * size(full))


def records_at(count: int, full: bool, at: int = BATCH) -> int:
    """Address of the first record of a batch of ``count`` calls, whose vectors begin at ``at``."""
    if not 0 < count <= capacity(full):
        raise AgentError(f"a batch of {count} calls does not fit; at most {capacity(full)} do")
    return at + count * size(full)
