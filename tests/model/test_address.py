"""Ranges of guest-physical addresses."""

from __future__ import annotations

import pytest

from rig.model.address import SPACE, Piece, in_ram, in_window, load, pci_windows, pieces, ram_of
from rig.model.environment import Node, Region
from rig.model.hypercall import State

RAM = (Region(0, 0x100), Region(0x100, 0x100), Region(0x1000, 0x100))


@pytest.mark.parametrize(
    ("address", "length", "expected"),
    [
        (0x10, 0x20, [Piece(0, 0x10, 0x20)]),
        (0xF0, 0x20, [Piece(0, 0xF0, 0x10), Piece(0x10, 0x100, 0x10)]),
        (0x1F0, 0x20, [Piece(0, 0x1F0, 0x10)]),
        (0xFF8, 0x10, [Piece(8, 0x1000, 8)]),
        (SPACE - 8, 0x10, [Piece(8, 0, 8)]),
        (0x10, 0, []),
        (0x200, 0x100, []),
    ],
)
def test_a_range_is_cut_into_the_parts_that_are_there(
    address: int, length: int, expected: list[Piece]
) -> None:
    assert pieces(RAM, address, length) == expected


def test_a_range_of_all_addresses_is_cut_once() -> None:
    assert sum(piece.length for piece in pieces(RAM, 0x80, 1 << 80)) == 0x300


def test_adjacent_regions_are_one_ram(environment) -> None:
    state = State(environment(((0, 0x1000), (0x1000, 0x1000))))
    assert in_ram(state, 0xFFC, 8)
    assert not in_ram(state, 0x1FFC, 8)
    assert in_ram(state, 0x9000, 0)
    assert ram_of(state, 0x1FFC, 8) == ((0x1FFC, 4),)


def test_what_is_not_there_loads_as_zero(environment) -> None:
    state = State(environment())
    state.memory.write(0xFFFC, b"abcd")
    state.memory.write(0, b"efgh")
    assert load(state.memory, 0xFFFA, 8) == b"\0\0abcd\0\0"
    assert load(state.memory, SPACE - 2, 4) == b"\0\0ef"


def test_windows_come_from_the_host_bridges(environment) -> None:
    state = State(environment())
    assert in_window(state, 0x2000_8000_0FFF, 1)
    assert not in_window(state, 0x2000_8000_1000, 1)
    assert not in_window(state, 0x2000_7FFF_FFFF, 1)


def test_other_nodes_have_no_windows(environment) -> None:
    tree = Node("", children={"isa": Node("isa", {"device_type": b"isa\0", "ranges": bytes(28)})})
    plain = environment()
    assert len(pci_windows(plain)) == 1
    object.__setattr__(plain, "tree", tree)
    assert pci_windows(plain) == ()
