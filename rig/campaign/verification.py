"""Judge a whole batch at once by the vectorised model.

What differs from the plain case is sorted by *kind*: the call, its situation, and in what it differs.  All
calls of one kind mean the same to the contract, so that one of them, looked at by the scalar model, speaks
for the rest; a known deviation that every third call shows then costs no more than one that none does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rig.campaign.batch import Batch
from rig.campaign.layout import ARENA
from rig.frozen import frozen
from rig.model.hypercall import H_PARAMETER, H_SUCCESS, unsigned
from rig.model.vectorised import logical, memop
from rig.model.vectorised.field import I64, U64, Bits, Bytes, Field
from rig.model.vectorised.memop import Meaning
from rig.program import H_LOGICAL_MEMOP

#: in what a call differs: it succeeded, was refused, returned something else, loaded a wrong value
SUCCEEDED, REFUSED, OTHER, VALUE = range(4)
#: it left wrong bytes in memory
MEMORY = 4
NAMES = ("success", "refusal", "return code", "loaded value", "memory")

_SUCCESS, _REFUSED = np.uint64(H_SUCCESS), np.uint64(unsigned(H_PARAMETER))
#: bits of a kind's number that say in what it differs; the rest say the situation
_DIFFERENCE = 3


class Kind(NamedTuple):
    """Calls with ``opcode`` that differ alike; ``situation`` has the bits of the vectorised model."""

    opcode: int
    situation: int
    difference: int


@frozen
class Seen:
    """``count`` calls of one kind in one batch, the first of them ``call``."""

    kind: Kind
    count: int
    call: int


class Verification:
    """One batch against the field that it works in.

    What does not depend on the guest is computed at once; the field's memory is brought up to date by
    :meth:`run`.  ``registers`` are the batch's, as far as it goes; ``moves`` has a row for each of
    ``memops``, ``accesses`` one for each of the ``others``.
    """

    def __init__(self, batch: Batch, calls: int, field: Field, revision: str, meaning: Meaning) -> None:
        self.batch = batch
        self.field = field
        registers = self.registers = batch.registers[:, :calls]
        self._rounds = batch.rounds[:calls]
        windows = batch.layout.windows
        self.others = np.flatnonzero(registers[0] != H_LOGICAL_MEMOP)
        #: ``None`` for all calls, as often as not: then nothing is picked
        self.memops = np.flatnonzero(registers[0] == H_LOGICAL_MEMOP) if len(self.others) else None
        arguments = registers[1:] if self.memops is None else registers[1:, self.memops]
        self.moves = memop.judge(arguments, field, windows, revision)
        self._stored = memop.stores(arguments[4], meaning)
        #: successful calls of which every one breaks the document, by design of the build
        breaching = memop.OUTSIDE | memop.OP_1 if meaning == "invert" else memop.OUTSIDE
        self._breaches = self.moves.moves & (self.moves.situation & np.uint8(breaching) != 0)
        self.accesses: logical.Accesses | None = None
        if len(self.others):
            self._opcodes = registers[0, self.others]
            self.accesses = logical.judge(self._opcodes, registers[1:, self.others], field, windows)
        #: calls that the scalar model must judge
        self.deferred = self._defer(calls)

    @property
    def situations(self) -> Bytes:
        """Of each call, the bits of what matters to its verdict: they mean other things by opcode."""
        found = np.zeros(len(self._rounds), np.uint8)
        found[slice(None) if self.memops is None else self.memops] = self.moves.situation
        if self.accesses is not None:
            found[self.others] = self.accesses.situation
        return found

    def _defer(self, calls: int) -> tuple[int, ...]:
        """The calls that the vectorised model does not know, and all that share a cell with one."""
        unknown = self._call(np.flatnonzero(self.moves.deferred)).tolist()
        if self.accesses is not None:
            unknown += self.others[self.accesses.deferred].tolist()
        deferred = {other for call in unknown for other in self.batch.companions(call) if other < calls}
        if len(deferred) > len(unknown):
            numbers = np.fromiter(deferred, np.int64)
            rows = numbers if self.memops is None else np.flatnonzero(np.isin(self.memops, numbers))
            self.moves.deferred[rows] = True
            self.moves.moves[rows] = self._breaches[rows] = False
            if self.accesses is not None:
                others = np.isin(self.others, numbers)
                self.accesses.deferred[others] = True
                self.accesses.loads[others] = self.accesses.stores[others] = False
        return tuple(sorted(deferred))

    def _call(self, rows: I64) -> I64:
        """Numbers of calls by their rows among the memops."""
        return rows if self.memops is None else self.memops[rows]

    def run(self, r3: U64, r4: U64, arena: Bytes, edge: Bytes) -> list[Seen]:
        """What differs, given r3 and r4 of the records and memory after the batch."""
        r3 = r3.astype(np.uint64)
        mine = r3 if self.memops is None else r3[self.memops]
        success = mine == _SUCCESS
        seen = list(self._memop_kinds(mine, success))
        wrong = self._replay(success, r3, r4)
        if self.accesses is not None:
            seen += self._logical_kinds(self.accesses, r3[self.others], wrong)
        return [*seen, *self._memory(arena, edge)]

    def _memop_kinds(self, r3: U64, success: Bits) -> Iterator[Seen]:
        moves = self.moves
        permitted = (success & moves.succeeds) | ((r3 == _REFUSED) & moves.refuses) | moves.deferred
        rows = np.flatnonzero(~permitted | (self._breaches & success))
        opcodes = np.full(1, H_LOGICAL_MEMOP, np.uint64)
        return _kinds(moves.situation[rows], _result(r3[rows]), opcodes, self._call(rows))

    def _logical_kinds(self, accesses: logical.Accesses, r3: U64, wrong: Bits) -> Iterator[Seen]:
        result = _result(r3)
        result[wrong] = VALUE
        permitted = np.where(r3 == _SUCCESS, accesses.succeeds, accesses.refuses & (r3 == _REFUSED))
        differs = (~permitted | wrong) & ~accesses.deferred
        for opcode in logical.OPCODES:
            rows = np.flatnonzero(differs & (self._opcodes == opcode))
            yield from _kinds(accesses.situation[rows], result[rows], self._opcodes[rows], self.others[rows])

    def _replay(self, success: Bits, r3: U64, r4: U64) -> Bits:
        """Bring the field to where the batch should leave memory; which loads found a wrong value."""
        wrong: Bits = np.zeros(len(self.others), np.bool_)
        accesses = self.accesses
        moved = np.flatnonzero(self.moves.moves & success)
        loaded = stored = moved[:0]
        if accesses is not None:
            succeeded = r3[self.others] == _SUCCESS
            loaded = np.flatnonzero(accesses.loads & succeeded)
            stored = np.flatnonzero(accesses.stores & succeeded)
        turns = self._rounds[self._call(moved)]
        for turn in range(int(self._rounds.max(initial=0)) + 1):
            memop.move(self.field, self.moves, moved[turns == turn], self._stored)
            if accesses is None:
                continue
            rows = loaded[self._rounds[self.others[loaded]] == turn]
            zero, sign = logical.load(self.field, accesses, rows)
            found = r4[self.others[rows]]
            wrong[rows] = (found != zero) & (found != sign)
            logical.store(self.field, accesses, stored[self._rounds[self.others[stored]] == turn])
        return wrong

    def _memory(self, arena: Bytes, edge: Bytes) -> Iterator[Seen]:
        used = int(self.batch.ends[-1])
        for call in self.deferred:
            low, high = self.batch.cell(call)
            self.field.data[low:high] = arena[low:high]
        for start, observed in ((0, arena[:used]), (ARENA, edge if self.batch.at_edge else edge[:0])):
            expected = self.field.data[start : start + len(observed)]
            unequal = expected.view(np.uint64) != observed.view(np.uint64)
            if unequal.any():
                yield from self._owners(np.flatnonzero(unequal) * 8 + start)
                expected[:] = observed

    def _owners(self, positions: I64) -> Iterator[Seen]:
        """One call of each opcode for the cells in which bytes are wrong: the one with the least to do."""
        cells = np.unique(self.batch.cells_of(positions))
        calls = [max(self.batch.companions(call)) for call in cells.tolist()]
        registers = self.batch.registers[:, calls]
        for opcode in np.unique(registers[0]).tolist():
            same = np.flatnonzero(registers[0] == opcode)
            least = calls[same[np.argmin(registers[4][same])]]
            yield Seen(Kind(opcode, 0, MEMORY), len(same), least)


def _result(r3: U64) -> Bytes:
    """In what calls with these return codes can differ."""
    result = np.full(len(r3), OTHER, np.uint8)
    result[r3 == _SUCCESS] = SUCCEEDED
    result[r3 == _REFUSED] = REFUSED
    return result


def _kinds(situations: Bytes, results: Bytes, opcodes: U64, calls: I64) -> Iterator[Seen]:
    """Differing calls of one opcode, one row each."""
    numbers = situations.astype(np.int64) << _DIFFERENCE | results
    counts = np.bincount(numbers)
    for number in np.flatnonzero(counts).tolist():
        call = calls[np.argmax(numbers == number)]
        kind = Kind(int(opcodes[0]), number >> _DIFFERENCE, number & ((1 << _DIFFERENCE) - 1))
        yield Seen(kind, int(counts[number]), int(call))
