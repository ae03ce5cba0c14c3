"""ibm,get-system-parameter and ibm,set-system-parameter (LoPAR 7.3.16).

A parameter in a buffer is two bytes of length, big-endian, and so many bytes of data.  LoPAR is silent on
which of the statuses comes first when several apply.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

from rig.model.address import in_ram, load
from rig.model.environment import Environment
from rig.model.expectation import Between, Breach, Cell, Exactly, OneOf, Permitted, Relation, Write
from rig.model.hypercall import Argument, Kind, State
from rig.model.rtas import buffer, splpar
from rig.model.rtas.service import (
    BUSY,
    EXTENDED_DELAY,
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    bounded,
    put_off,
)
from rig.program import Outcome
from rig.target import GuestMemory

NOT_AUTHORISED = -9002
BAD_DATA = -9999

SHAPE = "R1-7.3.16-5"
UNSUPPORTED = "R1-7.3.16-7"
DATA = "R1-7.3.16-8"
RETURNED = "R1-7.3.16-9"
NO_BUFFER = "R1-7.3.16-10"
NO_DATA = "R1-7.3.16-11"
LIMITS = "R1-7.3.16-12"
CHARACTERISTICS = "R1-7.3.16-13"
RUN_MODE = "R1-7.3.16.16-1"

SPLPAR = 20
RUN_MODES = 42
QEMU_UUID = 48
#: tokens up to this one are assigned, with gaps; these and all above are reserved
LAST = 58
GAPS = frozenset({48, 49, 51})
#: parameters that can only be read (Table of system parameters, note 1)
GET_ONLY = frozenset({18, 19, 20, 37, 38, 39, 43, 44, 52, 53, 55})

LENGTH = 2
MOST_READ = 4000
MOST_WRITTEN = 1024

GIVEN = Breach("rtas.reserved-parameter", "a reserved parameter is given out", UNSUPPORTED)
LENGTH_ZERO = Breach("rtas.parameter-length-zero", "a buffer of length 0 is refused as bad data", NO_BUFFER)


class Parameters:
    """What is known of the parameters' values."""

    def __init__(self, environment: Environment) -> None:
        #: the whole of parameter 20, once it was read
        self.characteristics: bytes | None = None
        self.run_mode: Permitted = Between(0, 3)
        arguments = environment.options.arguments
        given = dict(pairwise(arguments)).get("-uuid")
        self.uuid = UUID(given).bytes if given else b""
        self.splpar = "hcall-splpar" in _names(environment)

    def reset(self, environment: Environment) -> None:
        """The run mode may be any again; the characteristics stay, as nothing was unplugged."""
        self.run_mode = Between(0, 3)


def _names(environment: Environment) -> frozenset[str]:
    rtas = environment.tree.find("/rtas")
    names = rtas.properties.get("ibm,hypertas-functions", b"") if rtas else b""
    return frozenset(name.decode("latin-1") for name in re.split(b"\0", names))


def reserved(token: int) -> bool:
    """Whether LoPAR gives the token to no parameter."""
    return token > LAST or token in GAPS


# ---- get ----


def _get(request: Request) -> tuple[Reply, ...]:
    token, address, length = request.args[:3]
    state = request.state
    refused = Reply(PARAMETER_ERROR, rule=UNSUPPORTED)
    denied = Reply(NOT_AUTHORISED, rule=UNSUPPORTED)
    bad_length: tuple[Reply, ...] = ()
    if length < LENGTH:  # silent on 1, which has no room for the length
        bad_length = (Reply(BAD_DATA, rule=NO_BUFFER, breach=None if length else LENGTH_ZERO),)
    later = put_off(SHAPE, BUSY, *EXTENDED_DELAY)
    if reserved(token):
        given = [_uuid(state, address, length)] if token == QEMU_UUID and length >= LENGTH else []
        return (refused, *bad_length, *given, *later)
    most = min(length, LENGTH + MOST_READ)
    done = _value(state, token, address, most)
    if buffer.facts(state, address, most):
        open_ = buffer.open_to(state, address, most)
        taken = Reply(SUCCESS, rule=RETURNED, scratch=open_, breach=buffer.TAKEN)
        return (refused, denied, Reply(BAD_DATA, rule=DATA), taken, *bad_length, *later)
    if token == SPLPAR and state.of(Parameters).splpar:
        return (done, denied, *bad_length, *later)
    return (done, refused, denied, *bad_length, *later)


