"""The EEH services where no function has EEH."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.model.environment import Environment, Node
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model

OPTION, INFO, STATE, RESET, CONFIGURE, DETAIL = range(0x2020, 0x2026)
NAMES = {
    "ibm,set-eeh-option": OPTION,
    "ibm,get-config-addr-info2": INFO,
    "ibm,read-slot-reset-state2": STATE,
    "ibm,set-slot-reset": RESET,
    "ibm,configure-pe": CONFIGURE,
    "ibm,slot-error-detail": DETAIL,
}
UNIT = (0x800_0000, 0x2000_0000)
PRESENT, ABSENT = (0x1000, *UNIT), (0x1800, *UNIT)
BUFFERS = (0x4000, 16, 0x5000, 64)


@pytest.fixture
def model(environment, cells) -> Model:
    """One function, 00:02.0."""
    function = Node("rng@2", {"reg": cells(0x1000, 0, 0, 0, 0)})
    bridge = Node("pci@8", {"reg": cells(*UNIT, 0, 0)}, {"rng@2": function})
    rtas = Node("rtas", {name: cells(token) for name, token in NAMES.items()})
    machine: Environment = replace(environment(), tree=Node("", children={"rtas": rtas, "pci@8": bridge}))
    return Model(machine)


@pytest.fixture
def play(model: Model, judge, prepare, cells):
    """The checks that a call breaks which leaves the given outputs."""

    def one(token: int, args: tuple[int, ...], nret: int, *outputs: int, stray: int = 0) -> list[str]:
        call = prepare(model, token, args, nret)

        def build(memory) -> int:
            memory.write(call.args[0] + 12 + 4 * len(args), cells(*outputs))
            if stray:
                memory.write(stray, b"log")
            return H_SUCCESS

        return judge(model, call, build)[1]

    return one


@pytest.mark.parametrize("address", [PRESENT, ABSENT, (0x1001, *UNIT), (0, 0, 0)])
@pytest.mark.parametrize("function", [0, 1, 2, 3, 4, 0xFFFF_FFFF])
def test_without_eeh_there_is_nothing_to_set(play, address: tuple[int, ...], function: int) -> None:
    for token in (OPTION, RESET):
        assert play(token, (*address, function), 1, -3) == []
        for wrong in (0, -1, -7, -8):
            assert play(token, (*address, function), 1, wrong) == ["status"]


@pytest.mark.parametrize("function", [1, 2, 3])
def test_there_is_no_log(play, function: int) -> None:
    args = (*PRESENT, *BUFFERS, function)
    assert play(DETAIL, args, 1, -3) == []
    assert play(DETAIL, args, 1, 1) == ["status"]
    assert play(DETAIL, args, 1, -3, stray=BUFFERS[2]) == ["memory"]


def test_nothing_is_configured(play) -> None:
    assert play(CONFIGURE, PRESENT, 1, -3) == []
    assert play(CONFIGURE, PRESENT, 1, 0) == ["status"]


def test_a_function_is_in_no_pe(play) -> None:
    assert play(INFO, (*PRESENT, 0), 2, -3, 0) == []
    assert play(INFO, (*PRESENT, 0), 2, 0, 0x1000) == ["status"]
    assert play(INFO, (*PRESENT, 1), 2, 0, 0) == []
    assert play(INFO, (*PRESENT, 1), 2, 0, 1) == ["rets"]
    assert play(INFO, (*PRESENT, 1), 2, -3, 0) == ["eeh.shared-state-refused"]


def test_what_is_not_there_may_be_refused_or_in_no_pe(play) -> None:
    assert play(INFO, (*ABSENT, 1), 2, -3, 0) == []
    assert play(INFO, (*ABSENT, 1), 2, 0, 0) == []
    assert play(INFO, (*ABSENT, 1), 2, 0, 2) == ["rets"]


def test_an_unknown_question_is_refused(play) -> None:
    assert play(INFO, (*PRESENT, 2), 2, -3, 0) == []
    assert play(INFO, (*PRESENT, 2), 2, 0, 0) == ["status"]


def test_only_the_capability_counts_in_a_state(play) -> None:
    assert play(STATE, PRESENT, 4, -3, 0, 0, 0) == []
    assert play(STATE, PRESENT, 4, 0, 3, 0, 7) == []
    assert play(STATE, PRESENT, 4, 0, 0, 1, 0) == ["rets"]
    assert play(STATE, PRESENT, 4, -1, 0, 0, 0) == ["status"]


def test_a_fifth_output_is_not_offered(model: Model, prepare) -> None:
    assert "wrong-shape" in model.expect(prepare(model, STATE, PRESENT, 5)).facts


def test_facts_tell_what_is_addressed(model: Model, prepare) -> None:
    def facts(*address: int) -> frozenset[str]:
        return model.expect(prepare(model, CONFIGURE, address)).facts

    assert facts(*PRESENT) == {"function-exists"}
    assert facts(*ABSENT) == {"no-such-function"}
    assert facts(0x1001, *UNIT) == {"no-such-function", "register-not-zero"}
    assert facts(0, 0, 0) == {"no-such-function", "no-such-bridge"}
