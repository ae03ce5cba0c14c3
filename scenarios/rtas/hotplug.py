"""Whole flows of dynamic reconfiguration (LoPAR 13.7.3): plugged by the host, taken, given back, gone.

The host plugs or asks back; the guest reads the event's log, sets the indicators, walks the connector to the
end and compares what it was told with what QEMU itself shows of the same connector.  A plugged device stays
over a reset: every flow has a machine to itself, by its name.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from rig.program import Await, Host, MachineOptions, Outcome, Requirement, Rtas, Seed, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

SET, SENSE, CONFIGURE, CHECK = (
    "set-indicator",
    "get-sensor-state",
    "ibm,configure-connector",
    "check-exception",
)
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
#: more memory than QEMU's own: at 256 MiB the first free block begins at 1 GiB
ROOM = ("-m", "256M,slots=4,maxmem=2G")

#: what a flow, or a part of one, yields and returns
Part = Generator[Step, Any, Any]
#: a node as QEMU shows it: properties as lists of bytes, nodes below as mappings
Shown = Mapping[str, Any]


def alone(name: str, *arguments: str, smp: str = "1") -> MachineOptions:
    """A machine that no other scenario shares."""
    return MachineOptions(memory=256, smp=smp, arguments=("-name", name, *arguments))


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


def compare(index: int, told: Shown) -> Part:
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


@scenario(
    name="pci",
    summary="a PCI card plugged, used, unplugged, and plugged again",
    machine=alone("hotplug-pci"),
    requires=Requirement(devices=("e1000",)),
    requirements=("R1-13.5.3.4-1", "R1-13.5.3.5-1", "R1-13.6.1-5", "R1-13.6.3-4", "R1-10.2.3-1"),
    issues=ISSUES,
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


@scenario(
    name="pci-untaken",
    summary="a PCI card unplugged before the guest took it",
    machine=alone("hotplug-pci-untaken"),
    requires=Requirement(devices=("e1000",)),
    requirements=("R1-13.6.1-5",),
    issues=ISSUES,
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


@scenario(
    name="pci-again",
    summary="a PCI card isolated and configured again without being unplugged",
    machine=alone("hotplug-pci-again"),
    requires=Requirement(devices=("e1000",)),
    requirements=("R1-13.5.3.4-1", "R1-13.5.3.5-4"),
    issues=ISSUES,
)
def pci_again(stage: Stage) -> Playing:
    """Isolation clears what RTAS knows of a device (LoPAR 13.5.3.4)."""
    yield Host("device_add", {**CARD, "id": "card"})
    for _ in range(2):
        yield from take(stage, SLOT, logical=False)
        yield from give_back(SLOT, logical=False)
        yield sense(SLOT)


@scenario(
    name="function",
    summary="a PCI card of two functions is told of once, when its function 0 is plugged",
    machine=alone("hotplug-function"),
    requires=Requirement(devices=("e1000",)),
    requirements=("R1-13.6.1-5",),
    issues=ISSUES,
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


@scenario(
    name="classes",
    summary="a hot-plug event for a guest that did not ask for such events, by every class",
    machine=alone("hotplug-classes"),
    requires=Requirement(devices=("e1000",)),
    requirements=("R1-7.3.3.2-6",),
    issues=frozenset({CHECK}),
)
def classes(stage: Stage) -> Playing:
    """The guest has not negotiated its architecture vector."""
    yield Host("device_add", {**CARD, "id": "card"})
    for mask in (0x1000_0000, 0x8000_0000, 0x4000_0000, 0x4000_0000):
        yield Rtas(CHECK, (0x500, 0x1001, mask, 0, LOG, 2048))


@scenario(
    name="cpu",
    summary="a CPU core plugged and taken, and the one there compared with it",
    machine=alone("hotplug-cpu", smp="1,maxcpus=3"),
    requires=Requirement(devices=(CORE,)),
    requirements=("R1-13.5.3.3-2", "R1-13.5.3.4-1", "R1-13.5.3.4-5", "R1-13.7.4.3-2", "R1-13.7.4.3-3"),
    issues=ISSUES,
)
def cpu(stage: Stage) -> Playing:
    """The sequence of LoPAR 13.7.3.1 up to where the CPU could be started."""
    yield Host("device_add", {"driver": CORE, "id": "core", "core-id": 1})
    yield told()
    yield indicate(ISOLATION, CPU, 1)
    yield from walk(stage, CPU)
    yield from take(stage, CPU, logical=True)
    yield sense(CPU)


@scenario(
    name="cpu-removed",
    summary="a CPU core plugged, taken, given back and gone",
    machine=alone("hotplug-cpu-removed", smp="1,maxcpus=3"),
    requires=Requirement(devices=(CORE,)),
    requirements=("R1-13.5.3.3-2", "R1-13.5.3.4-1"),
    issues=ISSUES,
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


@scenario(
    name="after-cpu-removed",
    summary="the host goes on plugging when a CPU core was unplugged",
    machine=alone("hotplug-after-cpu-removed", smp="1,maxcpus=3"),
    requires=Requirement(devices=(CORE,)),
    issues=ISSUES,
)
def after_cpu_removed(stage: Stage) -> Playing:
    """A host bridge takes much of QEMU's memory, and shows what became of it."""
    yield from cpu_removed.play(stage)
    yield Host("device_add", {"driver": "spapr-pci-host-bridge", "id": "bridge", "index": 1})
    yield told()
    yield sense(BRIDGE)


