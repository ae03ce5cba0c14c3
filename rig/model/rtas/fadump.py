"""ibm,configure-kernel-dump (LoPAR 7.3.26): registering, unregistering and invalidating a dump.

The dump itself is the business of :mod:`rig.model.rtas.dumping`.  LoPAR does not say what becomes of a
registration when the machine is reset.
"""

from __future__ import annotations

from collections.abc import Callable

from rig.model.environment import Environment
from rig.model.hypercall import Argument, Kind, State
from rig.model.rtas import dump
from rig.model.rtas.dump import Structure
from rig.model.rtas.service import (
    BUSY,
    EXTENDED_DELAY,
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    put_off,
    refuse,
)
from rig.program import Outcome

CALL = "R1-7.3.26-1"
BUFFER = "R1-7.3.26-2"
ACTIVE_RULE = "R1-7.3.26-4"
TWICE = "R1-7.3.26-5"
SILENT = "LoPAR 7.3.26 is silent; -3 by 7.2.7"

REGISTER, UNREGISTER, INVALIDATE = 1, 2, 3
#: Table and requirements give both codes for both; -8 is in R1-7.3.26-5 alone.
ALREADY_REGISTERED, REGISTERED_BY_TEXT, ACTIVE = -9, -8, -10

PROPERTY = "ibm,kernel-dump"


class Dump:
    """The registered structure, whether a dump is active, and a registration that a reset may have ended."""

    def __init__(self, environment: Environment) -> None:
        self.registered: Structure | None = None
        self.perhaps: Structure | None = None
        self.active = _present(environment)

    def reset(self, environment: Environment) -> None:
        """A dump is active as long as the device tree tells of it."""
        self.perhaps, self.registered = self.registered or self.perhaps, None
        self.active = _present(environment)

    @property
    def altered(self) -> bool:
        """A build may keep both over a reset."""
        return self.active or (self.registered or self.perhaps) is not None


def _present(environment: Environment) -> bool:
    rtas = environment.tree.find("/rtas")
    return rtas is not None and PROPERTY in rtas.properties


def _configure(request: Request) -> tuple[Reply, ...]:
    command, address, length = request.args[:3]
    held = request.state.of(Dump)
    busy = put_off(CALL, BUSY, *EXTENDED_DELAY)
    active = (*refuse(ACTIVE_RULE, ACTIVE), *refuse(ACTIVE_RULE, ALREADY_REGISTERED))

    def leave(structure: Structure | None, *, active: bool) -> Callable[[Outcome], None]:
        def effect(_: Outcome) -> None:
            held.registered, held.perhaps, held.active = structure, None, active

        return effect

    match command:
        case 1 if held.active:
            return active + busy
        case 1 if held.registered is not None:
            return (*refuse(TWICE, ALREADY_REGISTERED), *refuse(TWICE, REGISTERED_BY_TEXT), *busy)
        case 1:
            structure = _structure(request.state, address, length)
            replies: tuple[Reply, ...] = ()
            if structure is not None:
                replies += (Reply(SUCCESS, rule=CALL, effect=leave(structure, active=False)),)
            if structure is None or not _orderly(structure, length):
                replies += refuse(BUFFER)
            if held.perhaps is not None:
                still = leave(held.perhaps, active=False)
                replies += (Reply(ALREADY_REGISTERED, rule=TWICE, effect=still),)
            return replies + busy
        case 2 if held.active:
            return active + busy
        case 2 | 3:
            expected = held.active if command == INVALIDATE else held.registered is not None
            done = Reply(SUCCESS, rule=CALL, effect=leave(None, active=False))
            return ((done,) if expected else (done, *refuse(SILENT))) + busy
    return refuse(CALL)


def _structure(state: State, address: int, length: int) -> Structure | None:
    """The structure at ``address``, sections past ``length`` included; ``None`` for what cannot be taken."""
    if length < dump.HEADER or not state.environment.rma.holds(address, length):
        return None
    end = min(state.environment.rma.end, address + (1 << 16))
    found = dump.parse(state.memory.read(address, end - address))
    return found if found is not None and found.whole else None


def _orderly(structure: Structure, length: int) -> bool:
    """Whether a structure keeps all rules, so that it cannot be refused."""
    end = structure.first + structure.announced * dump.SECTION
    return (
        structure.first >= dump.HEADER
        and end <= min(length, 512)
        and structure.announced > 0
        and all(section.known and section.flags == dump.COPY for section in structure.sections)
    )


def _facts(request: Request) -> frozenset[str]:
    command, address, length = request.args[:3]
    held = request.state.of(Dump)
    facts = {"dump-active"} if held.active else {"dump-registered"} if held.registered else set()
    if command == REGISTER and _structure(request.state, address, length) is None:
        facts.add("structure-unusable")
    return frozenset(facts)


SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,configure-kernel-dump",
        (
            Argument("command", Kind.OPERATION, "1 register, 2 unregister, 3 complete or invalidate"),
            Argument("address", Kind.ADDRESS, "of the dump memory structure, in the RMA"),
            Argument("length", Kind.LENGTH, "of the structure in bytes"),
        ),
        (),
        ((3, 1),),
        frozenset(
            {
                SUCCESS,
                HARDWARE_ERROR,
                BUSY,
                PARAMETER_ERROR,
                REGISTERED_BY_TEXT,
                ALREADY_REGISTERED,
                ACTIVE,
                *EXTENDED_DELAY,
            }
        ),
        "Registers the memory that the platform is to preserve when the operating system fails.",
        "LoPAR 7.3.26",
        tuple(f"R1-7.3.26-{number}" for number in range(1, 8)),
        _configure,
        _facts,
    ),
)

__all__ = ["PROPERTY", "SERVICES", "Dump"]
