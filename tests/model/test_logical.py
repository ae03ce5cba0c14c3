"""The logical loads and stores, and the cache calls."""

from __future__ import annotations

import pytest

from rig.model.expectation import UNSPECIFIED, OneOf
from rig.model.hypercall import H_PARAMETER, H_SUCCESS, MASK64
from rig.model.memory import Memory
from rig.model.model import Model
from rig.program import Call

CI_LOAD, CI_STORE, CACHE_LOAD, CACHE_STORE, ICBI, DCBF = range(0x3C, 0x54, 4)
RAM_END = 0x10000
WINDOW = 0x2000_8000_0000
NOWHERE = 0x1000_0000


def checks(model: Model, opcode: int, *args: int) -> list[str | None]:
    """For each case, in order, its breach or None."""
    return [case.breach.check if case.breach else None for case in model.expect(Call(opcode, args)).cases]


@pytest.mark.parametrize("opcode", [CI_LOAD, CI_STORE, CACHE_LOAD, CACHE_STORE])
@pytest.mark.parametrize("size", [0, 3, 5, 16, 1 << 32 | 1, MASK64])
def test_another_size_is_refused(model: Model, opcode: int, size: int) -> None:
    expectation = model.expect(Call(opcode, (size, 0x100, 0)))
    (case,) = expectation.cases
    assert case.registers["r3"].canonical == H_PARAMETER & MASK64
    assert expectation.facts == {"invalid-size"}


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_ram_is_loaded_big_endian_with_either_extension(model: Model, size: int) -> None:
    data = b"\x81\x02\x03\x04\x05\x06\x07\x08"
    model.memory.write(0x100, data)
    (case,) = model.expect(Call(CACHE_LOAD, (size, 0x100))).cases
    value = int.from_bytes(data[:size], "big")
    extended = int.from_bytes(data[:size], "big", signed=True) & MASK64
    assert case.registers["r4"] == OneOf((value, extended))
    assert not case.writes


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_low_order_bytes_are_stored(model: Model, size: int) -> None:
    (case,) = model.expect(Call(CACHE_STORE, (size, 0x100, 0x1122_3344_5566_7788))).cases
    (write,) = case.writes
    assert (write.address, write.data) == (0x100, b"\x11\x22\x33\x44\x55\x66\x77\x88"[-size:])


@pytest.mark.parametrize("opcode", [CI_LOAD, CI_STORE])
def test_ram_is_refused_for_cache_inhibited_access(model: Model, opcode: int) -> None:
    assert checks(model, opcode, 4, 0x100, 0) == [None, "logical.ci-on-ram"]


@pytest.mark.parametrize("opcode", [CI_LOAD, CI_STORE, CACHE_LOAD, CACHE_STORE])
def test_an_unaligned_or_outside_address_is_refused(model: Model, opcode: int) -> None:
    assert checks(model, opcode, 4, 0x102, 0) == [None, "logical.unaligned"]
    assert checks(model, opcode, 4, NOWHERE, 0) == [None, "logical.outside-memory"]
    assert checks(model, opcode, 4, RAM_END, 0) == [None, "logical.outside-memory"]
    assert checks(model, opcode, 8, MASK64 - 7, 0) == [None, "logical.outside-memory"]


def test_a_lax_load_from_nowhere_gives_zero(model: Model) -> None:
    lax = model.expect(Call(CI_LOAD, (8, NOWHERE))).cases[1]
    assert lax.registers["r4"].canonical == 0
    assert not lax.registers["r4"].permits(1)


def test_across_the_end_of_ram_only_what_is_ram_is_open(model: Model) -> None:
    load = model.expect(Call(CACHE_LOAD, (4, RAM_END - 2)))
    assert "straddles-end" in load.facts
    assert load.cases[1].registers["r4"] == UNSPECIFIED
    store = model.expect(Call(CACHE_STORE, (4, RAM_END - 2, 0))).cases[1]
    assert [(scratch.address, scratch.length) for scratch in store.scratch] == [(RAM_END - 2, 2)]


@pytest.mark.parametrize("opcode", [CI_LOAD, CI_STORE, CACHE_LOAD, CACHE_STORE])
def test_a_window_may_be_answered_or_refused(model: Model, opcode: int) -> None:
    expectation = model.expect(Call(opcode, (4, WINDOW, 0)))
    assert [case.registers["r3"].canonical for case in expectation.cases] == [
        H_SUCCESS,
        H_PARAMETER & MASK64,
    ]
    assert expectation.footprint is None
    assert checks(model, opcode, 4, WINDOW + 1, 0) == [None, "logical.unaligned"]


@pytest.mark.parametrize("opcode", [ICBI, DCBF])
def test_cache_calls_change_nothing(model: Model, judge, opcode: int) -> None:
    call = Call(opcode, (8, 0x100))
    assert judge(model, call, lambda _: H_SUCCESS)[1] == []
    assert judge(model, call, lambda _: H_PARAMETER)[1] == ["r3"]

    def touches(memory: Memory) -> int:
        memory.write(0x100, b"\1")
        return H_SUCCESS

    assert judge(model, call, touches)[1] == ["memory"]


def test_the_judge_rejects_a_wrong_value_and_a_wrong_store(model: Model, judge) -> None:
    model.memory.write(0x100, b"\x81\x02")
    load = Call(CACHE_LOAD, (2, 0x100))
    assert judge(model, load, lambda _: {"r3": 0, "r4": 0x8102})[1] == []
    assert judge(model, load, lambda _: {"r3": 0, "r4": 0xFFFF_FFFF_FFFF_8102})[1] == []
    assert judge(model, load, lambda _: {"r3": 0, "r4": 0x0281})[1] == ["r4"]
    assert judge(model, load, lambda _: {"r3": 0, "r4": 0xFFFF_8102})[1] == ["r4"]

    def little(memory: Memory) -> int:
        memory.write(0x200, b"\x02\x01")
        return H_SUCCESS

    assert judge(model, Call(CACHE_STORE, (2, 0x200, 0x0102)), little)[1] == ["memory"]


def test_the_judge_reports_a_lax_build_once(model: Model, judge) -> None:
    model.memory.write(0x100, b"\x01\x02\x03\x04\x05")
    lax = {"r3": 0, "r4": 0x0203_0405}
    assert judge(model, Call(CI_LOAD, (4, 0x101)), lambda _: lax)[1] == ["logical.unaligned"]
    assert judge(model, Call(CI_LOAD, (4, 0x100)), lambda _: {"r3": 0, "r4": 0x0102_0304})[1] == [
        "logical.ci-on-ram"
    ]