@scenario(
    name="bridge",
    summary="a PCI host bridge plugged, taken, given back and gone",
    machine=alone("hotplug-bridge"),
    requirements=("R1-13.5.3.3-2", "R1-13.5.3.4-1", "R1-13.7.4.3-5"),
    issues=ISSUES,
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


@scenario(
    name="memory-listed",
    summary="the device tree lists a connector for memory that can be plugged",
    machine=alone("hotplug-memory-listed", *ROOM),
    requirements=("R1-13.7.2-3", "R1-13.7.2-8"),
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


@scenario(
    name="memory",
    summary="a block of memory plugged and taken",
    machine=alone("hotplug-memory", *ROOM),
    requires=LISTED,
    requirements=("R1-13.5.3.3-2", "R1-13.5.3.4-1", "R1-13.7.2-8", "R1-13.7.4.3-4"),
    issues=ISSUES,
)
def memory(stage: Stage) -> Playing:
    """The sequence of LoPAR 13.7.3.1."""
    yield from plug_memory()
    yield from take(stage, BLOCK_OF_MEMORY, logical=True)
    yield sense(BLOCK_OF_MEMORY)


@scenario(
    name="memory-isolated",
    summary="memory that nothing maps is isolated and taken again without being unplugged",
    machine=alone("hotplug-memory-isolated", *ROOM),
    requires=LISTED,
    requirements=("R1-13.5.3.4-1", "R1-13.7.4.1.2-2"),
    issues=ISSUES,
)
def memory_isolated(stage: Stage) -> Playing:
    """Nothing of it is in a page table or a DMA window."""
    yield from plug_memory()
    yield from take(stage, BLOCK_OF_MEMORY, logical=True)
    yield indicate(ISOLATION, BLOCK_OF_MEMORY, 0)
    yield sense(BLOCK_OF_MEMORY)
    yield indicate(ISOLATION, BLOCK_OF_MEMORY, 1)


@scenario(
    name="memory-removed",
    summary="a block of memory plugged, taken, given back and gone",
    machine=alone("hotplug-memory-removed", *ROOM),
    requires=LISTED,
    requirements=("R1-13.5.3.3-2", "R1-13.5.3.4-1"),
    issues=ISSUES,
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


@scenario(
    name="memory-kept",
    summary="a guest that unisolates memory asked back keeps it",
    machine=alone("hotplug-memory-kept", *ROOM),
    requires=LISTED,
    requirements=("R1-13.5.3.4-1",),
    issues=ISSUES,
)
def memory_kept(stage: Stage) -> Playing:
    """How a guest refuses an unplug request."""
    yield from plug_memory()
    yield from take(stage, BLOCK_OF_MEMORY, logical=True)
    yield Host("device_del", {"id": "dimm"})
    yield told()
    yield indicate(ISOLATION, BLOCK_OF_MEMORY, 1)
    yield sense(BLOCK_OF_MEMORY)


@scenario(
    name="reset",
    summary="what was plugged is there, taken and configured, after a reset",
    machine=alone("hotplug-reset"),
    requires=Requirement(devices=("e1000",)),
    requirements=("R1-13.5.3.3-2", "R1-13.5.3.4-1"),
    issues=ISSUES,
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
