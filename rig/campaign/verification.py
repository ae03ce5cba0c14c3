"""Judge a whole batch at once by the vectorised model.

What differs from the plain case is sorted by *kind*: the call, its situation, and in what it differs.  All
calls of one kind mean the same to the contract, so that one of them, looked at by the scalar model, speaks
for the rest; a known deviation that every third call shows then costs no more than one that none does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rig.campaign.batch import Batch
from rig.campaign.layout import ARENA
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
#: bits of a kind's number that say in what it differs, and that say the situation
_DIFFERENCE, _SITUATION = 3, 8


class Kind(NamedTuple):
    """Calls with ``opcode`` that differ alike; ``situation`` has the bits of the vectorised model."""

    opcode: int
    situation: int
    difference: int


@dataclass(frozen=True, slots=True)
class Seen:
    """``count`` calls of one kind in one batch, the first of them ``call``."""

    kind: Kind
    count: int
    call: int


class Verification:
    """One batch against the field that it works in.

    What does not depend on the guest is computed at once; the field's memory is brought up to date by
    :meth:`run`.
    """

    def __init__(self, batch: Batch, calls: int, field: Field, revision: str, meaning: Meaning) -> None:
        self.batch = batch
        self.field = field
        registers = batch.registers[:, :calls]
        self._rounds = batch.rounds[:calls]
        windows = batch.layout.windows
        self._memops = np.flatnonzero(registers[0] == H_LOGICAL_MEMOP)
        self._others = np.flatnonzero(registers[0] != H_LOGICAL_MEMOP)
        arguments = registers[1:]
        if len(self._others):
            arguments = arguments[:, self._memops]
        self._moves = memop.judge(arguments, field, windows, revision)
        self._stored = memop.stores(arguments[4], meaning)
        #: successful calls of which every one breaks the document, by design of the build
        self._breaches = self._moves.moves & (
            (self._moves.situation & memop.OUTSIDE != 0)
            | ((self._moves.situation & memop.OP_1 != 0) & (meaning == "invert"))
        )
        self._opcodes = registers[0, self._others]
        self._accesses = logical.judge(self._opcodes, registers[1:, self._others], field, windows)
        #: calls that the scalar model must judge
        self.deferred: tuple[int, ...] = (
            *self._memops[self._moves.deferred].tolist(),
            *self._others[self._accesses.deferred].tolist(),
        )

    def run(self, r3: U64, r4: U64, arena: Bytes, edge: Bytes) -> list[Seen]:
        """What differs, given r3 and r4 of the records and memory after the batch."""
        seen = list(self._memop_codes(r3[self._memops]))
        wrong = self._replay(r3, r4)
        seen += self._logical_codes(r3[self._others], wrong)
        return [*seen, *self._memory(arena, edge)]

    def _memop_codes(self, r3: U64) -> Iterator[Seen]:
        moves = self._moves
        result = np.where(r3 == _SUCCESS, SUCCEEDED, np.where(r3 == _REFUSED, REFUSED, OTHER))
        permitted = np.where(result == SUCCEEDED, moves.succeeds, moves.refuses & (result == REFUSED))
        differs = (~permitted & ~moves.deferred) | (self._breaches & (result == SUCCEEDED))
        numbers = moves.situation << _DIFFERENCE | result
        opcodes = np.broadcast_to(np.uint64(H_LOGICAL_MEMOP), r3.shape)
        return _kinds(numbers, np.flatnonzero(differs), opcodes, self._memops)

    def _logical_codes(self, r3: U64, wrong: Bits) -> Iterator[Seen]:
        accesses = self._accesses
        result = np.where(r3 == _SUCCESS, SUCCEEDED, np.where(r3 == _REFUSED, REFUSED, OTHER))
        permitted = np.where(result == SUCCEEDED, accesses.succeeds, accesses.refuses & (result == REFUSED))
        result[wrong] = VALUE
        differs = (~permitted | wrong) & ~accesses.deferred
        numbers = accesses.situation << _DIFFERENCE | result
        for opcode in logical.OPCODES:
            which = np.flatnonzero(differs & (self._opcodes == opcode))
            yield from _kinds(numbers, which, self._opcodes, self._others)

    def _replay(self, r3: U64, r4: U64) -> Bits:
        """Bring the field to where the batch should leave memory; which loads found a wrong value."""
        moved = np.flatnonzero(self._moves.moves & (r3[self._memops] == _SUCCESS))
        succeeded = r3[self._others] == _SUCCESS
        loaded = np.flatnonzero(self._accesses.loads & succeeded)
        stored = np.flatnonzero(self._accesses.stores & succeeded)
        wrong: Bits = np.zeros(len(self._others), np.bool_)
        for turn in range(int(self._rounds.max(initial=0)) + 1):
            which = moved[self._rounds[self._memops[moved]] == turn]
            if len(which):
                memop.move(self.field, self._moves, which, self._stored)
            which = loaded[self._rounds[self._others[loaded]] == turn]
            if len(which):
                zero, sign = logical.load(self.field, self._accesses, which)
                found = r4[self._others[which]]
                wrong[which] = (found != zero) & (found != sign)
            which = stored[self._rounds[self._others[stored]] == turn]
            if len(which):
                logical.store(self.field, self._accesses, which)
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


def _kinds(numbers: I64, which: I64, opcodes: U64, calls: I64) -> Iterator[Seen]:
    """The rows ``which`` by their numbers; all have one opcode."""
    counts = np.bincount(numbers[which], minlength=1)
    for number in np.flatnonzero(counts).tolist():
        first = which[np.argmax(numbers[which] == number)]
        kind = Kind(int(opcodes[first]), number >> _DIFFERENCE, number & ((1 << _DIFFERENCE) - 1))
        yield Seen(kind, int(counts[number]), int(calls[first]))
