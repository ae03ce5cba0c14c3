"""Whole flows of dynamic reconfiguration (LoPAR 13.7.3): plugged by the host, taken, given back, gone.

The host plugs or asks back; the guest reads the event's log, sets the indicators, walks the connector to the
end and compares what it was told with what QEMU itself shows of the same connector.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from rig.program import Await, Host, MachineOptions, Outcome, Requirement, Rtas, Seed, Step
from rig.scenario.script import Disagreement, Play, Playing, Scenario, Stage, scenario

SET, SENSE = "set-indicator", "get-sensor-state"
CONFIGURE, CHECK = "ibm,configure-connector", "check-exception"
ISSUES = frozenset({SET, SENSE, CONFIGURE, CHECK})
ISOLATION, ALLOCATION, ENTITY_SENSE = 9001, 9003, 9003


#: calls after which a walk is taken to be endless
PATIENCE = 2000

BLOCK = 0x90_0000
AREA = 0x100_0000
PAGE = 0x1000
LOG = 0x110_0000
ALL_CLASSES = 0xFFFF_FFFF

SLOT = 0x4000_0010
CPU = 0x1000_0001
BRIDGE = 0x2000_0001
BLOCK_OF_MEMORY = 0x8000_0004
MEMORY_AT = 0x4000_0000

CORE = "power9_v2.0-spapr-cpu-core"
CARD = {"driver": "e1000", "bus": "pci.0", "addr": "2", "romfile": ""}
WITH_CARD = Requirement(devices=("e1000",))
WITH_CORE = Requirement(devices=(CORE,))
#: more memory than QEMU's own: at 256 MiB the first free block begins at 1 GiB
ROOM = ("-m", "256M,slots=4,maxmem=2G")

#: what a flow, or a part of one, yields and returns
Part = Generator[Step, Any, Any]


def flow(
    name: str,
    summary: str,
    requirements: tuple[str, ...],
    requires: Requirement = Requirement(),
    *arguments: str,
    smp: str = "1",
) -> Callable[[Play], Scenario]:
    """A scenario of this file."""
    return scenario(
        name=name,
        summary=summary,
        machine=MachineOptions(memory=256, smp=smp, arguments=arguments),
        requires=requires,
        requirements=requirements,
        issues=ISSUES,
    )


def indicate(indicator: int, index: int, state: int) -> Rtas:
    """Set an indicator of a connector."""
    return Rtas(SET, (indicator, index, state))


def sense(index: int) -> Rtas:
    """Read what is plugged."""
    return Rtas(SENSE, (ENTITY_SENSE, index), nret=2)


def told() -> Rtas:
    """Fetch the next event."""
    return Rtas(CHECK, (0x500, 0x1001, ALL_CLASSES, 0, LOG, 2048))


def status(stage: Stage, arguments: int) -> int:
    """The status of the call just made with so many arguments."""
    return int.from_bytes(stage.memory.read(BLOCK + 12 + 4 * arguments, 4), "big", signed=True)


def cell(stage: Stage, index: int) -> int:
    """An entry of the work area."""
    return int.from_bytes(stage.memory.read(AREA + 4 * index, 4), "big")


def name(stage: Stage) -> str:
    """The name that entry 2 of the work area points to."""
    at = cell(stage, 2)
    return stage.memory.read(AREA + at, PAGE - at).split(b"\0")[0].decode() if at < PAGE else ""


def walk(stage: Stage, index: int) -> Part:
    """Configure a connector; the nodes as QEMU would show them."""
    yield Seed(AREA, index.to_bytes(4, "big") + bytes(PAGE - 4))
    path: list[dict[str, Any]] = [{}]
    for _ in range(PATIENCE):
        yield Rtas(CONFIGURE, (AREA, 0))
        match status(stage, 2):
            case 2:
                below: dict[str, Any] = {}
                path[-1][name(stage)] = below
                path.append(below)
            case 3:
                length, at = cell(stage, 3), cell(stage, 4)
                path[-1][name(stage)] = list(stage.memory.read(AREA + at, length))
            case 4:
                path.pop()
            case _:
                return path[0]
    raise Disagreement("agreement.connector", f"no end after {PATIENCE} calls")


def compare(index: int, told: Mapping[str, Any]) -> Part:
    """Hold the nodes that the guest was told against those that QEMU shows."""
    outcome: Outcome = yield Host("qom-get", {"path": f"/dr-connector/{index:x}", "property": "fdt"})
    answer = outcome.answer
    shown = answer.get("return") if isinstance(answer, Mapping) else None
    top = next(iter(told.values()), None)
    if len(told) != 1 or shown != top:
        raise Disagreement("agreement.connector", f"connector {index:#x}: told {told}, QEMU shows {shown}")


def take(stage: Stage, index: int, *, logical: bool) -> Part:
    """Bring what is plugged to use, and look at it."""
    yield sense(index)
    if logical:
        yield indicate(ALLOCATION, index, 1)
        yield sense(index)
    yield indicate(ISOLATION, index, 1)
    nodes = yield from walk(stage, index)
    yield from compare(index, nodes)


def give_back(index: int, *, logical: bool) -> Part:
    """Stop using what is plugged."""
    yield indicate(ISOLATION, index, 0)
    if logical:
        yield indicate(ALLOCATION, index, 0)


def gone(device: str) -> Await:
    """Wait until QEMU says that the device is gone."""
    return Await("DEVICE_DELETED", {"device": device})


@flow(
    "pci",
    "a PCI card plugged, used, unplugged, and plugged again",
    ("R1-13.5.3.4-1", "R1-13.5.3.5-1", "R1-13.6.1-5", "R1-13.6.3-4", "R1-10.2.3-1"),
    WITH_CARD,
)
def pci(stage: Stage) -> Playing:
    """The order of LoPAR R1-13.5.4.2-2 and -3."""
    for device in ("first", "second"):
        yield sense(SLOT)
        yield Host("device_add", {**CARD, "id": device})
        yield told()
        yield from take(stage, SLOT, logical=False)
        yield Host("device_del", {"id": device})
        yield told()
        yield sense(SLOT)
        yield from give_back(SLOT, logical=False)
        yield gone(device)
        yield sense(SLOT)
        yield told()


@flow(
    "pci-untaken",
    "a PCI card unplugged before the guest took it",
    ("R1-13.6.1-5",),
    WITH_CARD,
)
def pci_untaken(stage: Stage) -> Playing:
    """The connector is still isolated, so that the card may go at once."""
    yield Host("device_add", {**CARD, "id": "card"})
    yield told()
    yield sense(SLOT)
    yield Host("device_del", {"id": "card"})
    yield gone("card")
    yield sense(SLOT)
    yield indicate(ISOLATION, SLOT, 0)


@flow(
    "pci-again",
    "a PCI card isolated and configured again without being unplugged",
    ("R1-13.5.3.4-1", "R1-13.5.3.5-4"),
    WITH_CARD,
)
def pci_again(stage: Stage) -> Playing:
    """Isolation clears what RTAS knows of a device (LoPAR 13.5.3.4)."""
    yield Host("device_add", {**CARD, "id": "card"})
    for _ in range(2):
        yield from take(stage, SLOT, logical=False)
        yield from give_back(SLOT, logical=False)
        yield sense(SLOT)


@flow(
    "function",
    "a PCI card of two functions is told of once, when its function 0 is plugged",
    ("R1-13.6.1-5",),
    WITH_CARD,
)
def function(stage: Stage) -> Playing:
    """QEMU asks for function 0 last."""
    yield Host("device_add", {**CARD, "id": "one", "addr": "2.1", "multifunction": True})
    yield sense(SLOT + 1)
    yield Host("device_add", {**CARD, "id": "zero", "addr": "2.0", "multifunction": True})
    yield sense(SLOT)
    yield told()
    for index in (SLOT, SLOT + 1):
        yield from take(stage, index, logical=False)


@flow(
    "classes",
    "a hot-plug event for a guest that did not ask for such events, by every class",
    ("R1-7.3.3.2-6",),
    WITH_CARD,
)
def classes(stage: Stage) -> Playing:
    """The guest has not negotiated its architecture vector."""
    yield Host("device_add", {**CARD, "id": "card"})
    for mask in (0x1000_0000, 0x8000_0000, 0x4000_0000, 0x4000_0000):
        yield Rtas(CHECK, (0x500, 0x1001, mask, 0, LOG, 2048))


@flow(
    "cpu",
    "a CPU core plugged and taken, and the one there compared with it",
    ("R1-13.5.3.3-2", "R1-13.5.3.4-1", "R1-13.5.3.4-5", "R1-13.7.4.3-2", "R1-13.7.4.3-3"),
    WITH_CORE,
    smp="1,maxcpus=3",
)
def cpu(stage: Stage) -> Playing:
    """The sequence of LoPAR 13.7.3.1 up to where the CPU could be started."""
    yield Host("device_add", {"driver": CORE, "id": "core", "core-id": 1})
    yield told()
    yield indicate(ISOLATION, CPU, 1)
    yield from walk(stage, CPU)
    yield from take(stage, CPU, logical=True)
    yield sense(CPU)


@flow(
    "cpu-removed",
    "a CPU core plugged, taken, given back and gone",
    ("R1-13.5.3.3-2", "R1-13.5.3.4-1"),
    WITH_CORE,
    smp="1,maxcpus=3",
)
def cpu_removed(stage: Stage) -> Playing:
    """The sequence of LoPAR 13.7.3.2; the CPU was never started."""
    yield Host("device_add", {"driver": CORE, "id": "core", "core-id": 1})
    yield told()
    yield from take(stage, CPU, logical=True)
    yield Host("device_del", {"id": "core"})
    yield told()
    yield from give_back(CPU, logical=True)
    yield gone("core")


@flow(
    "after-cpu-removed",
    "the host goes on plugging when a CPU core was unplugged",
    (),
    WITH_CORE,
    smp="1,maxcpus=3",
)
def after_cpu_removed(stage: Stage) -> Playing:
    """A host bridge takes much of QEMU's memory, and shows what became of it."""
    yield from cpu_removed.play(stage)
    yield Host("device_add", {"driver": "spapr-pci-host-bridge", "id": "bridge", "index": 1})
    yield told()
    yield sense(BRIDGE)