def _value(state: State, token: int, address: int, most: int) -> Reply:
    """Success: the parameter's length, and as much of its data as there is room for."""
    if most < LENGTH:
        return Reply(SUCCESS, rule=NO_BUFFER, scratch=buffer.open_to(state, address, most))
    if token == SPLPAR:
        return _characteristics(state, address, most)
    if token == RUN_MODES:
        return _run_mode(state, address, most)
    size = Cell(address, LENGTH, Between(0, MOST_READ), "length", LIMITS)
    return Reply(
        SUCCESS, rule=RETURNED, cells=(size,), scratch=buffer.open_to(state, address + 2, most - LENGTH)
    )


def _characteristics(state: State, address: int, most: int) -> Reply:
    parameters = state.of(Parameters)

    def read(memory: GuestMemory) -> tuple[int, bytes]:
        size = int.from_bytes(memory.read(address, LENGTH), "big")
        return size, memory.read(address + LENGTH, min(size, most - LENGTH))

    def holds(outcome: Outcome, memory: GuestMemory) -> str | None:
        size, data = read(memory)
        known = parameters.characteristics
        if size > MOST_READ:
            return f"the length is {size}, above {MOST_READ}"
        if known is not None:
            return None if known.startswith(data) and size in (len(known), len(data)) else f"{data!r} is new"
        if _cut(data, size, most):
            return None
        return splpar.wrong(data)

    def learn(outcome: Outcome) -> None:
        size, data = read(state.memory)
        if not _cut(data, size, most):
            parameters.characteristics = data

    return Reply(
        SUCCESS,
        rule=CHARACTERISTICS,
        scratch=buffer.open_to(state, address, most),
        relations=(Relation("rtas.splpar-characteristics", holds, CHARACTERISTICS),),
        effect=learn,
    )


def _cut(data: bytes, size: int, most: int) -> bool:
    """Whether a string may go on past the buffer; the length may then be the whole's or what was returned."""
    return len(data) < size or (len(data) == most - LENGTH and not data.endswith(b"\0"))


def _run_mode(state: State, address: int, most: int) -> Reply:
    parameters = state.of(Parameters)
    size: Permitted = Exactly(1)
    cells = [Cell(address, LENGTH, size if most > LENGTH else OneOf((1, 0)), "length", RUN_MODE)]
    if most > LENGTH:
        cells.append(Cell(address + LENGTH, 1, parameters.run_mode, "run mode", RUN_MODE))

    def learn(outcome: Outcome) -> None:
        if most > LENGTH:
            parameters.run_mode = _lasting(state.memory.read(address + LENGTH, 1)[0])

    return Reply(
        SUCCESS,
        rule=RUN_MODE,
        cells=tuple(cells),
        scratch=buffer.open_to(state, address + LENGTH + 1, most - LENGTH - 1),
        effect=learn,
    )


def _lasting(mode: int) -> Permitted:
    """What a run mode may become by itself: 2 is for once."""
    return Between(0, 3) if mode == 2 else Exactly(mode)


def _uuid(state: State, address: int, length: int) -> Reply:
    """Token 48 as QEMU has it: the 16 bytes of ``-uuid``, or none; anything in a buffer that is cut off."""
    uuid = state.of(Parameters).uuid
    data = (len(uuid).to_bytes(LENGTH, "big") + uuid)[:length]
    given = Reply(SUCCESS, rule=UNSUPPORTED, breach=GIVEN)
    if buffer.facts(state, address, len(data)):
        return replace(given, scratch=buffer.open_to(state, address, len(data)))
    return replace(given, writes=(Write(address, data, UNSUPPORTED),))


