"""H_LOGICAL_MEMOP against a byte-by-byte oracle, and rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.model.address import SPACE
from rig.model.expectation import Case, Expectation, OneOf
from rig.model.hypercall import H_PARAMETER, H_SUCCESS, MASK64
from rig.model.memop import MAX_COUNT
from rig.model.memory import Memory
from rig.model.model import Model
from rig.program import H_LOGICAL_MEMOP, Call

RAM_END = 0x10000
PARAMETER = H_PARAMETER & MASK64
WINDOW = 0x2000_8000_0000


def memop(dst: int, src: int, esize: int, count: int, op: int) -> Call:
    return Call(H_LOGICAL_MEMOP, (dst, src, esize, count, op))


def r3(expectation: Expectation) -> list[int]:
    return [case.registers["r3"].canonical for case in expectation.cases]


def breaches(expectation: Expectation) -> list[str | None]:
    return [case.breach.check if case.breach else None for case in expectation.cases]


def apply(memory: Memory, case: Case) -> None:
    for write in case.writes:
        memory.write(write.address, write.data)


def oracle(data: bytearray, dst: int, src: int, esize: int, count: int, name: str) -> None:
    """What the founding patch's loop does, one element after another; RAM is ``data`` at 0."""
    size = 1 << esize
    order = range(count)
    if dst >= src and dst < (src + count * size) % SPACE:
        order = order[::-1]
    for index in order:
        target = (dst + index * size) % SPACE
        source = (src + index * size) % SPACE
        value = bytes(data[source : source + size]) if source + size <= len(data) else bytes(size)
        old = bytes(data[target : target + size]) if target + size <= len(data) else bytes(size)
        if name == "invert":
            value = bytes(byte ^ 0xFF for byte in value)
        elif name == "xor":
            value = bytes(a ^ b for a, b in zip(value, old, strict=True))
        if target + size <= len(data):
            data[target : target + size] = value


#: near the ends of RAM and of the address space, where the rules meet
NEAR = st.one_of(
    st.integers(0, 0x80),
    st.integers(RAM_END - 0x80, RAM_END + 0x40),
    st.integers(SPACE - 0x80, SPACE - 1),
)


@settings(deadline=None, max_examples=300)
@given(
    dst=NEAR,
    src=NEAR,
    esize=st.integers(0, 3),
    count=st.integers(1, 96),
    op=st.integers(0, 1),
    data=st.data(),
)
def test_every_case_stores_what_an_element_by_element_machine_would(
    environment, dst: int, src: int, esize: int, count: int, op: int, data: st.DataObject
) -> None:
    dst, src = dst >> esize << esize, src >> esize << esize
    model = Model(environment())
    ram = bytearray(RAM_END)
    ram[:0x200] = data.draw(st.binary(min_size=0x200, max_size=0x200))
    ram[-0x200:] = data.draw(st.binary(min_size=0x200, max_size=0x200))
    model.memory.write(0, bytes(ram))
    cases = model.expect(memop(dst, src, esize, count, op)).cases
    performed = [case for case in cases if case.registers["r3"].permits(H_SUCCESS)]
    assert [case.name for case in performed] == [["copy"], ["invert", "xor"]][op]
    for case in performed:
        wanted = bytearray(ram)
        oracle(wanted, dst, src, esize, count, case.name)
        memory = Memory(model.memory.ram)
        memory.write(0, bytes(ram))
        apply(memory, case)
        assert memory.read(0, RAM_END) == wanted


@settings(deadline=None)
@given(offset=st.integers(-64, 64), count=st.integers(1, 64), content=st.binary(min_size=256, max_size=256))
def test_a_copy_inside_ram_is_memmove(environment, offset: int, count: int, content: bytes) -> None:
    model = Model(environment())
    model.memory.write(0x1000, content)
    (case,) = model.expect(memop(0x1060 + offset, 0x1060, 0, count, 0)).cases
    apply(model.memory, case)
    wanted = bytearray(content)
    wanted[0x60 + offset : 0x60 + offset + count] = content[0x60 : 0x60 + count]
    assert model.memory.read(0x1000, 256) == wanted


