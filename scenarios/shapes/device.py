"""Memory that is no RAM: registers of a device and a read-only region, reached through a PCI window.

The model permits whatever a device may answer.  What is judged here is how the calls reach it: each element
is one access of the element's size, so that H_LOGICAL_MEMOP shows what H_LOGICAL_CI_LOAD and
H_LOGICAL_CI_STORE of that size show (QEMU's patch: one load and one store of the element's size an element).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions, Outcome, Requirement, Rtas, Seed, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

WRITE = "ibm,write-pci-config"
H_LOGICAL_CI_LOAD, H_LOGICAL_CI_STORE = 0x3C, 0x40
ISSUED: frozenset[str | int] = frozenset({WRITE, H_LOGICAL_MEMOP, H_LOGICAL_CI_LOAD, H_LOGICAL_CI_STORE})

UNIT = (0x0800_0000, 0x2000_0000)
#: configuration space of slot 1 (PCI 3.0, 6.1 and 6.2.5)
SLOT, COMMAND, BASE, ROM_BASE = 0x800, 0x04, 0x10, 0x30
MEMORY, ROM_ENABLE = 0x002, 0x001

DATA, COPY = 0x100_0000, 0x200_0000
SIZES = (1, 2, 4, 8)

#: what a part of a scenario yields and returns
Part = Generator[Step, Any, Any]


def window(stage: Stage) -> tuple[int, int]:
    """Where the bridge's 32-bit memory begins: PCI address, and address that the guest uses.

    An entry of ``ranges`` is seven cells: PCI address (3), address in the parent (2), size (2).
    """
    node = stage.environment.tree.find("/pci@800000020000000")
    cells = node.cells("ranges") if node is not None else ()
    for i in range(0, len(cells) - 6, 7):
        if cells[i] >> 24 & 3 == 2:
            return cells[i + 1] << 32 | cells[i + 2], cells[i + 3] << 32 | cells[i + 4]
    raise Disagreement("agreement.pci", "the host bridge has no window of 32-bit memory")


def mapped(stage: Stage, register: int, flags: int = 0) -> Part:
    """Put the device's base at the window's start and enable it; the address that the guest uses."""
    pci, guest = window(stage)
    yield Rtas(WRITE, (SLOT + register, *UNIT, 4, pci | flags))
    yield Rtas(WRITE, (SLOT + COMMAND, *UNIT, 2, MEMORY))
    return guest


def load(size: int, address: int) -> Part:
    """One access."""
    outcome: Outcome = yield Call(H_LOGICAL_CI_LOAD, (size, address))
    return outcome.registers["r4"]


def store(size: int, address: int, value: int) -> Step:
    """One access."""
    return Call(H_LOGICAL_CI_STORE, (size, address, value))


def copy(destination: int, source: int, size: int, count: int = 1, op: int = 0) -> Step:
    """``count`` elements of ``size`` bytes."""
    return Call(H_LOGICAL_MEMOP, (destination, source, size.bit_length() - 1, count, op))


def agree(what: str, by_memop: int, by_access: int) -> None:
    """Raise :class:`Disagreement` where the two ways differ."""
    if by_memop != by_access:
        raise Disagreement(
            "agreement.device", f"{what}: {by_memop:#x} by H_LOGICAL_MEMOP, {by_access:#x} by one access"
        )


def word(stage: Stage, address: int, size: int) -> int:
    """A big-endian number in RAM."""
    return int.from_bytes(stage.memory.read(address, size), "big")


@scenario(
    name="access-size",
    summary="each element is one access of the element's size, which a device can tell from another size",
    machine=MachineOptions(devices=("edu,addr=1",)),
    requires=Requirement(devices=("edu",)),
    issues=ISSUED,
)
def access_size(stage: Stage) -> Playing:
    """QEMU's edu device answers accesses of 4 bytes only, and those of 8 bytes with ones (docs/specs/edu)."""
    identity, liveness = 0x00, 0x04
    base = yield from mapped(stage, BASE)
    singles = {}
    for size in SIZES:
        singles[size] = yield from load(size, base + identity)
        yield Seed(COPY, bytes(range(16)))
        yield copy(COPY, base + identity, size)
        agree(f"the identity in {size} bytes", word(stage, COPY, size), singles[size])
    if singles[4] << 32 | singles[4] == singles[8] or singles[4] >> 24 == singles[1] == singles[2] >> 8:
        raise Disagreement("agreement.device", f"the device does not tell sizes apart: {singles}")

    value = 0x1234_5678
    yield store(4, base + liveness, value)
    by_access = yield from load(4, base + liveness)
    yield store(4, base + liveness, 0)
    yield Seed(DATA, value.to_bytes(4, "big") * 4)
    yield copy(base + liveness, DATA, 4)
    stored = yield from load(4, base + liveness)
    agree("the register stored to", stored, by_access)
    yield copy(COPY, base, 4, 2)
    agree("two registers", word(stage, COPY, 8), singles[4] << 32 | by_access)
    for size in (1, 2, 8):  # none of these is an access to the register
        yield copy(base, DATA + 8, size, 8 // size)
        agree(f"the register after {size} bytes", (yield from load(4, base + liveness)), by_access)


@scenario(
    name="access-count",
    summary="each element is stored once and only once, as a device that counts shows",
    machine=MachineOptions(devices=("pci-testdev,addr=1",)),
    requires=Requirement(devices=("pci-testdev",)),
    issues=ISSUED,
)
def access_count(stage: Stage) -> Playing:
    """QEMU's pci-testdev counts the stores of a byte to one offset (docs/specs/pci-testdev)."""
    base = yield from mapped(stage, BASE)
    yield store(1, base, 0)  # test 0: no notifier

    def cell(offset: int) -> Part:
        """One of the header's little-endian cells."""
        value = yield from load(4, base + offset)
        return int.from_bytes(value.to_bytes(4, "big"), "little")

    offset, datum, before = (yield from cell(4)), (yield from cell(8)), (yield from cell(12))
    yield Seed(DATA, bytes([datum & 0xFF]) * 64)
    first = offset & ~0xF
    for number, size in enumerate(SIZES, 1):
        yield copy(base + first, DATA, size, 32 // size)
        agree(f"stores counted in {size} bytes", (yield from cell(12)) - before, number)
    yield copy(COPY, base + first, 1, 32)
    agree("stores counted after a copy from there", (yield from cell(12)) - before, len(SIZES))


@scenario(
    name="read-only",
    summary="a read-only region can be copied from, and nothing that is stored there changes it",
    machine=MachineOptions(arguments=("-device", "e1000,addr=1,romfile={file rom 65536 a5}")),
    requires=Requirement(devices=("e1000",)),
    issues=ISSUED,
)
def read_only(stage: Stage) -> Playing:
    """The expansion ROM of a card (PCI 3.0, 6.2.5.2)."""
    base = yield from mapped(stage, ROM_BASE, ROM_ENABLE)
    content = b"\xa5" * 64
    for size in SIZES:
        for at in (base, base + 0x8000):
            yield Seed(COPY, bytes(64))
            yield copy(COPY, at, size, 64 // size)
            unchanged(stage, COPY, content, f"copied in {size} bytes")
            yield Seed(DATA, bytes(range(64)))
            yield copy(at, DATA, size, 64 // size)
            yield copy(at, at, size, 64 // size, 1)
            yield copy(at + size, at, size, 32 // size)
            yield copy(COPY, at, size, 64 // size)
            unchanged(stage, COPY, content, f"after stores in {size} bytes")
            yield copy(COPY, at, size, 64 // size, 1)


def unchanged(stage: Stage, address: int, content: bytes, when: str) -> None:
    """Raise :class:`Disagreement` unless what was copied is the region's content."""
    if (seen := stage.memory.read(address, len(content))) != content:
        raise Disagreement("agreement.read-only", f"{when} the region reads {seen.hex()}")
