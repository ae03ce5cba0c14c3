"""Calls that share a batch, on a machine that is itself a model: each is judged after those before it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rig.check.judge import Judge, Judgement, references
from rig.machine.sanitizer import Report
from rig.model.environment import Environment, Node, Region
from rig.model.model import Model
from rig.model.rtas.families import SERVICES
from rig.model.target import ModelTarget
from rig.program import (
    H_LOGICAL_MEMOP,
    H_RTAS,
    Call,
    MachineOptions,
    Outcome,
    Ref,
    Rtas,
    Seed,
    Step,
    Together,
)
from rig.scenario.reserved import AGENT
from rig.scenario.script import Scenario

INDEX, DATA, FETCHED = 0x100, 0xA0_0000, 0xB0_0000


def cells(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


TOKENS = Node("rtas", {name: cells(0x2000 + index) for index, name in enumerate(sorted(SERVICES))})
NVRAM = Node("nvram@71000000", {"device_type": b"nvram\0", "#bytes": cells(0x10000)})
TREE = Node("", {}, {"rtas": TOKENS, "vdevice": Node("vdevice", {}, {NVRAM.name: NVRAM})})
ENVIRONMENT = Environment((Region(0, 256 << 20),), AGENT, Region(0xFE0_0000, 0x5000), TREE)


class Machine(ModelTarget):
    """Counts batches; leaves other bytes in place of those it fetched, and reports, when told to."""

    def __init__(self, fetched: bytes | None = None, reports: Sequence[Report] = ()) -> None:
        super().__init__(Model(ENVIRONMENT))
        self.environment = ENVIRONMENT
        self.batches: list[int] = []
        self._fetched = fetched
        self._reports = reports

    def reports(self) -> Sequence[Report]:
        reports, self._reports = self._reports, ()
        return reports

    def call(self, calls: Sequence[Call]) -> Sequence[Outcome]:
        self.batches.append(len(calls))
        outcomes = super().call(calls)
        if self._fetched is not None:
            self.memory.write(FETCHED, self._fetched)
        return outcomes


def judged(machine: Machine, *steps: Step) -> Judgement:
    """What a program comes to."""

    def play(_: object):
        yield list(steps)

    return Judge(machine, Model(ENVIRONMENT)).play(Scenario("test", "", play, MachineOptions()))


STORED = (
    Seed(DATA, b"abcd"),
    Rtas("nvram-store", (INDEX, DATA, 4), 2),
    Rtas("nvram-fetch", (INDEX, FETCHED, 4), 2, block=0x0091_0000),
)


def test_calls_that_keep_state_share_a_batch() -> None:
    machine = Machine()
    assert judged(machine, *STORED).violations == []
    assert machine.batches == [2]


def test_what_an_earlier_call_of_the_batch_stored_must_be_fetched() -> None:
    violations = judged(Machine(fetched=b"abce"), *STORED).violations
    assert {violation.call for violation in violations} == {"nvram-fetch"}


def test_what_a_sanitizer_says_is_a_violation_of_the_last_call_of_the_batch() -> None:
    machine = Machine(reports=[Report("spapr_nvram.c:7", "runtime error: shift")])
    result = judged(machine, *STORED)
    (violation,) = result.violations
    assert (violation.signature, violation.step) == ("spapr_nvram.c:7/sanitizer", 2)
    assert "runtime error: shift" in str(violation)
    assert not result.reusable  # it would not say so again


@pytest.mark.parametrize(
    "apart",
    [
        Rtas("nvram-fetch", (INDEX, DATA, 4), 2, block=0x0091_0000),
        Rtas("nvram-fetch", (INDEX, FETCHED, 4), 2),
        Rtas("set-time-of-day", (2020, 1, 1, 0, 0, 0, 0), block=0x0091_0000),
        Rtas(0xA, (65,), block=0x0091_0000),
    ],
    ids=["same buffer", "same block", "emits an event", "may print"],
)
def test_what_would_hide_an_outcome_runs_apart(apart: Rtas) -> None:
    machine = Machine()
    judged(machine, *STORED[:2], apart)
    assert machine.batches == [1, 1]


def test_a_block_that_a_call_before_it_puts_into_place_is_looked_at_then() -> None:
    """Otherwise H_RTAS would share a batch with a call that works in the buffer which the block names."""
    block, source, elsewhere = 0x0091_0000, 0x0110_0000, 0x0120_0000
    cells = (Ref("$fdt:/rtas:nvram-fetch[0]"), 3, 2, INDEX, FETCHED, 4, 0, 0)
    machine = Machine()
    result = judged(
        machine,
        Seed(source, cells=cells),
        Call(H_LOGICAL_MEMOP, (block, source, 2, len(cells), 0)),
        Call(H_RTAS, (block,)),
        Call(H_LOGICAL_MEMOP, (FETCHED, elsewhere, 0, 8, 0)),
    )
    assert result.violations == []
    assert machine.batches == [1, 1, 1]


def test_steps_at_once_refer_to_what_the_steps_before_returned() -> None:
    parts = (Call(0xF001, (Ref("$one.r3"),)), Rtas("nvram-fetch", (Ref("$two.rets[1]"), 0, 0), 2))
    assert references(Together(parts)) == {"one", "two"}
