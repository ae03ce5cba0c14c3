"""The PCI functions of a machine, and what is known of their configuration registers, bit by bit.

What the device tree says of a function fixes its read-only registers (LoPAR R1-13.6.3-3, and the PCI bus
binding to Open Firmware); a register that software may write is known once it was written; everything else
is the device's own business.  This is only the hardware; the calls that reach it are in
:mod:`rig.model.rtas.pci` and :mod:`rig.model.rtas.msi`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from rig.model.environment import Environment, Node

#: offsets of registers (PCI 3.0, 6.1; PCI-to-PCI Bridge 1.2, 3.2)
COMMAND = 0x04
SECONDARY_BUS = 0x19
SUBORDINATE_BUS = 0x1A
ROM_BASE = frozenset({0x30, 0x38})
BRIDGE_CONTROL = 0x3E
CAPABILITIES = 0x40

SECONDARY_RESET = 0x40
MULTI_FUNCTION = 0x80
BRIDGE_CLASS = 0x0604

#: read-only registers that properties show: property, offset and width in bytes (PCI 3.0, 6.2.1 and 6.2.4)
SHOWN = (
    ("vendor-id", 0x00, 2),
    ("device-id", 0x02, 2),
    ("revision-id", 0x08, 1),
    ("class-code", 0x09, 3),
    ("interrupts", 0x3D, 1),
)
#: the same for functions that are no bridges
SHOWN_BY_DEVICES = (
    ("subsystem-vendor-id", 0x2C, 2),
    ("subsystem-id", 0x2E, 2),
    ("min-grant", 0x3E, 1),
    ("max-latency", 0x3F, 1),
)


def bits(offset: int, size: int) -> int:
    """The mask of ``size`` bytes at ``offset``."""
    return ((1 << 8 * size) - 1) << 8 * offset


@dataclass(slots=True)
class Registers:
    """Configuration space as one little-endian number of bits.

    ``known`` says which bits of ``value`` are certain, ``writable`` which hold what software writes.  A bit
    that is known and not writable never changes (PCI 3.0, 6.2: a write to a read-only register is discarded).
    """

    value: int = 0
    known: int = 0
    writable: int = 0
    #: whether software may have written a capability
    touched: bool = False

    def fix(self, offset: int, size: int, value: int, mask: int = -1) -> None:
        """The bits of ``mask`` in the register at ``offset`` are and stay those of ``value``."""
        self.known |= (mask << 8 * offset) & bits(offset, size)
        self.value |= (value & mask) << 8 * offset

    def open(self, offset: int, size: int, mask: int = -1) -> None:
        """The bits of ``mask`` in the register at ``offset`` hold what is written."""
        self.writable |= (mask << 8 * offset) & bits(offset, size)

    def read(self, offset: int, size: int) -> tuple[int, int]:
        """Which bits of a register are known, and their value."""
        known = (self.known & bits(offset, size)) >> 8 * offset
        return known, self.value >> 8 * offset & known

    def write(self, offset: int, size: int, value: int) -> None:
        """Software writes the low ``size`` bytes of ``value``."""
        taken = bits(offset, size) & self.writable
        self.value = self.value & ~taken | value << 8 * offset & taken
        self.known |= taken

    def lose(self) -> None:
        """Whatever can be written may hold anything."""
        self.known &= ~self.writable

    def forget(self) -> None:
        """The same, by the doing of software, which may have written a capability."""
        self.lose()
        self.touched = True


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One function: ``unit`` is its host bridge's unit id, ``devfn`` device number * 8 + function number.

    ``msi`` and ``msix`` are the vectors it asks for, 0 when it has no such capability.  ``pin`` is 0 without
    a level-sensitive interrupt, ``source`` that interrupt's number where the tree shows it.
    """

    unit: int
    devfn: int
    parent: Function | None
    bridge: bool
    extended: bool
    msi: int
    msix: int
    pin: int
    source: int | None
    #: index of its dynamic-reconfiguration connector, 0 when it has none
    connector: int
    registers: Registers = field(default_factory=Registers)

    @property
    def bus(self) -> int | None:
        """The bus that it is on; ``None`` when its bridge may have any number."""
        return 0 if self.parent is None else self.parent.downstream(SECONDARY_BUS)

    def downstream(self, offset: int) -> int | None:
        """A bus number that a bridge holds; ``None`` when it is not known."""
        known, value = self.registers.read(offset, 1)
        return value if known == 0xFF else None

    def line(self) -> Iterator[Function]:
        """The function and the bridges that lead to it, from the nearest on."""
        yield self
        if self.parent is not None:
            yield from self.parent.line()

    def below(self, bridge: Function) -> bool:
        """Whether a bridge, or one behind it, leads here."""
        return self is not bridge and bridge in self.line()

    def passes(self, bus: int) -> bool:
        """Whether a bridge and those above it forward what is meant for ``bus``.

        The bus right below is told from the secondary number alone, those further down from both (PCI-to-PCI
        Bridge 1.2, 3.2.5.3 and 3.2.5.4), so a subordinate number that is too small cuts only those off.

        What is meant for the bus that the bridge itself is on comes there as a type 0 transaction, which no
        bridge forwards (3.1.2).
        """
        if bus == self.bus:
            return False
        low, high = self.downstream(SECONDARY_BUS), self.downstream(SUBORDINATE_BUS)
        ours = low is not None and (bus == low or (low < bus and (high is None or bus <= high)))
        return ours and (self.parent is None or self.parent.passes(bus))


