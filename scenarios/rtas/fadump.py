"""ibm,configure-kernel-dump: registering a dump, failing, reading back what was dumped, and invalidating it.

QEMU has the call since 10.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from rig.model.rtas.dump import CPU_STATE, OS_DEFINED, OS_NAME, PAGE_TABLE, REAL_MODE
from rig.model.rtas.fadump import INVALIDATE, PROPERTY, REGISTER, UNREGISTER
from rig.program import Host, MachineOptions, Requirement, Rtas, Seed, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

CALL, FAIL = "ibm,configure-kernel-dump", "ibm,os-term"
NEEDS = Requirement(services=(CALL,))
ISSUES: frozenset[str | int] = frozenset({CALL})
FAILS: frozenset[str | int] = frozenset({CALL, FAIL})

STRUCTURE, MESSAGE = 0xA0_0000, 0xA1_0000
SOURCE, LENGTH = 0x100_0000, 0x2000
#: where sections are dumped to, one every SPACING
TARGET, SPACING = 0x500_0000, 0x10_0000
#: more than a CPU state needs
ROOM = 0x2000

DATA = bytes((at * 11 + (at >> 8)) & 0xFF for at in range(LENGTH))


@dataclass(frozen=True)
class Section:
    """One section of a dump memory structure, with defaults that work."""

    kind: int = REAL_MODE
    source: int = SOURCE
    length: int = LENGTH
    target: int | None = None
    flags: int = 1


def structure(
    *sections: Section, version: int = 1, count: int | None = None, status: int = 0, first: int = 40
) -> bytes:
    """A dump memory structure; ``count`` is what its header announces."""
    announced = len(sections) if count is None else count
    data = struct.pack(">IHHIIQQII", version, announced, status, first, 0, 0, 0, 0, 0).ljust(first, b"\0")
    for index, section in enumerate(sections):
        target = TARGET + index * SPACING if section.target is None else section.target
        data += struct.pack(
            ">IHHQQQQ", section.flags, section.kind, 0, section.source, section.length, 0, target
        )
    return data


def register(data: bytes, address: int = STRUCTURE, length: int | None = None) -> list[Step]:
    """Put a structure into memory and register it."""
    size = len(data) if length is None else length
    return [Seed(address, data), Rtas(CALL, (REGISTER, address, size))]


def fail(*sections: Section) -> list[Step]:
    """Register sections and let the operating system fail; where CPU states go, something is to be seen."""
    seeds: list[Step] = [Seed(SOURCE, DATA), Seed(MESSAGE, b"panic: dump me\0")]
    seeds += [Seed(TARGET + at * SPACING, b"\x5a" * ROOM) for at in range(len(sections))]
    return [*seeds, *register(structure(*sections)), Rtas(FAIL, (MESSAGE,))]


UNREGISTERED = Rtas(CALL, (UNREGISTER, 0, 0))
INVALIDATED = Rtas(CALL, (INVALIDATE, 0, 0))
PLAIN = structure(Section(CPU_STATE, 0, 0x1000), Section())


@scenario(
    name="properties",
    summary="/rtas tells the versions of the structure and the sizes of the platform's own sections",
    requires=NEEDS,
    requirements=("R1-7.3.26-7", "R1-7.3.26-8"),
)
def properties(stage: Stage) -> Playing:
    """The formats of LoPAR B.5.3.1: two 16-bit cells; a section's number with its size in two cells."""
    rtas = stage.environment.tree.find("/rtas")
    assert rtas is not None
    sizes = rtas.cells(f"{CALL}-sizes")
    if len(sizes) != 6 or {sizes[0], sizes[3]} != {CPU_STATE, PAGE_TABLE}:
        raise Disagreement("fadump.sizes-property", f"{CALL}-sizes is {[hex(cell) for cell in sizes]}")
    version = rtas.properties.get(f"{CALL}-version", b"")
    if version != bytes.fromhex("00010001"):
        raise Disagreement("fadump.version-property", f"{CALL}-version is {version.hex(' ', 2)}")
    yield UNREGISTERED


