"""Devices configured as an operating system does it: base addresses sized and mapped, interrupts switched.

What the guest did through its calls must show where QEMU itself shows its devices (query-pci), and where the
guest then reaches them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from rig.program import Call, Host, MachineOptions, Outcome, Requirement, Rtas, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

READ, WRITE, CHANGE_MSI = "ibm,read-pci-config", "ibm,write-pci-config", "ibm,change-msi"
H_LOGICAL_CI_LOAD, H_LOGICAL_CI_STORE = 0x3C, 0x40

BLOCK = 0x90_0000
UNIT = (0x0800_0000, 0x2000_0000)

#: offsets in configuration space (PCI 3.0, 6.1 and 6.8)
COMMAND, CAPABILITIES, FIRST_BASE = 0x04, 0x34, 0x10
IO, MEMORY, NO_INTX = 0x001, 0x002, 0x400
MSI, MSIX = 0x05, 0x11
MSI_ENABLE, MSIX_ENABLE = 0x0001, 0x8000

#: where bases are put in the I/O window, and in both memory windows
IO_AT, MEMORY_AT = 0x1000, 0x9000_0000

#: what a part of a scenario yields and returns
Part = Generator[Step, Any, Any]
#: a device or region as query-pci shows it
Shown = Mapping[str, Any]

DEVICES = (
    "virtio-net-pci,addr=1,romfile=",
    "e1000e,addr=2,romfile=",
    "pci-bridge,id=outer,chassis_nr=1,addr=3",
    "virtio-scsi-pci,addr=4.0,multifunction=on",
    "virtio-rng-pci,addr=4.1",
    "rtl8139,bus=outer,addr=1,romfile=",
)
NEEDED = Requirement(
    devices=("e1000e", "pci-bridge", "rtl8139", "virtio-net-pci", "virtio-rng-pci", "virtio-scsi-pci")
)


def read(stage: Stage, function: int, register: int, size: int) -> Part:
    """A register's value."""
    yield Rtas(READ, (function + register, *UNIT, size), nret=2)
    return int.from_bytes(stage.memory.read(BLOCK + 32, 4), "big")


def write(function: int, register: int, size: int, value: int) -> Part:
    """Write a register."""
    yield Rtas(WRITE, (function + register, *UNIT, size, value))


def shown() -> Part:
    """The buses of the first host bridge as QEMU shows them."""
    outcome: Outcome = yield Host("query-pci")
    assert isinstance(outcome.answer, Mapping)
    return outcome.answer["return"]


def devices(buses: list[Shown]) -> Iterator[Shown]:
    """Every function below them."""
    for bus in buses:
        for device in bus["devices"]:
            yield device
            yield from devices([device["pci_bridge"]] if "pci_bridge" in device else [])


def place(device: Shown) -> int:
    """The config_addr of a function, register 0."""
    return int(device["bus"] << 16 | device["slot"] << 11 | device["function"] << 8)


def agree(what: str, guest: int, host: int) -> None:
    """Raise :class:`Disagreement` where the guest and QEMU see two things."""
    if guest != host:
        raise Disagreement("agreement.pci", f"{what}: the guest sees {guest:#x}, QEMU shows {host:#x}")


@scenario(
    name="identity",
    summary="the functions that QEMU shows are those that the guest finds, with the same identity",
    machine=MachineOptions(devices=DEVICES),
    requires=NEEDED,
    requirements=("R1-7.3.4-1", "R1-7.3.4.1-2"),
    issues=frozenset({READ}),
)
def identity(stage: Stage) -> Playing:
    """Vendor, device, class and interrupt line of each."""
    for device in devices((yield from shown())):
        at = place(device)
        vendor = yield from read(stage, at, 0, 2)
        agree(f"vendor at {at:#x}", vendor, device["id"]["vendor"])
        identifier = yield from read(stage, at, 2, 2)
        agree(f"device at {at:#x}", identifier, device["id"]["device"])
        kind = yield from read(stage, at, 0x0A, 2)
        agree(f"class at {at:#x}", kind, device["class_info"]["class"])


@scenario(
    name="bases",
    summary="every base address register is sized and mapped, and QEMU shows size and place",
    machine=MachineOptions(devices=DEVICES),
    requires=NEEDED,
    requirements=("R1-7.3.4.1-2", "R1-7.3.4.2-2", "R1-7.3.4.2-3"),
    issues=frozenset({READ, WRITE}),
)
def bases(stage: Stage) -> Playing:
    """Sized by writing ones, placed one after another, aligned to their sizes, and enabled."""
    free = {"io": IO_AT, "memory": MEMORY_AT}
    placed: dict[tuple[int, int], int] = {}
    for device in devices((yield from shown())):
        at = place(device)
        for region in device["regions"]:
            register = FIRST_BASE + 4 * region["bar"]
            yield from write(at, register, 4, 0xFFFF_FFFF)
            ones = yield from read(stage, at, register, 4)
            mask = ones & (~0x3 if region["type"] == "io" else ~0xF)
            agree(f"size of base {region['bar']} at {at:#x}", -mask & 0xFFFF_FFFF, region["size"])
            base = (free[region["type"]] + region["size"] - 1) & -region["size"]
            free[region["type"]] = base + region["size"]
            yield from write(at, register, 4, base)
            if region["mem_type_64"] if region["type"] == "memory" else False:
                yield from write(at, register + 4, 4, 0)
            placed[at, region["bar"]] = base
        yield from write(at, COMMAND, 2, IO | MEMORY)
    for device in devices((yield from shown())):
        for region in device["regions"]:
            at, bar = place(device), region["bar"]
            agree(f"base {bar} at {at:#x}", placed[at, bar], region["address"])


