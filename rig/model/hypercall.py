"""How a hypercall is described to the model: opcode, arguments, contract and reference function.

The built-in calls and third-party ones (entry-point group ``rig.hypercalls``) use the same description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable

from rig.frozen import frozen
from rig.model.environment import Environment
from rig.model.expectation import Case, Exactly, Expectation
from rig.model.memory import Memory

H_SUCCESS = 0
H_HARDWARE = -1
H_FUNCTION = -2
H_PRIVILEGE = -3
H_PARAMETER = -4

#: what a register of 64 bits can hold
MASK64 = (1 << 64) - 1


def unsigned(value: int) -> int:
    """A signed return code as the 64 bits that r3 holds."""
    return value & MASK64


class Kind(StrEnum):
    """What an argument means; generators draw their values from it."""

    ADDRESS = "address"
    ADDRESS_HIGH = "address-high"
    LENGTH = "length"
    COUNT = "count"
    SHIFT = "shift"
    SIZE = "size"
    OPERATION = "operation"
    VALUE = "value"
    INDEX = "index"
    OFFSET = "offset"
    MASK = "mask"
    BOOLEAN = "boolean"
    CPU = "cpu"
    DRC = "drc"
    LIOBN = "liobn"
    INTERRUPT = "interrupt"
    CONFIG_ADDRESS = "config-address"
    BUID_HIGH = "buid-high"
    BUID_LOW = "buid-low"
    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"
    SECOND = "second"
    NANOSECOND = "nanosecond"
    CHARACTER = "character"


@frozen
class Argument:
    """One argument: its name in the contract and its kind."""

    name: str
    kind: Kind
    text: str = ""


class FamilyState(Protocol):
    """State that a family of services keeps in the model; one instance a machine.

    A family whose state outlives a reset has an attribute ``altered`` that becomes true when it changes.
    ``fragile`` becomes true when a later call may end QEMU for a reason that deviations know; ``at_reset``
    has facts for deviations to match, about a reset of the machine in this state.
    """

    def __init__(self, environment: Environment) -> None:
        """The state of a machine just started."""

    def reset(self, environment: Environment) -> None:
        """What a reset of the machine does to the state."""


@runtime_checkable
class Durable(Protocol):
    """State of which something is in a file and outlives the QEMU process."""

    def restart(self, environment: Environment) -> None:
        """What another process that was started on the same files finds."""


S = TypeVar("S", bound=FamilyState)


class State:
    """All the model knows of one machine: environment, memory, and the families' states."""

    def __init__(self, environment: Environment, revision: str = "merged") -> None:
        self.environment = environment
        self.revision = revision
        self.memory = Memory(environment.ram)
        #: the host's UTC clock in seconds since the epoch; only a model target sets it, for canonical values
        self.now = 0.0
        #: index of the CPU that makes the call
        self.caller = 0
        #: events of earlier steps that may still come, because QEMU sends them at most once a second
        self.late: set[str] = set()
        #: events that a reset may cause besides its own, because it ends what is under way; they may be late
        self.ending: set[str] = set()
        self._families: dict[type, FamilyState] = {}
        #: whether something else changed that outlives a reset
        self.lasting = False

    def of(self, family: type[S]) -> S:
        """The state of one family, made when it is first asked for."""
        state = self._families.get(family)
        if state is None:
            state = self._families[family] = family(self.environment)
        assert isinstance(state, family)
        return state

    @property
    def altered(self) -> bool:
        """Whether something changed that outlives a reset: another program must not meet it."""
        return self.lasting or any(getattr(state, "altered", False) for state in self._families.values())

    @property
    def fragile(self) -> bool:
        """Whether a later call may end QEMU for a reason that deviations know."""
        return any(getattr(state, "fragile", False) for state in self._families.values())

    @property
    def at_reset(self) -> frozenset[str]:
        """Facts about a reset of the machine in this state."""
        return frozenset[str]().union(*(getattr(state, "at_reset", ()) for state in self._families.values()))

    def grow(self, environment: Environment) -> None:
        """Memory was plugged into the machine, which a reset does not take away."""
        self.environment = environment
        self.memory.ram = environment.ram
        self.lasting = True

    def reset(self, environment: Environment) -> None:
        """The machine was reset: tell every family; memory is the caller's to restore."""
        self.environment = environment
        self.late |= self.ending
        self.ending.clear()
        for state in self._families.values():
            state.reset(environment)

    def restart(self, environment: Environment) -> None:
        """Another process goes on: only what is in files is kept; memory is the caller's to look at."""
        self.environment = environment
        self.memory.clear()
        self.late.clear()
        self.ending.clear()
        self._families = {kind: state for kind, state in self._families.items() if isinstance(state, Durable)}
        for state in self._families.values():
            assert isinstance(state, Durable)
            state.restart(environment)


#: gives the expectation for argument registers r4..r12 in a state; must not change the state
Reference = Callable[[Mapping[str, int], State], Expectation]
#: the (address, length) ranges of RAM that a call may read or write; ``None`` when it must run alone
Footprint = tuple[tuple[int, int], ...] | None


@frozen
class Hypercall:
    """One hypercall: ``opcode``, ``name``, arguments r4.. in order, contract ``text`` and its ``source``."""

    opcode: int
    name: str
    arguments: tuple[Argument, ...]
    text: str
    source: str
    expect: Reference
    requirements: tuple[str, ...] = ()
    #: the expectation's footprint, where it can be had for less than the whole expectation
    footprint: Callable[[Mapping[str, int], State], Footprint] | None = None


def returns(code: int, rule: str = "", name: str = "") -> Case:
    """The case of a call that returns ``code`` in r3 and changes nothing else."""
    return Case(name or f"r3 = {code}", {"r3": Exactly(unsigned(code))}, rule=rule)


__all__ = [
    "H_FUNCTION",
    "H_HARDWARE",
    "H_PARAMETER",
    "H_PRIVILEGE",
    "H_SUCCESS",
    "MASK64",
    "Argument",
    "FamilyState",
    "Footprint",
    "Hypercall",
    "Kind",
    "Reference",
    "State",
    "returns",
    "unsigned",
]
