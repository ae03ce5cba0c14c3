"""set-indicator, get-sensor-state and the power levels, and what plugging does to them."""

from __future__ import annotations

import pytest

from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.rtas.events import Events
from rig.program import Event, Host, Outcome

SET, SET_POWER, GET_POWER, SENSE = 0x201A, 0x201B, 0x201C, 0x201D
CPU, NEW_CPU, BRIDGE, EMPTY, CARD, MEMORY = (
    0x1000_0000,
    0x1000_0001,
    0x2000_0000,
    0x4000_0010,
    0x4000_0018,
    0x8000_0004,
)
GONE = Event("DEVICE_DELETED", {"device": "new"})


@pytest.fixture
def model(reconfigurable) -> Model:
    return Model(reconfigurable())


@pytest.fixture
def verdict(judge, prepare, cells):
    """The checks that calls break, by what they return."""

    def returning(args: tuple[int, ...], *returned: int):
        def build(memory: Memory) -> int:
            memory.write(0x100C + 4 * len(args), cells(*returned))
            return H_SUCCESS

        return build

    class Calls:
        def set(self, model: Model, *args: int, status: int = 0, events: tuple[Event, ...] = ()) -> list[str]:
            return judge(model, prepare(model, SET, args), returning(args, status), events=events)[1]

        def sense(self, model: Model, index: int, *returned: int, sensor: int = 9003) -> list[str]:
            args = (sensor, index)
            return judge(model, prepare(model, SENSE, args, nret=2), returning(args, *returned))[1]

        def power(self, model: Model, *args: int, returned: tuple[int, ...]) -> list[str]:
            token = SET_POWER if len(args) == 2 else GET_POWER
            return judge(model, prepare(model, token, args, nret=2), returning(args, *returned))[1]

    return Calls()


def carry_out(model: Model, command: str, **arguments: object) -> None:
    """A host action that succeeds."""
    case = model.expect_host(Host(command, arguments)).cases[0]
    model.settle(case, Outcome(answer={"return": {}}))


def plug(model: Model, **arguments: object) -> None:
    carry_out(model, "device_add", id="new", **arguments)


@pytest.mark.parametrize(
    ("index", "state"), [(CPU, 1), (NEW_CPU, 2), (BRIDGE, 1), (EMPTY, 0), (CARD, 1), (MEMORY, 2)]
)
def test_a_connector_says_what_is_plugged(model: Model, verdict, index: int, state: int) -> None:
    assert verdict.sense(model, index, 0, state) == []
    assert verdict.sense(model, index, 0, state + 1) == ["rets"]
    assert verdict.sense(model, index, -3, 0) == ["status"]


@pytest.mark.parametrize(("sensor", "index"), [(9003, 7), (9001, CARD), (3, 0), (9, 1)])
def test_there_are_no_other_sensors(model: Model, verdict, sensor: int, index: int) -> None:
    assert verdict.sense(model, index, -3, 0, sensor=sensor) == []
    assert verdict.sense(model, index, 0, 1, sensor=sensor) == ["status"]


def test_power_warnings_have_a_sensor(model: Model, verdict) -> None:
    assert verdict.sense(model, 0, 0, 0, sensor=9) == []
    assert verdict.sense(model, 0, 0, 0x13, sensor=9) == []
    assert verdict.sense(model, 0, 0, 5, sensor=9) == ["rets"]
    assert verdict.sense(model, 0, -3, 0, sensor=9) == ["status"]


@pytest.mark.parametrize("state", range(4))
def test_a_slot_has_a_light_and_a_cpu_none(model: Model, verdict, state: int) -> None:
    assert verdict.set(model, 9002, CARD, state) == []
    assert verdict.set(model, 9002, CARD, state, status=-3) == ["status"]
    assert verdict.set(model, 9002, CPU, state, status=-3) == []
    assert verdict.set(model, 9002, CPU, state) == ["status"]


@pytest.mark.parametrize(
    "args", [(9001, CARD, 2), (9002, CARD, 4), (9003, CARD, 1), (9003, CPU, 2), (7, 0, 0)]
)
def test_what_does_not_exist_is_refused(model: Model, verdict, args: tuple[int, ...]) -> None:
    assert verdict.set(model, *args, status=-3) == []
    assert verdict.set(model, *args, status=0) == ["status"]


