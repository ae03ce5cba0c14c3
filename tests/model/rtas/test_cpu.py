"""start-cpu, stop-self and query-cpu-stopped-state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.check.compare import Comparison
from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.program import Arrive, Call, Event, Outcome

QUERY, START, STOP_SELF = 0x2005, 0x2006, 0x2007
STARTED = 0x8000_0000_0000_1000


def nothing(_: Memory) -> dict[str, int]:
    return {}


def status(cells, at: int, *values: int):
    def build(memory: Memory) -> int:
        memory.write(at, cells(*values))
        return H_SUCCESS

    return build


@pytest.fixture
def model(partition) -> Model:
    """Two CPUs, of which the first runs."""
    return Model(partition(2))


@pytest.fixture
def verdict(judge, prepare, cells):
    """The checks that the three calls break, by what they return."""

    class Calls:
        def start(self, model: Model, cpu: int, returned: int, argument: int = 0x8100) -> list[str]:
            call = prepare(model, START, (cpu, 0x3000, argument))
            return judge(model, call, status(cells, 0x1018, returned))[1]

        def query(self, model: Model, cpu: int, *returned: int) -> list[str]:
            call = prepare(model, QUERY, (cpu,), nret=2)
            return judge(model, call, status(cells, 0x1010, *returned))[1]

        def stop(self, model: Model, caller: int, ending: str = "stopped", *events: Event) -> list[str]:
            call: Call = replace(prepare(model, STOP_SELF), cpu=caller)
            return judge(model, call, nothing, ending=ending, events=events)[1]

    return Calls()


def arrival(model: Model, cpu: int, **registers: int) -> list[str]:
    """The checks broken by a CPU that arrives with these registers."""
    comparison = Comparison(model.memory, Memory(model.memory.ram))
    _, violations = comparison.step(model.expect_arrival(Arrive(cpu)), Outcome(registers=registers), 0)
    return [violation.check for violation in violations]


def test_only_the_first_cpu_runs_at_first(model: Model, verdict) -> None:
    assert verdict.query(model, 0, 0, 2) == []
    assert verdict.query(model, 0, 0, 0) == ["rets"]
    assert verdict.query(model, 1, 0, 0) == []
    assert verdict.query(model, 1, 0, 2) == ["rets"]


def test_a_query_may_be_put_off(model: Model, verdict) -> None:
    assert verdict.query(model, 0, -2) == []
    assert verdict.query(model, 0, -3) == ["status"]


@pytest.mark.parametrize("cpu", [2, 0xFFFF_FFFF])
def test_an_unknown_cpu_is_refused(model: Model, verdict, cpu: int) -> None:
    assert verdict.query(model, cpu, -3) == []
    assert verdict.query(model, cpu, 0, 0) != []
    for code, broken in ((-3, []), (-1, []), (0, ["status"]), (3, ["status"])):
        assert verdict.start(model, cpu, code) == broken


def test_a_cpu_runs_from_its_start_to_its_stop(model: Model, verdict) -> None:
    assert verdict.start(model, 1, 0) == []
    assert verdict.query(model, 1, 0, 2) == []
    assert verdict.query(model, 1, 0, 0) == ["rets"]
    assert verdict.stop(model, 1) == []
    assert verdict.query(model, 1, 0, 0) == []
    assert verdict.query(model, 1, 0, 1) == []
    assert verdict.query(model, 1, 0, 2) == ["rets"]
    assert verdict.start(model, 1, 0) == []


def test_a_start_that_should_succeed_must(model: Model, verdict) -> None:
    assert verdict.start(model, 1, -1) == ["status"]


@pytest.mark.parametrize("code", [0, 3, -2])
def test_a_running_cpu_cannot_be_started(model: Model, verdict, code: int) -> None:
    assert verdict.start(model, 0, code) == ["status"]
    assert verdict.start(model, 0, -1) == []


def test_a_reset_stops_the_others(model: Model, partition, verdict) -> None:
    verdict.start(model, 1, 0)
    model.reset(partition(2))
    assert verdict.query(model, 0, 0, 2) == []
    assert verdict.query(model, 1, 0, 0) == []


def test_stop_self_does_not_return(model: Model, verdict) -> None:
    verdict.start(model, 1, 0)
    assert "ending" in verdict.stop(model, 1, "returned")
    assert "liveness" in verdict.stop(model, 1, "died")


def test_the_last_cpu_ends_the_partition(model: Model, verdict) -> None:
    ended = Event("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
    assert verdict.stop(model, 0, "shutdown", ended) == []
    assert verdict.stop(model, 0) == ["cpu.last-stop-keeps-partition"]


def test_the_first_may_stop_before_the_second(model: Model, verdict) -> None:
    verdict.start(model, 1, 0)
    assert verdict.stop(model, 0) == []
    assert verdict.stop(model, 1) == ["cpu.last-stop-keeps-partition"]


def test_a_started_cpu_has_the_registers_it_must_have(model: Model, verdict) -> None:
    verdict.start(model, 1, 0, argument=0x8100)
    assert arrival(model, 1, r3=0x8100, msr=STARTED) == []
    assert arrival(model, 1, r3=0x8100, msr=0x1000) == []  # a 32-bit instantiation
    assert arrival(model, 1, r3=0x8100, msr=STARTED | 0x2900) == []  # FP, FE0, FE1
    assert arrival(model, 1, r3=0x8101, msr=STARTED) == ["r3"]
    assert arrival(model, 1, r3=0x1_0000_8100, msr=STARTED) == ["r3"]


@pytest.mark.parametrize(
    "bit", [1 << 60, 1 << 16, 1 << 15, 1 << 14, 1 << 10, 1 << 9, 32, 16, 4, 2, 1, 0x1000]
)
def test_each_bit_of_its_msr_counts(model: Model, verdict, bit: int) -> None:
    verdict.start(model, 1, 0)
    assert arrival(model, 1, r3=0x8100, msr=STARTED ^ bit) == ["msr"]


@pytest.mark.parametrize("cpu", [0, 1, 2])
def test_who_was_not_started_does_not_arrive(model: Model, cpu: int) -> None:
    assert "ending" in arrival(model, cpu, r3=0, msr=STARTED)


def test_a_tree_without_cpus_has_one(environment) -> None:
    model = Model(environment())
    assert model.expect_arrival(Arrive(0)).cases[0].ending == "running"
