"""PCI functions and what is known of their registers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.model.environment import Environment, Node, Region
from rig.model.pci import Function, Pci, Registers

UNIT = 0x0800_0000_2000_0000


@pytest.fixture
def pci(slots) -> Pci:
    return Pci(slots())


def at(pci: Pci, bus: int, devfn: int) -> Function:
    function = pci.at(UNIT, bus, devfn)
    assert function is not None
    return function


@given(st.integers(0, 0x3C), st.sampled_from([1, 2, 4]), st.integers(0, (1 << 32) - 1))
def test_what_is_written_is_read(offset: int, size: int, value: int) -> None:
    registers = Registers()
    registers.open(0, 64)
    registers.write(offset, size, value)
    whole = (1 << 8 * size) - 1
    assert registers.read(offset, size) == (whole, value & whole)
    assert registers.read(offset + size, 4)[0] == 0


def test_what_is_fixed_is_not_written() -> None:
    registers = Registers()
    registers.fix(0, 2, 0x1AF4)
    registers.open(2, 2)
    registers.write(0, 4, 0xFFFF_FFFF)
    assert registers.read(0, 4) == (0xFFFF_FFFF, 0xFFFF_1AF4)
    registers.forget()
    assert registers.read(0, 4) == (0xFFFF, 0x1AF4)


def test_the_tree_shows_who_is_where(pci: Pci) -> None:
    assert {(one.bus, one.devfn) for one in pci.functions} == {
        (0, 0x08),
        (0, 0x10),
        (0, 0x18),
        (1, 0x08),
        (0, 0x20),
        (0, 0x21),
    }
    assert at(pci, 0, 0x08).source == 0x1200
    assert (at(pci, 0, 0x10).msi, at(pci, 0, 0x10).msix, at(pci, 0, 0x10).extended) == (1, 5, True)
    assert pci.at(UNIT + 1, 0, 0x08) is None
    assert pci.units == {UNIT: 16}


def test_identity_and_header_are_known(pci: Pci) -> None:
    device, bridge = at(pci, 0, 0x08).registers, at(pci, 0, 0x18).registers
    assert device.read(0, 4) == (0xFFFF_FFFF, 0x1041_1AF4)
    assert device.read(8, 4) == (0xFFFF_FFFF, 0x0200_0001)
    assert device.read(0x2C, 4) == (0xFFFF_FFFF, 0)
    assert device.read(0x0E, 1) == (0x7F, 0)
    assert bridge.read(0x0E, 1) == (0x7F, 1)
    assert bridge.read(0x2C, 4)[0] == 0
    assert at(pci, 0, 0x20).registers.read(0x0E, 1) == (0xFF, 0x80)
    assert at(pci, 0, 0x21).registers.read(0x0E, 1) == (0x7F, 0)


@pytest.mark.parametrize(
    ("offset", "known", "value"),
    [
        (0x10, 0xFFFF_FFF7, 0xFFFF_F000),
        (0x14, 0x0000_FFFF, 0x0000_FFE1),
        (0x18, 0xFFFF_FFF7, 0xFFFF_C004),
        (0x1C, 0xFFFF_FFFF, 0xFFFF_FFFF),
    ],
    ids=["memory", "io", "memory-64", "upper-half"],
)
def test_ones_show_the_size_of_a_base(pci: Pci, offset: int, known: int, value: int) -> None:
    function = at(pci, 0, 0x08)
    pci.write(function, offset, 4, 0xFFFF_FFFF)
    assert function.registers.read(offset, 4) == (known, value)


def test_a_capability_may_reset_the_function(pci: Pci) -> None:
    function = at(pci, 0, 0x08)
    pci.write(function, 0x3C, 1, 5)
    assert function.registers.read(0x3C, 1) == (0xFF, 5)
    pci.write(function, 0x3F, 1, 5)
    assert function.registers.read(0x3C, 1) == (0xFF, 5)
    pci.write(function, 0x40, 1, 5)
    assert function.registers.read(0x3C, 1) == (0, 0)


@pytest.mark.parametrize(
    ("offset", "size", "value"), [(0x3E, 1, 0x40), (0x3E, 2, 0x40), (0x3C, 4, 0x40_0000)]
)
def test_a_bridge_resets_what_is_below(pci: Pci, offset: int, size: int, value: int) -> None:
    bridge, below = at(pci, 0, 0x18), at(pci, 1, 0x08)
    pci.write(below, 0x3C, 1, 5)
    pci.write(bridge, offset, size, 0)
    assert below.registers.read(0x3C, 1) == (0xFF, 5)
    pci.write(bridge, offset, size, value)
    assert below.registers.read(0x3C, 1) == (0, 0)


def test_a_bridge_resets_also_what_is_behind_another(pci: Pci) -> None:
    outer = at(pci, 0, 0x18)
    inner = replace(outer, devfn=0x10, parent=outer, registers=Registers())
    leaf = replace(at(pci, 0, 0x08), devfn=0x18, parent=inner, registers=Registers())
    pci.functions += [inner, leaf]
    leaf.registers.open(0x3C, 1)
    pci.write(leaf, 0x3C, 1, 5)
    beside = at(pci, 0, 0x08)
    pci.write(beside, 0x3C, 1, 6)
    pci.write(outer, 0x3E, 1, 0x40)
    assert leaf.registers.read(0x3C, 1) == (0, 0)
    assert beside.registers.read(0x3C, 1) == (0xFF, 6)


def test_the_platform_may_configure_what_is_behind_a_connector(slots) -> None:
    environment = slots()
    node = environment.tree.children["pci"].children["pci@3"]
    node.properties["ibm,my-drc-index"] = (7).to_bytes(4, "big")
    pci = Pci(environment)
    beside, bridge, below = at(pci, 0, 0x08), at(pci, 0, 0x18), at(pci, 1, 0x08)
    for function in (beside, below):
        pci.write(function, 0x3C, 1, 5)
    pci.configured([7])
    assert bridge.downstream(0x19) is None
    assert (below.bus, below.registers.read(0x3C, 1)) == (None, (0, 0))
    assert not below.registers.touched  # no software did it
    assert beside.registers.read(0x3C, 1) == (0xFF, 5)


def test_functions_move_with_the_numbers_of_their_bridge(pci: Pci) -> None:
    bridge = at(pci, 0, 0x18)
    pci.write(bridge, 0x19, 1, 7)
    assert pci.at(UNIT, 1, 0x08) is None
    assert at(pci, 7, 0x08).parent is bridge
    pci.write(bridge, 0x1A, 1, 6)
    assert at(pci, 7, 0x08).parent is bridge


def test_a_bus_may_be_anywhere_until_the_numbers_are_known(pci: Pci) -> None:
    bridge = at(pci, 0, 0x18)
    assert not pci.uncertain(UNIT, 0)
    assert not pci.uncertain(UNIT, 1)
    assert pci.uncertain(UNIT, 2)
    pci.write(bridge, 0x1A, 1, 1)
    assert not pci.uncertain(UNIT, 2)
    bridge.registers.forget()
    assert pci.at(UNIT, 1, 0x08) is None
    assert pci.uncertain(UNIT, 1)


def test_a_bridge_forwards_nothing_that_is_meant_for_its_own_bus(pci: Pci) -> None:
    bridge = at(pci, 0, 0x18)
    pci.write(bridge, 0x19, 1, 0)
    hidden = next(one for one in pci.functions if one.parent is bridge)
    assert hidden.bus == 0
    assert not bridge.passes(0)
    assert pci.at(bridge.unit, 0, hidden.devfn) is not hidden


def test_an_inner_bridge_hears_only_what_the_outer_passes(pci: Pci) -> None:
    outer = at(pci, 0, 0x18)
    inner = replace(outer, devfn=0x10, parent=outer, registers=Registers())
    inner.registers.open(0x18, 3)
    leaf = replace(at(pci, 0, 0x08), devfn=0x18, parent=inner)
    pci.functions += [inner, leaf]
    pci.write(outer, 0x18, 4, 0x0002_0100)
    pci.write(inner, 0x18, 4, 0x0002_0201)
    assert pci.at(UNIT, 2, 0x18) is leaf
    for subordinate in (1, 0):
        pci.write(outer, 0x1A, 1, subordinate)
        assert pci.at(UNIT, 2, 0x18) is None
        assert pci.at(UNIT, 1, 0x10) is inner


def test_a_rom_has_an_enable_bit() -> None:
    reg = b"".join(cell.to_bytes(4, "big") for cell in (0x800, 0, 0, 0, 0, 0x0200_0830, 0, 0, 0, 0x800))
    node = Node("x@1", {"vendor-id": bytes(4), "reg": reg})
    bridge = Node("pci", {"device_type": b"pci\0", "reg": bytes(16)}, {"x@1": node})
    tree = Node("", children={"pci": bridge})
    pci = Pci(Environment((Region(0, 4096),), Region(0, 0), Region(0, 0), tree))
    (function,) = pci.functions
    pci.write(function, 0x30, 4, 0xFFFF_FFFF)
    assert function.registers.read(0x30, 4) == (0xFFFF_FFFF, 0xFFFF_F801)


def test_a_reset_brings_the_registers_back(slots, pci: Pci) -> None:
    pci.write(at(pci, 0, 0x18), 0x19, 1, 7)
    pci.reset(slots())
    assert at(pci, 1, 0x08).bus == 1
