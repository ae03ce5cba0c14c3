"""Every kind of difference between two machines is reported, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest

from rig.ab.lockstep import Difference, Lockstep
from rig.machine.errors import Timeout
from rig.model.environment import Environment, Node, Region
from rig.model.memory import Memory
from rig.program import Arrive, Await, Call, Event, Host, Outcome, Ref, Rtas, Seed, Step
from rig.scenario.errors import BadScenario
from rig.scenario.script import Disagreement, Scenario
from rig.target import GuestMemory

RAM = Region(0, 0x200_0000)
TREE = Region(0x180_0000, 0x2000)
#: what a call may do to a machine, besides returning its arguments
Does = Callable[["Fake"], Mapping[str, Any]]


@dataclass
class Fake:
    """A machine whose calls do what ``does`` says; ``token`` is that of its one RTAS service."""

    does: Does = lambda machine: {}
    token: int = 0x2000
    tree: bytes = b"tree"
    memory: Memory = field(default_factory=lambda: Memory([RAM]))
    memories: Mapping[str, GuestMemory] = field(default_factory=dict)
    debugger: Any = None

    def __post_init__(self) -> None:
        self.memory.write(TREE.start, self.tree)
        services = {"service": self.token.to_bytes(4, "big")}
        root = Node("", children={"rtas": Node("rtas", services)})
        self.environment = Environment((RAM,), Region(0, 0x80_0000), TREE, root)

    def call(self, calls: Sequence[Call]) -> list[Outcome]:
        (call,) = calls
        values = (call.opcode, *call.args)
        before = {f"r{number}": value for number, value in enumerate(values, 3) if isinstance(value, int)}
        what = dict(self.does(self))
        registers = before | what.pop("registers", {})
        return [Outcome(registers=MappingProxyType(registers), before=before, **what)]

    def together(self, parts: Sequence[Any]) -> list[Outcome]:
        raise NotImplementedError

    def host(self, action: Host) -> Outcome:
        return Outcome(**self.does(self))

    def wait(self, event: Await | Arrive) -> Outcome:
        what = self.does(self)
        if what.get("late"):
            raise Timeout("it did not come")
        return Outcome(**what)


CALL = Call(0xF00C, (1, 2))


def compare(
    first: Fake, second: Fake, *steps: Step, play: Callable[..., Any] | None = None
) -> list[Difference]:
    def simple(stage: object) -> Iterator[Any]:
        yield list(steps)

    with ThreadPoolExecutor(2) as executor:
        scenario = Scenario("a/b", "", play or simple)
        return list(Lockstep(scenario, (first, second), executor).play())


def kinds(found: Sequence[Difference]) -> list[tuple[int, str]]:
    return [(one.step, one.what) for one in found]


def writes(address: int, data: bytes) -> Does:
    def does(machine: Fake) -> Mapping[str, Any]:
        machine.memory.write(address, data)
        return {}

    return does


def gives(**what: Any) -> Does:
    return lambda machine: what


@pytest.mark.parametrize(
    ("does", "what", "shown"),
    [
        (gives(registers={"r3": 7}), "r3", "0x7"),
        (gives(registers={"cr": 7}), "cr", None),
        (gives(events=(Event("RTC_CHANGE", {"offset": 1}),)), "events", "RTC_CHANGE {'offset': 1}"),
        (gives(console=b"x"), "console", "b'x'"),
        (gives(ending="shutdown"), "ending", "shutdown"),
        (gives(ending="died", last_words="assertion"), "ending", "died (assertion)"),
        (gives(answer={"error": {"class": "X"}}), "answer", "refused: {'class': 'X'}"),
        (writes(0x120_0010, b"\xaa\xbb"), "page 0x1200000", "0x1200010: aa bb" + " 00" * 14 + " …"),
    ],
)
def test_each_kind_of_difference(does: Does, what: str, shown: str | None) -> None:
    step = Host("stop") if what == "answer" else CALL
    assert compare(Fake(), Fake(), step) == []
    assert compare(Fake(does), Fake(does), step) == []
    found = compare(Fake(), Fake(does), step)
    if shown is None:  # a register that one of them does not show cannot be compared
        assert found == []
    else:
        assert kinds(found) == [(0, what)]
        assert found[0].second == shown


def test_a_difference_of_memory_is_reported_once_and_again_when_it_changes() -> None:
    values = iter(b"\1\1\2")

    def does(machine: Fake) -> Mapping[str, Any]:
        machine.memory.write(0x120_0000, bytes([next(values)]))
        return {}

    found = compare(Fake(), Fake(does), CALL, CALL, CALL)
    assert kinds(found) == [(0, "page 0x1200000"), (2, "page 0x1200000")]


def test_two_pages_are_two_differences() -> None:
    found = compare(Fake(), Fake(writes(0x120_0FFF, b"ab")), CALL)
    assert kinds(found) == [(0, "page 0x1200000"), (0, "page 0x1201000")]


def test_what_differs_from_the_start_is_none_unless_a_call_touches_it() -> None:
    assert compare(Fake(), Fake(tree=b"other"), CALL) == []
    found = compare(Fake(), Fake(writes(TREE.start, b"stray"), tree=b"other"), CALL)
    assert kinds(found) == [(0, f"page {TREE.start:#x}")]


def test_a_tree_that_a_reset_makes_anew_is_none() -> None:
    def resets(machine: Fake) -> Mapping[str, Any]:
        machine.memory.write(TREE.start, machine.tree + b" again")
        return {"ending": "reset"}

    assert compare(Fake(resets), Fake(resets, tree=b"other"), CALL) == []


def test_tokens_and_references_may_differ() -> None:
    steps = (
        Rtas("service", (1,)),
        Seed(0x130_0000, cells=(Ref("$fdt:/rtas:service[0]"),)),
        Call(0xF00C, (Ref("$fdt:/rtas:service[0]"),)),
    )
    assert compare(Fake(), Fake(token=0x2001), *steps) == []


def test_the_agents_own_memory_is_not_compared() -> None:
    assert compare(Fake(), Fake(writes(0x2_0000, b"record")), CALL) == []
    assert kinds(compare(Fake(), Fake(writes(0x100, b"code")), CALL)) == [(0, "page 0x0")]


def test_an_event_that_does_not_come() -> None:
    found = compare(Fake(), Fake(gives(late=True)), Await("POWERDOWN"))
    assert kinds(found) == [(0, "answer")]
    assert found[0].second == "it did not come"


def test_a_service_that_one_build_does_not_have() -> None:
    with pytest.raises(BadScenario, match="no RTAS service 'srevice'"):  # neither has it
        compare(Fake(), Fake(), Rtas("srevice"))
    other = Fake()
    root = Node("", children={"rtas": Node("rtas", {})})
    other.environment = Environment((RAM,), Region(0, 0x80_0000), TREE, root)
    (found_one,) = compare(Fake(), other, Rtas("service"))
    assert found_one.what == "program"
    assert "no RTAS service 'service'" in found_one.second


def test_programs_that_go_on_differently_part() -> None:
    def play(stage: Fake) -> Iterator[Any]:
        outcome = yield CALL
        yield CALL if outcome.registers["r3"] == 7 else Host("stop")
        raise AssertionError("they have parted")

    found = compare(Fake(), Fake(gives(registers={"r3": 7})), play=play)
    assert kinds(found) == [(0, "r3"), (1, "program")]
    assert "stop" in found[1].first
    assert "Call" in found[1].second


def test_a_view_that_disagrees_on_one_machine_only() -> None:
    def play(stage: Fake) -> Iterator[Any]:
        yield CALL
        if stage.tree == b"other":
            raise Disagreement("agreement.memory", "two views differ")

    (found,) = compare(Fake(), Fake(tree=b"other"), play=play)
    assert (found.what, found.first) == ("view", "the end")
    assert "two views differ" in found.second
    assert compare(Fake(tree=b"other"), Fake(tree=b"other"), play=play) == []


def test_nothing_is_executed_after_an_ending_that_differs() -> None:
    found = compare(Fake(), Fake(gives(ending="died")), CALL, CALL)
    assert kinds(found) == [(0, "ending")]


def test_machines_of_which_something_may_survive_a_reset_are_not_used_again() -> None:
    def reusable(*steps: Step) -> bool:
        def play(stage: object) -> Iterator[Any]:
            yield list(steps)

        with ThreadPoolExecutor(2) as executor:
            lockstep = Lockstep(Scenario("a/b", "", play), (Fake(), Fake()), executor)
            assert list(lockstep.play()) == []
            assert lockstep.steps == len(steps)
            return lockstep.reusable

    assert reusable(CALL)
    assert not reusable(CALL, Host("device_add"))
