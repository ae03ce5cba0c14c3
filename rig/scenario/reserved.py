"""The memory that belongs to the agent, which programs must leave alone (images/PROTOCOL.md).

It says what may not be seeded.  Calls may name any address, that is what is tested; but the agent does not go
on after one that writes over it.
"""

from __future__ import annotations

from rig.model.environment import Region
from rig.model.expectation import Expectation

#: image, mailbox and batch area
AGENT = Region(0, 0x80_0000)
#: the page of the image that programs may use
SCRATCH = Region(0xF000, 0x1000)


def refusal(address: int, length: int) -> str | None:
    """Why ``length`` bytes at ``address`` may not be seeded, in words; ``None`` when they may."""
    if not AGENT.overlaps(address, length) or SCRATCH.holds(address, length):
        return None
    return (
        f"{address:#x}..{address + length:#x} overlaps the agent's memory {AGENT.start:#x}..{AGENT.end:#x}; "
        f"use an address from {AGENT.end:#x} on, or the scratch page {SCRATCH.start:#x}..{SCRATCH.end:#x}"
    )


def trespass(expectation: Expectation) -> str | None:
    """Why the agent cannot go on after a call that may write what is expected; ``None`` when it can."""
    for case in expectation.cases:
        ranges = [(write.address, len(write.data)) for write in case.writes]
        ranges += [(scratch.address, scratch.length) for scratch in case.scratch]
        if words := next(filter(None, (refusal(*one) for one in ranges)), None):
            return words
    return None
