"""PCI configuration space (LoPAR 7.3.4): ibm,read-pci-config, ibm,write-pci-config and their older namesakes.

Which function answers and what its registers hold is the business of :mod:`rig.model.pci`.
"""

from __future__ import annotations

from typing import Self

from rig.frozen import frozen
from rig.model.expectation import Breach, Exactly, OneOf, Permitted, Satisfies, Unspecified
from rig.model.hypercall import Argument, Kind, State
from rig.model.pci import Function, Pci, bits
from rig.model.rtas.connectors import Connectors
from rig.model.rtas.service import (
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    only_block,
)
from rig.program import Outcome

ADDRESS = "R1-7.3.4-1"
READ_SHAPE = "R1-7.3.4.1-1"
READ_VALUE = "R1-7.3.4.1-2"
READ_SIZE = "R1-7.3.4.1-3"
READ_ALIGNED = "R1-7.3.4.1-4"
READ_ABSENT = "R1-7.3.4.1-5"
WRITE_SHAPE = "R1-7.3.4.2-1"
WRITE_VALUE = "R1-7.3.4.2-2"
WRITE_SIZE = "R1-7.3.4.2-3"
WRITE_ALIGNED = "R1-7.3.4.2-4"
WRITE_ABSENT = "R1-7.3.4.2-5"
SILENT = "LoPAR 7.2.7: results of bad parameters are undefined"
LEGACY = "not in LoPAR"

SIZES = (1, 2, 4)
ALL_ONES = 0xFFFF_FFFF

ABSENT = Breach(
    "rtas.pci-absent-function",
    "an access to a function that is not there is a hardware error, not a success",
    READ_ABSENT,
)
NO_FAILURE = Breach(
    "rtas.pci-hardware-error",
    "an access that cannot be made is a hardware error although no hardware failed",
    "LoPAR 7.3.4: -3 is for parameter errors",
)


@frozen
class Place:
    """A configuration address (LoPAR R1-7.3.4-1) below a host bridge."""

    unit: int
    bus: int
    devfn: int
    register: int
    reserved: int

    @classmethod
    def of(cls, address: int, high: int, low: int) -> Self:
        """Decode config_addr, PHB_Unit_ID_Hi and PHB_Unit_ID_Low."""
        register = address >> 20 & 0xF00 | address & 0xFF
        return cls(high << 32 | low, address >> 16 & 0xFF, address >> 8 & 0xFF, register, address >> 24 & 0xF)

    @property
    def more(self) -> bool:
        """Whether config_addr says more than which function: a register, or bits that are reserved."""
        return bool(self.register or self.reserved)


def answers(place: Place, state: State) -> tuple[Function | None, bool]:
    """The function at a place, and whether nobody can say who answers there.

    The device tree does not show what was plugged after the start; what is isolated need not answer.
    """
    pci, connectors = state.of(Pci), state.of(Connectors)
    function = pci.at(place.unit, place.bus, place.devfn)
    if function is None:
        name = f"C{place.devfn}"  # connectors of slots are called after them (rig.model.rtas.hotplug)
        plugged = any(one.occupied and not one.cold and one.name == name for one in connectors.hosted())
        return None, pci.uncertain(place.unit, place.bus) or (plugged and place.unit in pci.units)
    connector = connectors.by_index.get(function.connector)
    if connector is None or (connector.occupied and not connector.isolated):
        return function, False
    return None, connector.occupied


@frozen
class Access:
    """One access: where, how wide, and who answers; nobody can say when ``uncertain``."""

    pci: Pci
    place: Place
    size: int
    function: Function | None
    uncertain: bool

    @classmethod
    def of(cls, request: Request) -> Self:
        """The access that a request's first four arguments ask for."""
        place = Place.of(*request.args[:3])
        return cls(request.state.of(Pci), place, request.args[3], *answers(place, request.state))

    @property
    def faults(self) -> frozenset[str]:
        """What the caller did wrong: LoPAR does not say what comes of it."""
        place, function = self.place, self.function
        known = {
            "size-unknown": self.size not in SIZES,
            "misaligned": self.size in SIZES and place.register % self.size != 0,
            "reserved-bits": place.reserved != 0,
            "unit-unknown": place.unit not in self.pci.units,
            "beyond-space": function is not None
            and place.register >= (0x1000 if function.extended else 0x100),
        }
        return frozenset(name for name, wrong in known.items() if wrong)


def _facts(request: Request) -> frozenset[str]:
    access = Access.of(request)
    if access.function is None and access.place.unit in access.pci.units:
        return access.faults | {"function-unknown" if access.uncertain else "function-absent"}
    return access.faults


def _held(function: Function, register: int, size: int) -> Permitted:
    """What a register may show: a number of ``size`` bytes."""
    known, value = function.registers.read(register, size)
    mask = known | ALL_ONES & ~bits(0, size)
    if mask == ALL_ONES:
        return Exactly(value)
    return Satisfies(lambda seen: seen & mask == value, f"{value:#x} in the bits {mask:#x}", value)


