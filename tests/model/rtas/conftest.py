"""Parameter blocks for the RTAS tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from rig.model.environment import Environment, Node, Region
from rig.model.model import Model
from rig.program import H_RTAS, Call, MachineOptions

BLOCK = 0x1000
FILL = 0xA5A5_A5A5

Prepare = Callable[..., Call]


def cells(*values: int) -> bytes:
    """Big-endian cells of 32 bits."""
    return b"".join((value & 0xFFFF_FFFF).to_bytes(4, "big") for value in values)


def prepare(
    model: Model,
    token: int,
    args: tuple[int, ...] = (),
    nret: int = 1,
    *,
    nargs: int | None = None,
    at: int = BLOCK,
) -> Call:
    """Put a parameter block, with pattern-filled outputs and beyond, into the model's memory."""
    header = cells(token, len(args) if nargs is None else nargs, nret, *args)
    data = header + cells(*[FILL] * 12)
    model.memory.write(at, data[: max(0, model.memory.ram[-1].end - at)])
    return Call(H_RTAS, (at,))


@pytest.fixture(scope="session", name="prepare")
def prepare_fixture() -> Prepare:
    """Makes H_RTAS calls with their blocks."""
    return prepare


@pytest.fixture(scope="session", name="cells")
def cells_fixture() -> Callable[..., bytes]:
    """Makes big-endian cells."""
    return cells


#: services by token of a :func:`partition`
PARTITION = {
    "power-off": 0x2003,
    "system-reboot": 0x2004,
    "query-cpu-stopped-state": 0x2005,
    "start-cpu": 0x2006,
    "stop-self": 0x2007,
    "ibm,os-term": 0x201F,
    "ibm,suspend-me": 0x202A,
}


@pytest.fixture(scope="session", name="partition")
def partition_fixture(environment: Callable[..., Environment]) -> Callable[..., Environment]:
    """Makes machines with CPUs, and with the services that end them."""

    def partition(
        cpus: int = 1, *arguments: str, no_shutdown: bool = True, extended: bool = True
    ) -> Environment:
        rtas = {name: cells(token) for name, token in PARTITION.items()}
        if extended:
            rtas["ibm,extended-os-term"] = b""
        nodes = {
            f"PowerPC,POWER9@{n}": Node(f"PowerPC,POWER9@{n}", {"ibm,ppc-interrupt-server#s": cells(n)})
            for n in range(cpus)
        }
        tree = Node("", children={"rtas": Node("rtas", rtas), "cpus": Node("cpus", children=nodes)})
        options = MachineOptions(arguments=arguments, no_shutdown=no_shutdown)
        return replace(environment(), tree=tree, options=options, version=(11, 1, 0))

    return partition


#: services of a :func:`reconfigurable` machine by name
RECONFIGURATION = {
    "check-exception": 0x200E,
    "event-scan": 0x200F,
    "set-indicator": 0x201A,
    "set-power-level": 0x201B,
    "get-power-level": 0x201C,
    "get-sensor-state": 0x201D,
    "ibm,configure-connector": 0x201E,
}


def connectors(*entries: tuple[int, str, str]) -> dict[str, bytes]:
    """The properties that list connectors of (index, name, type)."""
    count = cells(len(entries))

    def strings(values: Iterable[str]) -> bytes:
        return count + b"".join(value.encode() + b"\0" for value in values)

    return {
        "ibm,drc-indexes": count + cells(*(index for index, _, _ in entries)),
        "ibm,drc-names": strings(name for _, name, _ in entries),
        "ibm,drc-types": strings(kind for _, _, kind in entries),
        "ibm,drc-power-domains": count + cells(*[-1] * len(entries)),
    }


@pytest.fixture(scope="session")
def reconfigurable() -> Callable[..., Environment]:
    """Makes a machine with a CPU, a host bridge with a card in slot 3, and room for more of each."""

    def make(ram: int = 0x10000) -> Environment:
        card = Node("ethernet@3", {"ibm,my-drc-index": cells(0x4000_0018)})
        slots = connectors((0x4000_0010, "C16", "28"), (0x4000_0018, "C24", "28"))
        pci = {"device_type": b"pci\0", "bus-range": cells(0, 255), "ibm,my-drc-index": cells(0x2000_0000)}
        cpu = {"device_type": b"cpu\0", "reg": cells(0), "ibm,my-drc-index": cells(0x1000_0000)}
        capacity = {"ibm,lrdr-capacity": cells(0, 0x8000_0000, 0, 0x1000_0000, 2)}
        services = {name: cells(token) for name, token in RECONFIGURATION.items()}
        children = {
            "rtas": Node("rtas", {**services, **capacity, "rtas-error-log-max": cells(2048)}),
            "event-sources": Node("event-sources", children={"epow-events": Node("epow-events")}),
            "cpus": Node(
                "cpus",
                connectors((0x1000_0000, "CPU 0", "CPU"), (0x1000_0001, "CPU 1", "CPU")),
                {"cpu@0": Node("cpu@0", cpu)},
            ),
            "memory@0": Node("memory@0", {"device_type": b"memory\0", "reg": cells(0, 0, 0, ram)}),
            "pci@0": Node("pci@0", {**pci, **slots}, {"ethernet@3": card}),
        }
        root = connectors(
            (0x2000_0000, "PHB 0", "PHB"), (0x2000_0001, "PHB 1", "PHB"), (0x8000_0004, "LMB 4", "MEM")
        )
        return Environment((Region(0, ram),), Region(0, 0), Region(0, 0), Node("", root, children))

    return make
