"""Address translation for the calls of a machine that is made with it: hash or radix.

Calls are then made by the agent's routine at :data:`rig.machine.agent.ELSEWHERE`, with IR and DR set in MSR
(images/PROTOCOL.md).  Only its page has to be mapped, to itself.  Other pages are mapped to their neighbours:
a build that took an argument for an effective address would reach memory that it must not touch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rig.machine import agent
from rig.machine.errors import AgentError
from rig.model.environment import Environment
from rig.program import Call
from rig.target import GuestMemory

Translation = Literal["off", "hash", "radix"]

H_ENTER = 0x08
H_REGISTER_PROC_TBL = 0x37C
#: LoPAR 14.13.2: a new table (0x10, 0x08), for radix (0x04), with guest translation shootdown (0x01)
REGISTER_RADIX = 0x1D

#: the MSR's bits: external interrupts, problem state, translation of instructions and of data
MSR_EE, MSR_PR, MSR_IR, MSR_DR = 0x8000, 0x4000, 0x20, 0x10

# Power ISA 3.0B, Book III 5.7: radix trees.
ROOT, SECOND, THIRD, PROCESSES = (agent.TABLES + at for at in (0, 0x1_0000, 0x1_1000, 0x1_2000))
#: a process table entry's tree size of 52 bits, and 2 ** 13 entries in the root
RADIX_ROOT = 0x4000_0000_0000_00A0 | ROOT | 13
#: valid, and 2 ** 9 entries in the next table
NEXT = 1 << 63 | 9
#: valid leaf, referenced and changed, all access
LEAF = 0xC000_0000_0000_0187
LEAF_SIZE = 2 << 20

# Power ISA 3.0B, Book III 5.8: hashed page tables, here with pages of 64 KiB in a segment of 256 MiB.
VSID = 0x456
PAGE_SHIFT = 16
#: SLB entry of segment 0: L and LP say 64 KiB
SEGMENT = VSID << 12 | 0x110
#: pages that are mapped to their neighbours
ALIASES = range(0x100, 0x110)


def state_of(translation: Translation, *, problem: bool) -> int:
    """What MSR has while a call is made, besides what the agent has; problem state brings EE, IR and DR."""
    if problem and translation == "off":
        raise ValueError("a call in problem state needs a machine with translation: hash or radix")
    return 0 if translation == "off" else MSR_IR | MSR_DR | ((MSR_PR | MSR_EE) if problem else 0)


def translatable(translation: Translation, cpu: str) -> bool:
    """Whether CPUs of this model have such a translation: radix came with POWER9."""
    return translation != "radix" or re.match(r"power([5-8]|5\+)(?!\d)", cpu.lower()) is None


def prepare(translation: Translation, environment: Environment, memory: GuestMemory) -> Sequence[Call]:
    """Put tables into memory; the hypercalls that bring them into force, to be made in real mode."""
    if translation == "hash":
        return [_enter(page, page ^ (page in ALIASES), environment) for page in (0, *ALIASES)]
    if translation == "radix":
        leaves = (LEAF | (page ^ (page > 1)) * LEAF_SIZE for page in range(512))
        memory.write(THIRD, b"".join(leaf.to_bytes(8, "big") for leaf in leaves))
        for address, entry in ((SECOND, NEXT | THIRD), (ROOT, NEXT | SECOND), (PROCESSES, RADIX_ROOT)):
            memory.write(address, entry.to_bytes(8, "big"))
        return [Call(H_REGISTER_PROC_TBL, (REGISTER_RADIX, PROCESSES, 0, 0))]
    return []


def check(translation: Translation, codes: Sequence[int]) -> None:
    """Raise :class:`AgentError` unless every one of the hypercalls succeeded."""
    failed = [code for code in codes if code]
    if failed:
        raise AgentError(
            f"{translation} translation could not be set up: a hypercall returned {failed[0]:#x}"
        )


def _enter(page: int, real: int, environment: Environment) -> Call:
    """Map an effective page of segment 0 to a real page."""
    shift = next(cells[1] for _, node in environment.tree.walk() if (cells := node.cells("ibm,pft-size")))
    group = (VSID ^ page) & ((1 << shift - 7) - 1)
    high = VSID << 12 | page & ~0x7F | 0x5  # a large page, valid
    low = real << PAGE_SHIFT | 0x1192  # 64 KiB, referenced and changed, memory coherent, all access
    return Call(H_ENTER, (0, group << 3, high, low))
