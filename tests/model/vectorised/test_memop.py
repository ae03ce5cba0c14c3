"""The vectorised memop equals the scalar one, over all arguments and both revisions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rig.model import memop
from rig.model.environment import Environment, Region
from rig.model.expectation import Expectation
from rig.model.hypercall import H_PARAMETER, H_SUCCESS, MASK64, unsigned
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.vectorised.field import Field, Span
from rig.model.vectorised.memop import MAX_LENGTH, Meaning, Moves, judge, move, stores
from rig.program import H_LOGICAL_MEMOP, Call

RAM_END = 0x10000
WINDOW = Region(0x2000_8000_0000, 0x1000)
CONTENT = np.random.Generator(np.random.PCG64(7)).integers(0, 256, RAM_END, np.uint8)

near = st.integers(-40, 40)
addresses = st.one_of(
    st.integers(0, 600),
    st.builds(lambda at, off: at + off, st.sampled_from((RAM_END, WINDOW.start, WINDOW.end, 1 << 63)), near),
    st.integers(RAM_END - 600, RAM_END),
    st.integers(MASK64 - 600, MASK64),
    st.integers(0, MASK64),
)
counts = st.one_of(
    st.integers(0, 70), st.builds(lambda off: memop.MAX_COUNT + off, near), st.integers(0, MASK64)
)
esizes = st.one_of(
    st.integers(0, 3), st.sampled_from((4, 30, 31, 32, 63, 64, MASK64)), st.integers(0, MASK64)
)
operations = st.one_of(st.integers(0, 3), st.integers(0, MASK64))


@st.composite
def arguments(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """r4..r8, aligned more often than not, and close together often."""
    esize, dst = draw(esizes), draw(addresses)
    src = draw(st.one_of(addresses, st.integers(-70, 70).map(lambda off: (dst + off) & MASK64)))
    if draw(st.integers(0, 3)):
        dst, src = (address & ~((1 << min(esize, 3)) - 1) for address in (dst, src))
    return dst, src, esize, draw(counts), draw(operations)


def permits(expectation: Expectation, code: int) -> bool:
    return any(
        case.registers["r3"].permits(unsigned(code))
        for case in expectation.cases
        if case.breach != memop.OUTSIDE_MEMORY
    )


def predicted(
    machine: Environment, args: tuple[int, ...], revision: str, meaning: Meaning
) -> tuple[Moves, Field]:
    field = Field([Span(0, RAM_END, 0)], RAM_END)
    field.data[:RAM_END] = CONTENT
    columns = np.array(args, np.uint64)[:, None]
    calls = judge(columns, field, (WINDOW,), revision)
    which = np.flatnonzero(calls.moves)
    move(field, calls, which, stores(columns[4], meaning))
    return calls, field


@settings(max_examples=600)
@given(arguments(), st.sampled_from(memop.REVISIONS), st.sampled_from(("invert", "xor")))
@example((0x110, 0x100, 0, 32, 0), "merged", "invert")
@example((0x0F8, 0x100, 3, 4, 1), "merged", "xor")
@example((RAM_END - 8, 0, 3, 2, 0), "merged", "invert")
@example((0, RAM_END - 8, 3, 2, 0), "merged", "invert")
@example((0, 0, 31, 0, 0), "merged", "invert")
@example((0, 0, 4, 0, 0), "merged", "invert")
@example((0, MASK64 - 7, 3, 2, 0), "merged", "invert")
@example((WINDOW.start, 0, 3, 2, 0), "merged", "invert")
def test_what_is_permitted_and_what_moves_is_the_scalar_models(
    environment: Callable[[], Environment], args: tuple[int, ...], revision: str, meaning: Meaning
) -> None:
    machine = environment()
    model = Model(machine, revision)
    model.memory.write(0, CONTENT.tobytes())
    calls, field = predicted(machine, args, revision, meaning)
    expectation = model.expect(Call(H_LOGICAL_MEMOP, args))
    if calls.deferred[0]:
        deferring = {"mmio", "wraps"} & expectation.facts
        assert deferring or args[3] << args[2] > MAX_LENGTH
        return
    assert bool(calls.succeeds[0]) == permits(expectation, H_SUCCESS)
    assert bool(calls.refuses[0]) == permits(expectation, H_PARAMETER)
    after = Memory(machine.ram)
    after.write(0, CONTENT.tobytes())
    performed = [case for case in expectation.cases if case.registers["r3"].permits(H_SUCCESS)]
    if calls.moves[0]:
        wanted = meaning if args[4] == 1 else {0: "copy"}.get(args[4], "invert")
        case = next(case for case in performed if case.name == wanted)
        for write in case.writes:
            after.write(write.address, write.data)
    else:
        assert not any(case.writes for case in performed)
    assert field.data[:RAM_END].tobytes() == after.read(0, RAM_END)


@pytest.mark.parametrize("meaning", ["invert", "xor"])
def test_calls_of_a_batch_move_at_once(environment: Callable[[], Environment], meaning: Meaning) -> None:
    """Disjoint calls of all sizes, with overlaps inside each, against the scalar model one by one."""
    rng = np.random.Generator(np.random.PCG64(11))
    rows = []
    for cell in range(0, RAM_END, 256):
        esize = int(rng.integers(4))
        width = 1 << esize
        dst, src = (cell + int(rng.integers(128 // width)) * width for _ in range(2))
        rows.append((dst, src, esize, int(rng.integers(1, 128 // width + 1)), int(rng.integers(2))))
    field = Field([Span(0, RAM_END, 0)], RAM_END)
    field.data[:RAM_END] = CONTENT
    columns = np.array(rows, np.uint64).T
    calls = judge(columns, field, (), "merged")
    move(field, calls, np.arange(len(rows)), stores(columns[4], meaning))
    memory = Memory(environment().ram)
    memory.write(0, CONTENT.tobytes())
    for dst, src, esize, count, op in rows:
        operation = {"invert": memop.INVERT, "xor": memop.XOR}[meaning] if op else memop.COPY
        for write in memop.stores(memory, operation, dst, src, count << esize):
            memory.write(write.address, write.data)
    assert field.data[:RAM_END].tobytes() == memory.read(0, RAM_END)


def test_a_wrong_direction_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule is the scalar model's own: with it wrong, both leave the same wrong bytes."""
    monkeypatch.setattr(memop, "backward", lambda dst, src, length: src > dst)
    args = (0x108, 0x100, 0, 64, 1)
    field = Field([Span(0, RAM_END, 0)], RAM_END)
    field.data[:RAM_END] = CONTENT
    columns = np.array(args, np.uint64)[:, None]
    calls = judge(columns, field, (), "merged")
    assert calls.chained[0]
    move(field, calls, np.arange(1), stores(columns[4], "invert"))
    memory = Memory((Region(0, RAM_END),))
    memory.write(0, CONTENT.tobytes())
    for write in memop.stores(memory, memop.INVERT, args[0], args[1], args[3]):
        memory.write(write.address, write.data)
    assert field.data[:RAM_END].tobytes() == memory.read(0, RAM_END)
    assert field.data[0x108:0x110].tobytes() != field.data[0x110:0x118].tobytes()  # inverted again


def test_spans_lie_side_by_side() -> None:
    field = Field([Span(0x1000, 0x100, 0), Span(0xF00, 0x100, 0x100)], 0x1200)
    addresses = np.array([0x1000, 0x10FF, 0xF00, 0xFFF, 0x1100, 0x1200, MASK64], np.uint64)
    assert field.positions(addresses).tolist() == [0, 0xFF, 0x100, 0x1FF, -1, 0x200, 0x200]
    lengths = np.array([0x100, 2, 0x100, 2, 1, 1, 1], np.uint64)
    assert field.overrun(field.positions(addresses), lengths).tolist() == [False, True, False, True] + 3 * [
        False
    ]
