"""Plain loads and stores of one CPU while another makes memops.

They may come between two elements of a memop, but never see, and never leave, a part of an element: each is
one access of the element's size (H_LOGICAL_MEMOP is made of the same loads and stores as the guest's own).
"""

from __future__ import annotations

from rig.program import H_LOGICAL_MEMOP, Arrive, Call, MachineOptions, Outcome, Rtas, Run, Seed, Together
from rig.scenario.guest_code import END, put
from rig.scenario.script import Disagreement, Playing, Stage, scenario

CODE = 0x100_0000
DESTINATION, FIRST, SECOND = 0x110_0000, 0x120_0000, 0x130_0000
LENGTH = 0x1000
OLD, NEW = 0x0102_0304_0506_0708, 0xF1F2_F3F4_F5F6_F7F8
ROUNDS = 6
LOADS = 20_000

#: r4 address, r5 how often, r7 and r8 values, r9 counts loads that saw neither
LOAD = {
    3: bytes.fromhex("e8c40000"),  # ld    r6, 0(r4)
    2: bytes.fromhex("80c40000"),  # lwz   r6, 0(r4)
    1: bytes.fromhex("a0c40000"),  # lhz   r6, 0(r4)
}
JUDGE = (
    bytes.fromhex(
        "7c263800"  # cmpd  r6, r7
        "41820010"  # beq   1f
        "7c264000"  # cmpd  r6, r8
        "41820008"  # beq   1f
        "39290001"  # addi  r9, r9, 1
        "38a5ffff"  # 1: addi r5, r5, -1
        "2c250000"  # cmpdi r5, 0
        "4082ffe0"  # bne   the load
    )
    + END
)

#: r4 address of 512 doublewords, r5 how often, r7 and r8 stored in turn
STORE = (
    bytes.fromhex(
        "39200200"  # li    r9, 512
        "7d2903a6"  # mtctr r9
        "7c8a2378"  # mr    r10, r4
        "f8ea0000"  # 1: std r7, 0(r10)
        "f90a0000"  # std   r8, 0(r10)
        "394a0008"  # addi  r10, r10, 8
        "4200fff4"  # bdnz  1b
        "38a5ffff"  # addi  r5, r5, -1
        "2c250000"  # cmpdi r5, 0
        "4082ffdc"  # bne   the first
    )
    + END
)

TWO = MachineOptions(smp="2")
SECOND_CPU = (Rtas("start-cpu", (1, 0x3000, 0x8100)), Arrive(1))


def pattern(value: int) -> bytes:
    """One doubleword over and over."""
    return value.to_bytes(8, "big") * (LENGTH // 8)


def copy(source: int, esize: int) -> Call:
    """All of the range, by the boot CPU."""
    return Call(H_LOGICAL_MEMOP, (DESTINATION, source, esize, LENGTH >> esize, 0))


@scenario(
    name="loads",
    summary="while one CPU copies elements of 2, 4 and 8 bytes, another's loads see each old or new",
    machine=TWO,
    needs=frozenset({"memories"}),
    issues=frozenset({H_LOGICAL_MEMOP, "start-cpu"}),
)
def loads(stage: Stage) -> Playing:
    """Loads of the element's own size."""
    yield SECOND_CPU
    yield [Seed(FIRST, pattern(OLD)), Seed(SECOND, pattern(NEW)), Seed(DESTINATION, pattern(OLD))]
    for esize, load in LOAD.items():
        code = CODE + 0x1000 * esize
        yield from put(stage, code, load + JUDGE)
        width = 8 * (1 << esize)
        values = {"r7": OLD >> 64 - width, "r8": NEW >> 64 - width}
        for turn in range(ROUNDS):
            at = DESTINATION + 8 * turn
            own = {"r4": at, "r5": LOADS, "r9": 0, **values}
            watch = Run(code, own, ((DESTINATION, LENGTH),), name="loads", cpu=1)
            outcome: Outcome = yield Together(
                (watch, *(copy(FIRST + (n % 2) * (SECOND - FIRST), esize) for n in range(40)))
            )
            if outcome.parts and (torn := outcome.parts[0].registers["r9"]):
                raise Disagreement(
                    "race.torn-load",
                    f"{torn} of {LOADS} loads of {1 << esize} bytes saw a part of an element",
                )


@scenario(
    name="stores",
    summary="while one CPU stores doublewords, another's copy of them holds no part of one",
    machine=TWO,
    needs=frozenset({"memories"}),
    issues=frozenset({H_LOGICAL_MEMOP, "start-cpu"}),
)
def stores(stage: Stage) -> Playing:
    """Elements of eight bytes, of which the source is being stored."""
    yield SECOND_CPU
    yield from put(stage, CODE, STORE)
    yield [Seed(FIRST, pattern(OLD)), Seed(DESTINATION, pattern(OLD))]
    touched = ((FIRST, LENGTH), (DESTINATION, LENGTH))
    for _ in range(ROUNDS):
        write = Run(CODE, {"r4": FIRST, "r5": 60, "r7": OLD, "r8": NEW}, touched, name="stores", cpu=1)
        outcome: Outcome = yield Together((write, *(copy(FIRST, 3) for _ in range(40))))
        data = stage.memory.read(DESTINATION, LENGTH)
        seen = {int.from_bytes(data[at : at + 8], "big") for at in range(0, LENGTH, 8)}
        if outcome.parts and (torn := seen - {OLD, NEW}):
            raise Disagreement("race.torn-store", f"the copy holds {min(torn):#x}, which nobody stored")
