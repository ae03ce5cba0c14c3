"""What the contract expects of a host action: the QMP events it causes, and how the step ends.

QMP's own answer is judged where the monitor is known; this is about what the action does to the machine.
A family module adds ``HOST_ACTIONS`` of its own, which take precedence over these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rig.model.expectation import UNSPECIFIED, Case, Expectation, ExpectedEvent, Relation
from rig.model.hypercall import State
from rig.model.rtas.endings import ended_by_reset
from rig.model.rtas.families import FAMILIES
from rig.program import LOAD, MOVE, RESTART, SAVE, Ending, Host, Outcome
from rig.target import GuestMemory

#: gives the expectation for a host action in a state; must not change the state
HostReference = Callable[[Host, State], Expectation]

SOURCE = "QEMU QMP reference, run state events"


def emits(*events: ExpectedEvent, ending: Ending = "returned") -> HostReference:
    """A host action that succeeds with these events."""

    def expect(action: Host, _: State) -> Expectation:
        return Expectation(action.command, (Case("done", events=events, ending=ending, rule=SOURCE),))

    return expect


#: machine check enable (Power ISA Book III, MSR)
MSR_ME = 0x1000
MIGRATION = "QEMU docs/devel/migration: the destination goes on from the state of the source"


def _other_bits(outcome: Outcome, _: GuestMemory) -> str | None:
    before, after = outcome.before.get("msr", 0), outcome.registers.get("msr", 0)
    return f"MSR was {before:#x}, is {after:#x}" if (before ^ after) & ~MSR_ME else None


def _machine_checks(outcome: Outcome, _: GuestMemory) -> str | None:
    lost = outcome.before.get("msr", 0) & ~outcome.registers.get("msr", 0) & MSR_ME
    return "MSR[ME] is lost: the next machine check stops the guest" if lost else None


def _arrives(action: Host, _: State) -> Expectation:
    """The guest goes on as it was saved; what the families know is asked by the calls that follow."""
    relations = (
        Relation("state.msr", _other_bits, MIGRATION),
        Relation("state.machine-checks-off", _machine_checks, MIGRATION),
    )
    return Expectation(
        action.command, (Case("arrived", {"msr": UNSPECIFIED}, relations=relations, rule=MIGRATION),)
    )


def _resets(action: Host, state: State) -> Expectation:
    """Guest or host may have begun what a reset ends."""
    events = (ExpectedEvent("RESET", {"guest": False}), *ended_by_reset(state))
    case = Case("reset", events=events, ending="reset", rule=SOURCE)
    return Expectation(action.command, (case,), facts=state.at_reset)


#: What QMP documents.  Between two calls the machine stands at a breakpoint, so stopping it need not be an
#: event.
MACHINE: Mapping[str, HostReference] = {
    RESTART: emits(ending="reset"),
    SAVE: emits(),
    LOAD: _arrives,
    MOVE: _arrives,
    "system_reset": _resets,
    "system_powerdown": emits(ExpectedEvent("POWERDOWN")),
    "system_wakeup": emits(ExpectedEvent("WAKEUP")),
    "stop": emits(ExpectedEvent("STOP", required=False)),
    "cont": emits(ExpectedEvent("RESUME", required=False)),
}


def collect(families: Iterable[object]) -> Mapping[str, HostReference]:
    """Host actions by QMP command; raises :class:`ValueError` when two families describe the same one."""
    actions: dict[str, HostReference] = {}
    for family in families:
        own: Mapping[str, HostReference] = getattr(family, "HOST_ACTIONS", {})
        twice = actions.keys() & own.keys()
        if twice:
            raise ValueError(f"two families describe the host action {', '.join(sorted(twice))}: keep one")
        actions.update(own)
    return {**MACHINE, **actions}


HOST_ACTIONS = collect(FAMILIES)

_quiet = emits()


def expect(action: Host, state: State) -> Expectation:
    """The expectation for an action; one that must fail, or that nothing describes, causes no event."""
    reference = _quiet if action.fails is not None else HOST_ACTIONS.get(action.command, _quiet)
    return reference(action, state)