@flow(
    "bridge",
    "a PCI host bridge plugged, taken, given back and gone",
    ("R1-13.5.3.3-2", "R1-13.5.3.4-1", "R1-13.7.4.3-5"),
)
def bridge(stage: Stage) -> Playing:
    """The sequences of LoPAR 13.7.3."""
    yield Host("device_add", {"driver": "spapr-pci-host-bridge", "id": "bridge", "index": 1})
    yield told()
    yield from take(stage, BRIDGE, logical=True)
    yield Host("device_del", {"id": "bridge"})
    yield told()
    yield from give_back(BRIDGE, logical=True)
    yield gone("bridge")
    yield sense(BRIDGE)


#: QEMU 5.2 does not list the connectors of memory, so that a guest cannot know them
LISTED = Requirement(versions=">=7.2")


@flow(
    "memory-listed",
    "the device tree lists a connector for memory that can be plugged",
    ("R1-13.7.2-3", "R1-13.7.2-8"),
    Requirement(),
    *ROOM,
)
def memory_listed(stage: Stage) -> Playing:
    """What ibm,lrdr-capacity promises against what the root node lists."""
    yield Seed(AREA, b"\0")
    tree = stage.environment.tree
    rtas = tree.find("/rtas")
    high, low = (rtas.cells("ibm,lrdr-capacity") if rtas is not None else (0, 0))[:2]
    kinds = tree.properties.get("ibm,drc-types", b"")[4:].split(b"\0")
    if high << 32 | low > stage.environment.ram[-1].end and b"MEM" not in kinds:
        raise Disagreement(
            "drc.memory-unlisted", f"memory up to {low:#x} can be plugged, no connector is listed"
        )


