"""ibm,nmi-register, ibm,nmi-interlock and inject-nmi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rig.check.compare import Comparison
from rig.model.environment import Environment, Node
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.rtas.cpu import Cpus
from rig.model.rtas.fwnmi import LIMIT, Fwnmi
from rig.model.update_dt import Published
from rig.program import Event, Host, MachineOptions, Outcome

REGISTER, INTERLOCK = 0x202B, 0x202C
ROUTINE, BASE = 0x4000, 0x6000
INJECT = Host("inject-nmi")

SF, ME, FP, DR = 1 << 63, 1 << 12, 1 << 13, 1 << 4
BEFORE = {"pc": 0x2000, "msr": SF | ME | FP, "r1": 1, "r3": 3, "lr": 7, "srr0": 0, "srr1": 0}
TAKEN = {**BEFORE, "pc": ROUTINE, "msr": SF | ME, "srr0": 0x2000, "srr1": SF | ME | FP}


@pytest.fixture
def fwnmi(partition, cells):
    """Makes models of machines with the FWNMI services, by default with RTAS's place published."""

    def make(*, cpus: int = 1, base: int | None = BASE, options: tuple[str, ...] = ()) -> Model:
        environment: Environment = partition(cpus)
        rtas = environment.tree.children["rtas"]
        own = {"ibm,nmi-register": cells(REGISTER), "ibm,nmi-interlock": cells(INTERLOCK)}
        node = Node("rtas", {**rtas.properties, **own, "rtas-size": cells(0x82C)})
        tree = Node("", children={**environment.tree.children, "rtas": node})
        model = Model(replace(environment, tree=tree, options=MachineOptions(options=options)))
        model.state.of(Published).rtas_base = base
        return model

    return make


@pytest.fixture
def answer(judge, prepare, cells):
    """The checks that an answer to one call breaks."""

    def call(model: Model, token: int, args: tuple[int, ...], status: int) -> list[str]:
        def build(memory: Memory) -> int:
            memory.write(0x100C + 4 * len(args), cells(status))
            return 0

        return judge(model, prepare(model, token, args), build)[1]

    return call


def inject(
    model: Model,
    registers: Mapping[str, int],
    *,
    events: tuple[Event, ...] = (),
    ending: str = "returned",
    written: tuple[int, bytes] | None = None,
) -> list[str]:
    """The checks that a system reset interrupt breaks which leaves ``registers``."""
    observed = Memory(model.memory.ram)
    for address, length in list(model.memory.extents()):
        observed.write(address, model.memory.read(address, length))
    if written:
        observed.write(*written)
    expectation = model.expect_host(INJECT)
    outcome = Outcome(ending, registers, BEFORE, events)  # type: ignore[arg-type]
    comparison = Comparison(model.memory, observed)
    case, violations = comparison.step(expectation, outcome, 0)
    violations += comparison.sweep([(0, expectation)])
    model.settle(case, outcome)
    return [violation.check for violation in violations]


# ---- registering ----


def test_routines_in_the_first_32_mib_are_registered(fwnmi, answer) -> None:
    model = fwnmi()
    for routines in ((0, 0), (LIMIT - 4, 0x100)):
        assert answer(model, REGISTER, routines, -3) == ["status"]
        assert answer(model, REGISTER, routines, 0) == []
        assert model.state.of(Fwnmi).routine == routines[0]


@pytest.mark.parametrize("routines", [(LIMIT, 0), (0, LIMIT), (0xFFFF_FFFC, 0xFFFF_FFFC)])
def test_routines_beyond_are_refused(fwnmi, answer, routines: tuple[int, int]) -> None:
    assert answer(fwnmi(), REGISTER, routines, 0) == ["status"]
    model = fwnmi()
    assert answer(model, REGISTER, routines, -3) == []
    assert model.state.of(Fwnmi).routine is None


@pytest.mark.parametrize("status", [0, -3])
def test_where_nothing_is_said_both_answers_are_good(fwnmi, answer, status: int) -> None:
    assert answer(fwnmi(), REGISTER, (ROUTINE + 1, ROUTINE), status) == []
    assert answer(fwnmi(base=None), REGISTER, (ROUTINE, ROUTINE), status) == []
    assert answer(fwnmi(), INTERLOCK, (), status) == []


@pytest.mark.parametrize("status", [-1, -2, 1, 9900])
def test_other_statuses_are_rejected(fwnmi, answer, status: int) -> None:
    assert answer(fwnmi(), REGISTER, (ROUTINE, ROUTINE), status) == ["status"]
    assert answer(fwnmi(), INTERLOCK, (), status) == ["status"]


