"""PCI host bridges as the device tree shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.model.environment import Environment, Node
from rig.model.rtas.bridges import Window, bridges, unit_id, windows


@pytest.fixture
def tree(cells) -> Node:
    function = Node("rng@2", {"reg": cells(0x1010, 0, 0, 0, 0, 0x0200_1014, 0, 0, 0, 0x1000)})
    below = Node("rng@0", {"reg": cells(0x1_0000, 0, 0, 0, 0)})
    bridge = Node("pci@4", {"reg": cells(0x2000, 0, 0, 0, 0)}, {"rng@0": below})
    properties = {
        "reg": cells(0x800_0000, 0x2000_0000, 0, 0),
        "ibm,dma-window": cells(0x8000_0000, 1, 2, 0, 0x4000_0000),
        "ibm,ddw-applicable": cells(1, 2, 3),
        "ibm,ddw-extensions": cells(2, 4, 1),
    }
    phb = Node("pci@800000020000000", properties, {"rng@2": function, "pci@4": bridge})
    bare = Node("pci@800000020000001", {"reg": cells(0x800_0000, 0x2000_0001, 0, 0)})
    disk = Node("v-scsi@71000002", {"ibm,my-dma-window": cells(0x7100_0002, 0, 0, 0, 0x1000)})
    vdevice = Node("vdevice", children={"v-scsi@71000002": disk, "vty@71000000": Node("vty@71000000")})
    return Node("", children={"vdevice": vdevice, phb.name: phb, bare.name: bare})


@pytest.fixture
def machine(environment, tree) -> Environment:
    return replace(environment(), tree=tree)


def test_a_bridge_has_what_its_node_says(machine: Environment) -> None:
    bridge = bridges(machine)[unit_id(0x800_0000, 0x2000_0000)]
    assert bridge.default == Window(0x8000_0000, 0x1_0000_0002, 0x4000_0000)
    assert bridge.applicable == (1, 2, 3)
    assert bridge.extensions == (2, 4, 1)
    assert bridge.functions == {0x1000, 0x2000, 0x1_0000}


def test_a_bridge_without_properties_offers_nothing(machine: Environment) -> None:
    bridge = bridges(machine)[0x800_0000_2000_0001]
    assert (bridge.default, bridge.applicable, bridge.extensions, bridge.functions) == (None, (), (), set())


def test_functions_and_the_bridge_itself_are_named(machine: Environment) -> None:
    bridge = bridges(machine)[0x800_0000_2000_0000]
    assert all(bridge.names_function(address) for address in (0, 0x1000, 0x1_0000))
    assert not any(bridge.names_function(address) for address in (1, 0x1001, 0x1800, 0x1000_1000))


def test_windows_of_virtual_devices_are_found(machine: Environment, environment) -> None:
    assert windows(machine) == {0x7100_0002}
    assert windows(environment(terminal=False)) == frozenset()
    assert windows(replace(machine, tree=Node(""))) == frozenset()


@pytest.mark.parametrize(
    ("start", "length", "overlaps"),
    [(0, 16, False), (0, 17, True), (31, 1, True), (32, 1, False), (20, 1, True), (0, 100, True)],
)
def test_windows_overlap_by_their_addresses(start: int, length: int, overlaps: bool) -> None:
    assert Window(1, 16, 16).overlaps(start, length) is overlaps
