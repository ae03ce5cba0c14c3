"""Calls at once: an order of whole calls is found when there is one, and nothing else passes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rig.check import orders
from rig.model.environment import Environment, Node, Region
from rig.model.memory import Memory
from rig.model.model import Model
from rig.program import H_LOGICAL_MEMOP, Call, Outcome

RAM = Region(0, 0x4000)
TARGET, ONE, TWO, SIZE = 0x100, 0x200, 0x300, 0x40
DONE = Outcome(registers={"r3": 0})


def copy(destination: int, source: int, cpu: int) -> Call:
    return Call(H_LOGICAL_MEMOP, (destination, source, 3, SIZE // 8, 0), cpu=cpu)


def model() -> Model:
    made = Model(Environment((RAM,), Region(0, 0), Region(0, 0), Node("")))
    made.memory.write(ONE, b"\x11" * SIZE)
    made.memory.write(TWO, b"\x22" * SIZE)
    return made


def observed(target: bytes, *more: tuple[int, bytes]) -> Memory:
    memory = Memory((RAM,))
    memory.write(ONE, b"\x11" * SIZE)
    memory.write(TWO, b"\x22" * SIZE)
    for address, data in ((TARGET, target), *more):
        memory.write(address, data)
    return memory


def order(
    calls: Sequence[Call], memory: Memory, free: Sequence[tuple[int, int]] = (), outcome: Outcome = DONE
) -> list[int] | None:
    found = orders.explain(model(), dict(enumerate(calls)), [outcome] * len(calls), memory, free)
    return None if found is None else [one.part for one in found]


TWO_COPIES = (copy(TARGET, ONE, 0), copy(TARGET, TWO, 1))


@pytest.mark.parametrize(("byte", "expected"), [(0x22, [0, 1]), (0x11, [1, 0])])
def test_either_order_of_two_copies_is_found(byte: int, expected: list[int]) -> None:
    assert order(TWO_COPIES, observed(bytes([byte]) * SIZE)) == expected


def test_a_mixture_of_two_copies_has_no_order() -> None:
    assert order(TWO_COPIES, observed(b"\x11" * 8 + b"\x22" * (SIZE - 8))) is None


def test_the_order_of_one_cpu_is_kept() -> None:
    calls = (copy(TARGET, ONE, 0), copy(TARGET, TWO, 0))
    assert order(calls, observed(b"\x22" * SIZE)) == [0, 1]
    assert order(calls, observed(b"\x11" * SIZE)) is None


def test_a_copy_seen_only_in_another_one_counts() -> None:
    calls = (*TWO_COPIES, copy(0x400, TARGET, 1))
    passed_on = observed(b"\x11" * SIZE, (0x400, b"\x22" * SIZE))
    assert order(calls, passed_on) == [1, 2, 0]
    assert order(calls, observed(b"\x11" * SIZE, (0x400, bytes(SIZE)))) is None


def test_a_register_that_no_order_gives_is_not_explained() -> None:
    wrong = Outcome(registers={"r3": (1 << 64) - 4})
    assert order(TWO_COPIES, observed(b"\x22" * SIZE), outcome=wrong) is None


def test_free_bytes_are_not_looked_at() -> None:
    mixed = observed(b"\x11" * 8 + b"\x22" * (SIZE - 8))
    assert order(TWO_COPIES, mixed, [(TARGET, 8)]) is not None
    assert order(TWO_COPIES, mixed, [(TARGET, 4)]) is None


def test_the_models_memory_is_as_observed_or_as_it_was() -> None:
    for byte, left in ((0x11, b"\x11" * SIZE), (0x33, bytes(SIZE))):
        made = model()
        orders.explain(made, dict(enumerate(TWO_COPIES)), [DONE, DONE], observed(bytes([byte]) * SIZE))
        assert made.memory.read(TARGET, SIZE) == left


def test_many_calls_that_do_not_meet_are_few_states() -> None:
    calls = [copy(0x1000 + 0x40 * n, ONE, n % 4) for n in range(24)]
    memory = observed(bytes(SIZE), (0x1000, b"\x11" * 0x40 * 24))
    found = order(calls, memory)
    assert found is not None
    assert sorted(found) == list(range(24))