def test_without_the_option_nothing_is_registered(fwnmi, answer) -> None:
    model = fwnmi(options=("cap-fwnmi=off",))
    assert answer(model, REGISTER, (ROUTINE, ROUTINE), 0) == ["status"]
    assert answer(fwnmi(options=("cap-fwnmi=off",)), REGISTER, (ROUTINE, ROUTINE), -3) == []


def test_who_registered_may_release_the_area(fwnmi, answer) -> None:
    model = fwnmi()
    answer(model, REGISTER, (ROUTINE, ROUTINE), 0)
    assert answer(model, INTERLOCK, (), 0) == []
    assert answer(model, INTERLOCK, (), -3) == ["status"]


def test_a_reset_ends_the_registration(fwnmi, answer) -> None:
    model = fwnmi()
    answer(model, REGISTER, (ROUTINE, ROUTINE), 0)
    model.reset(model.state.environment)
    assert model.state.of(Fwnmi).routine is None


# ---- system reset interrupts ----


def test_without_a_registration_the_vector_is_0x100(fwnmi) -> None:
    assert inject(fwnmi(), {**TAKEN, "pc": 0x100}) == []
    assert inject(fwnmi(), TAKEN) == ["pc"]


@pytest.mark.parametrize(
    ("wrong", "checks"),
    [
        ({"pc": 0x100}, ["pc"]),
        ({"msr": ME}, ["msr"]),
        ({"msr": SF | DR}, ["msr"]),
        ({"srr0": 0x2004}, ["nmi.return"]),
        ({"srr1": SF | ME}, ["nmi.return"]),
        ({"r1": 2}, ["register", "nmi.registers"]),
        ({"r3": 5}, ["nmi.registers"]),
        ({"r3": BASE + 0x800}, ["fwnmi.r3-changed"]),
    ],
)
def test_the_routine_finds_all_as_it_was(fwnmi, answer, wrong: dict[str, int], checks: list[str]) -> None:
    model = fwnmi()
    answer(model, REGISTER, (ROUTINE, ROUTINE), 0)
    assert inject(model, {**TAKEN, **wrong}) == checks


def test_causes_in_srr1_are_not_the_interrupted_msr(fwnmi) -> None:
    assert inject(fwnmi(), {**TAKEN, "pc": 0x100, "srr1": TAKEN["srr1"] | 0x0010_0000}) == []


def test_only_the_memory_of_rtas_may_change(fwnmi, answer) -> None:
    model = fwnmi()
    answer(model, REGISTER, (ROUTINE, ROUTINE), 0)
    assert inject(model, TAKEN, written=(BASE + 0x800, b"state")) == []
    assert inject(model, TAKEN, written=(0x7000, b"state")) == ["memory"]


def test_the_third_reboots_and_a_registration_counts_anew(fwnmi, answer) -> None:
    model = fwnmi()
    reset = Event("RESET", {"guest": True, "reason": "guest-reset"})
    for _ in range(2):
        answer(model, REGISTER, (ROUTINE, ROUTINE), 0)
        assert inject(model, TAKEN) == []
        assert inject(model, TAKEN) == []
    assert inject(model, TAKEN) == ["fwnmi.third-forwarded"]
    assert inject(model, {}, events=(reset,), ending="reset") == []


def test_a_platform_that_lost_the_place_may_panic(fwnmi, answer) -> None:
    model = fwnmi()
    answer(model, REGISTER, (ROUTINE, ROUTINE), 0)
    model.state.of(Published).rtas_base = None
    panic = Event("GUEST_PANICKED", {"action": "pause"})
    assert inject(model, BEFORE, events=(panic,)) == []
    assert inject(model, TAKEN) == []
    assert inject(model, BEFORE) != []


def test_every_cpu_that_runs_takes_it(fwnmi) -> None:
    model = fwnmi(cpus=2)
    model.state.of(Cpus).cpus[1].running = True
    taken = {**TAKEN, "pc": 0x100}
    assert inject(model, {**taken, "pc@1": 0x100}) == []
    assert inject(model, {**taken, "pc@1": 0x3000}) == ["pc@1"]


def test_a_stopped_cpu_must_not_wake(fwnmi) -> None:
    model = fwnmi(cpus=2)
    taken = {**TAKEN, "pc": 0x100}
    assert inject(model, taken) == []
    assert inject(model, {**taken, "woken@1": 1}, ending="running") == ["fwnmi.stopped-cpu-woken"]
    assert inject(model, taken, ending="running") == ["fwnmi.stopped-cpu-woken", "nmi.running"]
    assert inject(fwnmi(), taken, ending="running") == ["liveness"]