@scenario(
    name="commands",
    summary="register, unregister, invalidate and unknown commands in every order without a dump",
    requires=NEEDS,
    requirements=("R1-7.3.26-1", "R1-7.3.26-5"),
    issues=ISSUES,
)
def commands(stage: Stage) -> Playing:
    """What a later call sees of an earlier one."""
    again = Rtas(CALL, (REGISTER, STRUCTURE, len(PLAIN)))
    yield [UNREGISTERED, INVALIDATED, *register(PLAIN), again, again, UNREGISTERED, UNREGISTERED]
    yield [again, INVALIDATED, again, UNREGISTERED]
    for command in (0, 4, 5, 0x8000_0000, 0x1_0000 | REGISTER, 0xFFFF_FFFF):
        yield Rtas(CALL, (command, STRUCTURE, len(PLAIN)))
    yield [again, Rtas(CALL, (4, 0, 0)), again, UNREGISTERED]


@scenario(
    name="structures",
    summary="structures of other versions, without sections, with too many, and with odd ones",
    requires=NEEDS,
    requirements=("R1-7.3.26-1", "R1-7.3.26-2"),
    issues=ISSUES,
)
def structures(stage: Stage) -> Playing:
    """Each is unregistered again."""
    ten = [Section()] * 10
    kinds = [Section(kind) for kind in (0, 3, 0x10, OS_NAME, 0x13, 0xFF, OS_DEFINED, 0xFFFF)]
    wrong = [
        *(structure(Section(), version=version) for version in (0, 2, 0x0100_0000, 0xFFFF_FFFF)),
        *(structure(Section(), count=count) for count in (0, 11, 0x8000, 0xFFFF)),
        *(structure(Section(), status=status) for status in (0x8000, 0xFFFF)),
        *(structure(Section(), first=first) for first in (41, 44, 64, 472, 473)),
        structure(),
        structure(*ten[:9]),
        structure(*ten),
        structure(*ten, Section()),
        *(structure(kind) for kind in kinds),
        *(structure(Section(flags=flags)) for flags in (0, 2, 0x8000_0001)),
    ]
    for one in wrong:
        yield [*register(one), UNREGISTERED]
    for first in (0, 4, 39, 0x1000, 0x8000_0000, 0xFFFF_FFFF):
        yield [*register(PLAIN[:8] + first.to_bytes(4, "big") + PLAIN[12:]), UNREGISTERED]


@scenario(
    name="lengths",
    summary="lengths of the structure from nothing to everything",
    requires=NEEDS,
    requirements=("R1-7.3.26-1", "R1-7.3.26-2"),
    issues=ISSUES,
)
def lengths(stage: Stage) -> Playing:
    """Nothing, the header, one byte less, exactly, more, and more than there is memory."""
    size = len(PLAIN)
    end = stage.environment.ram[-1].end
    whole = (end - STRUCTURE, end - STRUCTURE + 1, 0x7FFF_FFFF, 0xFFFF_FFFF)
    for length in (0, 1, 39, 40, 79, size - 1, size, size + 1, 512, 513, 0x1_0000, *whole):
        yield [*register(PLAIN, length=length), UNREGISTERED]


@scenario(
    name="addresses",
    summary="structures at odd addresses, at the end of memory, across it and beyond",
    requires=NEEDS,
    requirements=("R1-7.3.26-1", "R1-7.3.26-2"),
    issues=ISSUES,
)
def addresses(stage: Stage) -> Playing:
    """The structure lies in the RMA, which here is all of memory."""
    end = stage.environment.rma.end
    size = len(PLAIN)
    for address in (STRUCTURE + 1, STRUCTURE + 4, end - size):
        yield [*register(PLAIN, address), UNREGISTERED]
    for head in (1, 40, size - 1):
        yield [Seed(end - head, PLAIN[:head]), Rtas(CALL, (REGISTER, end - head, size)), UNREGISTERED]
    for address in (0, 1, end, end + 4, 0x8000_0000, 0xFFFF_FFFF):
        yield [Rtas(CALL, (REGISTER, address, size)), UNREGISTERED]