def _read(request: Request) -> tuple[Reply, ...]:
    access = Access.of(request)
    function, size = access.function, access.size
    if access.faults:
        return (
            Reply(PARAMETER_ERROR, rule=SILENT),
            Reply(SUCCESS, (Unspecified(),), SILENT),
            Reply(HARDWARE_ERROR, rule=READ_SHAPE, breach=NO_FAILURE),
        )
    if function is not None:
        return (Reply(SUCCESS, (_held(function, access.place.register, size),), READ_VALUE),)
    if access.uncertain:
        return (
            Reply(SUCCESS, (Unspecified(ALL_ONES),), READ_ABSENT),
            Reply(HARDWARE_ERROR, rule=READ_ABSENT, breach=ABSENT),
        )
    # LoPAR does not say in how many bits a narrow value is all ones.
    return (
        Reply(SUCCESS, (OneOf((bits(0, size), ALL_ONES)),), READ_ABSENT),
        Reply(HARDWARE_ERROR, rule=READ_ABSENT, breach=ABSENT),
    )


def _write(request: Request) -> tuple[Reply, ...]:
    access = Access.of(request)
    pci, place, function = access.pci, access.place, access.function

    def forget(_: Outcome) -> None:
        if function is not None or access.uncertain:
            pci.perhaps_written(place.bus, place.devfn, place.unit)

    if access.faults:
        return (
            Reply(PARAMETER_ERROR, rule=SILENT),
            Reply(SUCCESS, rule=SILENT, effect=forget),
            Reply(HARDWARE_ERROR, rule=WRITE_SHAPE, breach=NO_FAILURE),
        )
    if function is None:
        return (
            Reply(SUCCESS, rule=WRITE_ABSENT, effect=forget),
            Reply(HARDWARE_ERROR, rule=WRITE_ABSENT, breach=ABSENT),
        )

    def store(_: Outcome) -> None:
        pci.write(function, place.register, access.size, request.args[4])

    return (Reply(SUCCESS, rule=WRITE_VALUE, effect=store),)


def _read_any(_: Request) -> tuple[Reply, ...]:
    """LoPAR does not know the call; it names no host bridge, so that none need answer."""
    return (Reply(SUCCESS, (Unspecified(ALL_ONES),), LEGACY), *_refused())


def _write_any(request: Request) -> tuple[Reply, ...]:
    place = Place.of(request.args[0], 0, 0)
    pci = request.state.of(Pci)

    def forget(_: Outcome) -> None:
        pci.perhaps_written(place.bus, place.devfn)

    return (Reply(SUCCESS, rule=LEGACY, effect=forget), *_refused())


def _refused() -> tuple[Reply, ...]:
    return (Reply(PARAMETER_ERROR, rule=LEGACY), Reply(HARDWARE_ERROR, rule=LEGACY))


_CONFIG_ADDRESS = Argument("config_addr", Kind.CONFIG_ADDRESS, "bus, device, function and register")
_UNIT = (
    Argument("PHB_Unit_ID_Hi", Kind.BUID_HIGH, "upper 32 bits of the host bridge's unit id"),
    Argument("PHB_Unit_ID_Low", Kind.BUID_LOW, "lower 32 bits of it"),
)
_SIZE = Argument("size", Kind.SIZE, "bytes: 1, 2 or 4")
_VALUE = Argument("value", Kind.VALUE, "what to write")
_STATUSES = frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR})

SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,read-pci-config",
        (_CONFIG_ADDRESS, *_UNIT, _SIZE),
        ("value",),
        ((4, 2),),
        _STATUSES,
        "Reads a configuration register of 1, 2 or 4 bytes; all ones where no function is.",
        "LoPAR 7.3.4.1",
        (ADDRESS, READ_SHAPE, READ_VALUE, READ_SIZE, READ_ALIGNED, READ_ABSENT),
        _read,
        _facts,
        only_block,
    ),
    Service(
        "ibm,write-pci-config",
        (_CONFIG_ADDRESS, *_UNIT, _SIZE, _VALUE),
        (),
        ((5, 1),),
        _STATUSES,
        "Writes a configuration register of 1, 2 or 4 bytes; ignored where no function is.",
        "LoPAR 7.3.4.2",
        (ADDRESS, WRITE_SHAPE, WRITE_VALUE, WRITE_SIZE, WRITE_ALIGNED, WRITE_ABSENT),
        _write,
        _facts,
        only_block,
    ),
    Service(
        "read-pci-config",
        (_CONFIG_ADDRESS, _SIZE),
        ("value",),
        ((2, 2),),
        _STATUSES,
        "An older form of ibm,read-pci-config that names no host bridge; LoPAR does not describe it.",
        LEGACY,
        (),
        _read_any,
        buffers=only_block,
    ),
    Service(
        "write-pci-config",
        (_CONFIG_ADDRESS, _SIZE, _VALUE),
        (),
        ((3, 1),),
        _STATUSES,
        "An older form of ibm,write-pci-config that names no host bridge; LoPAR does not describe it.",
        LEGACY,
        (),
        _write_any,
        buffers=only_block,
    ),
)

__all__ = ["SERVICES", "Place", "answers"]
