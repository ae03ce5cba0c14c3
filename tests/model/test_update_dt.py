"""H_UPDATE_DT, and the device trees that it is given."""

from __future__ import annotations

from dataclasses import replace

import libfdt
import pytest

from rig.model.blob import BASE, found_at, rtas_properties, total_size
from rig.model.environment import Node, Region
from rig.model.model import Model
from rig.model.update_dt import H_UPDATE_DT, Published
from rig.program import Call

PLACE = 0x4000


def blob(*, rtas: bool = True, base: int | None = 0x123_4000, filler: int = 0) -> bytes:
    """A device tree with ``/rtas`` and ``linux,rtas-base`` in it."""
    writer = libfdt.FdtSw()
    writer.finish_reservemap()
    with writer.add_node(""):
        writer.property("rig,filler", bytes(filler))
        if rtas:
            with writer.add_node("rtas"):
                if base is not None:
                    writer.property_u32(BASE, base)
    data = bytes(writer.as_fdt().as_bytearray())
    return data[: int.from_bytes(data[4:8], "big")]


@pytest.fixture
def model(environment) -> Model:
    return Model(replace(environment(), fdt=Region(0x8000, 0x200)))


def update(model: Model, judge, data: bytes, r3: int, address: int = PLACE) -> list[str]:
    """Hand over ``data``; the checks that an answer of ``r3`` breaks."""
    model.memory.write(address, data)
    return judge(model, Call(H_UPDATE_DT, (address,)), lambda _: r3)[1]


def test_a_whole_tree_is_taken_and_tells_where_rtas_is(model: Model, judge) -> None:
    assert model.state.of(Published).rtas_base is None
    assert update(model, judge, blob(), -4) == ["r3"]
    assert model.state.of(Published).rtas_base is None
    assert update(model, judge, blob(), 0) == []
    assert model.state.of(Published).rtas_base == 0x123_4000
    assert update(model, judge, blob(base=None), 0) == []
    assert model.state.of(Published).rtas_base is None


def test_memory_must_stay(model: Model, judge) -> None:
    model.memory.write(PLACE, blob())

    def scribbles(memory) -> int:
        memory.write(PLACE + 8, b"!")
        return 0

    assert judge(model, Call(H_UPDATE_DT, (PLACE,)), scribbles)[1] == ["memory"]


@pytest.mark.parametrize("damage", [(0, 0), (4, 20), (4, 80), (8, 0xFFFF_FFF0), (20, 3), (36, 0xFFFF_FFFF)])
def test_a_damaged_tree_is_refused(model: Model, judge, damage: tuple[int, int]) -> None:
    offset, value = damage
    data = bytearray(blob())
    data[offset : offset + 4] = value.to_bytes(4, "big")
    assert update(model, judge, bytes(data), 0) == ["r3"]
    assert update(model, judge, bytes(data), -4) == []


@pytest.mark.parametrize("r3", [0, -4])
def test_what_grew_too_much_may_be_refused(model: Model, judge, r3: int) -> None:
    assert update(model, judge, blob(filler=0x400), r3) == []


@pytest.mark.parametrize("address", [0x2_0000, (1 << 60) - 4, 0xFFFC])
def test_there_is_no_tree_where_there_is_no_memory(model: Model, judge, address: int) -> None:
    call = Call(H_UPDATE_DT, (address,))
    assert model.expect(call).facts >= {"tree-outside-memory"}
    assert judge(model, call, lambda _: -4)[1] == []
    assert judge(model, call, lambda _: 0)[1] == ["r3"]


@pytest.mark.parametrize("r3", [0, -4])
def test_the_top_nibble_of_the_address_may_count_or_not(model: Model, judge, r3: int) -> None:
    model.memory.write(PLACE, blob())
    assert judge(model, Call(H_UPDATE_DT, (PLACE | 1 << 60,)), lambda _: r3)[1] == []


def test_a_reset_brings_back_the_platforms_own_tree(model: Model, judge, environment) -> None:
    update(model, judge, blob(), 0)
    model.reset(environment())
    assert model.state.of(Published).rtas_base is None
    told = Node("", children={"rtas": Node("rtas", {BASE: bytes.fromhex("00005000")})})
    model.reset(replace(environment(), tree=told))
    assert model.state.of(Published).rtas_base == 0x5000


# ---- blobs ----


def test_the_properties_of_rtas_are_found() -> None:
    assert rtas_properties(blob()) == {BASE: bytes.fromhex("01234000")}
    assert rtas_properties(blob(rtas=False)) == {}
    assert rtas_properties(b"") is None


def test_a_size_belongs_to_a_blob() -> None:
    assert total_size(blob()[:8]) == len(blob())
    assert total_size(bytes(8)) == 0
    assert total_size(blob()[:4] + bytes.fromhex("00000010")) == 0


def test_a_blob_is_found_in_memory(model: Model) -> None:
    model.memory.write(PLACE, blob())
    assert found_at(model.memory, PLACE) == {BASE: bytes.fromhex("01234000")}
    assert found_at(model.memory, PLACE + 4) is None
    assert found_at(model.memory, model.memory.ram[-1].end) is None
