"""What becomes of a batch: an outcome for each call, the ending with the one that it befell."""

from __future__ import annotations

import pytest

from rig.check.compare import CR_PRESERVED, VOLATILE, preserved
from rig.machine import agent
from rig.machine.batch import Batch
from rig.machine.registers import Endian, put
from rig.program import Call, Event, Outcome

CODEC = agent.Codec("big")
CALLS = [Call(0xF001, (number,)) for number in range(3)]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_whatever_comes_of_a_batch_is_with_one_of_its_calls(done: int) -> None:
    """Also when QEMU died after the last record was written: then it is the last call's."""
    batch = Batch.of(CALLS, CODEC, full=False)
    size = agent.size(full=False)
    records = batch.vectors[: done * size] + agent.UNWRITTEN * size * (len(CALLS) - done)
    last = Outcome("died", events=(Event("X"),), exit_status=-11)
    outcomes = batch.outcomes(records, last, {}, CODEC)
    assert len(outcomes) == min(done + 1, len(CALLS))
    assert [one.ending for one in outcomes] == ["returned"] * (len(outcomes) - 1) + ["died"]
    assert (outcomes[-1].exit_status, outcomes[-1].events) == (-11, last.events)
    assert bool(outcomes[-1].registers) == (done == len(CALLS))


CARRIED = {"msr": 0x8000_0000_0280_2000, "srr0": 1, "srr1": 2}


@pytest.mark.parametrize("endian", ["big", "little"])
@pytest.mark.parametrize("registers", [{}, {"r14": 5}])
@pytest.mark.parametrize(
    "name", ["", "r2", "r31", "cr", "lr", "msr", "sprg0", "sprg1", "vscr", "vs0", "vs63", "r4"]
)
def test_a_changed_register_is_told_from_the_others(
    endian: Endian, registers: dict[str, int], name: str
) -> None:
    """By all records at once as by each of them; r4 is the call's to change."""
    codec = agent.Codec(endian)
    calls = [Call(0xF001, (number,), registers=registers if number else {}) for number in range(3)]
    batch = Batch.of(calls, codec)
    records = b""
    size = agent.size(full=True)
    for number in range(len(calls)):
        data = bytearray(batch.vectors[number * size : (number + 1) * size])
        sprg1 = batch.records_at + number * size
        for held, value in (CARRIED | {"sprg0": agent.MAILBOX, "sprg1": sprg1}).items():
            put(data, held, value, endian)
        if number == 1 and name:
            put(data, name, 1, endian)
        records += data
    outcomes = batch.outcomes(records, Outcome(), dict(CARRIED), codec)
    whole, brief = outcomes[1], outcomes.brief(1)
    assert dict(brief.registers) == dict(whole.registers)
    assert brief.before.items() < whole.before.items()
    assert (brief.ending, brief.clock) == (whole.ending, whole.clock)
    seen = [
        any(
            (value ^ one.registers[register]) & (CR_PRESERVED if register == "cr" else -1)
            for register, value in one.before.items()
            if register not in VOLATILE
        )
        for one in outcomes
    ]
    assert outcomes.disturbed(preserved(endian)).tolist() == seen
    # What a call left in MSR is what the next one begins with.
    assert seen == [False, name not in ("", "r4"), name == "msr"]
