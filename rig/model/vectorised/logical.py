"""H_LOGICAL_CI_LOAD and its neighbours for a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rig.frozen import frozen
from rig.model.environment import Region
from rig.model.logical import (
    H_LOGICAL_CACHE_LOAD,
    H_LOGICAL_CACHE_STORE,
    H_LOGICAL_CI_LOAD,
    H_LOGICAL_CI_STORE,
    H_LOGICAL_DCBF,
    H_LOGICAL_ICBI,
    SIZES,
)
from rig.model.vectorised.field import ELSEWHERE, I64, U64, Bits, Bytes, Field, bit

#: the calls in the order in which a batch numbers them
OPCODES = (
    H_LOGICAL_CI_LOAD,
    H_LOGICAL_CI_STORE,
    H_LOGICAL_CACHE_LOAD,
    H_LOGICAL_CACHE_STORE,
    H_LOGICAL_ICBI,
    H_LOGICAL_DCBF,
)

#: by size, and one more for all that are larger
_VALID = np.array([size in SIZES for size in range(max(SIZES) + 2)])

#: bits of a call's situation
INVALID_SIZE, UNALIGNED, OUTSIDE, CI_ON_RAM = (1 << bit for bit in range(4))


@frozen
class Accesses:
    """One row a call; as :class:`rig.model.vectorised.memop.Moves`."""

    situation: Bytes
    succeeds: Bits
    refuses: Bits
    deferred: Bits
    loads: Bits
    stores: Bits
    size: I64
    #: position in the field
    at: I64
    value: U64


def judge(opcodes: U64, registers: U64, field: Field, windows: Sequence[Region]) -> Accesses:
    """What the contract says of calls with r3 in ``opcodes`` and r4..r6 in the rows of ``registers``."""
    size, address, value = registers[:3]
    valid = _VALID[np.minimum(size, np.uint64(len(_VALID) - 1))]
    loads = (opcodes == H_LOGICAL_CI_LOAD) | (opcodes == H_LOGICAL_CACHE_LOAD)
    stores = (opcodes == H_LOGICAL_CI_STORE) | (opcodes == H_LOGICAL_CACHE_STORE)
    inhibited = (opcodes == H_LOGICAL_CI_LOAD) | (opcodes == H_LOGICAL_CI_STORE)
    accesses = loads | stores
    made = accesses & valid
    unaligned = made & ((address & (size - np.uint64(1))) != 0)
    ends = np.uint64(field.ram_end)
    last = address + size - np.uint64(1)
    outside = made & ((last >= ends) | (last < address))
    situation = bit(accesses & ~valid, INVALID_SIZE)
    situation |= bit(unaligned, UNALIGNED)
    situation |= bit(outside, OUTSIDE)
    situation |= bit(made & inhibited & ~outside, CI_ON_RAM)
    at = field.positions(address)
    # A part in RAM and a part outside, or a device: the scalar model knows what is unspecified then.
    deferred = made & (
        (at == ELSEWHERE)
        | field.overrun(at, size)
        | (outside & (address < ends))
        | (outside & (last < address))
    )
    for window in windows:
        deferred |= outside & (address < np.uint64(window.end)) & (last >= np.uint64(window.start))
    plain = situation == 0
    made &= ~deferred
    return Accesses(
        situation,
        succeeds=plain,
        refuses=~plain,
        deferred=deferred,
        loads=loads & made,
        stores=stores & made,
        size=size.view(np.int64),
        at=at,
        value=value,
    )


def load(field: Field, calls: Accesses, which: I64) -> tuple[U64, U64]:
    """What the loads ``which`` find: both extensions to 64 bits, zero and sign, are permitted."""
    at = np.minimum(calls.at[which], field.size)[:, None] + np.arange(8)
    cells = field.data[np.minimum(at, field.size + 15)]
    bits = (np.uint64(8) * (np.uint64(8) - calls.size[which].astype(np.uint64))).astype(np.uint64)
    high = np.ascontiguousarray(cells).view(">u8")[:, 0].astype(np.uint64)
    return high >> bits, (high.view(np.int64) >> bits.view(np.int64)).view(np.uint64)


def store(field: Field, calls: Accesses, which: I64) -> None:
    """Bring the field to where the stores ``which`` leave it."""
    at, size, value = calls.at[which], calls.size[which], calls.value[which]
    for byte in range(8):
        longer = np.flatnonzero(size > byte)
        shift = (8 * (size[longer] - 1 - byte)).astype(np.uint64)
        where = np.minimum(at[longer] + byte, field.size + 15)
        field.data[where] = (value[longer] >> shift).astype(np.uint8)
    field.drop()
