"""The parameter blocks of a chunk, each in a slot of its own: which calls left theirs alone but for outputs.

All slots are compared at once, which takes a fraction of the time that one after the other would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from rig.campaign.programs import BLOCKS, CHUNK, STRIDE
from rig.model.environment import Region
from rig.scenario.resolve import BEFORE

#: the slots, each with the canaries before its block
SLOTS = Region(BLOCKS - BEFORE, CHUNK * STRIDE)
WORD = 4


class Slots:
    """The slots ``before`` and ``after`` a batch; ``outputs`` are offsets in them, (first, end) of each call.

    No two of those share a slot, and they are aligned to words.
    """

    def __init__(self, before: bytes, after: bytes, outputs: Sequence[tuple[int, int]]) -> None:
        self.before, self.after = before, after
        rows: dict[tuple[int, int], list[int]] = defaultdict(list)
        order = []
        for first, end in outputs:
            row, at = divmod(first, STRIDE)
            rows[at // WORD, (at + end - first) // WORD].append(row)
            order.append(row)
        was, held = (np.frombuffer(data, np.uint32).reshape(-1, STRIDE // WORD) for data in (before, after))
        differ = was != held
        for (low, high), those in rows.items():
            differ[those, low:high] = False
        kept = ~differ.any(axis=1)
        #: of each call, whether nothing else in its slot changed
        self.kept: list[bool] = kept[order].tolist()
        mine = np.zeros(len(was), np.bool_)
        mine[order] = True
        #: the slots before the batch, with the outputs of those
        self.adopted = np.where((kept & mine)[:, np.newaxis], held, was).tobytes()


__all__ = ["SLOTS", "Slots"]
