"""Memop stores instructions over code that has run: what runs next is the new code.  RTAS changes none."""

from __future__ import annotations

from rig.program import H_LOGICAL_MEMOP, Arrive, Call, MachineOptions, Outcome, Rtas, Run, Seed, Together
from rig.scenario.guest_code import END, RETURN, load_immediate, put
from rig.scenario.script import Disagreement, Playing, Stage, scenario

CODE, NEW = 0x100_0000, 0x101_0000
TWO = MachineOptions(smp="2")

#: sc 1; li r11, 1; sc 0
OWN = bytes.fromhex("4400002239600001") + END
#: r4 a function, r5 how often to call it until it returns 2
FOLLOW = bytes.fromhex(
    "7c8903a6"  # mtctr r4
    "4e800421"  # bctrl
    "2c230002"  # cmpdi r3, 2
    "41820010"  # beq   1f
    "38a5ffff"  # addi  r5, r5, -1
    "2c250000"  # cmpdi r5, 0
    "4082ffe8"  # bne   the first
    "44000002"  # 1: sc 0
)


def expect(what: str, seen: int, wanted: int) -> None:
    """Raise :class:`Disagreement` unless the code that ran is the one that should have."""
    if seen != wanted:
        raise Disagreement("code.stale", f"{what} returned {seen}, not {wanted}")


@scenario(
    name="same-cpu",
    summary="a function that has run is overwritten by memop in elements of each size and runs anew",
    needs=frozenset({"memories"}),
    issues=frozenset({H_LOGICAL_MEMOP}),
)
def same_cpu(stage: Stage) -> Playing:
    """Run, overwrite, run, for each element size; the new code lies ready."""
    yield from put(stage, CODE, load_immediate(1) + END)
    for esize in range(4):
        for value in (2, 3):
            yield Seed(NEW, load_immediate(value + 2 * esize) + END)
            yield Run(CODE, name="before", touches=((CODE, 8),))
            yield Call(H_LOGICAL_MEMOP, (CODE, NEW, esize, 8 >> esize, 0))
            ran: Outcome = yield Run(CODE, name="after", touches=((CODE, 8),))
            expect(
                f"with elements of {1 << esize} bytes the function", ran.registers["r3"], value + 2 * esize
            )


@scenario(
    name="next-instruction",
    summary="memop overwrites the instruction after its own sc 1",
    needs=frozenset({"memories"}),
    issues=frozenset({H_LOGICAL_MEMOP}),
)
def next_instruction(stage: Stage) -> Playing:
    """The instruction sets r11; it has run before with another value."""
    yield from put(stage, CODE, OWN)
    for value in range(2, 8):
        yield Seed(NEW, load_immediate(value, 11))
        call = {"r3": H_LOGICAL_MEMOP, "r4": CODE + 4, "r5": NEW, "r6": 2, "r7": 1, "r8": 0}
        ran: Outcome = yield Run(CODE, call, ((CODE, 12),), name="overwrites its next instruction")
        expect("the hypercall", ran.registers["r3"], 0)
        expect("the next instruction", ran.registers["r11"], value)


@scenario(
    name="other-cpu",
    summary="a CPU that calls a function over and over runs the new one once another has overwritten it",
    machine=TWO,
    needs=frozenset({"memories"}),
    issues=frozenset({H_LOGICAL_MEMOP, "start-cpu"}),
)
def other_cpu(stage: Stage) -> Playing:
    """The loop ends when it has seen the new code; after the memop a first call must see it."""
    yield (Rtas("start-cpu", (1, 0x3000, 0x8100)), Arrive(1))
    yield from put(stage, CODE + 0x1000, FOLLOW)
    yield from put(stage, CODE, load_immediate(1) + RETURN)
    touched = ((CODE, 8),)
    new = Call(H_LOGICAL_MEMOP, (CODE, NEW, 2, 2, 0))
    old = Call(H_LOGICAL_MEMOP, (CODE, NEW + 8, 2, 2, 0))
    # long enough for the other CPU to have begun
    delay = Call(H_LOGICAL_MEMOP, (CODE + 0x10_0000, CODE + 0x20_0000, 0, 0x2_0000, 0))
    yield Seed(NEW, load_immediate(2) + RETURN + load_immediate(1) + RETURN)
    for _ in range(4):
        loop = Run(CODE + 0x1000, {"r4": CODE, "r5": 100_000_000}, touched, name="calls until 2", cpu=1)
        both: Outcome = yield Together((loop, delay, new))
        if both.parts:
            expect("the function called over and over", both.parts[0].registers["r3"], 2)
        yield old
        once = Run(CODE + 0x1000, {"r4": CODE, "r5": 1}, touched, name="calls once", cpu=1)
        ran: Outcome = yield once
        expect("the function overwritten again", ran.registers["r3"], 1)


@scenario(
    name="rtas",
    summary="code runs as before after RTAS calls whose blocks and buffers are next to it",
    needs=frozenset({"memories"}),
    issues=frozenset({"get-time-of-day", "nvram-fetch"}),
)
def rtas(stage: Stage) -> Playing:
    """The comparison of all of RAM says that the bytes are the same; this, that they run the same."""
    yield from put(stage, CODE, load_immediate(5) + END)
    for step in (
        Rtas("get-time-of-day", nret=8, block=CODE + 0x100),
        Rtas("nvram-fetch", (0, CODE + 8, 64), nret=2, block=CODE + 0x400),
        Rtas("display-character", (0x43,), block=CODE + 0x800),
    ):
        yield step
        ran: Outcome = yield Run(CODE, name="after RTAS", touches=((CODE, 8),))
        expect("the function", ran.registers["r3"], 5)
