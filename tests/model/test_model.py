"""The model's face: steps in, expectations out."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from rig.model import host
from rig.model.dispatch import Registry
from rig.model.expectation import Case, Expectation
from rig.model.hypercall import MASK64, State, returns
from rig.model.model import Model, UnresolvedCall, registers_of
from rig.model.rtas.families import FAMILIES, SERVICES, collect
from rig.program import Call, Host, Outcome, Ref


def test_registers_are_unsigned() -> None:
    assert registers_of(Call(0xF001, (-1, 2))) == {"r3": 0xF001, "r4": MASK64, "r5": 2}


@pytest.mark.parametrize("call", [Call(Ref("$x.r4")), Call(1, (Ref("$x.r4"),), name="mine")])
def test_a_reference_must_be_resolved_first(model: Model, call: Call) -> None:
    with pytest.raises(UnresolvedCall, match="must be resolved"):
        model.expect(call)


def test_a_call_has_at_most_nine_arguments(model: Model) -> None:
    model.expect(Call(1, (0,) * 9))
    with pytest.raises(UnresolvedCall, match="10 arguments"):
        model.expect(Call(1, (0,) * 10))


def test_an_unknown_revision_is_refused(environment) -> None:
    with pytest.raises(ValueError, match="choose one of posted-v2, merged"):
        Model(environment(), "posted-v1")


def test_settling_runs_the_effect_of_the_case_that_happened(model: Model) -> None:
    seen: list[Outcome] = []
    outcome = Outcome()
    model.settle(Case("plain"), outcome)
    model.settle(Case("effective", effect=seen.append), outcome)
    assert seen == [outcome]


def test_a_reset_brings_a_new_environment_and_keeps_memory(environment) -> None:
    model = Model(environment())
    model.memory.write(0x100, b"kept")
    assert "mmio" in model.expect(Call(0x44, (4, 0x2000_8000_0000))).facts
    again = environment()
    del again.tree.children["pci@800000020000000"]
    model.reset(again)
    assert model.state.environment is again
    assert "outside" in model.expect(Call(0x44, (4, 0x2000_8000_0000))).facts
    assert model.memory.read(0x100, 4) == b"kept"


def test_a_host_action_is_quiet_unless_described(model: Model) -> None:
    (case,) = model.expect_host(Host("qom-get")).cases
    assert (case.events, case.ending, case.console) == ((), "returned", b"")


@pytest.mark.parametrize(
    ("command", "event", "required", "ending"),
    [
        ("system_reset", "RESET", True, "reset"),
        ("system_powerdown", "POWERDOWN", False, "returned"),  # it comes a moment later
        ("system_wakeup", "WAKEUP", True, "returned"),
        ("stop", "STOP", False, "returned"),
        ("cont", "RESUME", False, "returned"),
    ],
)
def test_a_host_action_has_its_events(
    model: Model, command: str, event: str, required: bool, ending: str
) -> None:
    expectation = model.expect_host(Host(command))
    (case,) = expectation.cases
    assert expectation.call == command
    assert [(one.name, one.required) for one in case.events] == [(event, required)]
    assert case.ending == ending


def test_a_host_action_that_must_fail_does_nothing(model: Model) -> None:
    (case,) = model.expect_host(Host("system_reset", fails="GenericError")).cases
    assert (case.events, case.ending) == ((), "returned")


def test_what_the_host_is_still_to_be_told_is_not_brought_back(model: Model) -> None:
    model.keep()
    model.state.late.add("RTC_CHANGE")
    model.recall()
    assert model.state.late == {"RTC_CHANGE"}


def test_a_family_takes_over_a_host_action(model: Model) -> None:
    def powerdown(action: Host, state: State) -> Expectation:
        return Expectation(action.command, (returns(0, name="mine"),))

    family = SimpleNamespace(SERVICES=(), HOST_ACTIONS={"system_powerdown": powerdown})
    actions = host.collect([family])
    assert actions["system_powerdown"](Host("system_powerdown"), model.state).cases[0].name == "mine"
    assert actions["stop"] is host.MACHINE["stop"]
    with pytest.raises(ValueError, match="system_powerdown: keep one"):
        host.collect([family, family])


def test_a_service_belongs_to_one_family() -> None:
    with pytest.raises(ValueError, match="keep one"):
        collect([FAMILIES[0], FAMILIES[0]])


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_service_is_described_in_full(service) -> None:
    assert service.text
    assert service.source
    # power-off, system-reboot and stop-self return only when they fail (LoPAR 7.3.6.3, 7.3.7.1, 7.3.8.1)
    assert 0 in service.statuses or service.statuses == {-1}
    nargs, nret = service.shapes[0]
    assert nargs == len(service.arguments)
    assert nret == 1 + len(service.results)
    for requirement in service.requirements:
        assert re.fullmatch(r"R1-\d+(\.\d+)*-\d+[a-z]?", requirement)


def test_a_registry_of_ones_own_replaces_the_installed_one(environment) -> None:
    model = Model(environment(), registry=Registry([]))
    assert model.expect(Call(0xF001, (0,) * 5)).facts == {"unknown-opcode"}
