"""ibm,read-pci-config, ibm,write-pci-config and their older namesakes."""

from __future__ import annotations

import pytest

from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.pci import Pci
from rig.model.rtas.connectors import Connector, Connectors
from rig.model.rtas.pci import Place

BLOCK = 0x1000
UNIT = (0x0800_0000, 0x2000_0000)
ALL_ONES = 0xFFFF_FFFF
NET, EXPRESS, BRIDGE, BELOW, ABSENT = 0x800, 0x1000, 0x1800, 0x1_0800, 0xF800
BASE, LINE = 0x10, 0x3C


@pytest.fixture
def model(slots) -> Model:
    return Model(slots())


@pytest.fixture
def config(judge, prepare, cells):
    """Access configuration space of a pretended build; the checks that it breaks."""

    class Config:
        @staticmethod
        def read(model: Model, address: int, size: int, *rets: int, unit=UNIT, name=0x2016) -> list[str]:
            args = (address, *unit, size) if name == 0x2016 else (address, size)

            def build(memory: Memory) -> int:
                memory.write(BLOCK + 12 + 4 * len(args), cells(*rets))
                return H_SUCCESS

            return judge(model, prepare(model, name, args, nret=2), build)[1]

        @staticmethod
        def write(
            model: Model, address: int, size: int, value: int, status: int = 0, *, unit=UNIT, name=0x2017
        ) -> list[str]:
            args = (address, *unit, size, value) if name == 0x2017 else (address, size, value)

            def build(memory: Memory) -> int:
                memory.write(BLOCK + 12 + 4 * len(args), cells(status))
                return H_SUCCESS

            return judge(model, prepare(model, name, args), build)[1]

    return Config


def test_a_place_is_decoded() -> None:
    place = Place.of(0xA512_4BCD, 1, 2)
    assert (place.bus, place.devfn, place.register, place.reserved) == (0x12, 0x4B, 0xACD, 5)
    assert place.unit == 0x1_0000_0002


# ---- reading ----


@pytest.mark.parametrize(
    ("register", "size", "value"),
    [(0, 4, 0x1041_1AF4), (0, 2, 0x1AF4), (2, 2, 0x1041), (1, 1, 0x1A), (9, 1, 0), (0x0B, 1, 2)],
)
def test_identity_must_be_that_of_the_tree(
    model: Model, config, register: int, size: int, value: int
) -> None:
    assert config.read(model, NET + register, size, 0, value) == []
    assert config.read(model, NET + register, size, 0, value ^ 1) == ["rets"]
    assert config.read(model, NET + register, size, -1, value) == ["status"]
    assert config.read(model, NET + register, size, -3, value) == ["status"]


def test_other_registers_are_the_devices_own_business(model: Model, config) -> None:
    for value in (0, 0xA5, 0xFF):
        assert config.read(model, NET + 0x80, 1, 0, value) == []
    assert config.read(model, NET + 0x80, 1, 0, 0x100) == ["rets"]
    assert config.read(model, NET + 0x80, 2, 0, 0x1_0000) == ["rets"]


def test_extended_space_belongs_to_those_that_say_so(model: Model, config, prepare) -> None:
    assert config.read(model, EXPRESS + 0xF000_0000, 4, 0, 7) == []
    assert config.read(model, EXPRESS + 0xF000_0000, 4, -3, 7) == ["status"]
    assert config.read(model, NET + 0xF000_0000, 4, -3) == []
    call = prepare(model, 0x2016, (NET + 0x1000_0000, *UNIT, 4), nret=2)
    assert model.expect(call).facts == {"beyond-space"}


@pytest.mark.parametrize("address", [ABSENT, ABSENT + 0x3C, 0x1_F800])
def test_an_absent_function_reads_all_ones(model: Model, config, address: int) -> None:
    assert config.read(model, address, 4, 0, ALL_ONES) == []
    assert config.read(model, address, 1, 0, 0xFF) == []
    assert config.read(model, address, 1, 0, ALL_ONES) == []
    assert config.read(model, address, 4, 0, 0) == ["rets"]
    assert config.read(model, address, 2, 0, 0xFF) == ["rets"]
    assert config.read(model, address, 4, -3) != []
    assert config.read(model, address, 4, -1) == ["rtas.pci-absent-function"]


