"""ibm,nmi-register, ibm,nmi-interlock and system reset interrupts, before and after RTAS has a place.

The platform learns that place as it does from firmware: by H_UPDATE_DT, from a tree with ``linux,rtas-base``.
"""

from __future__ import annotations

from dataclasses import replace

from rig.machine.agent import SECONDARY, mailbox_at
from rig.model.blob import BASE
from rig.model.update_dt import H_UPDATE_DT
from rig.program import Arrive, Call, Host, MachineOptions, Rtas, Seed, Step
from rig.scenario.script import Playing, Stage, scenario
from rig.scenario.tree import with_rtas

BLOB = 0xA0_0000
#: RTAS's private area; its size is in /rtas
SPACE = 0x180_0000
#: a routine that only returns: rfid
ROUTINE = 0xC0_0000
RETURNS = bytes.fromhex("4c000024")
LIMIT = 32 << 20

REGISTER, INTERLOCK = "ibm,nmi-register", "ibm,nmi-interlock"
ISSUES: frozenset[str | int] = frozenset({H_UPDATE_DT, REGISTER, INTERLOCK})
REQUIREMENTS = ("R1-7.3.14-2", "R1-7.3.14-4", "R1-7.3.14-6", "R1-7.3.14-17")
INJECT = Host("inject-nmi")
#: a call that shows that the guest goes on
WORKS = Rtas("query-cpu-stopped-state", (0,), 2)

TWO = MachineOptions(smp="2")
STATE = Rtas("query-cpu-stopped-state", (1,), 2)
START = (Rtas("start-cpu", (1, SECONDARY, mailbox_at(1))), Arrive(1))


def publish(stage: Stage, base: int | None = SPACE) -> list[Step]:
    """Tell the platform where RTAS is, or no longer."""
    added = {} if base is None else {BASE: base.to_bytes(4, "big")}
    return [Seed(BLOB, with_rtas(stage, added)), Call(H_UPDATE_DT, (BLOB,))]


def register(system_reset: int = ROUTINE, machine_check: int = ROUTINE + 0x100) -> Rtas:
    """Register both routines."""
    return Rtas(REGISTER, (system_reset, machine_check))


@scenario(
    name="register",
    summary="routines are registered once RTAS has a place, again and again, until a reset",
    requirements=REQUIREMENTS,
    issues=ISSUES,
)
def registering(stage: Stage) -> Playing:
    """Before, after, again, and after a reset."""
    yield [register(), Rtas(INTERLOCK)]
    yield publish(stage)
    yield [Rtas(INTERLOCK), register(), Rtas(INTERLOCK), Rtas(INTERLOCK), register(), register(0xD0_0000)]
    yield Host("system_reset")
    yield [Rtas(INTERLOCK), register()]
    yield publish(stage)
    yield [Rtas(INTERLOCK), register(), Rtas(INTERLOCK)]


@scenario(
    name="routines",
    summary="routines anywhere in the first 32 MiB and beyond, aligned or not",
    requirements=("R1-7.3.14-4", "R1-7.3.14-6"),
    issues=ISSUES,
)
def routines(stage: Stage) -> Playing:
    """Each argument at its limits and just past them."""
    yield publish(stage)
    end = stage.environment.ram[-1].end
    places = (0, 1, 4, 0x4000, ROUTINE + 2, LIMIT - 4, LIMIT - 1, LIMIT, LIMIT + 4, end - 4, end, 0x8000_0000)
    for place in (*places, 0xFFFF_FFFC, 0xFFFF_FFFF):
        yield [register(place, ROUTINE), register(ROUTINE, place), register(place, place)]


@scenario(
    name="shapes",
    summary="other numbers of inputs and outputs, and blocks at the end of memory",
    requirements=("R1-7.3.14-4", "R1-7.3.14-17"),
    issues=ISSUES,
)
def shapes(stage: Stage) -> Playing:
    """One less, one more, none and far too many."""
    yield publish(stage)
    huge = (0x3FFF_FFFF, 0x4000_0000, 0xFFFF_FFFF)
    args = (ROUTINE, ROUTINE, ROUTINE)
    for nret in (0, 1, 2, *huge):
        for nargs in (0, 1, 2, 3, *huge):
            yield [Rtas(service, args, nret, nargs) for service in (INTERLOCK, REGISTER)]
    end = stage.environment.ram[-1].end
    for block in (end - 24, end - 16, end - 12, end - 8, ROUTINE + 1, ROUTINE + 4):
        yield [Rtas(REGISTER, args[:2], block=block), Rtas(INTERLOCK, block=block)]


