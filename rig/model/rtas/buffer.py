"""Buffers that a call names by address and length: what of them is memory, and what may change there.

A hypervisor must validate every parameter (LoPAR R1-14.6-4), so that a buffer which is not all RAM must be
refused.
"""

from __future__ import annotations

from rig.model.address import in_ram, ram_of
from rig.model.expectation import Breach, Scratch
from rig.model.hypercall import State

VALIDATED = "R1-14.6-4"
NAMED = "R1-7.2.4-3"

#: the fact that deviations match
OUTSIDE = "buffer-outside-memory"
TAKEN = Breach("rtas.buffer-outside-memory", "a buffer that is not all memory is accepted", VALIDATED)


def facts(state: State, address: int, length: int) -> frozenset[str]:
    """The facts about one buffer."""
    return frozenset() if in_ram(state, address, length) else frozenset({OUTSIDE})


def open_to(state: State, address: int, length: int) -> tuple[Scratch, ...]:
    """``length`` bytes that may hold anything, as far as there is RAM."""
    return tuple(Scratch(*part, NAMED) for part in ram_of(state, address, max(0, length)))