class Pci:
    """The functions below all host bridges."""

    def __init__(self, environment: Environment) -> None:
        self.reset(environment)

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree and brings the registers back to where it shows them."""
        self.functions: list[Function] = []
        #: by unit id of a host bridge: how many message-signalled interrupts it has (``ibm,pe-total-#msi``)
        self.units: dict[int, int] = {}
        for node in environment.tree.children.values():
            reg = node.properties.get("reg", b"")
            if node.properties.get("device_type") == b"pci\0" and len(reg) >= 8:
                unit = int.from_bytes(reg[:8], "big")
                self.units[unit] = next(iter(node.cells("ibm,pe-total-#msi")), 0)
                self.functions += _below(node, unit, interrupts(node), None)

    def at(self, unit: int, bus: int, devfn: int) -> Function | None:
        """The function that answers there."""
        for function in self.functions:
            if (function.unit, function.bus, function.devfn) == (unit, bus, devfn) and (
                function.parent is None or function.parent.passes(bus)
            ):
                return function
        return None

    def uncertain(self, unit: int, bus: int) -> bool:
        """Whether a bridge whose numbers are not known may have this bus below it."""
        bridges = [one for one in self.functions if one.bridge and one.unit == unit]
        return bus not in {0, *(one.downstream(SECONDARY_BUS) for one in bridges)} and any(
            one.downstream(number) is None for one in bridges for number in (SECONDARY_BUS, SUBORDINATE_BUS)
        )

    def write(self, function: Function, offset: int, size: int, value: int) -> None:
        """Software writes a register; what else this may change is forgotten."""
        function.registers.write(offset, size, value)
        if offset + size > CAPABILITIES:  # a capability may reset the function (power state, function reset)
            function.registers.forget()
        low = 8 * (BRIDGE_CONTROL - offset)
        if function.bridge and 0 <= low < 8 * size and value >> low & SECONDARY_RESET:
            self._reset_below(function)

    def perhaps_written(self, bus: int, devfn: int, unit: int | None = None) -> None:
        """Software wrote some register, and nobody can say whether a function answered there, or which."""
        for function in self.functions:
            if function.devfn == devfn and function.bus in (None, bus) and unit in (None, function.unit):
                function.registers.forget()
                self._reset_below(function)

    def configured(self, connectors: Collection[int]) -> None:
        """The platform gave the registers of what is behind these connectors values of its own."""
        for function in self.functions:
            if any(one.connector in connectors for one in function.line()):
                function.registers.lose()

    def _reset_below(self, bridge: Function) -> None:
        for function in self.functions:
            if function.below(bridge):
                function.registers.forget()


def interrupts(bridge: Node) -> dict[tuple[int, int], int]:
    """Interrupt source numbers by device number and pin, from ``interrupt-map`` of a host bridge.

    An entry is seven cells: PCI address (3), pin, controller, source, sense.
    """
    cells = bridge.cells("interrupt-map")
    return {(cells[i] >> 11 & 0x1F, cells[i + 3]): cells[i + 5] for i in range(0, len(cells) - 6, 7)}


def _below(
    node: Node, unit: int, sources: dict[tuple[int, int], int], parent: Function | None
) -> Iterator[Function]:
    """The functions below a bridge, depth first."""
    children = [child for child in node.children.values() if "vendor-id" in child.properties]
    numbers = [child.cells("reg")[0] >> 8 & 0xFF for child in children]
    for child, devfn in zip(children, numbers, strict=True):
        if parent is not None:
            parent.registers.write(SECONDARY_BUS, 1, child.cells("reg")[0] >> 16 & 0xFF)
        siblings = sum(number & ~7 == devfn & ~7 for number in numbers)
        function = _function(child, unit, devfn, parent, sources)
        if siblings > 1 and not devfn & 7:  # PCI 3.0, 6.2.1
            function.registers.fix(0x0E, 1, MULTI_FUNCTION, MULTI_FUNCTION)
        yield function
        yield from _below(child, unit, sources, function)


def _function(
    node: Node, unit: int, devfn: int, parent: Function | None, sources: dict[tuple[int, int], int]
) -> Function:
    def one(name: str) -> int:
        return next(iter(node.cells(name)), 0)

    bridge = one("class-code") >> 8 == BRIDGE_CLASS
    source = None if parent else sources.get((devfn >> 3, one("interrupts")))
    function = Function(
        unit,
        devfn,
        parent,
        bridge,
        one("ibm,pci-config-space-type") != 0,
        one("ibm,req#msi"),
        one("ibm,req#msi-x"),
        one("interrupts"),
        source,
        one("ibm,my-drc-index"),
    )
    registers = function.registers
    for name, offset, width in SHOWN if bridge else SHOWN + SHOWN_BY_DEVICES:
        registers.fix(offset, width, one(name))
    registers.fix(0x0E, 1, int(bridge), 0x7F)
    if function.pin:
        registers.open(0x3C, 1)  # PCI 3.0, 6.2.4
    if bridge:  # PCI-to-PCI Bridge 1.2, 3.2.5.2 to 3.2.5.4 and 3.2.5.8
        registers.open(COMMAND, 1, 0x07)
        registers.open(0x18, 3)
        registers.open(0x20, 4, 0xFFF0_FFF0)
        registers.fix(0x20, 4, 0, 0x000F_000F)
    _bases(node, registers)
    return function


def _bases(node: Node, registers: Registers) -> None:
    """Base address registers from ``reg``: five cells each, the space in the first, the size in the last two.

    PCI 3.0, 6.2.5: the bits below the size read 0, those above hold what is written.  Whether memory is
    prefetchable is left to the device, and so is the upper half of an I/O base, which may be wired to 0.
    """
    cells = node.cells("reg")
    for i in range(5, len(cells) - 4, 5):
        offset, space = cells[i] & 0xFF, cells[i] >> 24 & 3
        size = cells[i + 3] << 32 | cells[i + 4]
        if offset in ROM_BASE:
            registers.open(offset, 4, ~(size - 1) | 1)
            registers.fix(offset, 4, 0, (size - 1) & ~1)
        elif space == 1:
            registers.open(offset, 2, ~(size - 1))
            registers.fix(offset, 4, 1, size - 1)
            registers.open(COMMAND, 1, 1)
        else:
            width = 8 if space == 3 else 4
            registers.open(offset, width, ~(size - 1))
            registers.fix(offset, width, 4 if space == 3 else 0, (size - 1) & ~8)
            registers.open(COMMAND, 1, 2)


__all__ = ["Function", "Pci", "Registers", "bits", "interrupts"]
