"""Generated programs: fixed by seed and number, inside memory of their own, made of what is described."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rig.campaign.kinds import Vocabulary, edge
from rig.campaign.programs import AREAS, CHUNK, FINAL, FRAGILE, ISOLATION, SOLE, USUAL, Programs, Shares
from rig.model.dispatch import Registry
from rig.model.environment import Environment, Node, Region
from rig.model.expectation import Expectation
from rig.model.hypercall import MASK64, Argument, Hypercall, Kind, returns
from rig.model.memop import MAX_COUNT
from rig.model.model import Model
from rig.model.rtas.families import SERVICES
from rig.program import Call, Host, Ref, Rtas, Seed, Step, Value
from rig.scenario.reserved import AGENT
from rig.scenario.resolve import Names, resolve_step


def cells(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


TOKENS = {name: cells(0x2000 + index) for index, name in enumerate(sorted(SERVICES))}
FUNCTION = Node("e1000@0", {"reg": cells(0x1000, 0, 0, 0, 0), "vendor-id": cells(0x8086)})
BRIDGE = Node(
    "pci@800000020000000",
    {
        "reg": cells(0x0800_0000, 0x2000_0000),
        "ibm,dma-window": cells(0x8000_0001, 0, 0, 0, 0x4000_0000),
        "ibm,ddw-applicable": cells(1, 2, 3),
        "ibm,drc-indexes": cells(2, 0x4000_0000, 0x4000_0001),
        "ibm,drc-names": cells(2) + b"C0\0C1\0",
        "ibm,drc-types": cells(2) + b"28\0" * 2,
        "ibm,drc-power-domains": cells(2, 0xFFFF_FFFF, 0xFFFF_FFFF),
    },
    {"e1000@0": FUNCTION},
)
TREE = Node("", {}, {"rtas": Node("rtas", TOKENS), BRIDGE.name: BRIDGE})
ENVIRONMENT = Environment((Region(0, 256 << 20),), AGENT, Region(0xFE0_0000, 0x5000), TREE)


def program(number: int, seed: int = 1, calls: int = 600, shares: Shares = USUAL) -> list[Step]:
    programs = Programs(ENVIRONMENT, Registry(), seed, shares)
    return [step for chunk in programs.chunks(number, calls) for step in chunk]


def test_seed_and_number_fix_a_program_whatever_was_made_before() -> None:
    programs = Programs(ENVIRONMENT, Registry(), 1)
    list(programs.chunks(0, 50))
    assert [step for chunk in programs.chunks(3, 600) for step in chunk] == program(3)
    assert program(3) != program(4)
    assert program(3) != program(3, seed=2)


def test_every_service_is_called_in_time() -> None:
    shares = replace(USUAL, alone=0.005)
    steps = [step for n in range(60) for step in program(n, calls=300, shares=shares)]
    called = {step.service for step in steps if isinstance(step, Rtas)}
    assert called >= set(SERVICES)


def test_what_ends_the_machine_comes_last() -> None:
    for number in range(20):
        *others, last = [step for step in program(number, calls=100) if isinstance(step, Rtas | Call)]
        assert not any(isinstance(step, Rtas) and step.service in FINAL for step in others), last


def test_what_was_deferred_comes_before_the_call_that_ends_the_machine() -> None:
    deferred: list[Step] = []
    ends = 0
    for number in range(20):
        deferred.clear()
        seen: list[Step] = []
        for chunk in Programs(ENVIRONMENT, Registry(), 1).chunks(number, 100, deferred):
            if len(seen) == 1:
                deferred.append(Call(0xF777))  # while the program is under way
            seen += chunk
        last = isinstance(seen[-1], Rtas) and seen[-1].service in FINAL
        ends += last
        assert seen.index(Call(0xF777)) == len(seen) - 1 - last
    assert 0 < ends < 20


def test_what_may_leave_qemu_ready_to_abort_stands_alone() -> None:
    for number in range(10):
        for chunk in Programs(ENVIRONMENT, Registry(), 1).chunks(number, 600):
            if any(isinstance(step, Rtas) and step.service in FRAGILE for step in chunk):
                assert len(chunk) == 1


def test_references_are_to_calls_of_earlier_chunks() -> None:
    used = 0
    for number in range(20):
        known: set[str] = set()
        for chunk in Programs(ENVIRONMENT, Registry(), 1, Shares(alone=0.6)).chunks(number, 3000):
            for step in chunk:
                for value in getattr(step, "args", ()):
                    if isinstance(value, Ref):
                        used += 1
                        assert value.text[1:].partition(".")[0] in known
            known |= {step.name for step in chunk if step.name}
    assert used


def test_what_cannot_share_a_batch_comes_last_in_its_chunks() -> None:
    programs = Programs(ENVIRONMENT, Registry(), 1, Shares(alone=0.2, host=0.1))
    chunks = list(programs.chunks(0, 2 * CHUNK))
    assert sum(len(chunk) > AREAS for chunk in chunks) == 2
    apart = [chunk[0] for chunk in chunks[1:] if len(chunk) == 1]
    assert any(isinstance(step, Host) for step in apart)
    assert {step.opcode for step in apart if isinstance(step, Call)} == SOLE
    buffers = [SERVICES[str(step.service)].buffers for step in apart if isinstance(step, Rtas)]
    assert buffers.count(None) > 10


def test_a_connector_is_made_ready_and_walked_over_several_chunks_in_one_area() -> None:
    function = Node("e1000@0", {**FUNCTION.properties, "ibm,my-drc-index": cells(0x4000_0000)})
    bridge = replace(BRIDGE, children={function.name: function})
    tree = replace(TREE, children={**TREE.children, BRIDGE.name: bridge})
    programs = Programs(replace(ENVIRONMENT, tree=tree), Registry(), 1)
    connectors: dict[Value, Value] = {}
    steps: dict[Value, int] = {}
    isolations: list[Value] = []
    for chunk in programs.chunks(0, 12 * CHUNK):
        areas = []
        for step in chunk:
            if isinstance(step, Seed) and step.cells:
                connectors[step.address], steps[step.address] = step.cells[0], 0
            elif isinstance(step, Rtas) and step.service == "ibm,configure-connector":
                areas += [step.args[0]] if step.args[1] == 0 and step.args[0] in connectors else []
            elif isinstance(step, Rtas) and step.args[:2] == (ISOLATION, 0x4000_0000):
                isolations += step.args[2:]
        assert len(set(areas)) == len(areas)
        assert len(set(connectors.values())) == len(connectors)
        steps |= {area: steps[area] + 1 for area in areas}
    assert len(steps) == AREAS
    assert max(steps.values()) > 5
    assert 0x4000_0000 in connectors.values()
    assert isolations[:2] == [0, 1]


def test_a_footprint_is_that_of_the_expectation() -> None:
    model, seen = Model(ENVIRONMENT), 0
    for number in range(4):
        for step in program(number, shares=Shares(returned=0.0, alone=0.1, odd_shape=0.3, odd_block=0.1)):
            for resolved in resolve_step(step, Names(), ENVIRONMENT):
                if isinstance(resolved, Seed):
                    assert isinstance(resolved.address, int)
                    model.memory.write(resolved.address, resolved.data)
                elif isinstance(resolved, Call):
                    footprint = model.footprint(resolved)
                    assert footprint == model.expect(resolved).footprint, step
                    seen += footprint is not None
    assert seen > 1000


def test_seeds_and_blocks_leave_the_agent_alone() -> None:
    for number in range(20):
        for step in program(number):
            if isinstance(step, Seed):
                assert isinstance(step.address, int)
                assert not AGENT.overlaps(step.address, len(step.data))
            if isinstance(step, Rtas):
                assert isinstance(step.block, int)
                assert step.block >= AGENT.end


@given(st.integers(), st.sampled_from(list(Kind)), st.sampled_from([32, 64]))
def test_values_fit_their_cells_and_no_address_is_the_agents(seed: int, kind: Kind, bits: int) -> None:
    value = Vocabulary.of(ENVIRONMENT).draw(random.Random(seed), kind, bits, (0x100_0000,))
    assert 0 <= value < 1 << bits
    if kind is Kind.ADDRESS:
        assert value >= AGENT.end
    if kind is Kind.COUNT:
        assert value < 4096 or value > MAX_COUNT


def test_the_device_tree_is_read() -> None:
    named = Vocabulary.of(ENVIRONMENT).named
    assert 0x0800_0000 in named[Kind.BUID_HIGH]
    assert 0x8000_0001 in named[Kind.LIOBN]
    assert {0x4000_0000, 0x4000_0001} <= set(named[Kind.DRC])
    assert 0x1010 in named[Kind.CONFIG_ADDRESS]


def test_limits_are_drawn_often() -> None:
    rng = random.Random(1)
    drawn = [edge(rng, 64) for _ in range(2000)]
    assert {0, 1, MASK64} <= set(drawn)
    assert sum((value & (value - 1)) == 0 for value in drawn) > 200


def test_the_calls_of_other_packages_are_drawn_the_same_way() -> None:
    def expect(_: object, __: object) -> Expectation:
        return Expectation("H_OTHER", (returns(0),))

    other = Hypercall(0xF777, "H_OTHER", (Argument("x", Kind.MASK),), "", "", expect)
    programs = Programs(ENVIRONMENT, Registry((other,)), 1, Shares(hypercalls=0.5))
    steps = [step for chunk in programs.chunks(0, 200) for step in chunk if isinstance(step, Call)]
    assert steps
    assert {step.opcode for step in steps} == {0xF777}
