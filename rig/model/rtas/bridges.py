"""PCI host bridges (PHBs) as the device tree shows them, for the services that name one by its unit ID.

It says what there is: unit IDs, functions, DMA windows and the tokens offered; what services do with them is
theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rig.frozen import frozen
from rig.model.environment import Environment, Node

#: register fields of a config_addr, 0 in the address of a PE (LoPAR R1-7.3.4-1, Table of ibm,set-eeh-option)
REGISTER = 0xF000_00FF
#: bus, device and function
FUNCTION = 0x00FF_FF00


@frozen
class Window:
    """A range of ``length`` bytes of I/O addresses from ``start``, with its logical I/O bus number."""

    liobn: int
    start: int
    length: int

    def overlaps(self, start: int, length: int) -> bool:
        """Whether any of ``length`` I/O addresses from ``start`` lies inside."""
        return start < self.start + self.length and self.start < start + length


@frozen
class Bridge:
    """One PHB: unit ID, config addresses of the functions below it, and what it offers for DMA windows."""

    unit: int
    functions: frozenset[int] = frozenset()
    #: ``ibm,dma-window`` (LoPAR R1-7.3.27-4)
    default: Window | None = None
    #: ``ibm,ddw-applicable``: tokens to query, create and remove (LoPAR R1-7.3.27-2)
    applicable: tuple[int, ...] = ()
    #: ``ibm,ddw-extensions``: how many, token to reset, whether query may have six outputs
    extensions: tuple[int, ...] = ()

    def names_function(self, config_addr: int) -> bool:
        """Whether ``config_addr``, its register fields 0, is the PHB's own or that of a function below it."""
        return config_addr in (0, *self.functions)


def unit_id(high: int, low: int) -> int:
    """The 64-bit unit ID of two cells."""
    return high << 32 | low


def bridges(environment: Environment) -> Mapping[int, Bridge]:
    """The PHBs by unit ID."""
    found = (_bridge(node) for node in environment.tree.children.values() if node.name.split("@")[0] == "pci")
    return {bridge.unit: bridge for bridge in found}


def windows(environment: Environment) -> frozenset[int]:
    """The LIOBNs of the DMA windows of virtual devices."""
    vdevice = environment.tree.find("/vdevice")
    nodes = vdevice.children.values() if vdevice else ()
    return frozenset(node.cells("ibm,my-dma-window")[0] for node in nodes if node.cells("ibm,my-dma-window"))


def _bridge(node: Node) -> Bridge:
    high, low = (*node.cells("reg"), 0, 0)[:2]
    window = node.cells("ibm,dma-window")
    default = None
    if len(window) == 5:
        default = Window(window[0], unit_id(*window[1:3]), unit_id(*window[3:5]))
    return Bridge(
        unit_id(high, low),
        frozenset(_functions(node)),
        default,
        node.cells("ibm,ddw-applicable"),
        node.cells("ibm,ddw-extensions"),
    )


def _functions(bridge: Node) -> Iterator[int]:
    for path, node in bridge.walk():
        if path != "/" and node.cells("reg"):
            yield node.cells("reg")[0] & FUNCTION


__all__ = ["REGISTER", "Bridge", "Window", "bridges", "unit_id", "windows"]
