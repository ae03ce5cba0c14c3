"""Whole batches are judged as the scalar model judges their calls, and every single difference is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from rig.campaign.batch import WRAPPING, Batch, draw, pool
from rig.campaign.layout import ARENA, EDGE, Layout
from rig.campaign.mix import DEFAULT
from rig.campaign.verification import MEMORY, OTHER, REFUSED, SUCCEEDED, VALUE, Kind, Seen, Verification
from rig.model.environment import Environment, Node, Region
from rig.model.hypercall import H_HARDWARE, H_PARAMETER, unsigned
from rig.model.logical import H_LOGICAL_CACHE_LOAD, H_LOGICAL_CI_LOAD
from rig.model.model import Model
from rig.model.target import ModelTarget
from rig.model.vectorised.field import U64, Bytes
from rig.program import H_LOGICAL_MEMOP

END = 256 << 20
SIZE = 768
ENVIRONMENT = Environment((Region(0, END),), Region(0, 0x80_0000), Region(0, 0), Node(""))
LAYOUT = Layout.of(ENVIRONMENT)
MEMORY_POOL = pool(5)


@dataclass
class Run:
    """A batch as the scalar model, in the guest's place, has left it."""

    batch: Batch
    r3: U64
    r4: U64
    arena: Bytes
    edge: Bytes

    def verification(self) -> Verification:
        number = self.batch.number
        field = LAYOUT.field(number % 2)
        field.data[: len(self.batch.content)] = self.batch.content
        if number % 2:
            field.data[ARENA : ARENA + EDGE] = self.batch.edge
        return Verification(self.batch, SIZE, field, "merged", "invert")

    def judged(self) -> list[Seen]:
        return self.verification().run(self.r3, self.r4, self.arena, self.edge)

    def unexpected(self) -> list[Kind]:
        """Kinds that differ otherwise than by operation 1, which the document and the patch tell apart."""
        return [
            one.kind
            for one in self.judged()
            if not (one.kind.opcode == H_LOGICAL_MEMOP and one.kind.difference == SUCCEEDED)
        ]


def executed(number: int) -> Run:
    batch = draw(5, number, DEFAULT, SIZE, LAYOUT, MEMORY_POOL)
    target = ModelTarget(Model(ENVIRONMENT))
    target.memory.write(batch.arena, batch.content.tobytes())
    target.memory.write(LAYOUT.edge.start, batch.edge.tobytes())
    outcomes = target.call([batch.call(index) for index in range(SIZE)])
    r3, r4 = (np.array([one.registers[name] for one in outcomes], np.uint64) for name in ("r3", "r4"))
    arena = np.zeros(ARENA, np.uint8)
    used = len(batch.content)
    arena[:used] = np.frombuffer(target.memory.read(batch.arena, used), np.uint8)
    edge = np.frombuffer(bytearray(target.memory.read(LAYOUT.edge.start, EDGE)), np.uint8)
    return Run(batch, r3, r4, arena, edge)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 8])
def test_what_the_scalar_model_leaves_conforms(number: int) -> None:
    assert executed(number).unexpected() == []


