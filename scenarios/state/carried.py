"""What a machine holds for its guest, over a snapshot, a move to another QEMU, and a reset.

Each scenario sets everything that the families keep (time, NVRAM, connectors, interrupts, DMA windows,
routines for system resets, an event that waits), lets the machine travel or be reset, and asks for all of it.
The model knows what must come through: all of it, but over a reset only what LoPAR calls non-volatile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rig.model.blob import BASE
from rig.model.update_dt import H_UPDATE_DT
from rig.program import (
    H_LOGICAL_MEMOP,
    LOAD,
    MOVE,
    SAVE,
    Await,
    Call,
    Host,
    MachineOptions,
    Requirement,
    Rtas,
    Seed,
    Step,
)
from rig.scenario.script import Play, Playing, Scenario, Stage, scenario
from rig.scenario.tree import with_rtas

UNIT = (0x0800_0000, 0x2000_0000)
#: connectors of a slot with a card, and of one without
CARD, EMPTY = 0x4000_0018, 0x4000_0020
ISOLATION, DR_ENTITY = 9001, 9003
#: config_addr of another card
SLOT = 0x800
DATA, FETCHED, LOG, BLOB, SPACE = 0xA0_0000, 0xB0_0000, 0x110_0000, 0xA2_0000, 0x180_0000
EPOW = 0x4000_0000
ROUTINE = 0xC0_0000
FOUR_BYTES = bytes.fromhex("a55a3cc3")

#: a start that no other machine has: the clock keeps what was set
CLOCK = ("-rtc", "base=2002-03-01T00:00:00")
PLAIN = MachineOptions(devices=("e1000e,addr=1,romfile=", "e1000e,addr=3,romfile="), arguments=CLOCK)
VIRTIO = MachineOptions(devices=("virtio-net-pci,addr=1,romfile=", "virtio-rng-pci,addr=3"), arguments=CLOCK)
ISSUES: frozenset[str | int] = frozenset(
    {
        "get-time-of-day",
        "set-time-of-day",
        "nvram-store",
        "nvram-fetch",
        "set-indicator",
        "get-sensor-state",
        "ibm,change-msi",
        "ibm,query-interrupt-source-number",
        "ibm,query-pe-dma-window",
        "ibm,create-pe-dma-window",
        "ibm,nmi-register",
        "ibm,nmi-interlock",
        "check-exception",
        H_LOGICAL_MEMOP,
        H_UPDATE_DT,
    }
)


def first(stage: Stage) -> Iterator[Step]:
    """Give the machine something to hold."""
    yield Rtas("set-time-of-day", (2010, 11, 12, 13, 14, 15, 0))
    yield Seed(DATA, FOUR_BYTES * 1024)
    yield Rtas("nvram-store", (0x1234, DATA, 4096), 2)
    yield Rtas("ibm,change-msi", (SLOT, *UNIT, 4, 2, 1), 4)
    yield Rtas("ibm,query-pe-dma-window", (0, *UNIT), 5)
    yield Rtas("ibm,create-pe-dma-window", (0, *UNIT, 16, 30), 4)
    yield Rtas("set-indicator", (ISOLATION, CARD, 0))
    yield Seed(BLOB, with_rtas(stage, {BASE: SPACE.to_bytes(4, "big")}))
    yield Call(H_UPDATE_DT, (BLOB,))
    yield Rtas("ibm,nmi-register", (ROUTINE, ROUTINE + 0x100))
    yield Host("system_powerdown")
    yield Await("POWERDOWN")
    yield Call(H_LOGICAL_MEMOP, (0x180_0000, DATA, 3, 512, 1))


def other() -> Iterator[Step]:
    """Something else, which must not be there after what was first has been brought back."""
    yield Rtas("set-time-of-day", (2020, 1, 2, 3, 4, 5, 0))
    yield Seed(DATA, bytes(4096))
    yield Rtas("nvram-store", (0x1230, DATA, 4096), 2)
    yield Rtas("ibm,change-msi", (SLOT, *UNIT, 4, 0, 1), 4)
    yield Rtas("set-indicator", (ISOLATION, CARD, 1))
    yield Rtas("check-exception", (0x500, 0x1000, EPOW, 0, LOG, 2048))
    yield Call(H_LOGICAL_MEMOP, (0x190_0000, 0x180_0000, 3, 512, 1))


def asked() -> Iterator[Step]:
    """Ask for everything."""
    yield Rtas("get-time-of-day", nret=8)
    yield Seed(FETCHED, bytes(8192))
    yield Rtas("nvram-fetch", (0x1000, FETCHED, 8192), 2)
    yield from (Rtas("ibm,query-interrupt-source-number", (SLOT, *UNIT, one), 3) for one in (0, 1, 2))
    yield Rtas("ibm,query-pe-dma-window", (0, *UNIT), 5)
    yield Rtas("get-sensor-state", (DR_ENTITY, CARD), 2)
    yield Rtas("get-sensor-state", (DR_ENTITY, EMPTY), 2)
    yield Rtas("ibm,nmi-interlock")
    yield Rtas("check-exception", (0x500, 0x1000, EPOW, 0, LOG, 2048))
    yield Rtas("check-exception", (0x500, 0x1000, EPOW, 0, LOG, 2048))
    yield Rtas("set-indicator", (ISOLATION, CARD, 1))
    yield Rtas("ibm,change-msi", (SLOT, *UNIT, 4, 3, 1), 4)
    yield Call(H_LOGICAL_MEMOP, (0x1A0_0000, 0x180_0000, 3, 512, 0))


def carried(*between: Step) -> Play:
    """Set, travel or reset, ask."""

    def play(stage: Stage) -> Playing:
        for part in (first(stage), iter(between), asked()):
            yield list(part)

    return play


def named(
    name: str, summary: str, options: MachineOptions, play: Play, newer: str = "", on: str = ""
) -> Scenario:
    """One of the scenarios below."""
    devices = tuple(device.split(",")[0] for device in options.devices)
    requires = Requirement(devices=devices, newer=newer, versions=on)
    return scenario(name=name, summary=summary, machine=options, requires=requires, issues=ISSUES)(play)


def moved(route: str, to: str = "same") -> Play:
    """Go on in another QEMU."""
    return carried(Host(MOVE, {"route": route, "to": to}))


def there_and_back(times: int) -> Play:
    """Saved; then changed, brought back and asked, so often from the same snapshot."""

    def play(stage: Stage) -> Playing:
        yield list(first(stage))
        yield Host(SAVE)
        for _ in range(times):
            yield list(other())
            yield Host(LOAD)
            yield list(asked())

    return play


def memory_only(stage: Stage) -> Playing:
    """RAM and NVRAM saved, changed, brought back; few calls, for each looks at a copy of all RAM."""
    yield [
        Seed(DATA, FOUR_BYTES * 1024),
        Rtas("nvram-store", (0x1234, DATA, 4096), 2),
        Call(H_LOGICAL_MEMOP, (SPACE, DATA, 3, 512, 0)),
        Host(SAVE),
        Seed(DATA, bytes(4096)),
        Rtas("nvram-store", (0x1230, DATA, 4096), 2),
        Call(H_LOGICAL_MEMOP, (SPACE, DATA, 3, 512, 0)),
        Host(LOAD),
        Rtas("nvram-fetch", (0x1000, FETCHED, 8192), 2),
        Call(H_LOGICAL_MEMOP, (0x1A0_0000, SPACE, 3, 512, 0)),
    ]


snapshot = named("snapshot", "a snapshot brings back everything as it was", PLAIN, there_and_back(2))
snapshot_virtio = named(
    "snapshot-virtio",
    "a snapshot brings back everything as it was, with virtio devices",
    VIRTIO,
    there_and_back(2),
)
unmapped = named(
    "snapshot-unmapped",
    "a snapshot brings back RAM and NVRAM where RAM is QEMU's own",
    replace(PLAIN, mapping=False, memory=256),
    memory_only,
)
by_file = named("file", "everything goes through a file into another QEMU", PLAIN, moved("file"))
by_file_virtio = named(
    "file-virtio", "everything goes through a file, with virtio devices", VIRTIO, moved("file")
)
by_socket = named("socket", "everything goes through a socket into another QEMU", PLAIN, moved("socket"))
by_socket_virtio = named(
    "socket-virtio", "everything goes through a socket, with virtio devices", VIRTIO, moved("socket")
)


def to_newer(options: MachineOptions, old: str, newer: str, suffix: str = "") -> Scenario:
    """From one release's machine type to a build of another release."""
    target = newer.removeprefix("==").removesuffix(".*")
    return named(
        f"from-{old}-to-{target}{suffix}",
        f"everything goes from QEMU {old} to {target}, on the machine type of {old}",
        replace(options, machine=f"pseries-{old}"),
        moved("socket", "newer"),
        newer,
        f"=={old}.*",
    )


