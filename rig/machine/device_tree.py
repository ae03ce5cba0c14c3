"""The flattened device tree that QEMU leaves in guest memory, as :class:`rig.model.environment.Node`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from rig.model.environment import Node, Region

#: Devicetree Specification v0.4, section 5.2: magic and totalsize, big-endian, open the header
MAGIC = 0xD00DFEED
HEADER = 40


class BadDeviceTree(ValueError):
    """The blob is no flattened device tree, or a damaged one."""


def total_size(header: bytes) -> int:
    """``totalsize`` in bytes from a blob's first eight bytes; raises :class:`BadDeviceTree`."""
    if len(header) < 8 or int.from_bytes(header[:4], "big") != MAGIC:
        raise BadDeviceTree(f"no flattened device tree begins with {header[:8].hex() or 'nothing'}")
    return int.from_bytes(header[4:8], "big")


def parse(blob: bytes) -> Node:
    """The tree in ``blob``, names with unit address, the root's name empty; raises :class:`BadDeviceTree`."""
    import libfdt

    if total_size(blob) > len(blob):  # libfdt believes the header
        raise BadDeviceTree(f"the device tree claims {total_size(blob)} bytes, but {len(blob)} are there")
    if total_size(blob) < HEADER:
        raise BadDeviceTree(f"the device tree claims {total_size(blob)} bytes, less than a header has")
    data = bytearray(blob)
    try:
        libfdt.check_err(libfdt.fdt_check_full(data, len(data)))
        tree = libfdt.FdtRo(data)
        return _node(libfdt, tree, 0)
    except libfdt.FdtException as error:
        raise BadDeviceTree(f"the device tree of {len(blob)} bytes is damaged: {error}") from error


def _node(libfdt: ModuleType, tree: Any, offset: int) -> Node:
    properties: dict[str, bytes] = {}
    at = tree.first_property_offset(offset, libfdt.QUIET_NOTFOUND)
    while at >= 0:
        item = tree.get_property_by_offset(at)
        properties[item.name] = bytes(item)
        at = tree.next_property_offset(at, libfdt.QUIET_NOTFOUND)
    children: dict[str, Node] = {}
    below = tree.first_subnode(offset, libfdt.QUIET_NOTFOUND)
    while below >= 0:
        child = _node(libfdt, tree, below)
        children[child.name] = child
        below = tree.next_subnode(below, libfdt.QUIET_NOTFOUND)
    return Node(tree.get_name(offset), properties, children)


def memory(tree: Node) -> tuple[Region, ...]:
    """RAM from the ``reg`` of every ``/memory@`` node, ascending: two address and two size cells each."""
    return tuple(sorted(_regions(tree), key=lambda region: region.start))


def _regions(tree: Node) -> Iterator[Region]:
    for name, node in tree.children.items():
        if name == "memory" or name.startswith("memory@"):
            reg = node.properties.get("reg", b"")
            for i in range(0, len(reg) - 15, 16):
                start, length = struct.unpack_from(">QQ", reg, i)
                if length:
                    yield Region(start, length)
