"""ibm,nmi-register and ibm,nmi-interlock (LoPAR 7.3.14), and what inject-nmi then does.

Machine checks are not modelled: nothing on a build under test raises one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rig.model.address import ram_of
from rig.model.environment import Environment
from rig.model.expectation import (
    Between,
    Breach,
    Case,
    Exactly,
    Expectation,
    ExpectedEvent,
    Permitted,
    Relation,
    Satisfies,
    Scratch,
)
from rig.model.hypercall import Argument, Kind, State
from rig.model.rtas.cpu import Cpus
from rig.model.rtas.endings import panicked, rebooted
from rig.model.rtas.service import (
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    only_block,
    refuse,
)
from rig.model.update_dt import Published
from rig.policy import Policy
from rig.program import Host, Outcome
from rig.target import GuestMemory

REGISTER = "R1-7.3.14-4"
FIRST_32_MIB = "R1-7.3.14-6"
DELIVERY = "R1-7.3.14-9"
INTERLOCK = "R1-7.3.14-17"
THIRD = "R1-14.5.1-8"
STOPPED = "R1-7.3.8.1-2"
SPACE = "R1-7.3.14-7"
UNREGISTERED = "Power ISA v3.0B, Book III 6.5.1"
SILENT = "LoPAR 7.3.14 is silent; -3 by 7.2.7"

#: notification routines lie below (LoPAR R1-7.3.14-6)
LIMIT = 32 << 20
#: where a system reset interrupt goes that nobody registered for
VECTOR = 0x100
#: system reset interrupts of a CPU that are forwarded after a registration (LoPAR R1-14.5.1-7)
FORWARDED = 2

#: MSR bits: SF is set, and EE, PR, IR and DR are clear, when an interrupt is taken
SF = 1 << 63
CLEARED = 1 << 15 | 1 << 14 | 1 << 5 | 1 << 4
#: bits of SRR1 that tell the interrupt's cause instead of the interrupted MSR (33:36 and 42:47)
CAUSE = 0x7800_0000 | 0x003F_0000

FORWARDS_ON = Breach("fwnmi.third-forwarded", "the third system reset interrupt is forwarded too", THIRD)
CHANGES_R3 = Breach(
    "fwnmi.r3-changed", "r3 is the address of a save area at the system reset routine", DELIVERY
)


WAKES_STOPPED = Breach(
    "fwnmi.stopped-cpu-woken", "a stopped CPU runs after a system reset interrupt", STOPPED
)


class Fwnmi:
    """The registered system reset routine, and how many interrupts were forwarded to it."""

    def __init__(self, environment: Environment) -> None:
        self.routine: int | None = None
        self.forwarded = 0

    def reset(self, environment: Environment) -> None:
        """Registrations do not outlive the operating system that made them."""
        self.routine = None

    def register(self, routine: int) -> None:
        """Count anew (LoPAR R1-14.5.1-6)."""
        self.routine, self.forwarded = routine, 0


def _disabled(state: State) -> bool:
    return "cap-fwnmi=off" in state.environment.options.options


def _register(request: Request) -> tuple[Reply, ...]:
    state, routines = request.state, request.args[:2]
    if _disabled(state):
        return refuse(SILENT)
    if max(routines) >= LIMIT:
        return refuse(FIRST_32_MIB)
    fwnmi = state.of(Fwnmi)
    registered = Reply(SUCCESS, rule=REGISTER, effect=lambda _: fwnmi.register(routines[0]))
    unaligned = any(routine % 4 for routine in routines)
    # LoPAR knows no RTAS that is called without having been given its memory.
    open_ = unaligned or state.of(Published).rtas_base is None
    return (registered, *refuse(SILENT)) if open_ else (registered,)


def _register_facts(request: Request) -> frozenset[str]:
    facts = set()
    if max(request.args[:2]) >= LIMIT:
        facts.add("routine-beyond-32-mib")
    if request.state.of(Published).rtas_base is None:
        facts.add("rtas-base-unknown")
    return frozenset(facts)


def _interlock(request: Request) -> tuple[Reply, ...]:
    released = Reply(SUCCESS, rule=INTERLOCK)
    if request.state.of(Fwnmi).routine is None:
        return (*refuse(SILENT), released)
    return (released,)


def _inject(action: Host, state: State) -> Expectation:
    """A system reset interrupt on every CPU that runs."""
    fwnmi = state.of(Fwnmi)
    routine, base = fwnmi.routine, state.of(Published).rtas_base
    if routine is None:
        cases = (_taken(state, VECTOR, UNREGISTERED), *_woken(state))
        return Expectation(action.command, cases, facts=frozenset({"unregistered"}))

    def count(_: Outcome) -> None:
        fwnmi.forwarded += 1

    rtas = state.environment.tree.find("/rtas")
    size = 0 if rtas is None else sum(rtas.cells("rtas-size")[:1])
    taken = [replace(_taken(state, routine, DELIVERY), effect=count)]
    if base is not None:
        saved: dict[str, Permitted] = {"r3": Between(base, base + size - 1)}
        changed = _taken(state, routine, DELIVERY, saved)
        taken.append(replace(changed, effect=count, breach=CHANGES_R3))
        own = tuple(Scratch(*part, SPACE) for part in ram_of(state, base, size))
        taken = [replace(case, scratch=own) for case in taken]
    else:
        # It was known when the routine was registered: what a platform does that lost it is not said.
        version = state.environment.version
        taken.append(Case("panicked", events=(ExpectedEvent("GUEST_PANICKED"),), rule=SILENT))
        taken += [_ended(reply) for reply in panicked(Policy.of(state.environment.options), version, SILENT)]
    if fwnmi.forwarded >= FORWARDED:
        reboot = _ended(rebooted(state, THIRD))
        taken = [reboot, *(replace(case, breach=FORWARDS_ON) for case in taken)]
    return Expectation(action.command, (*taken, *_woken(state)), facts=frozenset({"registered"}))


def _woken(state: State) -> tuple[Case, ...]:
    """What becomes of a guest that an interrupt starts a stopped CPU of: nothing more is known of it."""
    if all(cpu.running for cpu in state.of(Cpus).cpus):
        return ()
    awake = Relation("nmi.running", _some_woken, STOPPED)
    return (Case("woken", relations=(awake,), ending="running", breach=WAKES_STOPPED, rule=STOPPED),)


def _some_woken(outcome: Outcome, _: GuestMemory) -> str | None:
    woken = any(name.startswith("woken@") for name in outcome.registers)
    return None if woken else "the routine did not return"


def _taken(state: State, pc: int, rule: str, changed: Mapping[str, Permitted] | None = None) -> Case:
    """Every running CPU at ``pc``, all but ``changed`` as it was; CPU 1 has ``pc@1``."""
    registers: dict[str, Permitted] = {
        **(changed or {}),
        "pc": Exactly(pc),
        "msr": Satisfies(_interrupt_msr, "SF set; EE, PR, IR and DR clear", SF),
    }
    others = (index for index, cpu in enumerate(state.of(Cpus).cpus) if cpu.running and index)
    registers |= {f"pc@{index}": Exactly(pc) for index in others}

    def kept(outcome: Outcome, _: GuestMemory) -> str | None:
        unlike = [
            name
            for name, before in outcome.before.items()
            if name not in {"srr0", "srr1", *registers} and outcome.registers[name] != before
        ]
        return f"{', '.join(unlike)} changed" if unlike else None

    relations = (Relation("nmi.return", _returns, UNREGISTERED), Relation("nmi.registers", kept, rule))
    return Case("taken", registers, relations=relations, rule=rule)


def _interrupt_msr(msr: int) -> bool:
    return bool(msr & SF) and not msr & CLEARED


def _returns(outcome: Outcome, _: GuestMemory) -> str | None:
    """SRR0 and SRR1 lead back to where the CPU was."""
    before, after = outcome.before, outcome.registers
    if not before or (after["srr0"] == before["pc"] and not (after["srr1"] ^ before["msr"]) & ~CAUSE):
        return None
    return (
        f"SRR0 {after['srr0']:#x} and SRR1 {after['srr1']:#x} do not lead back to {before['pc']:#x} with MSR "
        f"{before['msr']:#x}"
    )


def _ended(reply: Reply) -> Case:
    return Case(f"status {reply.status}", events=reply.events, ending=reply.ending, rule=reply.rule)


HOST_ACTIONS = {"inject-nmi": _inject}

SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,nmi-register",
        (
            Argument("system_reset", Kind.ADDRESS, "real address of the system reset routine, below 32 MiB"),
            Argument("machine_check", Kind.ADDRESS, "real address of the machine check routine, likewise"),
        ),
        (),
        ((2, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR}),
        "Registers the routines to which system reset and machine check interrupts are forwarded.",
        "LoPAR 7.3.14",
        ("R1-7.3.14-2", REGISTER, FIRST_32_MIB, SPACE, "R1-7.3.14-8", DELIVERY, "R1-14.5.1-7", THIRD),
        _register,
        _register_facts,
        only_block,
    ),
    Service(
        "ibm,nmi-interlock",
        (),
        (),
        ((0, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR}),
        "Releases the area in which a machine check was reported.",
        "LoPAR 7.3.14",
        (INTERLOCK, "R1-7.3.14-18"),
        _interlock,
        buffers=only_block,
    ),
)

__all__ = ["HOST_ACTIONS", "SERVICES", "Fwnmi"]