def test_an_empty_slot_is_unisolated(model: Model, verdict) -> None:
    assert verdict.set(model, 9001, EMPTY, 1, status=-3) == ["drc.empty-slot-refused"]
    assert verdict.set(model, 9001, EMPTY, 1) == []


@pytest.mark.parametrize(("indicator", "state"), [(9001, 0), (9003, 0)])
def test_an_unusable_connector_takes_nothing(model: Model, verdict, indicator: int, state: int) -> None:
    assert verdict.set(model, indicator, NEW_CPU, state, status=-3) == []
    assert verdict.set(model, indicator, NEW_CPU, state) == ["drc.unusable-accepted"]
    assert verdict.sense(model, NEW_CPU, 0, 2) == []


@pytest.mark.parametrize("args", [(9001, NEW_CPU, 1), (9003, NEW_CPU, 1)])
def test_what_is_not_plugged_cannot_be_taken(model: Model, verdict, args: tuple[int, ...]) -> None:
    assert verdict.set(model, *args, status=-3) == []
    assert verdict.set(model, *args) == ["status"]


def test_a_bridge_waits_for_what_is_below_it(model: Model, verdict) -> None:
    assert verdict.set(model, 9001, BRIDGE, 0, status=-9000) == []
    assert verdict.set(model, 9001, CARD, 0) == []
    assert verdict.set(model, 9001, BRIDGE, 0, status=-9000) == ["status"]
    assert verdict.set(model, 9001, BRIDGE, 0) == []


def test_a_bridge_isolated_above_its_card_is_followed(model: Model, verdict) -> None:
    assert verdict.set(model, 9001, BRIDGE, 0) == ["drc.multi-level"]
    assert verdict.set(model, 9003, BRIDGE, 0) == []
    assert verdict.sense(model, BRIDGE, 0, 2) == []


def test_what_was_not_configured_is_isolated_all_the_same(model: Model, verdict) -> None:
    assert verdict.set(model, 9001, CARD, 0) == []
    assert verdict.set(model, 9001, CARD, 1) == []
    assert verdict.set(model, 9001, CARD, 0, status=-3) == ["drc.unconfigured-kept"]
    assert verdict.set(model, 9001, CARD, 0) == []


def test_a_bridge_that_was_not_configured_is_kept_above_its_card(model: Model, verdict) -> None:
    assert verdict.set(model, 9001, BRIDGE, 0) == ["drc.multi-level"]
    assert verdict.set(model, 9001, BRIDGE, 1) == []
    assert verdict.set(model, 9001, BRIDGE, 0, status=-3) == ["drc.unconfigured-kept"]
    assert verdict.set(model, 9001, BRIDGE, 0, status=-9000) == []


@pytest.mark.parametrize("status", [-2, 9900, 9905])
def test_isolation_may_take_its_time(model: Model, verdict, status: int) -> None:
    assert verdict.set(model, 9001, CARD, 0, status=status) == []
    assert verdict.set(model, 9002, CARD, 0, status=9900) == ["status"]


def test_a_cpu_comes_and_goes(model: Model, verdict) -> None:
    plug(model, driver="power9-core", **{"core-id": 1})
    assert verdict.sense(model, NEW_CPU, 0, 2) == []
    assert verdict.set(model, 9001, NEW_CPU, 1, status=-3) == []
    assert verdict.set(model, 9003, NEW_CPU, 1) == []
    assert verdict.sense(model, NEW_CPU, 0, 1) == []
    assert verdict.set(model, 9001, NEW_CPU, 1) == []
    carry_out(model, "device_del", id="new")
    assert verdict.set(model, 9001, NEW_CPU, 0) == []
    assert verdict.set(model, 9003, NEW_CPU, 0, events=(GONE,)) == []
    assert verdict.sense(model, NEW_CPU, 0, 2) == []
    assert verdict.set(model, 9003, NEW_CPU, 1, status=-3) == []
    assert model.expect_host(Host("device_add", {"driver": "nothing"})).facts == {"cpu-removed"}