@pytest.mark.parametrize(
    ("address", "unit", "size", "fact"),
    [
        (NET, UNIT, 0, "size-unknown"),
        (NET, UNIT, 3, "size-unknown"),
        (NET, UNIT, ALL_ONES, "size-unknown"),
        (NET + 1, UNIT, 2, "misaligned"),
        (NET + 2, UNIT, 4, "misaligned"),
        (NET + 0x0100_0000, UNIT, 4, "reserved-bits"),
        (NET, (0, 0), 4, "unit-unknown"),
        (NET, UNIT[::-1], 4, "unit-unknown"),
    ],
)
def test_a_bad_request_is_a_bad_parameter(
    model: Model, config, prepare, address: int, unit, size: int, fact: str
) -> None:
    call = prepare(model, 0x2016, (address, *unit, size), nret=2)
    assert model.expect(call).facts == {fact}
    assert config.read(model, address, size, -3, unit=unit) == []
    assert config.read(model, address, size, 0, 1, unit=unit) == []
    assert config.read(model, address, size, -1, unit=unit) == ["rtas.pci-hardware-error"]
    assert config.read(model, address, size, -2, unit=unit) == ["status"]
    assert config.write(model, address, size, 1, -3, unit=unit) == []
    assert config.write(model, address, size, 1, 0, unit=unit) == []
    assert config.write(model, address, size, 1, -1, unit=unit) == ["rtas.pci-hardware-error"]


def test_a_call_touches_its_block_only(model: Model, prepare) -> None:
    assert model.expect(prepare(model, 0x2016, (NET, *UNIT, 4), nret=2)).footprint == ((BLOCK, 36),)
    assert model.expect(prepare(model, 0x2017, (NET, *UNIT, 4, 0))).footprint == ((BLOCK, 36),)


# ---- writing ----


@pytest.mark.parametrize("size", [1, 2, 4])
def test_what_was_written_must_be_read(model: Model, config, size: int) -> None:
    assert config.write(model, NET + LINE, size, 0xFFFF_FF5A) == []
    assert config.read(model, NET + LINE, 1, 0, 0x5A) == []
    assert config.read(model, NET + LINE, 1, 0, 0x5B) == ["rets"]
    assert config.read(model, NET + LINE, 4, 0, 0x15A) == []
    assert config.read(model, NET + LINE, 4, 0, 0xFF5A) == ["rets"]


def test_a_base_is_sized(model: Model, config) -> None:
    assert config.read(model, NET + BASE, 4, 0, 0xABCD_E000) == []
    assert config.write(model, NET + BASE, 4, ALL_ONES) == []
    for value, expected in ((0xFFFF_F000, []), (0xFFFF_F008, []), (0xFFFF_E000, ["rets"]), (0, ["rets"])):
        assert config.read(model, NET + BASE, 4, 0, value) == expected


def test_identity_is_not_written(model: Model, config) -> None:
    assert config.write(model, NET, 4, 0) == []
    assert config.read(model, NET, 4, 0, 0x1041_1AF4) == []
    assert config.read(model, NET, 4, 0, 0) == ["rets"]


def test_a_refused_write_changes_nothing(model: Model, config) -> None:
    config.write(model, NET + LINE, 1, 7)
    assert config.write(model, NET + LINE, 1, 9, -3) == ["status"]
    assert config.read(model, NET + LINE, 1, 0, 9) == ["rets"]
    assert config.read(model, NET + LINE, 1, 0, 7) == []
    assert config.write(model, NET + LINE + 1, 2, 9, -3) == []
    assert config.read(model, NET + LINE, 1, 0, 9) == ["rets"]
    assert config.write(model, NET + LINE + 1, 2, 9, 0) == []
    assert config.read(model, NET + LINE, 1, 0, 9) == []


def test_a_write_to_an_absent_function_is_ignored(model: Model, config) -> None:
    assert config.write(model, ABSENT, 4, 1) == []
    assert config.write(model, ABSENT, 4, 1, -3) == ["status"]
    assert config.write(model, ABSENT, 4, 1, -1) == ["rtas.pci-absent-function"]


