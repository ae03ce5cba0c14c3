"""What becomes of a batch: an outcome for each call, the ending with the one that it befell."""

from __future__ import annotations

import pytest

from rig.machine import agent
from rig.machine.batch import Batch
from rig.program import Call, Event, Outcome

CODEC = agent.Codec("big")
CALLS = [Call(0xF001, (number,)) for number in range(3)]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_whatever_comes_of_a_batch_is_with_one_of_its_calls(done: int) -> None:
    """Also when QEMU died after the last record was written: then it is the last call's."""
    batch = Batch.of(CALLS, CODEC, full=False)
    size = agent.size(full=False)
    records = b"".join(batch.vectors[:done]) + agent.UNWRITTEN * size * (len(CALLS) - done)
    last = Outcome("died", events=(Event("X"),), exit_status=-11)
    outcomes = batch.outcomes(records, last, {}, CODEC)
    assert len(outcomes) == min(done + 1, len(CALLS))
    assert [one.ending for one in outcomes] == ["returned"] * (len(outcomes) - 1) + ["died"]
    assert (outcomes[-1].exit_status, outcomes[-1].events) == (-11, last.events)
    assert bool(outcomes[-1].registers) == (done == len(CALLS))
