"""The host's part in generated programs: nothing in it can fail on a machine that does what it is told."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from rig.campaign.host import LONG, PLACES, Part, Places
from rig.model.environment import Environment, Node, Region
from rig.program import LOAD, MOVE, SAVE, Host


def cells(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def listing(*connectors: tuple[int, str, str]) -> dict[str, bytes]:
    """The properties of a node that list connectors of (index, name, type)."""
    count = cells(len(connectors))
    return {
        "ibm,drc-indexes": count + cells(*(index for index, _, _ in connectors)),
        "ibm,drc-names": count + b"".join(name.encode() + b"\0" for _, name, _ in connectors),
        "ibm,drc-types": count + b"".join(kind.encode() + b"\0" for _, _, kind in connectors),
    }


def places(slots: int = 12, bridges: int = 3) -> Places:
    """Of a machine with a card in slot 0 and a host bridge."""
    card = Node("ethernet@0", {"ibm,my-drc-index": cells(0x4000_0000)})
    own = {"ibm,my-drc-index": cells(0x2000_0000)}
    functions = [(0x4000_0000 + number, f"C{number}", "28") for number in range(8 * slots)]
    bridge = Node("pci@0", {**own, **listing(*functions)}, {card.name: card})
    others = [(0x2000_0000 + number, f"PHB {number}", "PHB") for number in range(bridges)]
    tree = Node("", listing(*others, (0x1000_0001, "CPU 1", "CPU")), {bridge.name: bridge})
    return Places.of(Environment((Region(0, 0),), Region(0, 0), Region(0, 0), tree))


def parts(count: int = 60, actions: int = 40) -> list[list[Host]]:
    found = []
    for number in range(count):
        part = Part.of(random.Random(number), places())
        found.append([part.act() for _ in range(actions)])
    return found


def test_places_are_slots_and_bridges_at_which_nothing_is() -> None:
    assert [slot.name for slot in places().slots] == ["C8", "C16", "C24", "C32"]
    assert [bridge.name for bridge in places().bridges] == ["PHB 1", "PHB 2"]
    assert places().config_addresses == (0x800, 0x1000, 0x1800, 0x2000)
    assert len(places(bridges=20).bridges) == PLACES


def test_seed_and_number_fix_what_the_host_does() -> None:
    assert parts() == parts()


def test_every_place_and_device_is_used_once() -> None:
    plugged = 0
    for part in parts():
        added = [action.arguments for action in part if action.command == "device_add"]
        plugged += len(added)
        assert len({one["id"] for one in added}) == len(added)
        assert len({(one.get("addr"), one.get("index")) for one in added}) == len(added)
    assert plugged > 60


def test_what_is_asked_back_was_plugged_and_not_asked_back_yet() -> None:
    asked = 0
    for part in parts():
        there: set[object] = set()
        for action in part:
            device = action.arguments.get("id")
            if action.command == "device_add":
                there.add(device)
            elif action.command == "device_del":
                there.remove(device)
                asked += 1
    assert asked > 30


def test_a_state_goes_only_to_a_machine_with_the_same_devices_that_has_it() -> None:
    loads = 0
    for part in parts():
        commands = [action.command for action in part]
        assert {"device_add", "device_del"}.isdisjoint(commands) or {SAVE, LOAD, MOVE}.isdisjoint(commands)
        for position, command in enumerate(commands):
            if command == LOAD:
                loads += 1
                before = [one for one in commands[:position] if one in (SAVE, MOVE)]
                assert before[-1] == SAVE
    assert loads > 10


@pytest.mark.parametrize("command", ["system_powerdown", "system_reset", "device_add", SAVE, LOAD, MOVE])
def test_all_of_it_comes_in_time(command: str) -> None:
    assert any(action.command == command for part in parts() for action in part)


def test_what_takes_long_is_rare() -> None:
    for part in parts():
        counts = Counter(action.command for action in part)
        assert counts["system_reset"] + counts[SAVE] + counts[MOVE] <= LONG
