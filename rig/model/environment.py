"""What the model knows of a machine before the first step: its memory map, device tree and options.

The machine gathers it (the device tree from guest memory); the model only reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rig.frozen import frozen
from rig.program import MachineOptions


@frozen
class Region:
    """A range of guest-physical addresses in bytes."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first address past the region."""
        return self.start + self.length

    def holds(self, address: int, length: int = 1) -> bool:
        """Whether all of ``length`` bytes at ``address`` lie inside."""
        return self.start <= address and address + length <= self.end

    def overlaps(self, address: int, length: int) -> bool:
        """Whether any of ``length`` bytes at ``address`` lies inside."""
        return length > 0 and address < self.end and self.start < address + length


@frozen
class Node:
    """A device-tree node: raw big-endian property values and children, by name (with unit address)."""

    name: str
    properties: Mapping[str, bytes] = field(default_factory=dict)
    children: Mapping[str, Node] = field(default_factory=dict)

    def find(self, path: str) -> Node | None:
        """The node at an absolute ``path``; ``None`` where there is none."""
        node: Node | None = self
        for part in path.strip("/").split("/"):
            if part and node is not None:
                node = node.children.get(part)
        return node

    def cells(self, name: str) -> tuple[int, ...]:
        """A property as big-endian 32-bit cells; empty when absent."""
        data = self.properties.get(name, b"")
        return struct.unpack_from(f">{len(data) // 4}I", data)

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Every node below and including this one with its absolute path, parents first."""
        yield path or "/", self
        for name, child in self.children.items():
            yield from child.walk(f"{path}/{name}")


@dataclass(frozen=True)
class Environment:
    """The machine as the model sees it."""

    #: RAM, ascending
    ram: tuple[Region, ...]
    #: what the agent owns: image, mailbox and batch area
    agent: Region
    #: the flattened device tree in guest memory
    fdt: Region
    tree: Node
    #: QEMU version as (major, minor, micro)
    version: tuple[int, ...] = ()
    options: MachineOptions = MachineOptions()
    #: where a guest other than the agent works between calls, ascending: nothing is known of what is there
    busy: tuple[Region, ...] = ()

    @cached_property
    def tokens(self) -> Mapping[str, int]:
        """RTAS service names and tokens, from the one-cell properties of ``/rtas``."""
        rtas = self.tree.find("/rtas")
        if rtas is None:
            return {}
        return {
            name: int.from_bytes(value, "big")
            for name, value in rtas.properties.items()
            if len(value) == 4 and name not in NOT_SERVICES
        }

    @property
    def rma(self) -> Region:
        """The real-mode area: the first memory node (LoPAR R1-14.6-5)."""
        return self.ram[0]

    def is_ram(self, address: int, length: int = 1) -> bool:
        """Whether all of the range is RAM; adjacent regions count as one."""
        end = address + length
        for region in self.ram:
            if region.start <= address < region.end:
                address = min(end, region.end)
        return address == end


#: one-cell properties of ``/rtas`` that are no services (LoPAR R1-7.2.6-3, B.5.3.1)
NOT_SERVICES = frozenset(
    {
        "rtas-size",
        "rtas-version",
        "rtas-event-scan-rate",
        "rtas-display-device",
        "rtas-error-log-max",
        "linux,rtas-base",
        "linux,rtas-entry",
        "phandle",
        "linux,phandle",
        "ibm,max-boot-devices",
        "ibm,configure-kernel-dump-version",
        "ibm,configure-kernel-dump-sizes",
    }
)
