"""Calls made by SLOF from its Forth prompt: a caller that nobody wrote for this rig.

The same model judges them; what SLOF's own ``dump`` shows must be what the rig sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rig.machine.slof import SlofMachine
from rig.program import H_LOGICAL_MEMOP, H_RTAS, Call, MachineOptions, Requirement, Rtas, Seed
from rig.scenario.script import Disagreement, Playing, Stage, scenario

#: one boot serves every scenario of SLOF's, so this is the machine of all of them
MACHINE = MachineOptions(
    memory=256,
    devices=("VGA,romfile=",),
    arguments=("-prom-env", "auto-boot?=false"),
    firmware="slof",
)
at_the_prompt = partial(scenario, machine=MACHINE, requires=Requirement(devices=("VGA",)))

DATA, COPIES, OVERLAP = 0x100_0000, 0x200_0000, 0x300_0000
PATTERN = bytes((at * 7 + (at >> 8)) & 0xFF for at in range(0x400))
COPY, INVERT = 0, 1


def dumped(stage: Stage, *ranges: tuple[int, int]) -> None:
    """Raise :class:`Disagreement` where SLOF's ``dump`` shows other bytes than the rig sees."""
    assert isinstance(stage, SlofMachine)
    for address, length in ranges:
        shown = stage.dump(address, length)
        seen = stage.memory.read(address, length)
        if shown != seen:
            raise Disagreement(
                "agreement.dump", f"at {address:#x} SLOF dumps {shown.hex(' ')}, the rig sees {seen.hex(' ')}"
            )


def memops(*arguments: Sequence[int]) -> list[Call]:
    """H_LOGICAL_MEMOP with destination, source, log2 of the element size, count, operation."""
    return [Call(H_LOGICAL_MEMOP, tuple(one)) for one in arguments]


@at_the_prompt(
    name="copies",
    summary="copies with every element size, and inverts, made from SLOF's prompt",
    issues=frozenset({H_LOGICAL_MEMOP}),
)
def copies(stage: Stage) -> Playing:
    """Each to a place of its own; one is nothing at all."""
    yield Seed(DATA, PATTERN)
    yield memops(
        (COPIES + 0x001, DATA + 0x003, 0, 0x1F, COPY),
        (COPIES + 0x102, DATA + 0x106, 1, 0x11, COPY),
        (COPIES + 0x204, DATA + 0x20C, 2, 0x09, COPY),
        (COPIES + 0x308, DATA + 0x310, 3, 0x05, COPY),
        (COPIES + 0x408, DATA + 0x010, 3, 0x05, INVERT),
        (COPIES + 0x500, DATA, 3, 0, COPY),
    )
    dumped(stage, (COPIES, 0x40), (COPIES + 0x300, 0x40), (COPIES + 0x400, 0x40))


@at_the_prompt(
    name="overlaps",
    summary="overlapping copies in both directions, and an invert in place, from SLOF's prompt",
    issues=frozenset({H_LOGICAL_MEMOP}),
)
def overlaps(stage: Stage) -> Playing:
    """As memmove would; the distance is no multiple of anything."""
    yield [Seed(OVERLAP, PATTERN), Seed(OVERLAP + 0x1000, PATTERN)]
    yield memops(
        (OVERLAP + 7, OVERLAP, 0, 0x80, COPY),
        (OVERLAP + 0x1000, OVERLAP + 0x1018, 3, 0x20, COPY),
        (OVERLAP + 0x1200, OVERLAP + 0x1200, 2, 0x08, INVERT),
    )
    dumped(stage, (OVERLAP, 0x90), (OVERLAP + 0x1000, 0x40), (OVERLAP + 0x1200, 0x40))


@at_the_prompt(
    name="invalid",
    summary="invalid arguments from SLOF's prompt are refused and change nothing",
    issues=frozenset({H_LOGICAL_MEMOP}),
)
def invalid(stage: Stage) -> Playing:
    """One fault at a time, the largest numbers among them."""
    yield Seed(DATA, PATTERN)
    yield memops(
        (COPIES, DATA, 4, 1, COPY),
        (COPIES, DATA, 3, 1, 2),
        (COPIES + 4, DATA, 3, 1, COPY),
        (COPIES, DATA + 1, 1, 1, COPY),
        (COPIES, DATA, 0, 0x8000_0001, COPY),
        (COPIES, DATA, (1 << 64) - 1, 1, COPY),
        (COPIES, DATA, 0, 1, (1 << 64) - 1),
    )
    dumped(stage, (COPIES, 0x40))


@at_the_prompt(
    name="rtas",
    summary="RTAS services called through the RTAS that SLOF has instantiated",
    requirements=("R1-7.3.2.2-1",),
    issues=frozenset(
        {
            H_RTAS,
            "get-time-of-day",
            "nvram-fetch",
            "query-cpu-stopped-state",
            "get-sensor-state",
            "ibm,get-system-parameter",
        }
    ),
)
def rtas(stage: Stage) -> Playing:
    """The services that are called through the RTAS of ``x-vof=on`` too, and a token that is none."""
    yield [
        Rtas("nvram-fetch", (0, DATA, 16), nret=2),
        Rtas("query-cpu-stopped-state", (0,), nret=2),
        Rtas("get-sensor-state", (9999, 0), nret=2),
        Rtas("ibm,get-system-parameter", (0xFFFF, DATA, 16)),
        Rtas("get-time-of-day", (), nret=8),
        Rtas(0x1234, (1, 2)),
    ]
    dumped(stage, (0x90_0000, 0x40))
