"""The model as a target."""

from __future__ import annotations

import pytest

from rig.model.environment import Environment
from rig.model.model import Model, UnresolvedCall
from rig.model.target import ModelTarget
from rig.program import Await, Call, Event, Host, Ref
from rig.target import Target


@pytest.fixture
def target(environment) -> ModelTarget:
    """A target on the smallest machine."""
    return ModelTarget(Model(environment()), now=1_700_000_000.5)


def test_it_is_a_target(target: ModelTarget) -> None:
    as_target: Target = target
    assert as_target.memory is target.model.memory


def test_calls_run_in_order_and_later_ones_see_memory(target: ModelTarget) -> None:
    target.memory.write(0x100, b"\x01\x02\x03\x04")
    outcomes = target.call(
        [
            Call(0xF001, (0x200, 0x100, 2, 1, 1)),
            Call(0xF001, (0x204, 0x200, 2, 1, 0), registers={"r14": 14}),
            Call(0x44, (4, 0x204)),
        ]
    )
    assert [outcome.registers["r3"] for outcome in outcomes] == [0, 0, 0]
    # operation 1 means to its users what the patch did: invert
    assert target.memory.read(0x200, 8) == b"\xfe\xfd\xfc\xfb" * 2
    assert outcomes[2].registers["r4"] == 0xFEFD_FCFB
    assert outcomes[1].before == {
        "r3": 0xF001,
        "r4": 0x204,
        "r5": 0x200,
        "r6": 2,
        "r7": 1,
        "r8": 0,
        "r14": 14,
    }
    assert outcomes[1].registers["r14"] == 14
    assert {outcome.ending for outcome in outcomes} == {"returned"}


def test_an_unresolved_call_is_refused(target: ModelTarget) -> None:
    with pytest.raises(UnresolvedCall):
        target.call([Call(Ref("$x.r3"))])


def block(target: ModelTarget, *values: int) -> None:
    target.memory.write(0x1000, b"".join(value.to_bytes(4, "big") for value in values))


def rets(target: ModelTarget, nargs: int, count: int) -> list[int]:
    data = target.memory.read(0x100C + 4 * nargs, 4 * count)
    return [int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4)]


def test_its_clock_is_its_owners(target: ModelTarget) -> None:
    block(target, 0x2001, 0, 8)
    (outcome,) = target.call([Call(0xF000, (0x1000,))])
    assert outcome.clock == (1_700_000_000.5, 1_700_000_000.5)
    assert rets(target, 0, 8) == [0, 2023, 11, 14, 22, 13, 20, 500_000_000]


def test_effects_are_carried_out(target: ModelTarget) -> None:
    block(target, 0x2002, 7, 1, 2001, 2, 3, 4, 5, 6, 0)
    target.call([Call(0xF000, (0x1000,))])
    target.now += 10
    block(target, 0x2001, 0, 8)
    target.call([Call(0xF000, (0x1000,))])
    assert rets(target, 0, 8) == [0, 2001, 2, 3, 4, 5, 16, 0]


def test_what_is_printed_is_seen(target: ModelTarget) -> None:
    block(target, 0x2000, 1, 1, 0x141)
    (outcome,) = target.call([Call(0xF000, (0x1000,))])
    assert outcome.console == b"A"


def test_events_can_be_waited_for_once(target: ModelTarget) -> None:
    reset = target.host(Host("system_reset"))
    assert reset.ending == "reset"
    assert reset.events == (Event("RESET", {"guest": False}),)
    assert target.wait(Await("RESET", {"guest": True})).events == ()
    assert target.wait(Await("RESET")).events == reset.events
    assert target.wait(Await("RESET")).events == ()


def test_an_environment_without_terminal_prints_nothing(environment) -> None:
    machine: Environment = environment(terminal=False)
    target = ModelTarget(Model(machine))
    block(target, 0x2000, 1, 1, 0x41)
    (outcome,) = target.call([Call(0xF000, (0x1000,))])
    assert outcome.console == b""
    assert rets(target, 1, 1) == [0xFFFF_FFFF]
