"""Batches: fixed by seed and number, every call inside its cell, every limit drawn."""

from __future__ import annotations

import numpy as np
import pytest

from rig.campaign.batch import GROUP, WRAPPING, Batch, draw, pool
from rig.campaign.layout import ARENA, ARENAS, EDGE, Layout, NoRoom
from rig.campaign.mix import DEFAULT, MIXES, SLOW, SMALLEST, Mix, table
from rig.model.environment import Environment, Node, Region
from rig.model.vectorised import logical, memop
from rig.program import H_LOGICAL_MEMOP, Call, Seed

END = 256 << 20
SIZE = 4096
SEED = 3
MEMORY = pool(SEED)


def machine(ram: int = END, fdt: Region = Region(0, 0)) -> Environment:  # noqa: B008
    return Environment((Region(0, ram),), Region(0, 0x80_0000), fdt, Node(""))


LAYOUT = Layout.of(machine())


def batch(number: int, mix: Mix = DEFAULT, size: int = SIZE) -> Batch:
    return draw(SEED, number, mix, size, LAYOUT, MEMORY)


def test_seed_and_number_fix_a_batch() -> None:
    for number in range(3):
        one, other = batch(number), batch(number)
        assert (one.registers == other.registers).all()
        assert (one.content == other.content).all()
    assert (batch(0).registers != batch(2).registers).any()
    assert (batch(0).content[:64] != batch(2).content[:64]).any()
    assert (draw(4, 0, DEFAULT, SIZE, LAYOUT, MEMORY).registers != batch(0).registers).any()


def test_a_batch_does_not_depend_on_how_many_calls_of_it_run() -> None:
    """The first numbers of seed 3: whoever changes the drawing changes every campaign ever saved."""
    first = batch(0).registers[:, 0]
    assert [hex(number) for number in first.tolist()] == FIRST


FIRST = ["0xf001", "0x1000000", "0x1000008", "0x2", "0x6", "0x1"]


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("number", [0, 1, WRAPPING // 2, WRAPPING // 2 + 1])
def test_a_call_moves_memory_of_its_own_cell_only(mix: str, number: int) -> None:
    one = batch(number, MIXES[mix])
    field = LAYOUT.field(number % 2)
    rows = np.flatnonzero(one.registers[0] == H_LOGICAL_MEMOP)
    moves = memop.judge(one.registers[1:, rows], field, LAYOUT.windows, "merged")
    low = one.starts[rows]
    high = one.ends[np.searchsorted(one.ends, low, "right")]
    for position in (moves.dst, moves.src):
        inside = moves.moves & (position < ARENA)
        length = moves.count << moves.esize
        assert (position[inside] >= low[inside]).all()
        assert (position[inside] + length[inside] <= high[inside]).all()
    edge = moves.moves & (moves.dst >= ARENA) & (moves.dst < field.size)
    assert set(rows[edge].tolist()) <= set(one.at_edge)
    assert moves.deferred.sum() <= 2
    rows = np.flatnonzero(one.registers[0] != H_LOGICAL_MEMOP)
    accesses = logical.judge(one.registers[0, rows], one.registers[1:, rows], field, LAYOUT.windows)
    inside = (accesses.loads | accesses.stores) & (accesses.at < field.size)
    low = one.starts[rows]
    high = one.ends[np.searchsorted(one.ends, low, "right")]
    assert (accesses.at[inside] >= low[inside]).all()
    assert (accesses.at[inside] + accesses.size[inside] <= high[inside]).all()
    assert not accesses.deferred.any()


def test_cells_are_apart_and_groups_share_theirs() -> None:
    one = batch(0)
    first, groups = one.groups
    assert groups > 0
    members = one.companions(first)
    assert len(members) == GROUP
    assert [int(one.rounds[member]) for member in members] == list(range(GROUP))
    assert len({one.cell(member) for member in members}) == 1
    alone = next(call for call in range(SIZE) if len(one.companions(call)) == 1)
    assert one.cell(alone) == (one.starts[alone], one.ends[alone])
    assert one.cells_of(np.array([one.starts[alone]])).tolist() == [alone]
    steps = list(one.program(members[2]))
    assert [type(step) for step in steps] == [Seed, Call, Call, Call]


def test_odd_batches_work_at_the_end_of_ram() -> None:
    assert batch(0).at_edge == ()
    one = batch(1)
    assert len(one.at_edge) == GROUP
    seen = 0
    for number in range(1, 64, 2):
        for call in batch(number).at_edge:
            _, dst, src, esize, count, _ = batch(number).registers[:, call].tolist()
            length = count << esize
            assert min(dst, src) >= END - EDGE
            assert max(dst, src) + length < END + EDGE
            seen |= (dst + length == END) | (dst + length > END) << 1 | (src + length > END) << 2
    assert seen == 7


def test_every_limit_is_drawn() -> None:
    registers = np.concatenate([batch(number).registers for number in range(8)], axis=1)
    mine = registers[:, registers[0] == H_LOGICAL_MEMOP]
    _, dst, src, esize, count, op = mine
    assert {0, 1, 2, 3, 4, 31, 32, 64, (1 << 64) - 1} <= set(esize.tolist())
    assert {0, 1, 2, 33, 64, 0x8000_0001, 1 << 32, (1 << 64) - 1} <= set(count.tolist())
    assert {0, 1, 2, 1 << 32, (1 << 64) - 1} <= set(op.tolist())
    distance = (dst - src).view(np.int64)[(esize <= 3) & (count < 100)]
    length = (count << esize)[(esize <= 3) & (count < 100)].view(np.int64)
    for limit in (distance == 0, distance == length, distance == -length, abs(distance) == length - 1):
        assert limit.any()
    assert ((distance > 0) & (distance < length)).any()
    assert ((distance < 0) & (distance > -length)).any()
    assert {*logical.OPCODES} <= set(registers[0].tolist())
    sizes = registers[1][registers[0] != H_LOGICAL_MEMOP]
    assert {0, 1, 2, 4, 8, 16} <= set(sizes.tolist())


def test_calls_take_less_than_a_second_unless_slow_ones_are_wanted() -> None:
    def longest(mix: Mix) -> int:
        rows = [batch(number, mix).registers for number in range(5)]
        _, _, _, esize, count, _ = np.concatenate(rows, axis=1)
        return int(count[(count <= 0x8000_0000) & (esize <= 3)].max())

    assert longest(DEFAULT) <= 4096
    assert longest(SMALLEST) <= 512  # at the end of RAM; 1 elsewhere
    assert longest(SLOW) == 0x8000_0000


def test_a_machine_without_room_is_refused() -> None:
    with pytest.raises(NoRoom, match="give the machine more memory"):
        Layout.of(machine(64 << 20))
    with pytest.raises(NoRoom):
        Layout.of(machine(fdt=Region(ARENAS[1].start, 16)))
    with pytest.raises(NoRoom):
        Layout.of(machine(fdt=Region(END - 16, 16)))


def test_a_table_shares_its_places_by_weight() -> None:
    assert table([(1, 5, 5), (3, 1, 3)], 4).tolist() == [5, 1, 2, 3]
