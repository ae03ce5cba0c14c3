"""Values for arguments, by what they mean: limits, their neighbours, and what the machine itself names.

It draws by :class:`~rig.model.hypercall.Kind` alone, so calls of other packages get values the same way.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from rig.campaign.host import Places
from rig.frozen import frozen
from rig.model.environment import Environment, Node
from rig.model.hypercall import Kind
from rig.model.memop import MAX_COUNT
from rig.scenario.reserved import AGENT

#: bytes of the memory that a program's calls share; a finding that needs them is shrunk with them
POOL = 0x100
#: a buffer of its own for each call of a chunk
BUFFER = 0x1000
#: the least of three draws: small numbers are likelier, none is impossible
DRAWS = 3

#: what the tables of the contract name, by kind
_NAMED: Mapping[Kind, tuple[int, ...]] = {
    Kind.SHIFT: (0, 3, 11, 12, 16, 20, 21, 24, 28, 31, 32, 34, 40, 63, 64),
    Kind.SIZE: (1, 2, 4, 8),
    Kind.OPERATION: (*range(9), 9001, 9002, 9003, 9004),
    Kind.BOOLEAN: (0, 1),
    Kind.MASK: (0x1000_0000, 0x4000_0000, 0x5000_0000, 0xF000_0000, 0xFFFF_FFFF),
    Kind.VALUE: (0, 1, 2, 3, 0xFF, 100, 0x1001),
    Kind.INDEX: (*range(4), 16, 20, 42, 48, 60),
    Kind.COUNT: (0, 1, 2, 3, 4, 32, 64, 1024),
    Kind.LENGTH: (0, 1, 2, 3, 4, 16, 64, 255, 256, 1024, 2048, 4096),
    Kind.OFFSET: (0, 0x500, 0xFFFF, 0x1_0000),
    Kind.YEAR: (1969, 1970, 1999, 2000, 2024, 2026, 2037, 2038, 2100, 2400, 9999),
    Kind.MONTH: (1, 2, 12),
    Kind.DAY: (1, 28, 29, 30, 31),
    Kind.HOUR: (0, 12, 23),
    Kind.MINUTE: (0, 59),
    Kind.SECOND: (0, 59, 60),
    Kind.NANOSECOND: (0, 1, 999_999_999),
    Kind.CHARACTER: (0, 10, 65, 127, 255),
}
#: kinds whose values are taken mostly as the machine or the contract names them
ADDRESSES = frozenset({Kind.ADDRESS, Kind.ADDRESS_HIGH})


@frozen
class Vocabulary:
    """The values that one machine names, by kind, and the memory that its programs may use."""

    named: Mapping[Kind, tuple[int, ...]]
    #: addresses next to the limits of RAM, and where nothing is
    limits: tuple[int, ...]

    @classmethod
    def of(cls, environment: Environment) -> Vocabulary:
        """Read the device tree: unit IDs, functions, connectors, windows, interrupts, processors."""
        found: dict[Kind, set[int]] = {kind: set(values) for kind, values in _NAMED.items()}
        for kind in Kind:
            found.setdefault(kind, set())
        for _, node in environment.tree.walk():
            _look(node, found)
        found[Kind.CONFIG_ADDRESS].update(Places.of(environment).config_addresses)
        ends = {region.end for region in environment.ram} | {environment.fdt.start}
        limits = {end + step for end in ends for step in (-4096, -64, -16, -8, -4, -1, 0, 4)}
        limits |= {0x7FFF_FFF8, 0x8000_0000, 0xFFFF_F000, 0xFFFF_FFF8, 0xFFFF_FFFF}
        return cls(
            {kind: tuple(sorted(values)) for kind, values in found.items()},
            tuple(sorted(limit for limit in limits if limit >= AGENT.end)),
        )

    def draw(self, rng: random.Random, kind: Kind, bits: int, own: Sequence[int]) -> int:
        """A value of ``bits`` bits; addresses are mostly in or next to ``own``, the caller's memory."""
        if kind in ADDRESSES:
            return self._address(rng, bits, own)
        named = self.named[kind]
        roll = rng.random()
        if named and roll < 0.8:
            value = rng.choice(named)
            if roll < 0.12:
                value += rng.choice((-1, 1))
        else:
            value = edge(rng, bits)
        value %= 1 << bits
        if value >= BUFFER:
            if kind is Kind.COUNT and (value <= MAX_COUNT or rng.random() < 0.9):
                value %= BUFFER  # so that no legal call takes long, and few invalid ones must run alone
            if kind is Kind.LENGTH and rng.random() < 0.993:
                value %= BUFFER  # a call with a longer one must run alone
        return value

    def _address(self, rng: random.Random, bits: int, own: Sequence[int]) -> int:
        roll = rng.random()
        if roll < 0.975:
            return rng.choice(own) + (rng.choice((1, 2, 4, 8, 0x3F, 0x40)) if rng.random() < 0.3 else 0)
        # Calls that meet at one limit cannot share a batch.
        value = rng.choice(self.limits) if roll < 0.985 else edge(rng, bits)
        # The agent's own memory is no place to write: what then fails is the rig.
        return value % (1 << bits) if value % (1 << bits) >= AGENT.end else rng.choice(own)


