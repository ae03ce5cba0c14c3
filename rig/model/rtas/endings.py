"""How calls end that reboot the machine, power it off or panic, under each :class:`rig.policy.Policy`."""

from __future__ import annotations

from dataclasses import replace

from rig.model.expectation import Breach, ExpectedEvent, Relation
from rig.model.hypercall import State
from rig.model.rtas.service import SUCCESS, Reply
from rig.policy import Policy
from rig.program import Outcome
from rig.target import GuestMemory

SOURCE = "QEMU man page, -action; QMP reference, SHUTDOWN, RESET and GUEST_PANICKED"

STAYS = Breach(
    "power.exit-failure-stays", "QEMU does not exit after a panic", "QMP reference, PanicAction exit-failure"
)

#: comes whenever the machine stands still; the debugger's own stops cause it too
STOP = ExpectedEvent("STOP", required=False)


def exits(status: int) -> Relation:
    """QEMU ends with this exit status."""

    def holds(outcome: Outcome, _: GuestMemory) -> str | None:
        if outcome.exit_status == status:
            return None
        return f"QEMU ended otherwise than by exit status {status}: {outcome.last_words}"

    return Relation("exit-status", holds, SOURCE)


def powered_off(
    policy: Policy, reason: str, rule: str, *before: ExpectedEvent, exit_status: int = 0
) -> Reply:
    """The reply of a call that ends the machine for ``reason``, after the events ``before``."""
    events = (*before, ExpectedEvent("SHUTDOWN", {"guest": True, "reason": reason}), STOP)
    if policy.shutdown == "pause":
        return Reply(SUCCESS, rule=rule, events=events, ending="shutdown")
    return Reply(SUCCESS, rule=rule, events=events, ending="died", relations=(exits(exit_status),))


def rebooted(state: State, rule: str) -> Reply:
    """The reply of a call that reboots the machine."""
    policy = Policy.of(state.environment.options)
    if policy.reboot == "shutdown":
        return powered_off(policy, "guest-reset", rule)
    event = ExpectedEvent("RESET", {"guest": True, "reason": "guest-reset"})
    return Reply(SUCCESS, rule=rule, events=(event, *ended_by_reset(state)), ending="reset")


def ended_by_reset(state: State) -> tuple[ExpectedEvent, ...]:
    """What a reset may say besides that it is one."""
    return tuple(ExpectedEvent(name, required=False) for name in sorted(state.ending))


def panicked(policy: Policy, version: tuple[int, ...], rule: str) -> tuple[Reply, ...]:
    """The replies of a call that tells that the guest's operating system has failed."""

    def event(action: str, *, required: bool = True) -> ExpectedEvent:
        return ExpectedEvent("GUEST_PANICKED", {"action": action}, required)

    if policy.panic == "none":
        return (Reply(SUCCESS, rule=rule, events=(event("run"),)),)
    if "guest-panicked" in policy.standing:
        return (Reply(SUCCESS, rule=rule, events=(event("pause"), STOP), ending="panicked"),)
    # Before 6.0 a machine that is to power off announces first that it pauses.
    first = (event("pause", required=False),) if version < (6,) else ()
    events = (*first, event("poweroff"))
    if policy.panic != "exit-failure":
        return (powered_off(policy, "guest-panic", rule, *events),)
    off = replace(policy, shutdown="poweroff")
    failed = powered_off(off, "guest-panic", rule, *events, exit_status=1)
    stays = powered_off(policy, "guest-panic", rule, *events)
    return (failed,) if policy == off else (failed, replace(stays, breach=STAYS))