@scenario(
    name="shapes",
    summary="other numbers of inputs and outputs",
    requires=NEEDS,
    requirements=("R1-7.3.26-1",),
    issues=ISSUES,
)
def shapes(stage: Stage) -> Playing:
    """One less, one more, none and far too many; nothing may be left registered."""
    args = (UNREGISTER, 0, 0, 0, 0)
    huge = (0x3FFF_FFFF, 0x4000_0000, 0xFFFF_FFFF)
    for nret in (0, 1, 2, *huge):
        for nargs in (0, 2, 3, 4, *huge):
            yield Rtas(CALL, args, nret, nargs)
    end = stage.environment.ram[-1].end
    for block in (end - 28, end - 24, end - 16, STRUCTURE + 1, STRUCTURE + 4):
        yield Rtas(CALL, args[:3], block=block)


@scenario(
    name="crash",
    summary="the operating system fails with a dump registered: memory and CPU are dumped",
    requires=NEEDS,
    requirements=("R1-7.3.26-1", "R1-7.3.26-3", "R1-7.3.26-4", "R1-7.3.26-6", "R1-7.3.9.1-5"),
    issues=FAILS,
)
def crash(stage: Stage) -> Playing:
    """While the dump is active nothing can be registered; once it is invalidated, everything as at first."""
    yield fail(Section(CPU_STATE, 0, 0x1000), Section(), Section(source=SOURCE + 1, length=1))
    yield [*register(PLAIN), UNREGISTERED, Rtas(CALL, (9, 0, 0))]
    yield [INVALIDATED, UNREGISTERED, *register(PLAIN), UNREGISTERED]
    yield fail(Section(length=8))
    yield INVALIDATED


@scenario(
    name="crash-kinds",
    summary="sections that the operating system has named or given a meaning to",
    requires=NEEDS,
    requirements=("R1-7.3.26-2", "R1-7.3.26-3"),
    issues=FAILS,
)
def crash_kinds(stage: Stage) -> Playing:
    """One at a time, so that each is judged by itself."""
    for kind in (OS_DEFINED, OS_NAME, OS_DEFINED + 1, 0xFFFF):
        yield [*fail(Section(kind, length=64)), INVALIDATED]


@scenario(
    name="crash-errors",
    summary="sections that cannot be dumped are marked, the others are dumped",
    requires=NEEDS,
    requirements=("R1-7.3.26-2", "R1-7.3.26-3", "R1-7.3.26-6"),
    issues=FAILS,
)
def crash_errors(stage: Stage) -> Playing:
    """Sources and destinations that are no memory, or not all of it, and types that LoPAR reserves."""
    end = stage.environment.ram[-1].end
    for bad in (
        Section(3),
        Section(source=1 << 40),
        Section(source=end - 16, length=32),
        Section(length=64, target=1 << 40),
        Section(length=64, target=end - 32),
        Section(CPU_STATE, 0, 0x1000, target=1 << 40),
        Section(source=end - 16, length=1 << 40),
        Section(source=end - 16, length=(1 << 64) - 1),
    ):
        yield [*fail(bad, Section(length=64)), INVALIDATED]


@scenario(
    name="crash-lengths",
    summary="sections of no, one and many bytes, and a CPU state that has no room",
    requires=NEEDS,
    requirements=("R1-7.3.26-2", "R1-7.3.26-3"),
    issues=FAILS,
)
def crash_lengths(stage: Stage) -> Playing:
    """A CPU state one byte short, of 256 bytes, of one and of none."""
    rtas = stage.environment.tree.find("/rtas")
    assert rtas is not None
    needed = rtas.cells(f"{CALL}-sizes")[2]
    for length in (0, 1, 7, 4096, 33 << 20):
        yield [*fail(Section(length=length, target=0x1000_0000)), INVALIDATED]
    for length in (needed, needed - 1, 256, 1, 0):
        yield [*fail(Section(CPU_STATE, 0, length)), INVALIDATED]


