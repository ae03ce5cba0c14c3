"""The dynamic-reconfiguration connectors of a machine (LoPAR 13.5): what is plugged and whose it is.

Services that look at connectors are in :mod:`rig.model.rtas.drc` and :mod:`rig.model.rtas.connector`; what
the host plugs and unplugs is in :mod:`rig.model.rtas.hotplug`.  This is the state that they share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from rig.model.environment import Environment, Node

#: ``ibm,drc-types`` of logical connectors; every other type is a slot that one can touch (LoPAR 13.7.2)
LOGICAL = frozenset({"CPU", "MEM", "PHB", "SLOT", "PMEM"})

#: dr-entity-sense (LoPAR R1-13.5.3.3-2)
EMPTY, PRESENT, UNUSABLE = range(3)


@dataclass(slots=True)
class Fragment:
    """A node that ibm,configure-connector has reported, with the nodes below it."""

    name: str
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Fragment] = field(default_factory=list)


@dataclass(slots=True)
class Walk:
    """A sequence of ibm,configure-connector calls under way."""

    #: address and content of the work area as the last call left it
    area: int
    left: bytes
    #: from the top to the current node
    path: list[Fragment] = field(default_factory=list)
    top: Fragment | None = None
    #: whether the last call went back up, after which the node has no more properties
    up: bool = False


@dataclass(slots=True)
class Connector:
    """One connector, by the names of LoPAR 13.5.2; ``parent`` is the index of the connector above it."""

    index: int
    name: str
    type: str
    parent: int | None = None
    occupied: bool = False
    #: allocated to the OS; always so for a physical connector
    usable: bool = True
    isolated: bool = True
    configured: bool = False
    #: here since the machine was started: its CPU may be running
    cold: bool = False
    #: whether the host has asked for the removal of what is plugged
    leaving: bool = False
    #: where the memory behind a MEM connector begins, in bytes
    base: int | None = None
    walk: Walk | None = None
    #: whether nobody can say where a walk stands
    lost: bool = False

    @property
    def logical(self) -> bool:
        """Whether it is a logical connector, which is allocated and has neither power nor lights."""
        return self.type in LOGICAL

    @property
    def sense(self) -> int:
        """What the dr-entity-sense sensor must show."""
        if self.logical:
            return PRESENT if self.usable else UNUSABLE
        return PRESENT if self.occupied else EMPTY

    def isolate(self) -> None:
        """The entity is the firmware's; a physical one whose removal was asked for is gone."""
        self.isolated, self.configured, self.walk, self.lost = True, False, None, False
        if not self.logical:
            self._release()

    def deallocate(self) -> None:
        """The OS has given the entity back."""
        self.usable, self.isolated, self.configured = False, True, False
        self.walk, self.lost = None, False
        self._release()

    def _release(self) -> None:
        if self.leaving:
            self.occupied = self.leaving = False


class Connectors:
    """The connectors that the device tree lists, by index.

    ``devices`` maps the host's device ids to the connectors that they occupy.
    """

    def __init__(self, environment: Environment) -> None:
        self.devices: dict[str, tuple[Connector, ...]] = {}
        #: sizes in bytes of the host's memory back ends
        self.backends: dict[str, int] = {}
        self.reset(environment)

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree: what is plugged by then is there from the start, the host's."""
        tree = environment.tree
        present = {index for _, node in tree.walk() for index in node.cells("ibm,my-drc-index")}
        self.by_index = {one.index: one for one in _listed(tree, present)}
        self.devices = {
            device: tuple(self.by_index[one.index] for one in connectors)
            for device, connectors in self.devices.items()
            if present.issuperset(one.index for one in connectors)
        }
        #: those that ibm,configure-connector has begun to walk
        self.walked: dict[int, Connector] = {}
        #: a CPU was unplugged since the start
        self.cpu_removed = False

    def named(self, name: str) -> Connector | None:
        """The connector of that name (``CPU 1``, ``LMB 4``, ``C16``)."""
        return next((one for one in self.by_index.values() if one.name == name), None)

    def hosted(self) -> Iterator[Connector]:
        """The connectors with something that the host plugged."""
        return chain.from_iterable(self.devices.values())

    def below(self, connector: Connector) -> Iterator[Connector]:
        """The connectors whose parent is ``connector``."""
        return (one for one in self.by_index.values() if one.parent == connector.index)


def _listed(tree: Node, present: set[int]) -> Iterator[Connector]:
    """Every connector of ``ibm,drc-indexes`` and its sisters, whose first cell counts the entries."""
    for _, node in tree.walk():
        above = next(iter(node.cells("ibm,my-drc-index")), None)
        indexes = node.cells("ibm,drc-indexes")[1:]
        names, types = (_strings(node, f"ibm,drc-{what}") for what in ("names", "types"))
        for index, name, kind in zip(indexes, names, types, strict=True):
            here = index in present
            yield Connector(
                index,
                name,
                kind,
                above,
                occupied=here,
                usable=here or kind not in LOGICAL,
                isolated=not here,
                configured=here,
                cold=here,
            )


def _strings(node: Node, name: str) -> list[str]:
    """The strings after the count in a property such as ``ibm,drc-names``."""
    data = node.properties.get(name, b"")[4:]
    return [part.decode(errors="replace") for part in data.split(b"\0")[:-1]]


def lmb_size(environment: Environment) -> int:
    """Bytes of one logical memory block (``ibm,lrdr-capacity``, LoPAR B.5.3.1); 0 when there are none."""
    rtas = environment.tree.find("/rtas")
    cells = rtas.cells("ibm,lrdr-capacity") if rtas is not None else ()
    return cells[2] << 32 | cells[3] if len(cells) >= 4 else 0


__all__ = [
    "EMPTY",
    "LOGICAL",
    "PRESENT",
    "UNUSABLE",
    "Connector",
    "Connectors",
    "Fragment",
    "Walk",
    "lmb_size",
]
