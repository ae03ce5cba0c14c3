"""RTAS calls in bulk on a real QEMU: what passes, and each way of being stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from rig.campaign.lane import Lane
from rig.campaign.programs import BLOCKS, STRIDE, Programs, Shares
from rig.campaign.stateful import OPTIONS
from rig.check.deviations import Bound, Deviations, Match, load
from rig.check.judge import Judge, Judged, Judgement
from rig.check.violation import Violation
from rig.machine.batch import Outcomes
from rig.machine.build import Build
from rig.machine.machine import Machine
from rig.machine.registers import doubleword
from rig.model.dispatch import installed
from rig.model.model import Model
from rig.pool import Pool
from rig.program import Call, Outcome, Ref, Rtas, Seed, Step
from rig.scenario.script import Playing, Scenario, Stage

SHARES = Shares(host=0.0, final=0.0, odd_block=0.02)
CALLS = 1500
#: the check whose verdict depends on when the call was made
CLOCK = "rtas.nanosecond-unreduced"


@pytest.fixture
def machine(build: Build) -> Iterator[Callable[[], Machine]]:
    with Pool() as pool:
        yield lambda: pool.take(build, OPTIONS, 30.0)


def played(judge: Judge, chunks: Sequence[Sequence[Step]]) -> Judgement:
    def play(_: Stage) -> Playing:
        for chunk in chunks:
            yield tuple(chunk)

    return judge.play(Scenario("lane", "", play, OPTIONS))


def shown(judgement: Judgement) -> list[tuple[object, ...]]:
    """All that explaining a violation may look at, in order."""

    def key(one: Violation) -> tuple[object, ...]:
        return one.step, one.call, one.check, one.value, sorted(one.facts), sorted(one.arguments.items())

    return sorted(key(one) for one in judgement.violations if one.check != CLOCK)


def test_it_finds_what_the_judge_finds(machine: Callable[[], Machine]) -> None:
    subject = machine()
    programs = Programs(subject.environment, installed(), 3, SHARES)
    chunks = list(programs.chunks(0, CALLS))
    seen: list[Judged] = []
    bulk = played(Lane(subject, Model(subject.environment), seen.append), chunks)
    assert bulk.calls == CALLS
    assert len(seen) < CALLS / 2  # the others passed
    subject = machine()
    single = played(Judge(subject, Model(subject.environment)), [bulk.executed])
    assert shown(bulk) == shown(single)
    assert any(one.check.startswith("rtas.") for one in bulk.violations)  # breaches that passed
    assert (bulk.calls, set(bulk.returns)) == (single.calls, set(single.returns))


def test_what_is_expected_is_counted_and_not_looked_at(machine: Callable[[], Machine], build: Build) -> None:
    known = Deviations(load(), build.version)

    def explained(judgement: Judgement) -> Counter[str]:
        found = (known.explain(one) for one in judgement.violations if one.check != CLOCK)
        return Counter(one.id for one in found if one is not None)

    subject = machine()
    chunks = list(Programs(subject.environment, installed(), 3, SHARES).chunks(0, CALLS))
    met: Counter[str] = Counter()
    bulk = played(
        Lane(subject, Model(subject.environment), expected=known.whatever(), met=met),
        chunks,
    )
    subject = machine()
    single = played(Judge(subject, Model(subject.environment)), [bulk.executed])
    del met["clock-nanosecond-unreduced"]
    assert met.total() > len(bulk.violations)
    assert met + explained(bulk) == explained(single)


QUERY = [Rtas("query-cpu-stopped-state", (0,), 2, block=BLOCKS + slot * STRIDE) for slot in range(4)]
BLOCK = BLOCKS + STRIDE


def poke(address: int, data: bytes) -> Callable[[Machine, Outcomes], None]:
    return lambda machine, _: machine.memory.write(address, data)


def register(name: str) -> Callable[[Machine, Outcomes], None]:
    """Another value in the second call's record."""

    def tamper(_: Machine, outcomes: Outcomes) -> None:
        at = outcomes._size + 8 * doubleword(name)
        records = bytearray(outcomes._records)
        records[at] ^= 0x40
        outcomes._records = bytes(records)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "check", "step"),
    [
        (poke(BLOCK + 16, bytes((0, 0, 0, 9))), "status", 1),
        (poke(BLOCK + 20, bytes((0, 0, 0, 9))), "rets", 1),
        (poke(BLOCK, b"?"), "memory", 1),
        (poke(BLOCK + 24, b"?"), "memory", 3),
        (poke(BLOCK - 1, b"?"), "memory", 3),
        (poke(0x0500_0000, b"?"), "memory", 3),
        (register("r3"), "r3", 1),
        (register("r14"), "register", 1),
        (register("lr"), "register", 1),
        (register("vs63"), "register", 1),
        (register("msr"), "register", 1),
    ],
)
def test_whatever_else_is_left_behind_is_found(
    machine: Callable[[], Machine],
    monkeypatch: pytest.MonkeyPatch,
    tamper: Callable[[Machine, Outcomes], None],
    check: str,
    step: int,
) -> None:
    subject = machine()
    batch = subject.batch

    def tampered(calls: Sequence[Call], *, full: bool = True) -> Outcomes:
        outcomes = batch(calls, full=full)
        tamper(subject, outcomes)
        return outcomes

    monkeypatch.setattr(subject, "batch", tampered)
    judgement = played(Lane(subject, Model(subject.environment)), [QUERY])
    assert (step, check) in [(one.step, one.check) for one in judgement.violations]