# ---- set ----


def _set(request: Request) -> tuple[Reply, ...]:
    token, address = request.args[:2]
    state = request.state
    unsupported = Reply(PARAMETER_ERROR, rule=UNSUPPORTED)
    denied = Reply(NOT_AUTHORISED, rule=UNSUPPORTED)
    bad = Reply(BAD_DATA, rule=DATA)
    later = put_off(SHAPE, BUSY, *EXTENDED_DELAY)
    readable = in_ram(state, address, LENGTH)
    size = int.from_bytes(load(state.memory, address, LENGTH), "big")
    readable = readable and in_ram(state, address, LENGTH + size)
    excess = (bad,) if not readable or size > MOST_WRITTEN else ()
    if token in GET_ONLY:
        also = () if token == SPLPAR and readable else (unsupported,)
        return (denied, *also, *excess, *later)
    if reserved(token) or not readable:
        return (unsupported, denied, *excess, *later)
    if token == RUN_MODES:
        return (unsupported, denied, *_new_mode(request, size), *later)
    return (unsupported, denied, *excess, *(() if excess else (Reply(SUCCESS, rule=DATA), bad)), *later)


def _new_mode(request: Request, size: int) -> tuple[Reply, ...]:
    """The endings of setting the run mode besides those in which it cannot be set."""
    if not size:
        return (Reply(SUCCESS, rule=NO_DATA),)
    mode = load(request.state.memory, request.args[1] + LENGTH, 1)[0]
    bad = Reply(BAD_DATA, rule=DATA)
    if size > MOST_WRITTEN or mode > 2:
        return (bad,)
    parameters = request.state.of(Parameters)

    def keep(outcome: Outcome) -> None:
        parameters.run_mode = _lasting(mode)

    done = Reply(SUCCESS, rule=RUN_MODE, effect=keep)
    return (done,) if size == 1 else (done, bad)


# ---- the services ----


def _facts(request: Request) -> frozenset[str]:
    token, address, *length = request.args[:3]
    most = min(length[0], LENGTH + MOST_READ) if length else LENGTH
    facts = {"reserved-parameter"} if reserved(token) else set()
    return buffer.facts(request.state, address, most) | facts


STATUSES = frozenset(
    {SUCCESS, HARDWARE_ERROR, BUSY, PARAMETER_ERROR, NOT_AUTHORISED, BAD_DATA, *EXTENDED_DELAY}
)
PARAMETER = Argument("parameter", Kind.INDEX, "token of the system parameter")
BUFFER = Argument("buffer", Kind.ADDRESS, "two bytes of length, then the data")

SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,get-system-parameter",
        (PARAMETER, BUFFER, Argument("length", Kind.LENGTH, "bytes of the buffer")),
        (),
        ((3, 1),),
        STATUSES,
        "Reads a system parameter, as far as the buffer has room for it.",
        "LoPAR 7.3.16.1",
        (SHAPE, UNSUPPORTED, RETURNED, NO_BUFFER, LIMITS, CHARACTERISTICS, RUN_MODE),
        _get,
        _facts,
        bounded(1, LENGTH + MOST_READ),
    ),
    Service(
        "ibm,set-system-parameter",
        (PARAMETER, BUFFER),
        (),
        ((2, 1),),
        STATUSES,
        "Changes a system parameter that the caller may change.",
        "LoPAR 7.3.16.2",
        (SHAPE, UNSUPPORTED, DATA, NO_DATA, LIMITS, RUN_MODE),
        _set,
        _facts,
        bounded(1, LENGTH + MOST_WRITTEN),
    ),
)

__all__ = ["SERVICES", "Parameters", "reserved"]