def test_a_card_comes_and_goes(model: Model, verdict) -> None:
    plug(model, driver="e1000", bus="pci.0", addr="2")
    assert verdict.sense(model, EMPTY, 0, 1) == []
    assert verdict.set(model, 9001, EMPTY, 1) == []
    carry_out(model, "device_del", id="new")
    assert verdict.sense(model, EMPTY, 0, 1) == []
    assert verdict.set(model, 9001, EMPTY, 0, events=(GONE,)) == []
    assert verdict.sense(model, EMPTY, 0, 0) == []


def test_a_card_that_was_not_taken_goes_at_once(model: Model, verdict) -> None:
    plug(model, driver="e1000", bus="pci.0", addr="2.0")
    carry_out(model, "device_del", id="new")
    assert verdict.sense(model, EMPTY, 0, 0) == []


def test_memory_is_kept_or_given_back(model: Model, verdict) -> None:
    carry_out(model, "object-add", id="ram1", size=0x1000_0000)
    plug(model, driver="pc-dimm", memdev="ram1", addr=0x4000_0000)
    assert verdict.set(model, 9003, MEMORY, 1) == []
    assert verdict.set(model, 9001, MEMORY, 1) == []
    assert verdict.set(model, 9001, MEMORY, 0, status=-1) == ["drc.memory-kept"]
    carry_out(model, "device_del", id="new")
    assert verdict.set(model, 9001, MEMORY, 1, events=(Event("MEM_UNPLUG_ERROR"),)) == []
    assert verdict.set(model, 9001, MEMORY, 0) == []
    assert verdict.set(model, 9003, MEMORY, 0) == []
    assert verdict.sense(model, MEMORY, 0, 2) == []


def test_what_could_not_be_plugged_is_not_there(model: Model, verdict) -> None:
    action = Host("device_add", {"driver": "e1000", "id": "new", "bus": "pci.0", "addr": "2"})
    case = model.expect_host(action).cases[0]
    model.settle(case, Outcome(answer={"error": {"class": "GenericError"}}))
    assert verdict.sense(model, EMPTY, 0, 0) == []


def test_a_reset_puts_connectors_back(model: Model, verdict, reconfigurable) -> None:
    assert verdict.set(model, 9001, CARD, 0) == []
    model.reset(reconfigurable())
    assert verdict.set(model, 9001, BRIDGE, 0, status=-9000) == []


def test_what_the_host_plugged_stays_its_own_over_a_reset(model: Model, reconfigurable) -> None:
    def told(device: str) -> int:
        before = len(model.state.of(Events).pending)
        carry_out(model, "device_del", id=device)
        return len(model.state.of(Events).pending) - before

    assert not model.state.altered
    carry_out(model, "device_add", id="kept", driver="e1000", bus="pci.0", addr="3")
    plug(model, driver="e1000", bus="pci.0", addr="2")
    assert model.state.altered  # a reset leaves it to the next program
    model.reset(reconfigurable())  # which finds a card in slot 3 only
    assert (told("kept"), told("new")) == (1, 0)


def test_a_reset_ends_a_removal_and_may_say_so_late(model: Model, reconfigurable) -> None:
    def events() -> set[str]:
        return {event.name for event in model.expect_host(Host("system_reset")).cases[0].events}

    plug(model, driver="e1000", bus="pci.0", addr="2")
    assert events() == {"RESET"}
    carry_out(model, "device_del", id="new")
    assert events() == {"RESET", "DEVICE_DELETED"}
    model.reset(reconfigurable())
    assert events() == {"RESET"}
    assert "DEVICE_DELETED" in model.state.late


def test_power_is_as_it_was_set(model: Model, verdict) -> None:
    live = 0xFFFF_FFFF
    assert verdict.power(model, live, returned=(0, 100)) == []
    assert verdict.power(model, live, 0, returned=(0, 100)) == []
    assert verdict.power(model, live, 0, returned=(0, 0)) == []
    assert verdict.power(model, live, returned=(0, 100)) == ["rets"]
    assert verdict.power(model, live, returned=(0, 0)) == []
    assert verdict.power(model, 5, 100, returned=(-3, 0)) == []
    assert verdict.power(model, 5, 100, returned=(0, 100)) == ["status"]
    assert verdict.power(model, 5, returned=(0, 100)) == ["status"]
    assert verdict.power(model, live, 100, returned=(0, 50)) == ["rets"]
