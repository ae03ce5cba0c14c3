"""A CPU that waits in a hypercall has not stopped itself: query-cpu-stopped-state must tell the two apart.

One CPU joins (H_JOIN: it waits until another prods it, LoPAR chapter 14) while the other asks about it, then
prods it.  The two run at the same time, so both are routines.
"""

from __future__ import annotations

from rig.program import H_RTAS, Arrive, MachineOptions, Outcome, Rtas, Run, Seed, Together
from rig.scenario.guest_code import END, put
from rig.scenario.script import Disagreement, Playing, Stage, scenario

H_PROD, H_JOIN = 0xE8, 0x298
#: CPU_status (LoPAR 7.3.8.3)
NOT_STOPPED = 2
WAITS, ASKS = 0x100_0000, 0x100_1000
BLOCK, FLAG = 0x110_0000, 0x111_0000
#: how often to ask: the other has joined long before, and its thread in QEMU is at rest when it is prodded
QUESTIONS = 20_000

#: r20 the flag, r21 H_JOIN
WAIT = (
    bytes.fromhex(
        "38a00001"  # li    r5, 1
        "f8b40000"  # std   r5, 0(r20)
        "7ea3ab78"  # mr    r3, r21
        "44000022"  # sc    1
    )
    + END
)
#: r20 the flag, r21 H_RTAS, r22 the block, r23 how often, r24 H_PROD; r25 is a CPU_status that was not r26
ASK = (
    bytes.fromhex(
        "7ffffb78"  # 1: or r31, r31, r31, which lets the other run
        "e8d40000"  # ld    r6, 0(r20)
        "2c260000"  # cmpdi r6, 0
        "4182fff4"  # beq   1b
        "7ea3ab78"  # 2: mr r3, r21
        "7ec4b378"  # mr    r4, r22
        "44000022"  # sc    1
        "80b60014"  # lwz   r5, 20(r22)
        "7c05d000"  # cmpw  r5, r26
        "41820008"  # beq   3f
        "7cb92b78"  # mr    r25, r5
        "7ffffb78"  # 3: or r31, r31, r31
        "3af7ffff"  # addi  r23, r23, -1
        "2c370000"  # cmpdi r23, 0
        "4082ffd8"  # bne   2b
        "7f03c378"  # mr    r3, r24
        "38800001"  # li    r4, 1
        "44000022"  # sc    1
    )
    + END
)


@scenario(
    name="joined",
    summary="a CPU that waits in H_JOIN is not in the stopped state",
    machine=MachineOptions(smp="2"),
    requirements=("R1-7.3.8.1-1", "R1-7.3.8.3-1"),
    needs=frozenset({"memories"}),
    issues=frozenset({"start-cpu", "query-cpu-stopped-state"}),
)
def joined(stage: Stage) -> Playing:
    """Ask often, and prod."""
    token = stage.environment.tokens["query-cpu-stopped-state"]
    yield (Rtas("start-cpu", (1, 0x3000, 0x8100)), Arrive(1))
    yield from put(stage, WAITS, WAIT)
    yield from put(stage, ASKS, ASK)
    yield [
        Seed(BLOCK, b"".join(cell.to_bytes(4, "big") for cell in (token, 1, 2, 1, 0, 0))),
        Seed(FLAG, bytes(8)),
    ]
    wait = Run(WAITS, {"r20": FLAG, "r21": H_JOIN}, ((FLAG, 8),), name="joins", cpu=1)
    asked = {"r20": FLAG, "r21": H_RTAS, "r22": BLOCK, "r23": QUESTIONS, "r24": H_PROD}
    asked |= {"r25": NOT_STOPPED, "r26": NOT_STOPPED}
    ask = Run(ASKS, asked, ((FLAG, 8), (BLOCK, 24)), name="asks")
    outcome: Outcome = yield Together((wait, ask))
    check(outcome)


def check(outcome: Outcome) -> None:
    """Raise :class:`Disagreement` when the CPU did not wait, or for another CPU_status than "not stopped"."""
    if not outcome.parts:
        return
    waited, asked = (part.registers for part in outcome.parts)
    for call, registers in (("H_JOIN", waited), ("H_PROD", asked)):
        if registers.get("r3"):
            raise Disagreement("cpu.does-not-wait", f"{call} returned {registers['r3']:#x}")
    if (status := asked.get("r25", NOT_STOPPED)) != NOT_STOPPED:
        raise Disagreement(
            "cpu.waiting-is-stopped", f"CPU_status of a CPU that waits is {status}, not {NOT_STOPPED}"
        )