def test_bus_numbers_decide_who_is_absent(model: Model, config) -> None:
    assert config.read(model, BELOW, 4, 0, 0x1041_1AF4) == []
    assert config.write(model, BRIDGE + 0x18, 4, 0x0007_0700) == []
    assert config.read(model, BELOW, 4, 0, 0x1041_1AF4) == ["rets"]
    assert config.read(model, BELOW, 4, 0, ALL_ONES) == []
    assert config.read(model, 0x7_0800, 4, 0, 0x1041_1AF4) == []
    assert config.read(model, 0x7_0800, 4, 0, ALL_ONES) == ["rets"]


def test_where_a_bus_may_be_anything_may_be_read(model: Model, config, prepare) -> None:
    call = prepare(model, 0x2016, (0x2_0800, *UNIT, 4), nret=2)
    assert model.expect(call).facts == {"function-unknown"}
    assert config.read(model, 0x2_0800, 4, 0, 0x1234_5678) == []


@pytest.mark.parametrize(("status", "register", "size"), [(0, LINE, 1), (-1, LINE, 1), (0, LINE + 1, 2)])
def test_where_a_bus_may_be_anything_may_have_been_written(
    model: Model, config, status: int, register: int, size: int
) -> None:
    assert config.write(model, BELOW + LINE, 1, 7) == []
    assert config.write(model, BRIDGE + 0x40, 1, 0) == []  # may reset the bridge, and with it its numbers
    config.write(model, BELOW + register, size, 9, status)
    assert config.write(model, BRIDGE + 0x18, 4, 0x0001_0100) == []
    refused = status == -1
    assert config.read(model, BELOW + LINE, 1, 0, 9) == (["rets"] if refused else [])
    assert config.read(model, BELOW + LINE, 1, 0, 7) == []
    assert config.read(model, BELOW, 4, 0, 0x1041_1AF5) == ["rets"]


# ---- connectors ----


def plug(model: Model, name: str, *, cold: bool = False, isolated: bool = False, index: int = 1) -> Connector:
    connector = Connector(index, name, "28", occupied=True, isolated=isolated, cold=cold)
    connectors = model.state.of(Connectors)
    connectors.by_index[index] = connector
    connectors.devices["it"] = (connector,)
    return connector


def test_a_function_that_was_plugged_is_not_known(model: Model, config) -> None:
    plug(model, "C248")
    assert config.read(model, ABSENT, 4, 0, 0x1234_5678) == []
    plug(model, "C248", cold=True)
    assert config.read(model, ABSENT, 4, 0, 0x1234_5678) == ["rets"]


def test_a_function_that_was_unplugged_is_absent(slots, config) -> None:
    environment = slots()
    node = environment.tree.children["pci"].children["ethernet@1"]
    assert isinstance(node.properties, dict)
    node.properties["ibm,my-drc-index"] = bytes([0, 0, 0, 1])
    model = Model(environment)
    connector = plug(model, "C8", cold=True)
    assert config.read(model, NET, 4, 0, ALL_ONES) == ["rets"]
    connector.isolated = True
    assert config.read(model, NET, 4, 0, ALL_ONES) == []
    assert config.read(model, NET, 4, 0, 0x1041_1AF4) == []
    connector.occupied = False
    assert config.read(model, NET, 4, 0, ALL_ONES) == []
    assert config.read(model, NET, 4, 0, 0x1041_1AF4) == ["rets"]


# ---- the older calls ----


@pytest.mark.parametrize("status", [0, -1, -3])
def test_nothing_is_said_of_the_older_calls(model: Model, config, status: int) -> None:
    assert config.read(model, NET, 4, status, 5, name=0x2014) == []
    config.write(model, NET + LINE, 1, 7)
    assert config.write(model, NET + LINE, 1, 9, status, name=0x2015) == []
    # only one that succeeded may have changed something
    assert config.read(model, NET + LINE, 1, 0, 9) == ([] if status == 0 else ["rets"])


def test_the_older_calls_have_three_statuses(model: Model, config) -> None:
    assert config.read(model, NET, 4, -2, 5, name=0x2014) == ["status"]
    assert config.write(model, NET, 4, 0, 1, name=0x2015) == ["status"]


def test_the_state_is_one_a_machine(slots) -> None:
    first, second = Model(slots()), Model(slots())
    assert first.state.of(Pci) is first.state.of(Pci)
    assert first.state.of(Pci) is not second.state.of(Pci)
