"""start-cpu, stop-self and query-cpu-stopped-state (LoPAR 7.3.8): which CPUs run, and how one is started.

A CPU is known by its server number in calls and by its index, its place among the server numbers, elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from rig.model.environment import Environment
from rig.model.expectation import Breach, Case, Exactly, Expectation, OneOf, Permitted, Satisfies
from rig.model.hypercall import Argument, Kind
from rig.model.rtas.endings import powered_off
from rig.model.rtas.service import (
    BUSY,
    HARDWARE_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    only_block,
    put_off,
    refuse,
)
from rig.policy import Policy
from rig.program import Arrive, Outcome

STOP = "R1-7.3.8.1-1"
LAST = "R1-13.7.4.1.1-2"
START = "R1-7.3.8.2-1"
START_STATE = "R1-7.3.8.2-3"
QUERY = "R1-7.3.8.3-1"
SILENT = "LoPAR 7.3.8 is silent; -3 by 7.2.7"

#: status of start-cpu: not enough resources
NO_RESOURCES = 3
#: CPU_status of query-cpu-stopped-state
STOPPED, STOPPING, RUNNING = range(3)

#: MSR of a started CPU (LoPAR R1-7.3.8.2-3): bits that must be set, and that must be clear, by name
MSR_SET = {"ME": 1 << 12}
MSR_CLEAR = {
    "HV": 1 << 60,
    "ILE": 1 << 16,
    "EE": 1 << 15,
    "PR": 1 << 14,
    "SE": 1 << 10,
    "BE": 1 << 9,
    "IR": 1 << 5,
    "DR": 1 << 4,
    "PMM": 1 << 2,
    "RI": 1 << 1,
    "LE": 1,
}

KEEPS_RUNNING = Breach(
    "cpu.last-stop-keeps-partition",
    "the last CPU has stopped itself and the partition has not ended",
    LAST,
)


@dataclass(slots=True)
class Cpu:
    """One CPU: its server number, whether it runs, and r3 as it was started with."""

    server: int
    running: bool
    argument: int | None = None


class Cpus:
    """The CPUs of the machine by index.  After a reset the first runs, the others wait to be started."""

    def __init__(self, environment: Environment) -> None:
        self.cpus: tuple[Cpu, ...] = ()
        self.reset(environment)

    def reset(self, environment: Environment) -> None:
        """Only the boot CPU runs."""
        root = environment.tree.find("/cpus")
        nodes = () if root is None else root.children.values()
        servers = sorted(server for node in nodes for server in node.cells("ibm,ppc-interrupt-server#s"))
        self.cpus = tuple(Cpu(server, index == 0) for index, server in enumerate(servers or (0,)))

    def find(self, server: int) -> Cpu | None:
        """The CPU with a server number."""
        return next((cpu for cpu in self.cpus if cpu.server == server), None)

    def others(self, index: int) -> tuple[Cpu, ...]:
        """The running CPUs except one."""
        return tuple(cpu for at, cpu in enumerate(self.cpus) if cpu.running and at != index)


def arrival(arrive: Arrive, cpus: Cpus) -> Expectation:
    """What a CPU brings to its start location; one that nobody started never gets there."""
    cpu = cpus.cpus[arrive.cpu] if arrive.cpu < len(cpus.cpus) else None
    if cpu is None or not cpu.running or cpu.argument is None:
        return Expectation("arrive", (Case("never", ending="running", rule=START),))
    msr = Satisfies(_started, _STARTED_TEXT, MSR_SET["ME"])
    registers: dict[str, Permitted] = {"r3": Exactly(cpu.argument), "msr": msr}
    return Expectation("arrive", (Case("arrived", registers, rule=START_STATE),), {"cpu": arrive.cpu})


def _started(msr: int) -> bool:
    return all(msr & bit for bit in MSR_SET.values()) and not any(msr & bit for bit in MSR_CLEAR.values())


_STARTED_TEXT = f"{', '.join(MSR_SET)} set, {', '.join(MSR_CLEAR)} clear"


def _stop(request: Request) -> tuple[Reply, ...]:
    cpus, caller = request.state.of(Cpus), request.state.caller
    own = cpus.cpus[caller]

    def stop(_: Outcome) -> None:
        own.running = False

    if cpus.others(caller):
        return (Reply(SUCCESS, rule=STOP, ending="stopped", effect=stop),)
    ended = powered_off(Policy.of(request.state.environment.options), "guest-shutdown", LAST)
    breach = KEEPS_RUNNING if request.exact else None
    return (ended, Reply(SUCCESS, rule=LAST, ending="stopped", effect=stop, breach=breach))


def _start(request: Request) -> tuple[Reply, ...]:
    server, _, argument = request.args[:3]
    cpu = request.state.of(Cpus).find(server)
    if cpu is None or cpu.running:
        return refuse(SILENT) + refuse(SILENT, HARDWARE_ERROR)

    def run(_: Outcome) -> None:
        cpu.running, cpu.argument = True, argument

    return (Reply(SUCCESS, rule=START, effect=run),)


def _query(request: Request) -> tuple[Reply, ...]:
    cpu = request.state.of(Cpus).find(request.args[0])
    if cpu is None:
        none = Reply(SUCCESS, (Exactly(RUNNING),), rule=SILENT)
        return refuse(SILENT) + refuse(SILENT, HARDWARE_ERROR) + (none,)
    status = Exactly(RUNNING) if cpu.running else OneOf((STOPPED, STOPPING))
    return (Reply(SUCCESS, (status,), rule=QUERY), *put_off(QUERY, BUSY))


def _facts(request: Request) -> frozenset[str]:
    cpu = request.state.of(Cpus).find(request.args[0])
    if cpu is None:
        return frozenset({"cpu-unknown"})
    return frozenset({"cpu-running" if cpu.running else "cpu-stopped"})


SERVICES: tuple[Service, ...] = (
    Service(
        "stop-self",
        (),
        (),
        ((0, 1),),
        frozenset({HARDWARE_ERROR}),
        "Puts the calling CPU into the stopped state and does not return; the last one ends the partition.",
        "LoPAR 7.3.8.1",
        (STOP, "R1-7.3.8.1-2", LAST),
        _stop,
    ),
    Service(
        "start-cpu",
        (
            Argument("cpu", Kind.CPU, "its ibm,ppc-interrupt-server#s"),
            Argument("start", Kind.ADDRESS, "real address of its first instruction"),
            Argument("argument", Kind.VALUE, "its r3"),
        ),
        (),
        ((3, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, NO_RESOURCES}),
        "Starts a CPU that is in the stopped state, in real mode, with a given r3.",
        "LoPAR 7.3.8.2",
        (START, "R1-7.3.8.2-2", START_STATE),
        _start,
        _facts,
    ),
    Service(
        "query-cpu-stopped-state",
        (Argument("cpu", Kind.CPU, "its ibm,ppc-interrupt-server#s"),),
        ("CPU_status",),
        ((1, 2),),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY}),
        "Tells whether a CPU is stopped (0), about to stop (1) or not stopped (2).",
        "LoPAR 7.3.8.3",
        (QUERY,),
        _query,
        _facts,
        only_block,
    ),
)

__all__ = ["SERVICES", "Cpu", "Cpus", "arrival"]