def edge(rng: random.Random, bits: int) -> int:
    """Nought, all ones, a power of two or its neighbour, or anything."""
    roll = rng.random()
    if roll < 0.2:
        return rng.choice((0, 1, (1 << bits) - 1, (1 << bits) - 2))
    if roll < 0.7:
        return ((1 << rng.randrange(bits)) + rng.choice((-1, 0, 1))) % (1 << bits)
    return rng.getrandbits(bits) if roll < 0.8 else min(rng.randrange(0x200) for _ in range(DRAWS))


def _look(node: Node, found: Mapping[Kind, set[int]]) -> None:
    """Add what one node of the device tree names."""
    properties = node.properties
    registers = node.cells("reg")
    if "ibm,dma-window" in properties:
        found[Kind.LIOBN].add(node.cells("ibm,dma-window")[0])
    if "ibm,my-drc-index" in properties:
        found[Kind.DRC].update(node.cells("ibm,my-drc-index"))
    if "ibm,drc-indexes" in properties:
        # Its first cell is the number of the others.
        found[Kind.DRC].update(node.cells("ibm,drc-indexes")[1:])
        found[Kind.INDEX].update(node.cells("ibm,drc-power-domains")[1:])
    if "ibm,ppc-interrupt-server#s" in properties:
        found[Kind.CPU].update(node.cells("ibm,ppc-interrupt-server#s"))
    if "interrupts" in properties:
        found[Kind.INTERRUPT].update(node.cells("interrupts")[::2])
    if "ibm,ddw-applicable" in properties or properties.get("device_type") == b"pci\0":
        if len(registers) >= 2 and "ibm,ddw-applicable" in properties:
            found[Kind.BUID_HIGH].add(registers[0])
            found[Kind.BUID_LOW].add(registers[1])
        found[Kind.CONFIG_ADDRESS].update((0, 0x800, 0x1_0000))
    if "vendor-id" in properties and registers:
        address = registers[0] & 0xFF_FF00
        found[Kind.CONFIG_ADDRESS].update(address | offset for offset in (0, 4, 6, 0x10, 0x34, 0x3C, 0xFC))
        found[Kind.CONFIG_ADDRESS].add(address | 0x1000_0000)  # extended configuration space
    if "ibm,my-dma-window" in properties or "ibm,my-drc-index" in properties:
        found[Kind.VALUE].update(registers[:1])
        found[Kind.LIOBN].update(node.cells("ibm,my-dma-window")[:1])


__all__ = ["ADDRESSES", "BUFFER", "POOL", "Vocabulary", "edge"]
