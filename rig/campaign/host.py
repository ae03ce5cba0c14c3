"""The host's part in a program: the power button, plugging and unplugging, resets, snapshots, moves.

Nothing here fails on a machine that does what it is told: what is plugged into is free, and a state is only
brought back to a machine with the devices that it was saved with.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from rig.frozen import frozen
from rig.model.environment import Environment
from rig.model.rtas.connectors import Connector, Connectors
from rig.program import LOAD, MOVE, SAVE, Host

BUTTON, RESET = Host("system_powerdown"), Host("system_reset")
KEEP, BACK = Host(SAVE), Host(LOAD)
#: devices that can be plugged into a slot; every build has them
CARDS = ({"driver": "virtio-rng-pci"}, {"driver": "e1000e", "romfile": ""})
#: connectors of each sort that programs plug into
PLACES = 4
#: programs in which the host plugs, and those in which it takes the state along; in the others neither
PLUGGING, TRAVELLING = 0.4, 0.2
#: resets, snapshots and moves of one program: each takes as long as thousands of calls
LONG = 4


@frozen
class Places:
    """Connectors of a machine that just started at which nothing is: of the first PCI bus, and of bridges."""

    slots: tuple[Connector, ...]
    bridges: tuple[Connector, ...]

    @classmethod
    def of(cls, environment: Environment) -> Places:
        """The first few that the device tree lists."""
        free = [one for one in Connectors(environment).by_index.values() if not one.occupied]
        slots = [
            one for one in free if one.name[:1] == "C" and one.name[1:].isdigit() and not _devfn(one) % 8
        ]
        bridges = [one for one in free if one.type == "PHB"]
        return cls(tuple(slots[:PLACES]), tuple(bridges[:PLACES]))

    @property
    def config_addresses(self) -> tuple[int, ...]:
        """Of what is plugged into the slots (config_addr, LoPAR R1-7.3.4-1)."""
        return tuple(_devfn(slot) << 8 for slot in self.slots)


@dataclass(slots=True)
class Part:
    """What the host does in one program, and what it has done.

    A program in which it plugs is none in which it takes the state along: that goes only to a machine with
    the same devices.
    """

    rng: random.Random
    plugs: bool
    travels: bool
    free: list[Connector]
    #: ids of what was plugged and not yet asked back
    plugged: list[str] = field(default_factory=list)
    #: indexes of the connectors at which it is, or was
    indexes: list[int] = field(default_factory=list)
    saved: bool = False
    long: int = 0

    @classmethod
    def of(cls, rng: random.Random, places: Places) -> Part:
        """The part in the program that ``rng`` makes."""
        roll = rng.random()
        free = [*places.slots, *places.bridges]
        rng.shuffle(free)
        return cls(rng, roll < PLUGGING, PLUGGING <= roll < PLUGGING + TRAVELLING, free)

    def act(self) -> Host:
        """The next action."""
        action = self.rng.choice(list(self._possible()))
        self.long += action in (RESET, KEEP) or action.command == MOVE
        match action.command:
            case "device_add":
                self.indexes.append(self.free.pop().index)
                self.plugged.append(str(action.arguments["id"]))
            case "device_del":
                self.plugged.remove(str(action.arguments["id"]))
            case "save":
                self.saved = True
            case "move":  # the snapshot stays with the QEMU that is left
                self.saved = False
        return action

    def _possible(self) -> Iterator[Host]:
        yield BUTTON
        if self.plugs and self.free:
            yield self._plug(self.free[-1])
        for device in self.plugged:
            yield Host("device_del", {"id": device})
        if self.saved:
            yield BACK
        if self.long < LONG and (self.plugs or self.travels):
            yield RESET
        if self.long < LONG and self.travels:
            yield KEEP
            yield Host(MOVE, {"route": self.rng.choice(("file", "socket"))})

    def _plug(self, connector: Connector) -> Host:
        device = f"plugged{len(self.indexes)}"
        if connector.type == "PHB":
            index = int(connector.name.removeprefix("PHB "))
            return Host("device_add", {"driver": "spapr-pci-host-bridge", "id": device, "index": index})
        place = {"bus": "pci.0", "addr": f"{_devfn(connector) // 8:x}"}
        return Host("device_add", {**self.rng.choice(CARDS), "id": device, **place})


def _devfn(connector: Connector) -> int:
    return int(connector.name[1:])


__all__ = ["Part", "Places"]
