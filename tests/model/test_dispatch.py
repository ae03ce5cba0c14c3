"""The registry of hypercalls, and how other packages add to it."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from rig.model.dispatch import BUILT_IN, BadPlugin, DuplicateHypercall, Registry, installed
from rig.model.expectation import Expectation
from rig.model.hypercall import H_FUNCTION, H_SUCCESS, MASK64, Hypercall, returns
from rig.model.model import Model
from rig.program import Call


def _expect(registers, state) -> Expectation:
    return Expectation("H_MINE", (returns(H_SUCCESS),), {"first": registers["r4"]})


MINE = Hypercall(0xF123, "H_MINE", (), "Does nothing.", "my document", _expect)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch):
    """Makes entry points that name one object."""

    def make(value: object) -> EntryPoint:
        module = ModuleType("rig_test_plugin")
        module.thing = value
        monkeypatch.setitem(sys.modules, "rig_test_plugin", module)
        return EntryPoint("mine", "rig_test_plugin:thing", "rig.hypercalls")

    return make


def test_the_built_in_calls_are_there() -> None:
    opcodes = {hypercall.opcode for hypercall in Registry()}
    assert opcodes >= {0xF000, 0xF001, 0xF003, 0x3C, 0x40, 0x44, 0x48, 0x4C, 0x50}
    assert all(hypercall.text and hypercall.source for hypercall in Registry())


@pytest.mark.parametrize("opcode", [0x5, 0xF004, 0x1_0000_F001, MASK64, -1])
def test_an_unknown_opcode_is_no_function(model: Model, opcode: int) -> None:
    expectation = model.expect(Call(opcode, (1, 2, 3)))
    (case,) = expectation.cases
    assert case.registers["r3"].canonical == H_FUNCTION & MASK64
    assert expectation.facts == {"unknown-opcode"}
    assert expectation.call == f"{opcode & MASK64:#x}"


def test_an_unknown_opcode_that_succeeds_is_rejected(model: Model, judge) -> None:
    assert judge(model, Call(0xF004), lambda _: H_SUCCESS)[1] == ["r3"]


@pytest.mark.parametrize("value", [MINE, (MINE,), [MINE]])
def test_a_package_adds_its_calls(environment, plugin, value: object) -> None:
    registry = Registry(plugins=lambda: [plugin(value)])
    model = Model(environment(), registry=registry)
    assert model.expect(Call(0xF123, (7,))).arguments == {"first": 7}


@pytest.mark.parametrize("changed", [{"opcode": 0xF001}, {"name": "H_LOGICAL_MEMOP"}], ids=["opcode", "name"])
def test_an_opcode_or_name_is_given_once(plugin, changed: dict[str, object]) -> None:
    twin = replace(MINE, **changed)
    with pytest.raises(DuplicateHypercall, match=r"clashes with H_LOGICAL_MEMOP \(0xf001, by .QEMU docs"):
        Registry([*BUILT_IN, twin])
    with pytest.raises(BadPlugin, match=r"mine = rig_test_plugin:thing: .*clashes"):
        list(Registry(plugins=lambda: [plugin(twin)]))


def test_a_plugin_that_is_no_hypercall_is_refused(plugin) -> None:
    with pytest.raises(BadPlugin, match="gives a dict; it must name"):
        list(Registry(plugins=lambda: [plugin({})]))


def test_plugins_are_not_looked_for_while_a_call_is_built_in(environment) -> None:
    def fail() -> list[EntryPoint]:
        raise AssertionError("plugins were looked for")

    model = Model(environment(), registry=Registry(plugins=fail))
    assert model.expect(Call(BUILT_IN[0].opcode)).cases
    with pytest.raises(AssertionError, match="looked for"):
        model.expect(Call(0xF123))


def test_a_plugin_that_cannot_be_imported_is_named_each_time(plugin) -> None:
    missing = EntryPoint("gone", "rig_no_such_module:x", "rig.hypercalls")
    registry = Registry(plugins=lambda: [plugin(MINE), missing])
    for _ in range(2):
        with pytest.raises(BadPlugin, match="gone = rig_no_such_module:x cannot be imported"):
            registry.find(0xF124)


@pytest.mark.parametrize("opcode", [-1, 1 << 64])
def test_an_opcode_fits_into_r3(opcode: int) -> None:
    with pytest.raises(ValueError, match="does not fit into r3"):
        Registry([replace(MINE, opcode=opcode)])


def test_the_installed_registry_holds_the_built_in_calls() -> None:
    assert {call.name for call in BUILT_IN} <= {call.name for call in installed()}
