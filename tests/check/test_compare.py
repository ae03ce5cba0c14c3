"""Every check of the comparison accepts what it should and rejects what it must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rig.check.compare import Comparison
from rig.model.environment import Region
from rig.model.expectation import (
    Breach,
    Case,
    Cell,
    Exactly,
    Expectation,
    ExpectedEvent,
    Relation,
    Scratch,
    Write,
)
from rig.model.memory import Memory
from rig.program import Event, Outcome

RAM = (Region(0, 1 << 20),)
CASE = Case("success", {"r3": Exactly(0)})
OUTCOME = Outcome(registers={"r3": 0, "r14": 14, "cr": 0x1234_5678}, before={"r14": 14, "cr": 0x1234_5678})


class Bench:
    """Two memories and the comparison between them."""

    def __init__(self) -> None:
        self.model, self.machine = Memory(RAM), Memory(RAM)
        self.comparison = Comparison(self.model, self.machine, [(0x8000, 0x9000)])

    def judge(self, *cases: Case, outcome: Outcome = OUTCOME) -> tuple[Case, list[str]]:
        """The case chosen and the checks that failed, memory sweep included."""
        self.comparison.observed.forget()
        expectation = Expectation("H_TEST", cases or (CASE,))
        case, violations = self.comparison.step(expectation, outcome, 0)
        violations += self.comparison.sweep([(0, expectation)])
        return case, [violation.check for violation in violations]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_conforms_breaks_nothing(bench: Bench) -> None:
    assert bench.judge() == (CASE, [])


def outcome(**registers: int) -> Outcome:
    return replace(OUTCOME, registers={**OUTCOME.registers, **registers})


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        (outcome(r3=1), "r3"),
        (outcome(r3=1 << 32), "r3"),
        (outcome(r14=15), "register"),
        (outcome(cr=0x1230_5678), "register"),
        (replace(OUTCOME, console=b"x"), "console"),
        (replace(OUTCOME, events=(Event("RESET"),)), "event"),
        (replace(OUTCOME, ending="shutdown"), "ending"),
        (replace(OUTCOME, ending="died", last_words="assertion"), "liveness"),
        (replace(OUTCOME, ending="running"), "liveness"),
    ],
)
def test_an_outcome_that_differs_is_rejected(bench: Bench, changed: Outcome, check: str) -> None:
    assert bench.judge(outcome=changed)[1] == [check]


def test_volatile_registers_may_change(bench: Bench) -> None:
    before = {"r0": 1, "r4": 4, "r12": 12, "ctr": 5, "xer": 6, "cr": 0x1234_5678}
    after = {"r3": 0, "r0": 9, "r4": 9, "r12": 9, "ctr": 9, "xer": 9, "cr": 0xFF34_5FFF}
    assert bench.judge(outcome=Outcome(before=before, registers=after))[1] == []


def test_a_stray_byte_anywhere_in_ram_is_rejected_and_adopted(bench: Bench) -> None:
    bench.machine.write(0xFFFFF, b"\x01")
    assert bench.judge()[1] == ["memory"]
    assert bench.judge()[1] == []


def test_the_rigs_own_memory_is_not_compared(bench: Bench) -> None:
    bench.machine.write(0x8FFF, b"\x01")
    assert bench.judge()[1] == []
    bench.machine.write(0x9000, b"\x01")
    assert bench.judge()[1] == ["memory"]


def test_a_write_must_happen_exactly(bench: Bench) -> None:
    case = replace(CASE, writes=(Write(0x1000, b"abcd"),))
    bench.machine.write(0x1000, b"abcx")
    assert bench.judge(case)[1] == ["memory"]
    bench.machine.write(0x1000, b"abcd")
    assert bench.judge(case)[1] == []


def test_a_cell_must_be_permitted(bench: Bench) -> None:
    case = replace(CASE, cells=(Cell(0x1000, 4, Exactly(7), "rets[1]"),))
    bench.machine.write(0x1000, b"\0\0\0\x07")
    assert bench.judge(case)[1] == []
    bench.machine.write(0x1000, b"\0\0\0\x08")
    assert bench.judge(case)[1] == ["rets"]


def test_a_scratch_range_ends_where_it_says(bench: Bench) -> None:
    case = replace(CASE, scratch=(Scratch(0x1000, 4),))
    bench.machine.write(0x1000, b"wxyz")
    assert bench.judge(case)[1] == []
    bench.machine.write(0x1004, b"!")
    assert bench.judge(case)[1] == ["memory"]


def test_events_are_required_or_allowed(bench: Bench) -> None:
    must = replace(CASE, events=(ExpectedEvent("RTC_CHANGE", {"offset": Exactly(5)}),))
    may = replace(CASE, events=(ExpectedEvent("RTC_CHANGE", required=False),))
    seen = replace(OUTCOME, events=(Event("RTC_CHANGE", {"offset": 5}),))
    wrong = replace(OUTCOME, events=(Event("RTC_CHANGE", {"offset": 6}),))
    assert bench.judge(must, outcome=seen)[1] == []
    assert bench.judge(must)[1] == ["event"]
    assert bench.judge(must, outcome=wrong)[1] == ["event", "event"]
    assert bench.judge(may)[1] == []
    assert bench.judge(may, outcome=seen)[1] == []


def test_a_relation_is_asked(bench: Bench) -> None:
    def relation(answer: str | None) -> Case:
        holds: Callable[..., str | None] = lambda outcome, memory: answer  # noqa: E731
        return replace(CASE, relations=(Relation("clock.wrong", holds),))

    assert bench.judge(relation(None))[1] == []
    assert bench.judge(relation("two hours late"))[1] == ["clock.wrong"]


def test_the_case_that_fits_is_chosen_and_its_breach_reported_once(bench: Bench) -> None:
    breach = Breach("memop.outside-memory", "accepted", "document")
    refused = Case("refused", {"r3": Exactly(4)})
    accepted = Case("accepted", {"r3": Exactly(0)}, writes=(Write(0x1000, b"abcd"),), breach=breach)
    bench.machine.write(0x1000, b"abcd")
    assert bench.judge(refused, accepted) == (accepted, ["memop.outside-memory"])


def test_of_two_that_fit_the_one_without_a_breach_is_chosen(bench: Bench) -> None:
    breach = replace(CASE, name="inverted", breach=Breach("memop.xor-inverts", "inverts", "document"))
    assert bench.judge(breach, CASE) == (CASE, [])


def test_many_differences_are_counted_not_listed(bench: Bench) -> None:
    for address in range(0x10000, 0x12000, 64):
        bench.machine.write(address, b"\x01")
    assert len(bench.judge()[1]) == 17


def test_an_event_that_a_case_does_not_know_counts_against_it(bench: Bench) -> None:
    silent, loud = Case("silent", CASE.registers), replace(CASE, events=(ExpectedEvent("RESET"),))
    assert bench.judge(silent, loud, outcome=replace(OUTCOME, events=(Event("RESET"),))) == (loud, [])
    assert bench.judge(loud, silent) == (silent, [])
