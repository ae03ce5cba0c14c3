"""What plugging and unplugging by the host does to connectors and events (QEMU's device_add, device_del).

A device is found at its connector by the connector's name, which LoPAR lets the platform choose: ``CPU n`` by
core-id, ``PHB n`` by index, ``LMB n`` by address, and ``Cn`` by slot and function of a PCI bus.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from rig.model.expectation import Case, Expectation, ExpectedEvent
from rig.model.hypercall import State
from rig.model.rtas.connectors import Connector, Connectors, lmb_size
from rig.model.rtas.eventlog import HOT_PLUG
from rig.model.rtas.events import Events, Pending
from rig.program import Host, Outcome

#: which has a reset complete every removal that was asked for
SOURCE = "QEMU QMP reference, device_add and device_del"

#: fields of section HP (LoPAR 10.3.2.2, table of the hot-plug section)
RESOURCE = {"CPU": 1, "MEM": 2, "SLOT": 3, "PHB": 4}
PCI = 5
ADD, REMOVE = 1, 2
BY_INDEX, BY_COUNT, BY_COUNT_INDEXED = 2, 3, 4


def _number(value: object) -> int:
    return value if isinstance(value, int) else int(str(value), 0)


def _size(backend: str, state: State) -> int:
    """Bytes in a back end of memory, one that an action made or one of the machine's own."""
    own = {f"dimm{number}": size << 20 for number, size in enumerate(state.environment.options.dimms)}
    return {**own, **state.of(Connectors).backends}[backend]


def _connectors(arguments: Mapping[str, object], state: State) -> tuple[Connector, ...]:
    """The connectors that a new device occupies; none for one that has no connector."""
    connectors = state.of(Connectors)
    driver = str(arguments["driver"])
    names: list[str] = []
    if driver == "spapr-pci-host-bridge":
        names = [f"PHB {_number(arguments['index'])}"]
    elif "core-id" in arguments:
        names = [f"CPU {_number(arguments['core-id'])}"]
    elif driver == "pc-dimm":
        size = lmb_size(state.environment)
        blocks = _size(str(arguments["memdev"]), state) // size
        first = _number(arguments["addr"]) // size
        names = [f"LMB {first + block}" for block in range(blocks)]
    elif arguments.get("bus") == "pci.0" and "addr" in arguments:
        slot, _, function = str(arguments["addr"]).partition(".")
        names = [f"C{int(slot, 16) << 3 | int(function or '0', 16)}"]
    found = (connectors.named(name) for name in names)
    return tuple(one for one in found if one is not None)


def _event(among: Sequence[Connector], action: int) -> Pending:
    """The event that tells of these connectors, however it names them."""
    kind = among[0].type
    resource = RESOURCE.get(kind, PCI)
    index, count = among[0].index, len(among)
    names = {BY_COUNT: struct.pack(">I", count), BY_COUNT_INDEXED: struct.pack(">II", count, index)}
    if count == 1:
        names[BY_INDEX] = struct.pack(">I", index)

    def tells(section: bytes) -> bool:
        name = names.get(section[10])
        return (
            section[8:10] == bytes([resource, action]) and name is not None and section[12:].startswith(name)
        )

    word = "plugged" if action == ADD else "unplugged"
    return Pending(HOT_PLUG, tells, f"{among[0].name} {word}", required=False)


def _succeeded(outcome: Outcome) -> bool:
    return not (isinstance(outcome.answer, Mapping) and "error" in outcome.answer)


def _plug(action: Host, state: State) -> Expectation:
    connectors = state.of(Connectors)
    among = _connectors(action.arguments, state)

    def plugged(outcome: Outcome) -> None:
        if not among or not _succeeded(outcome):
            return
        state.lasting = True
        for offset, connector in enumerate(among):
            connector.occupied = True
            if connector.type == "MEM":
                size = lmb_size(state.environment)
                connector.base = _number(action.arguments["addr"]) + offset * size
        connectors.devices[str(action.arguments.get("id", ""))] = among
        state.of(Events).pending.append(_event(among, ADD))

    facts = frozenset({"cpu-removed"}) if connectors.cpu_removed else frozenset()
    return Expectation(action.command, (Case("plugged", effect=plugged, rule=SOURCE),), facts=facts)


def _unplug(action: Host, state: State) -> Expectation:
    """The OS is asked to give a device back; one that it has not taken goes at once."""
    among = state.of(Connectors).devices.get(str(action.arguments["id"]), ())
    gone = ExpectedEvent("DEVICE_DELETED", required=False)

    def asked(outcome: Outcome) -> None:
        if not among or not _succeeded(outcome):
            return
        state.ending.add(gone.name)
        for connector in among:
            connector.leaving = True
            if connector.isolated and not (connector.logical and connector.usable):
                connector.occupied = connector.leaving = False
                state.late.add(gone.name)
        state.of(Events).pending.append(_event(among, REMOVE))

    return Expectation(action.command, (Case("asked", events=(gone,), effect=asked, rule=SOURCE),))


def _backend(action: Host, state: State) -> Expectation:
    """A memory back end, or another object."""

    def made(outcome: Outcome) -> None:
        if _succeeded(outcome) and "size" in action.arguments:
            sizes = state.of(Connectors).backends
            sizes[str(action.arguments["id"])] = _number(action.arguments["size"])

    return Expectation(action.command, (Case("made", effect=made, rule=SOURCE),))


HOST_ACTIONS = {"device_add": _plug, "device_del": _unplug, "object-add": _backend}

__all__ = ["HOST_ACTIONS"]
