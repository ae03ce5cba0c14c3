"""power-off, system-reboot, ibm,os-term and ibm,suspend-me (LoPAR 7.3.6, 7.3.7, 7.3.9, 7.3.23): the calls
that end or suspend the partition.
"""

from __future__ import annotations

from dataclasses import replace

from rig.frozen import frozen
from rig.model.address import in_ram
from rig.model.environment import Environment
from rig.model.expectation import Breach, Case, Cell, Exactly, Expectation, ExpectedEvent, Scratch
from rig.model.hypercall import H_SUCCESS, Argument, Kind, State
from rig.model.rtas.cpu import Cpus
from rig.model.rtas.dumping import crash
from rig.model.rtas.endings import STOP, panicked, powered_off, rebooted
from rig.model.rtas.fadump import Dump
from rig.model.rtas.service import (
    BUSY,
    HARDWARE_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    put_off,
    refuse,
)
from rig.policy import Policy
from rig.program import Host, Outcome

POWER_OFF = "R1-7.3.6.3-1"
REBOOT = "R1-7.3.7.1-2"
TERMINATE = "R1-7.3.9.1-1"
RETURNS = "R1-7.3.9.1-5"
SUSPEND = "R1-7.3.23-2"
SILENT = "LoPAR 7.3 is silent; -3 by 7.2.7"

#: statuses of ibm,suspend-me
ABORTED = 9000
NOT_SUSPENDABLE = -9004
THREADS_ACTIVE = -9005
COPROCESSOR_ACTIVE = -9006

NEVER_RETURNS = Breach(
    "os-term.does-not-return",
    "ibm,os-term does not return although the device tree has ibm,extended-os-term",
    RETURNS,
)


@frozen
class Sleep:
    """The call during which the machine was suspended: where its outputs are."""

    rets: int
    nret: int
    exact: bool


class Power:
    """Whether the machine is suspended."""

    def __init__(self, environment: Environment) -> None:
        self.sleep: Sleep | None = None

    def reset(self, environment: Environment) -> None:
        """A reset ends a suspension, and the call is not heard of again."""
        self.sleep = None


def _policy(request: Request) -> Policy:
    return Policy.of(request.state.environment.options)


def _power_off(request: Request) -> tuple[Reply, ...]:
    off = powered_off(_policy(request), "guest-shutdown", POWER_OFF)
    return (off, *refuse(SILENT)) if any(request.args[:2]) else (off,)


def _reboot(request: Request) -> tuple[Reply, ...]:
    return (rebooted(request.state, REBOOT),)


def _terminate(request: Request) -> tuple[Reply, ...]:
    state = request.state
    dumped = crash(request)
    if dumped and state.of(Dump).registered is not None:
        return dumped
    replies = panicked(_policy(request), state.environment.version, TERMINATE)
    if replies[0].ending != "returned":
        rtas = state.environment.tree.find("/rtas")
        promised = rtas is not None and "ibm,extended-os-term" in rtas.properties
        back = Reply(SUCCESS, rule=RETURNS, events=(ExpectedEvent("GUEST_PANICKED", required=False),))
        # Who announces another shape is promised nothing.
        breach = NEVER_RETURNS if promised and request.exact else None
        replies = (back, *(replace(end, breach=end.breach or breach) for end in replies))
    if not in_ram(state, request.args[0], 1):
        replies += refuse(SILENT)
    return replies + dumped + put_off(TERMINATE, BUSY)


def _terminate_facts(request: Request) -> frozenset[str]:
    inside = in_ram(request.state, request.args[0], 1)
    return frozenset() if inside else frozenset({"message-outside-memory"})


def _suspend(request: Request) -> tuple[Reply, ...]:
    state = request.state
    if state.of(Cpus).others(state.caller):
        return refuse(SUSPEND, THREADS_ACTIVE)
    power = state.of(Power)

    def fall_asleep(_: Outcome) -> None:
        power.sleep = Sleep(request.rets, request.nret, request.exact)

    asleep = Reply(
        SUCCESS,
        rule=SUSPEND,
        events=(ExpectedEvent("SUSPEND"), STOP),
        ending="suspended",
        effect=fall_asleep,
    )
    return (asleep, *refuse(SUSPEND, NOT_SUSPENDABLE))


def _wake(action: Host, state: State) -> Expectation:
    """system_wakeup lets the call that suspended the machine return."""
    power = state.of(Power)
    sleep = power.sleep
    if sleep is None:
        return Expectation(action.command, (Case("done", events=(ExpectedEvent("WAKEUP"),)),))

    def awake(_: Outcome) -> None:
        power.sleep = None

    cells: tuple[Cell, ...] = ()
    scratch = (Scratch(sleep.rets, 4 * sleep.nret),) if in_ram(state, sleep.rets, 4 * sleep.nret) else ()
    if sleep.exact:
        cells, scratch = (Cell(sleep.rets, 4, Exactly(SUCCESS), "status", SUSPEND),), ()
    woken = Case(
        "woken",
        {"r3": Exactly(H_SUCCESS)},
        cells,
        scratch=scratch,
        events=(ExpectedEvent("WAKEUP"),),
        effect=awake,
        rule=SUSPEND,
    )
    return Expectation("ibm,suspend-me", (woken,))


HOST_ACTIONS = {"system_wakeup": _wake}

SERVICES: tuple[Service, ...] = (
    Service(
        "power-off",
        (
            Argument("mask_high", Kind.MASK, "power-on events 0 to 31"),
            Argument("mask_low", Kind.MASK, "power-on events 32 to 63"),
        ),
        (),
        ((2, 1),),
        frozenset({HARDWARE_ERROR}),
        "Powers the partition off and does not return.",
        "LoPAR 7.3.6.3",
        (POWER_OFF, "R1-7.3.6.3-2", "R1-14.10-17"),
        _power_off,
    ),
    Service(
        "system-reboot",
        (),
        (),
        ((0, 1),),
        frozenset({HARDWARE_ERROR}),
        "Resets all CPUs and devices, boots the partition again and does not return.",
        "LoPAR 7.3.7.1",
        ("R1-7.3.7.1-1", REBOOT, "R1-14.10-13"),
        _reboot,
        lambda request: request.state.at_reset,
    ),
    Service(
        "ibm,os-term",
        (Argument("message", Kind.ADDRESS, "real address of a string that ends in NUL"),),
        (),
        ((1, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY}),
        "Tells that the operating system has failed; returns where ibm,extended-os-term says so.",
        "LoPAR 7.3.9.1",
        (TERMINATE, RETURNS, "R1-14.10-19"),
        _terminate,
        _terminate_facts,
    ),
    Service(
        "ibm,suspend-me",
        (),
        (),
        ((0, 1),),
        frozenset({SUCCESS, ABORTED, HARDWARE_ERROR, NOT_SUSPENDABLE, THREADS_ACTIVE, COPROCESSOR_ACTIVE}),
        "Suspends the partition; called by its last active CPU, and returns when the partition resumes.",
        "LoPAR 7.3.23",
        (SUSPEND,),
        _suspend,
    ),
)

__all__ = ["HOST_ACTIONS", "SERVICES", "Power", "Sleep"]