def test_all_plain_calls_but_the_last_pass(machine: Callable[[], Machine]) -> None:
    subject = machine()
    seen: list[Judged] = []
    judgement = played(Lane(subject, Model(subject.environment), seen.append), [QUERY])
    assert [one.index for one in seen] == [3]
    assert not judgement.violations
    assert judgement.returns == {("query-cpu-stopped-state", 0): 4}


def test_calls_that_meet_run_one_after_the_other(machine: Callable[[], Machine]) -> None:
    """And find their parameter blocks whole, whatever an earlier one wrote there."""
    subject = machine()
    into = Rtas("nvram-fetch", (0, BLOCK, 16), 2, block=BLOCKS)
    judgement = played(Lane(subject, Model(subject.environment)), [[into, *QUERY[1:]]])
    assert [step for step in judgement.executed if step is QUERY[1]] == [judgement.executed[-1]]
    assert not judgement.violations
    assert judgement.returns["query-cpu-stopped-state", 0] == 3


def test_a_chunk_whose_calls_refer_to_each_other_is_the_judges(machine: Callable[[], Machine]) -> None:
    subject = machine()
    fetch = Rtas("nvram-fetch", (0, 0x100_0000, 4), 2, block=BLOCKS, name="first")
    again = Rtas("nvram-fetch", (Ref("$first.rets[1]"), 0x100_0000, 4), 2, block=BLOCKS + STRIDE)
    seen: list[Judged] = []
    judgement = played(Lane(subject, Model(subject.environment), seen.append), [[fetch, again]])
    assert [one.index for one in seen] == [0, 1]
    assert not judgement.violations


def test_memory_that_a_program_seeded_is_no_place_for_slots(machine: Callable[[], Machine]) -> None:
    subject = machine()
    seen: list[Judged] = []
    seed = Seed(BLOCKS + 3 * STRIDE + 0x200, b"kept")
    judgement = played(Lane(subject, Model(subject.environment), seen.append), [[seed], QUERY[:2]])
    assert [one.index for one in seen] == [1, 2]
    assert not judgement.violations
    assert subject.memory.read(BLOCKS + 3 * STRIDE + 0x200, 4) == b"kept"


def test_a_call_that_does_not_come_back_ends_the_program(
    machine: Callable[[], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as its records tell, QEMU died in the third of four calls."""
    subject = machine()
    batch = subject.batch

    def cut(calls: Sequence[Call], *, full: bool = True) -> Outcomes:
        outcomes = batch(calls, full=full)
        outcomes.done, outcomes.last = 2, Outcome("died")
        return outcomes

    monkeypatch.setattr(subject, "batch", cut)
    judgement = played(Lane(subject, Model(subject.environment)), [QUERY])
    assert (judgement.calls, judgement.reusable) == (3, False)
    assert [(one.step, one.check) for one in judgement.violations] == [(2, "liveness")]


def test_calls_that_are_known_to_end_qemu_are_put_off(machine: Callable[[], Machine]) -> None:
    subject = machine()
    named = replace(QUERY[0], block=BLOCKS + 4 * STRIDE, name="named")  # later calls may refer to it
    none = Rtas("query-cpu-stopped-state", (7,), 2, block=BLOCKS + 5 * STRIDE)
    odd = Rtas("query-cpu-stopped-state", (7,), 2, nargs=0, block=BLOCKS + 6 * STRIDE)
    lethal = Match("liveness", facts=frozenset({"cpu-unknown"}), arguments={"cpu": Bound(min=7)})
    deferred: list[Rtas] = []
    tested = Lane(
        subject,
        Model(subject.environment),
        lethal={"query-cpu-stopped-state": [lethal]},
        deferred=deferred,
    )
    judgement = played(tested, [[none, *QUERY, odd, named], QUERY, deferred])
    assert deferred == [none, odd]
    assert judgement.executed == [*QUERY, named, *QUERY, none, odd]  # at last they are made
    assert not judgement.violations


def test_a_step_after_a_chunk_has_its_own_number(machine: Callable[[], Machine]) -> None:
    """Shrinking cuts the program there."""
    subject = machine()
    seen: list[Judged] = []
    judgement = played(Lane(subject, Model(subject.environment), seen.append), [QUERY, QUERY[:1], QUERY])
    assert [one.index for one in seen] == [3, 4, 8]
    assert len(judgement.executed) == 9
