"""Device trees from blobs, whole and damaged."""

from __future__ import annotations

import struct

import libfdt
import pytest

from rig.machine.device_tree import BadDeviceTree, memory, parse, total_size


def blob() -> bytes:
    writer = libfdt.FdtSw()
    writer.finish_reservemap()
    with writer.add_node(""):
        writer.property_u32("#address-cells", 2)
        for start, length in ((1 << 30, 1 << 28), (0, 1 << 29), (2 << 30, 0)):
            with writer.add_node(f"memory@{start:x}"):
                writer.property("reg", struct.pack(">QQ", start, length))
        with writer.add_node("rtas"):
            writer.property_u32("power-off", 0x2003)
            with writer.add_node("below"):
                writer.property("empty", b"")
    tree = writer.as_fdt()
    tree.pack()
    return bytes(tree.as_bytearray())


def test_nodes_and_properties_keep_names_and_bytes() -> None:
    tree = parse(blob())
    assert tree.name == ""
    rtas = tree.find("/rtas")
    assert rtas is not None
    assert rtas.cells("power-off") == (0x2003,)
    below = tree.find("/rtas/below")
    assert below is not None
    assert below.properties == {"empty": b""}
    assert next(path for path, _ in tree.walk()) == "/"


def test_ram_is_every_memory_node_that_has_any_ascending() -> None:
    assert [(region.start, region.length) for region in memory(parse(blob()))] == [
        (0, 1 << 29),
        (1 << 30, 1 << 28),
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "begins with nothing"),
        (bytes(64), "begins with 0000000000000000"),
        (blob()[:100], r"claims \d+ bytes, but 100 are there"),
        (b"\xd0\x0d\xfe\xed\0\0\0\x08", "less than a header has"),
        (blob()[:56] + b"\xff\xff\xff\xff" + blob()[60:], "is damaged"),
    ],
)
def test_a_damaged_blob_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(BadDeviceTree, match=text):
        parse(data)


def test_the_size_is_the_headers() -> None:
    assert total_size(blob()[:8]) == len(blob())