from_5_2_to_7_2 = to_newer(PLAIN, "5.2", "==7.2.*")
from_5_2_to_11_1 = to_newer(PLAIN, "5.2", "==11.1.*")
from_7_2_to_10_0 = to_newer(PLAIN, "7.2", "==10.0.*")
from_7_2_to_11_1 = to_newer(PLAIN, "7.2", "==11.1.*")
from_10_0_to_11_1 = to_newer(PLAIN, "10.0", "==11.1.*")
virtio_5_2_to_7_2 = to_newer(VIRTIO, "5.2", "==7.2.*", "-virtio")
virtio_5_2_to_11_1 = to_newer(VIRTIO, "5.2", "==11.1.*", "-virtio")
virtio_7_2_to_10_0 = to_newer(VIRTIO, "7.2", "==10.0.*", "-virtio")
virtio_7_2_to_11_1 = to_newer(VIRTIO, "7.2", "==11.1.*", "-virtio")
virtio_10_0_to_11_1 = to_newer(VIRTIO, "10.0", "==11.1.*", "-virtio")

reset = named(
    "reset",
    "a reset keeps the time and NVRAM, and brings back the rest as it was at start",
    PLAIN,
    carried(Host("system_reset")),
)
reboot = named(
    "reboot",
    "a reboot by the guest keeps the time and NVRAM, and brings back the rest as it was at start",
    PLAIN,
    carried(Rtas("system-reboot")),
)