@scenario(
    name="option-off",
    summary="with cap-fwnmi=off nothing can be registered",
    requirements=("R1-7.3.14-4",),
    machine=MachineOptions(options=("cap-fwnmi=off",)),
    issues=ISSUES,
)
def option_off(stage: Stage) -> Playing:
    """Before and after RTAS has a place."""
    yield [register(), Rtas(INTERLOCK), INJECT]
    yield publish(stage)
    yield [register(), Rtas(INTERLOCK), INJECT, register(LIMIT, LIMIT)]


@scenario(
    name="inject-unregistered",
    summary="a system reset interrupt that nobody registered for is taken at 0x100",
    issues=ISSUES,
)
def unregistered(stage: Stage) -> Playing:
    """Several times, the machine working in between and after."""
    yield [INJECT, INJECT, WORKS, INJECT]
    yield publish(stage)
    yield [register(LIMIT), INJECT, WORKS]


@scenario(
    name="inject",
    summary="system reset interrupts come to the registered routine, two of them",
    requirements=("R1-7.3.14-7", "R1-7.3.14-8", "R1-7.3.14-9", "R1-14.5.1-4", "R1-14.5.1-7"),
    issues=ISSUES,
)
def inject(stage: Stage) -> Playing:
    """The routine returns and the guest goes on; a new registration takes the place of the old."""
    yield publish(stage)
    other = ROUTINE + 0x2000
    yield [Seed(ROUTINE, RETURNS), Seed(other, RETURNS), register(), INJECT]
    yield [WORKS, INJECT, Rtas(INTERLOCK)]
    yield [register(other), INJECT, WORKS]
    yield [Host("system_reset"), INJECT]


@scenario(
    name="inject-third",
    summary="the third system reset interrupt after a registration reboots the partition",
    requirements=("R1-14.5.1-6", "R1-14.5.1-7", "R1-14.5.1-8"),
    issues=ISSUES,
)
def third(stage: Stage) -> Playing:
    """Counted from the last registration."""
    yield publish(stage)
    yield [Seed(ROUTINE, RETURNS), register(), INJECT, register(), INJECT, INJECT, INJECT]


@scenario(
    name="inject-two-cpus",
    summary="every CPU that runs takes the interrupt",
    requirements=("R1-7.3.14-8", "R1-7.3.14-11", "R1-14.5.1-1"),
    machine=TWO,
    issues=ISSUES,
)
def two_cpus(stage: Stage) -> Playing:
    """Unregistered, then registered; both CPUs work afterwards."""
    yield START
    yield [INJECT, WORKS, replace(WORKS, cpu=1)]
    yield publish(stage)
    yield [Seed(ROUTINE, RETURNS), register(), INJECT]
    yield [replace(WORKS, cpu=1), Rtas(INTERLOCK, cpu=1), Rtas(INTERLOCK)]


@scenario(
    name="inject-beside-stopped",
    summary="a CPU that stopped itself, or never ran, takes the interrupt without leaving the stopped state",
    requirements=("R1-7.3.8.1-2", "R1-14.5.1-1"),
    machine=TWO,
    issues=ISSUES,
)
def beside_stopped(stage: Stage) -> Playing:
    """Stopped by itself, then from the start."""
    yield [*START, Rtas("stop-self", cpu=1), INJECT, STATE, *START]
    yield Host("system_reset")
    yield [INJECT, STATE, *START]


@scenario(
    name="base-lost",
    summary="a system reset interrupt after the platform was told a tree without the place of RTAS",
    issues=ISSUES,
)
def base_lost(stage: Stage) -> Playing:
    """Registered, then forgotten."""
    yield publish(stage)
    yield [Seed(ROUTINE, RETURNS), register()]
    yield publish(stage, None)
    yield [Rtas(INTERLOCK), INJECT]