def window(stage: Stage) -> tuple[int, int]:
    """Where the 32-bit memory window begins: PCI address, and address that the guest uses.

    An entry of ``ranges`` is seven cells: PCI address (3), address in the parent (2), size (2).
    """
    node = stage.environment.tree.find("/pci@800000020000000")
    cells = node.cells("ranges") if node is not None else ()
    for i in range(0, len(cells) - 6, 7):
        if cells[i] >> 24 & 3 == 2:
            return cells[i + 1] << 32 | cells[i + 2], cells[i + 3] << 32 | cells[i + 4]
    raise Disagreement("agreement.pci", "the host bridge has no window of 32-bit memory")


@scenario(
    name="frame-buffer",
    summary="memory of a device is where its base says, moves with it, and is gone when it is disabled",
    machine=MachineOptions(devices=("VGA,romfile=,addr=1",)),
    requires=Requirement(devices=("VGA",)),
    requirements=("R1-7.3.4.2-2",),
    issues=frozenset({WRITE, H_LOGICAL_CI_LOAD, H_LOGICAL_CI_STORE}),
)
def frame_buffer(stage: Stage) -> Playing:
    """A word stored at one place is loaded at another after the base has moved."""
    pci, guest = window(stage)
    function, word = 0x800, 0x1234_5678
    first, second = 0x0, 0x0400_0000

    def load(offset: int) -> Part:
        outcome: Outcome = yield Call(H_LOGICAL_CI_LOAD, (4, guest + offset + 0x100))
        return outcome.registers["r4"]

    yield from write(function, FIRST_BASE, 4, pci + first)
    yield from write(function, COMMAND, 2, MEMORY)
    yield Call(H_LOGICAL_CI_STORE, (4, guest + first + 0x100, word))
    agree("the word stored", (yield from load(first)), word)
    yield from write(function, FIRST_BASE, 4, pci + second)
    agree("the word after the base has moved", (yield from load(second)), word)
    if (yield from load(first)) == word:
        raise Disagreement("agreement.pci", "the word is still where the base was before")
    yield from write(function, COMMAND, 2, 0)
    if (yield from load(second)) == word:
        raise Disagreement("agreement.pci", "the word is still there with memory disabled")
    yield from write(function, COMMAND, 2, MEMORY)
    agree("the word with memory enabled again", (yield from load(second)), word)


def enabled(stage: Stage, function: int) -> Part:
    """Which interrupts a function may send: the names of those enabled in its configuration space."""
    names = set()
    command = yield from read(stage, function, COMMAND, 2)
    at = yield from read(stage, function, CAPABILITIES, 1)
    while at:
        capability = yield from read(stage, function, at, 4)
        kind, control = capability & 0xFF, capability >> 16
        if (kind == MSI and control & MSI_ENABLE) or (kind == MSIX and control & MSIX_ENABLE):
            names.add("message")
        at = capability >> 8 & 0xFF
    if not command & NO_INTX and not names:  # PCI 3.0, 6.8.2: no pin while messages are enabled
        names.add("level")
    return names


@scenario(
    name="level-sensitive-off",
    summary="a function that is given message-signalled interrupts no longer uses its pin",
    machine=MachineOptions(devices=DEVICES),
    requires=NEEDED,
    requirements=("R1-7.3.10.5.1-4", "R1-7.3.10.5.1-5"),
    issues=frozenset({READ, CHANGE_MSI}),
)
def level_sensitive_off(stage: Stage) -> Playing:
    """Switched to messages and back, for a conventional function."""
    function = 0x800
    yield Rtas(CHANGE_MSI, (function, *UNIT, 4, 2, 1), nret=4)
    with_messages = yield from enabled(stage, function)
    yield Rtas(CHANGE_MSI, (function, *UNIT, 4, 0, 1), nret=4)
    without = yield from enabled(stage, function)
    if without != {"level"}:
        raise Disagreement("msi.level-not-back", f"without messages a function may send {sorted(without)}")
    if "level" in with_messages:
        raise Disagreement(
            "msi.level-still-on", "ibm,change-msi gives interrupts and leaves the pin of the function enabled"
        )
