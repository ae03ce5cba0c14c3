"""The vectorised logical calls equal the scalar ones, over all arguments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.model.environment import Environment, Region
from rig.model.hypercall import H_PARAMETER, H_SUCCESS, MASK64, unsigned
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.vectorised.field import Field, Span
from rig.model.vectorised.logical import OPCODES, judge, load, store
from rig.program import Call

RAM_END = 0x10000
WINDOW = Region(0x2000_8000_0000, 0x1000)
CONTENT = np.random.Generator(np.random.PCG64(7)).integers(0, 256, RAM_END, np.uint8)

near = st.integers(-12, 12)
addresses = st.one_of(
    st.builds(lambda at, off: at + off, st.sampled_from((64, RAM_END, WINDOW.start, WINDOW.end)), near),
    st.integers(0, RAM_END),
    st.integers(MASK64 - 12, MASK64),
    st.integers(0, MASK64),
)
sizes = st.one_of(st.sampled_from((1, 2, 4, 8)), st.integers(0, 16), st.integers(0, MASK64))


@settings(max_examples=400)
@given(st.sampled_from(OPCODES), sizes, addresses, st.integers(0, MASK64))
def test_what_is_permitted_loaded_and_stored_is_the_scalar_models(
    environment: Callable[[], Environment], opcode: int, size: int, address: int, value: int
) -> None:
    machine = environment()
    model = Model(machine)
    model.memory.write(0, CONTENT.tobytes())
    expectation = model.expect(Call(opcode, (size, address, value)))
    field = Field([Span(0, RAM_END, 0)], RAM_END)
    field.data[:RAM_END] = CONTENT
    columns = np.array((opcode, size, address, value), np.uint64)[:, None]
    calls = judge(columns[0], columns[1:], field, (WINDOW,))
    if calls.deferred[0]:
        assert {"mmio", "straddles-end"} & expectation.facts
        return
    conforming = [case for case in expectation.cases if case.breach is None]
    for column, code in ((calls.succeeds, H_SUCCESS), (calls.refuses, H_PARAMETER)):
        assert bool(column[0]) == any(case.registers["r3"].permits(unsigned(code)) for case in conforming)
    performed = next((case for case in expectation.cases if case.registers["r3"].permits(H_SUCCESS)), None)
    if calls.loads[0]:
        assert performed is not None
        zero, sign = load(field, calls, np.arange(1))
        permitted = performed.registers["r4"]
        assert permitted.permits(int(zero[0]))
        assert permitted.permits(int(sign[0]))
        assert permitted.canonical == zero[0]
        assert not permitted.permits(int(zero[0]) ^ 1)
    else:
        assert performed is None or "r4" not in performed.registers
    after = Memory(machine.ram)
    after.write(0, CONTENT.tobytes())
    for write in performed.writes if performed else ():
        after.write(write.address, write.data)
    if calls.stores[0]:
        store(field, calls, np.arange(1))
    assert field.data[:RAM_END].tobytes() == after.read(0, RAM_END)
