"""ibm,set-xive, ibm,get-xive, ibm,int-off and ibm,int-on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.model.environment import Environment, Node
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model

SET, GET, OFF, ON = 0x200A, 0x200B, 0x200C, 0x200D
NAMES = {"ibm,set-xive": SET, "ibm,get-xive": GET, "ibm,int-off": OFF, "ibm,int-on": ON}
EPOW, SLOT = 0x1000, 0x1201


@pytest.fixture
def machine(environment, cells) -> Environment:
    """Two processors, an event source and a PCI host bridge with two lines; priorities 7 and 8 are kept."""
    sources = {"epow-events": Node("epow-events", {"interrupts": cells(EPOW, 0)})}
    routes = cells(0, 0, 0, 1, 0x1111, 0x1200, 1, 0, 0, 0, 2, 0x1111, SLOT, 1)
    processors = {
        f"cpu@{number}": Node(
            f"cpu@{number}",
            {
                "ibm,ppc-interrupt-server#s": cells(number),
                "ibm,ppc-interrupt-gserver#s": cells(number, 0xFF),
            },
        )
        for number in (0, 1)
    }
    tree = Node(
        "",
        {"ibm,plat-res-int-priorities": cells(7, 2)},
        {
            "rtas": Node("rtas", {name: cells(token) for name, token in NAMES.items()}),
            "event-sources": Node("event-sources", children=sources),
            "pci@1": Node("pci@1", {"interrupt-map": routes}),
            "cpus": Node("cpus", children=processors),
        },
    )
    return replace(environment(), tree=tree)


@pytest.fixture
def play(machine: Environment, judge, prepare, cells):
    """Judges calls one after another on one machine: token, arguments, and the outputs that are pretended."""
    model = Model(machine)

    def one(token: int, args: tuple[int, ...], *outputs: int) -> list[str]:
        nret = 3 if token == GET else 1
        call = prepare(model, token, args, nret)
        rets = call.args[0] + 12 + 4 * len(args)

        def build(memory) -> int:
            memory.write(rets, cells(*outputs))
            return H_SUCCESS

        return judge(model, call, build)[1]

    one.model = model
    return one


def test_a_source_has_no_priority_at_boot(play) -> None:
    assert play(GET, (EPOW,), 0, 0, 0xFF) == []
    assert play(GET, (SLOT,), 0, 0, 5) == ["rets"]


def test_what_was_set_is_shown(play) -> None:
    assert play(SET, (EPOW, 1, 5), 0) == []
    assert play(GET, (EPOW,), 0, 1, 5) == []
    assert play(GET, (EPOW,), 0, 0, 5) == ["rets"]
    assert play(GET, (EPOW,), 0, 0, 6) == ["rets"]


def test_a_global_server_is_a_server(play) -> None:
    assert play(SET, (EPOW, 0xFF, 5), -3) == ["status"]
    assert play(SET, (EPOW, 0xFF, 5), 0) == []


@pytest.mark.parametrize("number", [EPOW, SLOT])
def test_a_source_that_is_there_is_not_refused(play, number: int) -> None:
    assert play(SET, (number, 0, 5), -3) == ["status"]
    assert play(OFF, (number,), -3) == ["status"]
    assert play(ON, (number,), -3) == ["status"]
    assert play(GET, (number,), -3, 0, 0) != []


@pytest.mark.parametrize("number", [0, 1 << 24, 0xFFFF_FFFF])
def test_a_number_that_cannot_be_is_refused(play, number: int) -> None:
    for token, args in ((SET, (number, 0, 5)), (OFF, (number,)), (ON, (number,))):
        assert play(token, args, -3) == []
        assert play(token, args, 0) == ["status"]
    assert play(GET, (number,), 0, 0, 0xFF) == ["status"]


def test_an_unlisted_number_may_be_refused_or_belong_to_another(play) -> None:
    assert play(SET, (0x1800, 0, 5), -3) == []
    assert play(SET, (0x1800, 0, 5), 0) == []
    assert play(GET, (0x1800,), 0, 0, 0xFF) == []
    assert play(GET, (0x1800,), 0, 0, 5) != [], "it was seen to be another's"


@pytest.mark.parametrize("priority", [7, 8, 0x100, 0xFFFF_FFFF])
def test_priorities_that_cannot_be_had_are_refused(play, priority: int) -> None:
    assert play(SET, (EPOW, 0, priority), -3) == []
    assert play(SET, (EPOW, 0, priority), 0) == ["status"]


def test_a_server_that_is_not_there_gets_no_interrupts_for_certain(play) -> None:
    assert play(SET, (EPOW, 0, 5), 0) == []
    assert play(SET, (EPOW, 2, 6), -3) == []
    assert play(GET, (EPOW,), 0, 0, 5) == []
    assert play(SET, (EPOW, 2, 6), 0) == []
    assert play(GET, (EPOW,), 0, 2, 6) == []
    assert play(GET, (EPOW,), 0, 2, 5) == ["rets"], "it was seen to be set"


def test_off_hides_nothing_and_on_restores(play) -> None:
    assert play(SET, (EPOW, 0, 5), 0) == []
    assert play(OFF, (EPOW,), 0) == []
    assert play(GET, (EPOW,), 0, 0, 5) == []
    assert play(GET, (EPOW,), 0, 0, 0xFF) == ["xics.masked-priority-hidden"]
    assert play(GET, (EPOW,), 0, 0, 6) == ["rets"]
    assert play(ON, (EPOW,), 0) == []
    assert play(GET, (EPOW,), 0, 0, 0xFF) == ["rets"]
    assert play(GET, (EPOW,), 0, 0, 0xFF) == [], "one difference is reported once"


def test_what_a_second_off_saves_is_open(play) -> None:
    for priority in (5, 0xFF):
        for token, args in ((SET, (EPOW, 0, 5)), (OFF, (EPOW,)), (OFF, (EPOW,)), (ON, (EPOW,))):
            assert play(token, args, 0) == []
        assert play(GET, (EPOW,), 0, 0, priority) == []
        assert play(GET, (EPOW,), 0, 0, 5 if priority == 0xFF else 0xFF) == ["rets"]


def test_set_while_off_counts(play) -> None:
    for token, args in ((SET, (EPOW, 0, 5)), (OFF, (EPOW,)), (SET, (EPOW, 0, 6)), (ON, (EPOW,))):
        assert play(token, args, 0) == []
    assert play(GET, (EPOW,), 0, 0, 6) == []


def test_no_hardware_failed(play) -> None:
    assert play(SET, (EPOW, 0, 5), -1) == ["status"]
    assert play(OFF, (EPOW,), -1) == ["status"]


def test_a_reset_takes_the_priorities_away(play, machine: Environment) -> None:
    assert play(SET, (EPOW, 0, 5), 0) == []
    play.model.reset(machine)
    assert play(GET, (EPOW,), 0, 0, 5) == ["rets"]
    play.model.reset(machine)
    assert play(GET, (EPOW,), 0, 0, 0xFF) == []


def test_facts_tell_the_situation(play, prepare) -> None:
    def facts(number: int) -> frozenset[str]:
        return play.model.expect(prepare(play.model, OFF, (number,))).facts

    assert facts(EPOW) == frozenset()
    assert facts(0x1800) == {"unlisted-interrupt"}
    assert facts(0) == {"no-such-interrupt"}
    assert play(OFF, (EPOW,), 0) == []
    assert facts(EPOW) == {"interrupt-off"}


def test_without_the_controller_there_are_no_such_tokens(environment, judge, prepare) -> None:
    model = Model(environment())
    assert "unknown-token" in model.expect(prepare(model, SET, (EPOW, 0, 5))).facts
