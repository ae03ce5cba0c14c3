"""ibm,query-, create-, remove- and reset-pe-dma-window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rig.model.environment import Environment, Node
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model
from rig.program import Host

QUERY, CREATE, REMOVE, RESET = range(0x2026, 0x202A)
NAMES = {
    "ibm,query-pe-dma-window": QUERY,
    "ibm,create-pe-dma-window": CREATE,
    "ibm,remove-pe-dma-window": REMOVE,
    "ibm,reset-pe-dma-window": RESET,
}
HIGH, LOW = 0x800_0000, 0x2000_0000
PE = (0, HIGH, LOW)
BARE = (0, HIGH, LOW + 1)
DEFAULT, FIRST, DISK = 0x8000_0000, 0x8000_0001, 0x7100_0002
TCES = 0x8000_0000
#: windows, TCEs, pages of 4 and 64 KiB, migration
ONE_LEFT, NONE_LEFT, TWO_LEFT = ((0, left, TCES, 3, 0) for left in (1, 0, 2))
MADE = (0, FIRST, 0x800_0000, 0)
#: in place of the default window
REPLACED = (0, DEFAULT, 0, 0)

Play = Callable[..., list[str]]


@pytest.fixture
def machine(environment, cells) -> Environment:
    """A PHB with the option and a PHB without it, both with default windows, and a virtual device."""
    offers = {"ibm,ddw-applicable": cells(QUERY, CREATE, REMOVE), "ibm,ddw-extensions": cells(2, RESET, 1)}

    def bridge(low: int, liobn: int, **more: bytes) -> Node:
        window = cells(liobn, 0, 0, 0, 0x4000_0000)
        return Node(f"pci@{low:x}", {"reg": cells(HIGH, low, 0, 0), "ibm,dma-window": window, **more})

    disk = Node("v-scsi@71000002", {"ibm,my-dma-window": cells(DISK, 0, 0, 0, 0x1000)})
    children = {
        "rtas": Node("rtas", {name: cells(token) for name, token in NAMES.items()}),
        "pci@0": bridge(LOW, DEFAULT, **offers),
        "pci@1": bridge(LOW + 1, 0x8001_0000),
        "vdevice": Node("vdevice", children={"v-scsi@71000002": disk}),
    }
    return replace(environment(), tree=Node("", children=children))


@pytest.fixture
def model(machine: Environment) -> Model:
    return Model(machine)


@pytest.fixture
def play(model: Model, judge, prepare, cells) -> Play:
    """The checks that a call breaks which leaves the given outputs; as many are announced."""

    def one(token: int, args: tuple[int, ...], *outputs: int, nret: int = 0, at: int = 0x1000) -> list[str]:
        call = prepare(model, token, args, nret or len(outputs), at=at)

        def build(memory) -> int:
            memory.write(call.args[0] + 12 + 4 * len(args), cells(*outputs))
            return H_SUCCESS

        return judge(model, call, build)[1]

    return one


def refused(play: Play, page: int, size: int) -> list[str]:
    return play(CREATE, (*PE, page, size), -3, nret=4)


def test_what_a_query_tells_is_the_platforms_choice(play: Play) -> None:
    assert play(QUERY, PE, *ONE_LEFT) == []
    assert play(QUERY, PE, *ONE_LEFT) == []
    assert play(QUERY, PE, *TWO_LEFT) == ["rets"], "nothing happened in between"


@pytest.mark.parametrize("nret", [5, 6])
def test_reserved_page_sizes_are_found(play: Play, nret: int) -> None:
    tces = (0, TCES)[6 - nret :]
    assert play(QUERY, PE, 0, 1, *tces, 0x103, 0) == ["ddw.page-size-2m"]
    assert play(QUERY, PE, 0, 1, *tces, 0x203, 0) == ["rets"]
    assert play(QUERY, PE, 0, 1, *tces, 3, 0x200) == ["rets"]


def test_six_outputs_need_the_extension(machine: Environment, judge, prepare, cells) -> None:
    bridge = machine.tree.children["pci@0"]
    old = replace(bridge, properties={**bridge.properties, "ibm,ddw-extensions": cells(1, RESET)})
    tree = replace(machine.tree, children={**machine.tree.children, "pci@0": old})
    for status, checks in ((-3, []), (0, ["status"])):
        model = Model(replace(machine, tree=tree))

        def build(memory, status: int = status) -> int:
            memory.write(0x1018, cells(status, 1, 0, TCES, 3, 0))
            return H_SUCCESS

        assert judge(model, prepare(model, QUERY, PE, 6), build)[1] == checks


@pytest.mark.parametrize("address", [BARE, (0, 0, 0), (0, LOW, HIGH)])
def test_where_the_option_is_not_offered_all_is_refused(play: Play, address: tuple[int, ...]) -> None:
    assert play(QUERY, address, -3, nret=5) == []
    assert play(QUERY, address, *ONE_LEFT) == ["status"]
    assert play(CREATE, (*address, 12, 30), -3, nret=4) == []
    assert play(CREATE, (*address, 12, 30), *MADE) == ["status"]
    assert play(RESET, address, -3) == []
    assert play(RESET, address, 0) == ["status"]
    assert play(REMOVE, (0x8001_0000,), 0) == ["status"]


def test_an_address_that_names_nothing_may_be_refused(play: Play) -> None:
    assert play(QUERY, (0x1800, HIGH, LOW), -3, nret=5) == []
    assert play(QUERY, (0x1800, HIGH, LOW), *ONE_LEFT) == []
    assert "status" in play(QUERY, PE, -3, nret=5)


def test_what_was_reported_can_be_had(play: Play) -> None:
    assert refused(play, 16, 31) == [], "nothing was reported yet"
    assert play(QUERY, PE, *ONE_LEFT) == []
    assert refused(play, 16, 31) == ["status"]
    assert refused(play, 24, 31) == [], "a page size that was not reported"
    assert refused(play, 12, 44) == [], "more TCEs than were reported"
    assert play(CREATE, (*PE, 16, 31), -2, nret=4) == []
    assert play(CREATE, (*PE, 16, 31), *MADE) == []


def test_a_made_window_counts(play: Play) -> None:
    assert play(QUERY, PE, *ONE_LEFT) == []
    assert play(CREATE, (*PE, 16, 31), *MADE) == []
    assert play(QUERY, PE, *ONE_LEFT) == ["rets"]


def test_there_is_no_window_beyond_the_last(play: Play) -> None:
    assert play(QUERY, PE, *NONE_LEFT) == []
    assert refused(play, 16, 31) == []
    assert play(CREATE, (*PE, 16, 31), -1, nret=4) == ["ddw.hardware-error"]
    assert play(CREATE, (*PE, 16, 31), *MADE) == ["status"]


@pytest.mark.parametrize(("page", "size"), [(0, 30), (11, 30), (13, 30), (63, 63), (12, 11), (64, 30)])
def test_what_cannot_be_a_window_is_refused(play: Play, page: int, size: int) -> None:
    assert refused(play, page, size) == []
    assert play(CREATE, (*PE, page, size), *MADE) == ["status"]
    assert play(CREATE, (*PE, page, size), -1, nret=4) == ["status"]


@pytest.mark.parametrize(("page", "size"), [(12, 64), (12, 76), (76, 76), (76, 90)])
def test_sizes_that_wrap_are_found(play: Play, page: int, size: int) -> None:
    assert refused(play, page, size) == []
    assert play(CREATE, (*PE, page, size), *MADE) == ["ddw.shift-wraps"]


def test_a_new_window_takes_the_place_of_no_other(play: Play) -> None:
    assert play(CREATE, (*PE, 12, 30), 0, DEFAULT, 0x800_0000, 0) == ["rets"]
    assert play(RESET, PE, 0) == []
    assert play(CREATE, (*PE, 12, 30), 0, DISK, 0x800_0000, 0) == ["rets"]
    assert play(RESET, PE, 0) == []
    assert play(CREATE, (*PE, 12, 30), 0, FIRST, 0, 0x3FFF_F000) == ["ddw.window-overlaps"]
    assert play(RESET, PE, 0) == []
    assert play(CREATE, (*PE, 12, 30), 0, FIRST, 0, 0x4000_0000) == []


def test_windows_are_removed_once(play: Play) -> None:
    assert play(REMOVE, (FIRST,), 0) == ["status"]
    assert play(CREATE, (*PE, 12, 30), *MADE) == []
    assert play(REMOVE, (FIRST,), -3) == ["status"]
    assert play(REMOVE, (FIRST,), 0) == []
    assert play(REMOVE, (FIRST,), 0) == ["status"]
    assert play(REMOVE, (DEFAULT,), 0) == []
    assert play(REMOVE, (DEFAULT,), -3) == []


def test_removing_the_default_window_makes_room(play: Play) -> None:
    assert play(QUERY, PE, *NONE_LEFT) == []
    assert play(REMOVE, (DEFAULT,), 0) == []
    assert play(QUERY, PE, *NONE_LEFT) == ["rets"]


@pytest.fixture
def emptied(play: Play) -> Play:
    """The default window was removed before the last other one."""
    assert play(QUERY, PE, *ONE_LEFT) == []
    assert play(CREATE, (*PE, 12, 30), *MADE) == []
    assert play(REMOVE, (DEFAULT,), 0) == []
    assert play(REMOVE, (FIRST,), 0) == []
    return play


def test_the_default_window_comes_back(emptied: Play) -> None:
    assert emptied(QUERY, PE, *ONE_LEFT) == []
    assert emptied(REMOVE, (DEFAULT,), -3) == ["status"], "it was seen to be there"


def test_a_query_shows_that_the_default_window_is_missing(emptied: Play) -> None:
    assert emptied(QUERY, PE, *TWO_LEFT) == ["ddw.default-not-restored"]
    assert emptied(QUERY, PE, *TWO_LEFT) == []
    assert emptied(REMOVE, (DEFAULT,), -3) == []


def test_a_removal_shows_that_the_default_window_is_missing(emptied: Play) -> None:
    assert emptied(REMOVE, (DEFAULT,), -3) == ["ddw.default-not-restored"]
    assert emptied(QUERY, PE, *TWO_LEFT) == []


def test_a_new_window_shows_that_the_default_window_is_missing(emptied: Play) -> None:
    assert emptied(CREATE, (*PE, 12, 30), *REPLACED) == ["ddw.default-not-restored"]
    assert emptied(QUERY, PE, *ONE_LEFT) == []
    assert emptied(REMOVE, (DEFAULT,), 0) == [], "that of the new window"


def test_facts_tell_what_may_be_missing(play: Play, model: Model, prepare) -> None:
    assert play(REMOVE, (DEFAULT,), 0) == []
    assert play(CREATE, (*PE, 12, 30), *REPLACED) == []
    assert play(REMOVE, (DEFAULT,), 0) == []
    for call in (prepare(model, QUERY, PE, 5), prepare(model, REMOVE, (DEFAULT,))):
        assert model.expect(call).facts == {"default-restored", "default-liobn-reused"}


@pytest.mark.parametrize("by", ["service", "machine"])
def test_a_reset_restores_what_there_was_at_boot(
    play: Play, model: Model, machine: Environment, by: str
) -> None:
    assert play(QUERY, PE, *ONE_LEFT) == []
    assert play(REMOVE, (DEFAULT,), 0) == []
    assert play(CREATE, (*PE, 12, 30), *REPLACED) == []
    if by == "service":
        assert play(RESET, PE, -3) == ["status"]
        assert play(RESET, PE, -2) == []
        assert play(RESET, PE, 0) == []
    else:
        model.reset(machine)
    assert play(QUERY, PE, *TWO_LEFT) == ["rets"]
    assert play(RESET, PE, 0) == []
    assert play(REMOVE, (FIRST,), 0) == ["status"]
    assert play(REMOVE, (DEFAULT,), 0) == []


def test_a_wide_window_is_remembered_when_it_was_promised_and_failed(
    play: Play, model: Model, machine: Environment, prepare
) -> None:
    def facts() -> frozenset[str]:
        return model.expect(prepare(model, CREATE, (*PE, 12, 12 + 31), 4)).facts

    assert play(QUERY, PE, 0, 1, 0x20, 0, 3, 0) == []
    assert facts() == frozenset()
    wide = (*PE, 12, 12 + 32)
    assert model.expect(prepare(model, CREATE, wide, 4)).facts == {"tces-beyond-32-bits"}
    assert play(CREATE, wide, -3, nret=4) == ["status"]
    assert play(CREATE, wide, -1, nret=4) == ["ddw.hardware-error"]
    assert facts() == {"window-half-made"}
    model.reset(machine)
    assert facts() == {"window-half-made"}, "it is QEMU's, not the machine's"
    assert model.state.fragile
    assert model.state.altered
    assert not model.expect(prepare(model, RESET, PE)).facts, "the default window is whole"
    assert not model.expect_host(Host("system_reset")).facts


@pytest.mark.parametrize("at", [0x1000, 0x1004])
def test_a_wide_window_in_the_default_ones_place_is_met_when_that_comes_back(
    play: Play, model: Model, prepare, at: int
) -> None:
    assert play(CREATE, (*PE, 12, 30), *MADE) == []
    assert play(REMOVE, (DEFAULT,), 0) == []
    play(CREATE, (*PE, 12, 12 + 32), -1, nret=4, at=at)
    assert model.state.fragile
    half = "default-window-half-made"
    assert half in model.expect(prepare(model, RESET, PE)).facts
    assert half in model.expect(prepare(model, REMOVE, (FIRST,))).facts
    assert half not in model.expect(prepare(model, REMOVE, (DEFAULT,))).facts
    assert half in model.expect_host(Host("system_reset")).facts
    assert model.state.at_reset == {half}, "as system-reboot has it"


def test_the_window_of_a_virtual_device_is_no_pes(play: Play, model: Model, prepare) -> None:
    assert model.expect(prepare(model, REMOVE, (DISK,))).facts == {"liobn-of-virtual-device"}
    assert play(REMOVE, (DISK,), -3) == []
    assert play(REMOVE, (DISK,), 0) == ["status"]


def test_after_a_call_of_another_shape_any_number_may_be_left(play: Play) -> None:
    assert play(QUERY, PE, *ONE_LEFT) == []
    assert play(CREATE, (*PE, 12, 30, 0), *MADE) == []
    assert play(QUERY, PE, *TWO_LEFT) == []
