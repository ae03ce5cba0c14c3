"""Flattened device trees in guest memory, as far as calls depend on what ``/rtas`` holds in them.

The tree that a machine started with is :mod:`rig.model.environment`'s; this is about blobs that a guest hands
over or finds after a reset.
"""

from __future__ import annotations

from collections.abc import Mapping

from rig.target import GuestMemory

#: Devicetree Specification v0.4, section 5.2: magic and totalsize, big-endian, open the header of 40 bytes
MAGIC = 0xD00D_FEED
HEADER = 40
#: where Linux and firmware leave the address of RTAS's private area (LoPAR R1-7.2.4-1)
BASE = "linux,rtas-base"


def total_size(header: bytes) -> int:
    """``totalsize`` in bytes from a blob's first eight; 0 when they are those of no blob."""
    magic, size = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    return size if magic == MAGIC and size >= HEADER else 0


def rtas_properties(blob: bytes) -> Mapping[str, bytes] | None:
    """The properties of ``/rtas``, none where it cannot be found; ``None`` for a damaged blob."""
    import libfdt

    if not 0 < total_size(blob) <= len(blob):  # libfdt believes the header
        return None
    data = bytearray(blob)
    try:
        libfdt.check_err(libfdt.fdt_check_full(data, len(data)))
    except libfdt.FdtException:
        return None
    tree = libfdt.FdtRo(data)
    rtas = tree.path_offset("/rtas", libfdt.QUIET_ALL)
    properties: dict[str, bytes] = {}
    at = tree.first_property_offset(rtas, libfdt.QUIET_ALL) if rtas >= 0 else rtas
    while at >= 0:
        found = tree.get_property_by_offset(at)
        properties[found.name] = bytes(found)
        at = tree.next_property_offset(at, libfdt.QUIET_ALL)
    return properties


def found_at(memory: GuestMemory, address: int) -> Mapping[str, bytes] | None:
    """The properties of ``/rtas`` in the blob at ``address``; ``None`` when no whole blob is there."""
    try:
        return rtas_properties(memory.read(address, total_size(memory.read(address, 8))))
    except ValueError:
        return None


__all__ = ["BASE", "HEADER", "MAGIC", "found_at", "rtas_properties", "total_size"]