def test_what_shares_a_cell_with_a_call_left_to_the_scalar_model_is_left_to_it_too() -> None:
    """One that runs over the top of the address space in a cell from which another loads later."""
    for number in range(WRAPPING // 2, 1000 * WRAPPING, WRAPPING):
        batch = draw(5, number, DEFAULT, SIZE, LAYOUT, MEMORY_POOL)
        (over,) = np.flatnonzero(batch.registers[2] >= np.uint64((1 << 64) - 64))
        companions = batch.companions(int(over))
        opcodes = batch.registers[0, list(companions)]
        if set(opcodes[companions.index(over) + 1 :].tolist()) & {H_LOGICAL_CACHE_LOAD, H_LOGICAL_CI_LOAD}:
            break
    run = executed(number)
    assert set(companions) <= set(run.verification().deferred)
    # What memory held at the bottom of the address space is no matter of the batch.
    run.arena[slice(*batch.cell(int(over)))] = 0xA5
    run.r4[list(companions)] = 0xA5
    assert run.unexpected() == []


def first(run: Run, wanted: Callable[[list[int]], bool]) -> int:
    columns = run.batch.registers.T.tolist()
    return next(index for index, column in enumerate(columns) if wanted(column))


def plain_copy(column: list[int]) -> bool:
    opcode, dst, src, esize, count, op = column
    near = max(dst, src) < END - EDGE
    return opcode == H_LOGICAL_MEMOP and near and esize == 0 and 8 < count < 99 and op == 0


def test_a_wrong_return_code_is_seen() -> None:
    for code, difference in ((H_PARAMETER, REFUSED), (H_HARDWARE, OTHER)):
        run = executed(0)
        call = first(run, plain_copy)
        run.r3[call] = unsigned(code)
        kinds = run.unexpected()
        assert Kind(H_LOGICAL_MEMOP, 0, difference) in kinds
        assert Kind(H_LOGICAL_MEMOP, 0, MEMORY) in kinds  # what it had moved is then too much


def test_the_upper_half_of_r3_counts() -> None:
    run = executed(0)
    call = first(run, plain_copy)
    run.r3[call] |= np.uint64(1 << 32)
    assert Kind(H_LOGICAL_MEMOP, 0, OTHER) in run.unexpected()


def test_a_success_instead_of_a_refusal_is_seen() -> None:
    run = executed(0)
    call = first(run, lambda column: column[0] == H_LOGICAL_MEMOP and column[5] == 2 and column[3] < 4)
    assert run.r3[call] == unsigned(H_PARAMETER)
    run.r3[call] = 0
    assert any(one.difference == SUCCEEDED and one.situation for one in map(kind_of, run.judged()))


def kind_of(seen: Seen) -> Kind:
    return seen.kind


@pytest.mark.parametrize("where", ["inside", "first", "last", "edge"])
def test_one_wrong_byte_is_seen_and_given_to_the_call_of_its_cell(where: str) -> None:
    run = executed(1)
    call = first(run, plain_copy)
    low, high = run.batch.cell(call)
    if where == "edge":
        run.edge[-1] ^= 1
        call = run.batch.at_edge[-1]
    else:
        run.arena[{"inside": (low + high) // 2, "first": low, "last": high - 1}[where]] ^= 0x80
    (seen,) = [one for one in run.judged() if one.kind.difference == MEMORY]
    assert seen.call == max(run.batch.companions(call))
    assert seen.count == 1


def test_a_wrong_loaded_value_is_seen_and_both_extensions_are_right() -> None:
    run = executed(0)
    loads = np.flatnonzero((run.batch.registers[0] == H_LOGICAL_CACHE_LOAD) & (run.r3 == 0))
    widths = 8 * run.batch.registers[1, loads].astype(np.int64)
    negative = [
        (one, width)
        for one, width in zip(loads.tolist(), widths.tolist(), strict=True)
        if width < 64 and int(run.r4[one]) >> width - 1
    ]
    call, width = negative[0]
    run.r4[call] |= np.uint64((1 << 64) - (1 << width))
    assert run.unexpected() == []
    run.r4[call] ^= np.uint64(1 << 40)
    assert run.unexpected() == [Kind(H_LOGICAL_CACHE_LOAD, 0, VALUE)]


def test_calls_of_one_kind_are_counted_together() -> None:
    run = executed(0)
    calls = [index for index, column in enumerate(run.batch.registers.T.tolist()) if plain_copy(column)]
    run.r3[calls] = unsigned(H_HARDWARE)
    (seen,) = [one for one in run.judged() if one.kind == Kind(H_LOGICAL_MEMOP, 0, OTHER)]
    assert seen.count == len(calls)
    assert seen.call == calls[0]