def plug_memory() -> Part:
    """A block of 256 MiB."""
    yield Host("object-add", {"qom-type": "memory-backend-ram", "id": "ram1", "size": 256 << 20})
    yield Host("device_add", {"driver": "pc-dimm", "id": "dimm", "memdev": "ram1", "addr": MEMORY_AT})
    yield told()


@flow(
    "memory",
    "a block of memory plugged, taken, isolated and taken again without being unplugged",
    ("R1-13.5.3.3-2", "R1-13.5.3.4-1", "R1-13.7.2-8", "R1-13.7.4.3-4"),
    LISTED,
    *ROOM,
)
def memory(stage: Stage) -> Playing:
    """The sequence of LoPAR 13.7.3.1; nothing of the memory is in a page table or a DMA window."""
    yield from plug_memory()
    yield from take(stage, BLOCK_OF_MEMORY, logical=True)
    yield indicate(ISOLATION, BLOCK_OF_MEMORY, 0)
    yield sense(BLOCK_OF_MEMORY)
    yield indicate(ISOLATION, BLOCK_OF_MEMORY, 1)


@flow(
    "memory-removed",
    "a block of memory plugged, taken, given back and gone",
    ("R1-13.5.3.3-2", "R1-13.5.3.4-1"),
    LISTED,
    *ROOM,
)
def memory_removed(stage: Stage) -> Playing:
    """The sequence of LoPAR 13.7.3.2."""
    yield from plug_memory()
    yield from take(stage, BLOCK_OF_MEMORY, logical=True)
    yield Host("device_del", {"id": "dimm"})
    yield told()
    yield from give_back(BLOCK_OF_MEMORY, logical=True)
    yield gone("dimm")
    yield sense(BLOCK_OF_MEMORY)


@flow(
    "memory-kept",
    "a guest that unisolates memory asked back keeps it",
    ("R1-13.5.3.4-1",),
    LISTED,
    *ROOM,
)
def memory_kept(stage: Stage) -> Playing:
    """How a guest refuses an unplug request."""
    yield from plug_memory()
    yield from take(stage, BLOCK_OF_MEMORY, logical=True)
    yield Host("device_del", {"id": "dimm"})
    yield told()
    yield indicate(ISOLATION, BLOCK_OF_MEMORY, 1)
    yield sense(BLOCK_OF_MEMORY)


@flow(
    "reset",
    "what was plugged is there, taken and configured, after a reset",
    ("R1-13.5.3.3-2", "R1-13.5.3.4-1"),
    WITH_CARD,
)
def reset(stage: Stage) -> Playing:
    """A plugged card that the guest has not taken, and a reset."""
    yield Host("device_add", {**CARD, "id": "card"})
    yield Host("system_reset")
    yield told()
    yield sense(SLOT)
    yield indicate(ISOLATION, SLOT, 1)
    yield indicate(ISOLATION, SLOT, 0)
    yield from take(stage, SLOT, logical=False)
