"""Calls that do not come back are left out of later batches: what they are is known, and the rest is not.

Of calls that the contract refuses, all with the same faults are; of others those with the same element size
and count, for a situation without faults is that of most calls.
"""

from __future__ import annotations

import numpy as np

from rig.campaign.batch import Batch
from rig.campaign.rerun import only
from rig.campaign.verification import Verification
from rig.frozen import frozen
from rig.model.vectorised.memop import FAULTS
from rig.program import H_LOGICAL_MEMOP


@frozen
class _Sort:
    """Opcode and situation; of a memop without faults also log2 of the element size, and the count."""

    opcode: int
    situation: int
    size: tuple[int, ...]


class Shunned:
    """The sorts of calls that are left out."""

    def __init__(self) -> None:
        self._sorts: set[_Sort] = set()

    def add(self, verification: Verification, call: int) -> bool:
        """Leave out calls like one of a batch from now on; whether that is new."""
        opcode, _, _, *size, _ = verification.registers[:, call].tolist()
        situation = int(verification.situations[call])
        faulty = opcode != H_LOGICAL_MEMOP or situation & FAULTS
        sort = _Sort(opcode, situation, () if faulty else tuple(size))
        known = sort in self._sorts
        self._sorts.add(sort)
        return not known

    def without(self, verification: Verification) -> tuple[Batch, int]:
        """The batch with calls that do nothing in place of those left out, and how many these are."""
        registers, situations = verification.registers, verification.situations
        kept = np.ones(len(situations), np.bool_)
        for sort in self._sorts:
            alike = (registers[0] == sort.opcode) & (situations == sort.situation)
            for row, value in zip(registers[3:], sort.size, strict=False):
                alike &= row == value
            kept &= ~alike
        if kept.all():
            return verification.batch, 0
        return only(verification.batch, np.flatnonzero(kept)), int(len(kept) - kept.sum())
