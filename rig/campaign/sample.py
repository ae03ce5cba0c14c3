"""One call of each sort goes to the scalar model too, whatever the vectorised one says of it.

So neither model can err unseen: the machine's answer must be right by both.
"""

from __future__ import annotations

import numpy as np

from rig.campaign.verification import Verification
from rig.model.vectorised.field import I64
from rig.model.vectorised.logical import OPCODES
from rig.model.vectorised.memop import FAULTS, Moves

#: of this many batches after the first ones, one is looked at
SPARSE = 16
#: where a sort's number has, above the situation, log2 of the size, how ranges overlap, and the opcode
_SIZE, _OVERLAP, _OPCODE = 8, 10, 12
_OPCODES = np.array(sorted(OPCODES), np.uint64)
#: log2 of the valid sizes of an access; others are in the situation
_LOG2 = np.array([0, 0, 1, 0, 2, 0, 0, 0, 3])


class Sample:
    """Remembers of which sorts a call was taken."""

    def __init__(self) -> None:
        self._taken = np.zeros(len(_OPCODES) + 1 << _OPCODE, np.bool_)

    def of(self, verification: Verification) -> list[int]:
        """The first call of a batch of each sort that was not met before; none in most batches later on."""
        number = verification.batch.number
        if number >= SPARSE and number % SPARSE:
            return []
        sorts = _sorts(verification)
        fresh = np.flatnonzero(~self._taken[sorts])
        new, first = np.unique(sorts[fresh], return_index=True)
        self._taken[new] = True
        return sorted(fresh[first].tolist())


def _sorts(verification: Verification) -> I64:
    sorts = verification.situations.astype(np.int64)
    others = verification.others
    opcode, size = verification.registers[:2, others]
    sorts[others] |= 1 + np.searchsorted(_OPCODES, opcode) << _OPCODE
    sorts[others] |= _LOG2[np.minimum(size, np.uint64(8)).astype(np.int64)] << _SIZE
    memops = slice(None) if verification.memops is None else verification.memops
    sorts[memops] |= _shapes(verification.moves)
    return sorts


def _shapes(moves: Moves) -> I64:
    """Of memops without faults: log2 of the element size, and whether destination and source overlap."""
    length = moves.count << moves.esize
    overlap = (np.abs(moves.distance) < length) * (2 + np.sign(moves.distance))
    shape: I64 = moves.esize << _SIZE | overlap << _OVERLAP
    shape[moves.situation & FAULTS != 0] = 0
    return shape