def test_a_copy_crosses_adjacent_regions_and_gaps_as_one_range(environment) -> None:
    model = Model(environment(((0, 0x1000), (0x1000, 0x1000), (0x3000, 0x1000))))
    model.memory.write(0xFF0, bytes(range(32)))
    (case,) = model.expect(memop(0xFF4, 0xFF0, 2, 8, 0)).cases
    apply(model.memory, case)
    assert model.memory.read(0xFF0, 36) == bytes([0, 1, 2, 3, *range(32)])
    refused, performed = model.expect(memop(0x1FF0, 0x100, 3, 0x1010 // 8 + 2, 0)).cases
    assert not refused.writes
    assert [(write.address, len(write.data)) for write in performed.writes] == [(0x1FF0, 16), (0x3000, 16)]


def test_stores_that_a_wrapped_source_hides_reach_into_the_next_region(environment) -> None:
    top = SPACE - 0x1000
    model = Model(environment(((0, 0x1000), (top, 0x1000))))
    model.memory.write(top + 0xFE0, bytes(range(32)))
    model.memory.write(0, b"\xee" * 64)
    performed = model.expect(memop(SPACE - 16, SPACE - 32, 3, 8, 0)).cases[-1]
    apply(model.memory, performed)
    # two elements' distance: the first two repeat all along
    assert model.memory.read(0, 48) == bytes(range(16)) * 3


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ((0, 0, 0, MAX_COUNT + 1, 0), "count-over-limit"),
        ((0, 0, 0, MASK64, 0), "count-over-limit"),
        ((0x1001, 0x1000, 1, 1, 0), "misaligned"),
        ((0x1000, 0x1002, 2, 1, 0), "misaligned"),
        ((0x1004, 0x1000, 3, 0, 0), "misaligned"),
        ((0x1000, 0x2000, 4, 1, 0), "invalid-esize"),
        ((0x1000, 0x2000, 4, 0, 0), "invalid-esize"),
        ((0x1000, 0x2000, 30, 0, 0), "invalid-esize"),
        ((0x1000, 0x2000, MASK64, 1, 0), "invalid-esize"),
        ((0x1000, 0x2000, 0, 1, 2), "op-over-1"),
        ((0x1000, 0x2000, 0, 0, 2), "op-over-1"),
        ((0x1000, 0x2000, 0, 1, 1 << 32), "op-over-1"),
    ],
)
def test_an_invalid_argument_is_refused(model: Model, arguments: tuple[int, ...], fact: str) -> None:
    expectation = model.expect(Call(H_LOGICAL_MEMOP, arguments))
    assert r3(expectation) == [PARAMETER]
    assert fact in expectation.facts
    (case,) = expectation.cases
    assert (case.writes, case.scratch, case.cells) == ((), (), ())
    assert not case.registers["r3"].permits(H_SUCCESS)


def test_the_largest_count_is_accepted_and_only_ram_is_computed(model: Model) -> None:
    expectation = model.expect(memop(0, 0x8, 3, MAX_COUNT, 0))
    assert "count-over-limit" not in expectation.facts
    assert breaches(expectation) == [None, "memop.outside-memory"]
    assert sum(len(write.data) for write in expectation.cases[1].writes) == RAM_END


def test_count_zero_touches_nothing_wherever_it_points(model: Model) -> None:
    for op in (0, 1):
        expectation = model.expect(memop(0xFFFF_0000_0000, WINDOW, 3, 0, op))
        assert r3(expectation) == [H_SUCCESS]
        assert "count-zero" in expectation.facts
        assert not expectation.cases[0].writes


@pytest.mark.parametrize("esize", [31, 32, 63, 64, 67, MASK64])
def test_an_undefined_shift_leaves_only_the_return_code_open(model: Model, esize: int) -> None:
    (case,) = model.expect(memop(1, 2, esize, 0, 0)).cases
    assert case.registers["r3"] == OneOf((PARAMETER, H_SUCCESS))
    assert (case.writes, case.scratch) == ((), ())
    (case,) = model.expect(memop(1, 2, esize, 0, 2)).cases
    assert not case.registers["r3"].permits(H_SUCCESS)


@pytest.mark.parametrize(
    ("dst", "src", "facts"),
    [
        (RAM_END, 0, {"destination-outside"}),
        (0, RAM_END, {"source-outside"}),
        (RAM_END - 8, 0, {"destination-outside", "destination-straddles-end"}),
        (0, RAM_END - 8, {"source-outside", "source-straddles-end"}),
        (0x100, SPACE - 8, {"source-outside", "source-straddles-end", "wraps"}),
        (RAM_END - 16, 0, set()),
    ],
)
def test_a_range_that_is_not_all_memory_must_be_refused(
    model: Model, dst: int, src: int, facts: set[str]
) -> None:
    expectation = model.expect(memop(dst, src, 3, 2, 0))
    assert expectation.facts == facts
    assert breaches(expectation) == ([None, "memop.outside-memory"] if facts else [None])
    assert r3(expectation) == ([PARAMETER, H_SUCCESS] if facts else [H_SUCCESS])


@pytest.mark.parametrize(
    ("dst", "src", "fact"),
    [
        (0x108, 0x100, "overlap-backward"),
        (0x100, 0x108, "overlap-forward"),
        (0x100, 0x100, "in-place"),
        (0x110, 0x100, None),
        (0x100, 0x110, None),
    ],
)
def test_overlap_is_a_fact(model: Model, dst: int, src: int, fact: str | None) -> None:
    assert model.expect(memop(dst, src, 3, 2, 0)).facts == ({fact} if fact else set())