@scenario(
    name="crash-overlaps",
    summary="sections whose destination is their source, overlaps it, or is another's source",
    requires=NEEDS,
    requirements=("R1-7.3.26-3", "R1-7.3.26-6"),
    issues=FAILS,
)
def crash_overlaps(stage: Stage) -> Playing:
    """Sections are dumped in order."""
    yield [*fail(Section(target=SOURCE)), INVALIDATED]
    yield [*fail(Section(target=SOURCE + 16)), INVALIDATED]
    yield [*fail(Section(target=SOURCE - 16)), INVALIDATED]
    yield [*fail(Section(target=TARGET), Section(source=TARGET + 8, target=TARGET + SPACING)), INVALIDATED]


@scenario(
    name="crash-again",
    summary="a dump outlives resets until it is invalidated",
    requires=NEEDS,
    requirements=("R1-7.3.26-3", "R1-7.3.26-4"),
    issues=FAILS,
)
def crash_again(stage: Stage) -> Playing:
    """The property comes with every device tree, and no more afterwards."""

    def shown() -> bool:
        rtas = stage.environment.tree.find("/rtas")
        return rtas is not None and PROPERTY in rtas.properties

    yield fail(Section())
    for reset in (Host("system_reset"), Rtas("system-reboot")):
        yield [reset, UNREGISTERED]
        if not shown():
            raise Disagreement("fadump.property", f"{PROPERTY} is gone before the dump was invalidated")
    yield [INVALIDATED, Host("system_reset")]
    if shown():
        raise Disagreement("fadump.property", f"{PROPERTY} is still there after the dump was invalidated")
    yield [*register(PLAIN), UNREGISTERED]


@scenario(
    name="reset-registered",
    summary="a registration over a reset, and a failure after it",
    requires=NEEDS,
    requirements=("R1-7.3.26-1", "R1-7.3.26-5"),
    issues=FAILS,
)
def reset_registered(stage: Stage) -> Playing:
    """LoPAR is silent: whatever the platform makes of it, it must keep to that."""
    yield [*register(PLAIN), Host("system_reset")]
    yield [*register(PLAIN), UNREGISTERED, *register(PLAIN), Host("system_reset")]
    yield [Seed(SOURCE, DATA), Seed(MESSAGE, b"panic\0"), Rtas(FAIL, (MESSAGE,))]


@scenario(
    name="crash-no-reboot",
    summary="with -no-reboot the machine shuts down instead",
    requires=NEEDS,
    requirements=("R1-7.3.26-3",),
    machine=MachineOptions(arguments=("-no-reboot",)),
    issues=FAILS,
)
def crash_no_reboot(stage: Stage) -> Playing:
    """What was dumped cannot be seen."""
    yield fail(Section(CPU_STATE, 0, 0x1000), Section())


@scenario(
    name="crash-two-cpus",
    summary="the state of two CPUs, one of which is stopped",
    requires=NEEDS,
    requirements=("R1-7.3.26-3", "R1-7.3.26-7"),
    machine=MachineOptions(smp="2"),
    issues=FAILS,
)
def crash_two_cpus(stage: Stage) -> Playing:
    """The size that the platform announces is enough for both."""
    yield [*fail(Section(CPU_STATE, 0, 0x1000), Section()), INVALIDATED]


@scenario(
    name="unregistered",
    summary="after a dump was unregistered a failure is as if there had been none",
    requires=replace(NEEDS, versions=">=6.0"),
    requirements=("R1-7.3.26-9",),
    machine=MachineOptions(arguments=("-action", "panic=none")),
    issues=FAILS,
)
def unregistered(stage: Stage) -> Playing:
    """ibm,os-term returns."""
    yield [*register(PLAIN), UNREGISTERED, Seed(MESSAGE, b"panic\0"), Rtas(FAIL, (MESSAGE,))]