def test_operation_1_is_invert_for_its_users_and_xor_by_the_document(model: Model) -> None:
    model.memory.write(0x100, b"\x0f\xf0")
    model.memory.write(0x200, b"\x01\x02")
    expectation = model.expect(memop(0x100, 0x200, 0, 2, 1))
    invert, xor = expectation.cases
    assert breaches(expectation) == ["memop.xor-inverts", None]
    assert invert.writes[0].data == b"\xfe\xfd"
    assert xor.writes[0].data == b"\x0e\xf2"


@pytest.mark.parametrize("op", [2, 3, MASK64])
def test_the_posted_patch_inverts_for_every_other_operation(environment, op: int) -> None:
    model = Model(environment(), "posted-v2")
    (case,) = model.expect(memop(0x100, 0x200, 0, 2, op)).cases
    assert case.name == "invert"
    assert case.breach is None
    assert case.writes[0].data == b"\xff\xff"


def test_a_device_may_answer_in_a_window(model: Model) -> None:
    expectation = model.expect(memop(0x100, WINDOW, 2, 4, 0))
    (case,) = expectation.cases
    assert "mmio" in expectation.facts
    assert expectation.footprint is None
    assert case.registers["r3"].permits(H_SUCCESS)
    assert case.registers["r3"].permits(PARAMETER)
    assert not case.registers["r3"].permits(1)
    assert [(scratch.address, scratch.length) for scratch in case.scratch] == [(0x100, 16)]
    (case,) = model.expect(memop(WINDOW, 0x100, 2, 4, 0)).cases
    assert not case.scratch


def test_the_footprint_is_both_ranges_as_far_as_they_are_ram(model: Model) -> None:
    assert model.expect(memop(0x100, 0x200, 1, 4, 0)).footprint == ((0x100, 8), (0x200, 8))
    assert model.expect(memop(RAM_END - 4, 0x200, 1, 4, 0)).footprint == ((RAM_END - 4, 4), (0x200, 8))
    assert model.expect(memop(0x100, 0x200, 1, 0, 0)).footprint == ()


def test_the_judge_knows_an_inverting_build_by_name(model: Model, judge) -> None:
    model.memory.write(0x200, b"\x01\x02\x03\x04")

    def inverts(memory: Memory) -> int:
        memory.write(0x100, b"\xfe\xfd\xfc\xfb")
        return H_SUCCESS

    case, checks = judge(model, memop(0x100, 0x200, 2, 1, 1), inverts)
    assert case.name == "invert"
    assert checks == ["memop.xor-inverts"]


def test_where_invert_and_xor_agree_nothing_is_reported(model: Model, judge) -> None:
    model.memory.write(0x100, b"\xff\xff")

    def stores(memory: Memory) -> int:
        memory.write(0x100, b"\xff\xff")
        return H_SUCCESS

    assert judge(model, memop(0x100, 0x200, 1, 1, 1), stores)[1] == []


def test_the_judge_reports_a_lax_build_once(model: Model, judge) -> None:
    model.memory.write(RAM_END - 8, b"\x11" * 8)

    def lax(memory: Memory) -> int:
        memory.write(0x100, b"\x11" * 8 + bytes(8))
        return H_SUCCESS

    assert judge(model, memop(0x100, RAM_END - 8, 3, 2, 0), lax)[1] == ["memop.outside-memory"]
    assert judge(model, memop(0x100, RAM_END - 8, 3, 2, 0), lambda _: H_PARAMETER)[1] == []


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (lambda memory: memory.write(0x100, b"\1\2\3\3"), "memory"),
        (lambda memory: memory.write(0x104, b"\1"), "memory"),
        (lambda memory: memory.write(0x200, b"\0"), "memory"),
    ],
)
def test_a_wrong_byte_anywhere_is_rejected(model: Model, judge, wrong, check: str) -> None:
    model.memory.write(0x200, b"\1\2\3\4")

    def build(memory: Memory) -> int:
        memory.write(0x100, b"\1\2\3\4")
        wrong(memory)
        return H_SUCCESS

    assert judge(model, memop(0x100, 0x200, 0, 4, 0), build)[1] == [check]


def test_a_wrong_return_code_is_rejected(model: Model, judge) -> None:
    assert judge(model, memop(0x100, 0x200, 4, 1, 0), lambda _: H_SUCCESS)[1] == ["r3"]
    assert judge(model, memop(0x100, 0x200, 4, 0, 0), lambda _: H_SUCCESS)[1] == ["r3"]
    # the low half alone does not make H_PARAMETER
    assert judge(model, memop(0x100, 0x200, 4, 1, 0), lambda _: 0xFFFF_FFFC)[1] == ["r3"]


def test_sixteen_mebibytes_are_one_write(environment) -> None:
    size = 16 << 20
    model = Model(environment(((0, 4 * size),)))
    model.memory.write(size - 4, b"edge")
    (case,) = model.expect(memop(size, 0, 3, size // 8, 0)).cases
    (write,) = case.writes
    assert (write.address, len(write.data), write.data[-4:]) == (size, size, b"edge")
