"""H_RTAS (0xf000): the parameter block, the way to a service, and what may be written where.

A service answers with replies; here they become cases.  Where LoPAR is silent (another shape, a block that is
not all RAM or not aligned) a service may or may not run, and still nothing but ``rets[0..nret)`` and what it
was given a reference to may change (LoPAR R1-7.2.4-3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rig.frozen import frozen
from rig.model.address import in_ram, load, ram_of
from rig.model.environment import Environment
from rig.model.expectation import (
    Breach,
    Case,
    Cell,
    Exactly,
    Expectation,
    OneOf,
    Permitted,
    Scratch,
    Write,
)
from rig.model.hypercall import (
    H_PARAMETER,
    H_SUCCESS,
    Footprint,
    State,
    unsigned,
)
from rig.model.rtas import BUFFER, CONTRACT, STATUS
from rig.model.rtas.families import SERVICES
from rig.model.rtas.service import PARAMETER_ERROR, Reply, Request, Service
from rig.program import Outcome

SILENT = "LoPAR 7.2.7: results of bad parameters are undefined"

#: Real-mode addresses have 60 bits; what lies above is not decoded.
REAL_ADDRESS = (1 << 60) - 1
#: token, nargs, nret
HEADER = 12
#: what QEMU takes for display-character whatever the device tree says
ALIAS = 0xA

PAST_NRET = Breach("rtas.writes-past-nret", "cells past rets[nret) are written", BUFFER)
NARGS_WRAPS = Breach("rtas.nargs-wraps", "rets are placed after 4 * nargs modulo 2^32 bytes", BUFFER)
ALIAS_ACCEPTED = Breach(
    "rtas.token-0xa-accepted",
    "token 0xa, which no service has, shows a character",
    f"{CONTRACT}: unknown token",
)

#: what makes it hard to say what a call may touch
ALONE = frozenset({"block-outside-memory", "nargs-wraps"})

#: r3 when a service was called, whatever came of it
CALLED: Mapping[str, Permitted] = {"r3": Exactly(H_SUCCESS)}
#: r3 where the contract does not say whether a function was called
EITHER = OneOf((unsigned(H_PARAMETER), H_SUCCESS))


class Tokens:
    """RTAS service names by token, looked up once."""

    def __init__(self, environment: Environment) -> None:
        self.names = {token: name for name, token in environment.tokens.items()}

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree."""
        self.names = {token: name for name, token in environment.tokens.items()}


@frozen
class Block:
    """A parameter block (LoPAR Table 7.5): address of the token, and the three header cells."""

    address: int
    token: int
    nargs: int
    nret: int

    @property
    def args(self) -> int:
        """Address of ``args[0]``."""
        return self.address + HEADER

    @property
    def rets(self) -> int:
        """Address of ``rets[0]``."""
        return self.args + 4 * self.nargs

    @property
    def length(self) -> int:
        """Bytes from the token to the end of the outputs."""
        return HEADER + 4 * (self.nargs + self.nret)

    @property
    def wraps(self) -> bool:
        """Whether the arguments are longer than a 32-bit number of bytes."""
        return 4 * self.nargs >= 1 << 32

    @property
    def wrapped_rets(self) -> int:
        """Where ``rets[0]`` ends up in 32-bit arithmetic."""
        return self.args + (4 * self.nargs & 0xFFFF_FFFF)


def _cells(state: State, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f">{count}I", load(state.memory, address, 4 * count))


def expect(registers: Mapping[str, int], state: State) -> Expectation:
    """The expectation for r4, the guest-physical address of the parameter block."""
    r4 = registers.get("r4", 0)
    address = r4 & REAL_ADDRESS
    block = Block(address, *_cells(state, address, 3))
    facts = _facts(block, state)
    if r4 != address:
        facts |= {"address-high-bits"}
    arguments = {"token": block.token, "nargs": block.nargs, "nret": block.nret}
    name = state.of(Tokens).names.get(block.token)
    if name is None:
        facts |= {"unknown-token", "token-0xa"} if block.token == ALIAS else {"unknown-token"}
        return Expectation(
            "H_RTAS", _unknown(block, state, facts), arguments, facts, _reach(block, None, None, facts, state)
        )
    service = SERVICES.get(name)
    if service is None:
        called = Case("called", CALLED, scratch=_scratch(state, block.rets, block.nret))
        return Expectation(name, (called,), arguments, facts | {"service-unmodelled"})

    arguments = shown(service, block, _cells(state, block.args, min(block.nargs, len(service.arguments))))
    exact = (block.nargs, block.nret) in service.shapes and "block-outside-memory" not in facts
    request = _request(service, block, state, exact=exact)
    if (block.nargs, block.nret) not in service.shapes:
        facts |= {"wrong-shape"}
    if request and service.facts:
        facts |= service.facts(request)
    cases: list[Case] = []
    if exact and request:
        cases += [_case(service, reply, block, state) for reply in service.replies(request)]
    if not (exact and request) or "block-misaligned" in facts:
        cases += _open(service, block, state)
    return Expectation(name, tuple(cases), arguments, facts, _reach(block, service, request, facts, state))


def described(service: Service, block: Block, request: Request) -> Expectation:
    """What :func:`expect` says of a request that LoPAR specifies, in a block in RAM, but for the cases."""
    facts = service.facts(request) if service.facts else frozenset[str]()
    arguments = shown(service, block, request.args)
    return Expectation(service.name, (), arguments, facts, reach(service, block, request))


def shown(service: Service, block: Block, args: Sequence[int]) -> dict[str, int]:
    """The arguments of a call as deviations and reports name them."""
    arguments = {"token": block.token, "nargs": block.nargs, "nret": block.nret}
    for argument, cell in zip(service.arguments, args, strict=False):
        arguments[argument.name] = cell
    return arguments


def footprint(registers: Mapping[str, int], state: State) -> Footprint:
    """What the call may touch, from its block alone."""
    address = registers.get("r4", 0) & REAL_ADDRESS
    block = Block(address, *_cells(state, address, 3))
    service = SERVICES.get(state.of(Tokens).names.get(block.token, ""))
    facts = _facts(block, state)
    if service is None or service.buffers is None or facts & ALONE:
        return _reach(block, service, None, facts, state)
    exact = (block.nargs, block.nret) in service.shapes
    return _reach(block, service, _request(service, block, state, exact=exact), facts, state)


def _reach(
    block: Block, service: Service | None, request: Request | None, facts: frozenset[str], state: State
) -> Footprint:
    """The block with all outputs that the service has, announced or not, and what of its buffers is RAM."""
    if facts & ALONE or block.token == ALIAS:
        return None
    if service is None:
        return ((block.address, HEADER + 4 * (block.nargs + max(block.nret, 1))),)
    return None if request is None else reach(service, block, request)


def reach(service: Service, block: Block, request: Request) -> Footprint:
    """What a call may touch whose block lies in RAM."""
    buffers = None if service.buffers is None else service.buffers(request)
    if buffers is None:
        return None
    own = (block.address, HEADER + 4 * (block.nargs + max(block.nret, 1 + len(service.results))))
    if not buffers:
        return (own,)
    return (own, *(part for buffer in buffers for part in ram_of(request.state, *buffer)))


def _facts(block: Block, state: State) -> frozenset[str]:
    facts = set()
    if not in_ram(state, block.address, block.length):
        facts.add("block-outside-memory")
    if block.address % 8:  # R1-7.2.7-1
        facts.add("block-misaligned")
    if not block.nret:
        facts.add("nret-zero")
    if block.wraps:
        facts.add("nargs-wraps")
    return frozenset(facts)


def _request(service: Service, block: Block, state: State, *, exact: bool) -> Request | None:
    """The request as the service sees it; ``None`` when its arguments are not in RAM.

    Where a block announces fewer arguments than the service has, what follows stands for the missing ones: a
    service that does not look at nargs reads that.
    """
    shapes = [nargs for nargs, _ in service.shapes]
    wanted = block.nargs if exact else min(max(block.nargs, min(shapes)), max(shapes))
    if not in_ram(state, block.args, 4 * wanted):
        return None
    return Request(_cells(state, block.args, wanted), block.nargs, block.nret, block.rets, state, exact)


def _case(service: Service, reply: Reply, block: Block, state: State) -> Case:
    """A reply to a request that LoPAR specifies."""
    if reply.ending != "returned":
        return _carried(reply, {}, scratch=_scratch(state, block.rets, block.nret))
    cells = [Cell(block.rets, 4, Exactly(reply.status & 0xFFFF_FFFF), "status", reply.rule or STATUS)]
    for index, permitted in enumerate(reply.outputs[: block.nret - 1], 1):
        name = service.results[index - 1] if index <= len(service.results) else ""
        what = f"rets[{index}] {name}".rstrip()
        cells.append(Cell(block.rets + 4 * index, 4, permitted, what, reply.rule or service.source))
    left = block.nret - len(cells) if reply.status else 0
    scratch = _scratch(state, block.rets + 4 * len(cells), left)
    case = _carried(reply, CALLED, tuple(cells), scratch)
    # Most replies have no effect, and a copy costs as much as all the rest.
    return case if reply.effect is None else replace(case, effect=_settled(reply, block, state))


def _settled(reply: Reply, block: Block, state: State) -> Callable[[Outcome], None] | None:
    """A reply's effect, unless the status that was seen is another: then the service did not do it."""
    effect = reply.effect
    if effect is None:
        return None

    def settle(outcome: Outcome) -> None:
        if _cells(state, block.rets, 1) == (reply.status & 0xFFFF_FFFF,):
            effect(outcome)

    return settle


def _carried(
    reply: Reply,
    registers: Mapping[str, Permitted],
    cells: tuple[Cell, ...] = (),
    scratch: tuple[Scratch, ...] = (),
) -> Case:
    """A case with all that the reply itself says."""
    return Case(
        f"status {reply.status}",
        registers,
        cells + reply.cells,
        reply.writes,
        scratch + reply.scratch,
        reply.relations,
        reply.events,
        reply.console,
        reply.ending,
        reply.effect,
        reply.breach,
        reply.rule,
    )


def _open(service: Service, block: Block, state: State) -> list[Case]:
    """The cases of a request that LoPAR leaves open, and the breaches of R1-7.2.4-3 that are foreseen."""
    written = 1 + len(service.results)
    kept = _silent(service, block, state, block.rets, block.nret)
    if block.wraps:
        guards = _guard(state, block.wrapped_rets, written)
        broken = _silent(service, block, state, block.wrapped_rets, written)
    elif block.nret < written:
        guards = _guard(state, block.rets + 4 * block.nret, written - block.nret)
        broken = _silent(service, block, state, block.rets, written)
    else:
        return kept
    breach = NARGS_WRAPS if block.wraps else PAST_NRET
    return [
        *(replace(case, writes=case.writes + guards) for case in kept),
        *(replace(case, breach=breach) for case in broken),
    ]


def _silent(service: Service, block: Block, state: State, rets: int, count: int) -> list[Case]:
    """The service may have run, with any of its replies' effects, or not; ``count`` cells at ``rets`` are
    its to write.
    """
    status_seen = count > 0 and in_ram(state, rets, 4)
    outputs = _scratch(state, rets + 4, count - 1)

    def status(*values: int) -> tuple[Cell, ...]:
        if not status_seen:
            return ()
        permitted = OneOf(tuple(value & 0xFFFF_FFFF for value in values))
        return (Cell(rets, 4, permitted, "status", STATUS),)

    idle = [
        Case(
            "called",
            CALLED,
            status(PARAMETER_ERROR, *sorted(service.statuses - {PARAMETER_ERROR})),
            scratch=outputs,
            rule=SILENT,
        ),
        Case(
            "refused",
            {"r3": Exactly(unsigned(H_PARAMETER))},
            scratch=_scratch(state, rets, count),
            rule=SILENT,
        ),
    ]
    request = _request(service, block, state, exact=False)
    ran = []
    for reply in service.replies(request) if request else ():
        if reply.breach and reply.breach.rule == BUFFER:
            continue
        loose = replace(reply, cells=(), relations=(), rule=reply.rule or SILENT)
        if reply.breach:  # what is no answer to a good request may be one to this; the buffers still bound it
            given = tuple(Scratch(write.address, len(write.data), write.rule) for write in reply.writes)
            loose = replace(loose, breach=None, writes=(), scratch=reply.scratch + given)
        if reply.ending == "returned":
            case = _carried(loose, CALLED, status(reply.status), outputs)
        else:
            case = _carried(loose, {}, (), _scratch(state, rets, count))
        ran.append(replace(case, scratch=case.scratch + _as_scratch(reply.cells)))
    # The status tells whether the service ran; where it cannot be seen, it is taken not to have.
    return ran + idle if status_seen else idle + ran


def _as_scratch(cells: Iterable[Cell]) -> tuple[Scratch, ...]:
    return tuple(Scratch(cell.address, cell.width, cell.rule) for cell in cells)


def _unknown(block: Block, state: State, facts: frozenset[str]) -> tuple[Case, ...]:
    """A token that no service has: H_PARAMETER, and only the outputs may say so too."""
    r3: Permitted = EITHER if "block-outside-memory" in facts else Exactly(unsigned(H_PARAMETER))
    refusal = Exactly(PARAMETER_ERROR & 0xFFFF_FFFF)
    guards: tuple[Write, ...] = ()
    breaches = []
    stray = block.wrapped_rets if block.wraps else block.rets
    if (block.wraps or not block.nret) and in_ram(state, stray, 4):
        guards = _guard(state, stray, 1)
        cell = Cell(stray, 4, refusal, "status", BUFFER)
        breach = NARGS_WRAPS if block.wraps else PAST_NRET
        breaches.append(Case("status past the outputs", {"r3": r3}, (cell,), breach=breach, rule=CONTRACT))
    refused = Case(
        "unknown token",
        {"r3": r3},
        writes=guards,
        scratch=_scratch(state, block.rets, block.nret),
        rule=CONTRACT,
    )
    if block.token == ALIAS:
        breaches += _alias(block, state, facts)
    return (refused, *breaches)


def _alias(block: Block, state: State, facts: frozenset[str]) -> list[Case]:
    """What display-character would do with the block of a token that is none."""
    service = SERVICES["display-character"]
    exact = (block.nargs, block.nret) in service.shapes and "block-outside-memory" not in facts
    request = _request(service, block, state, exact=exact)
    if exact and request:
        cases = [_case(service, reply, block, state) for reply in service.replies(request)]
    else:
        cases = [case for case in _open(service, block, state) if case.name != "refused"]
    return [replace(case, breach=ALIAS_ACCEPTED) for case in cases]


def _scratch(state: State, address: int, count: int) -> tuple[Scratch, ...]:
    """``count`` cells that may hold anything, as far as they are RAM."""
    return tuple(Scratch(*part, BUFFER) for part in ram_of(state, address, max(0, 4 * count)))


def _guard(state: State, address: int, count: int) -> tuple[Write, ...]:
    """``count`` cells that must stay: where they did not, the case in which they may change fits better."""
    parts = ram_of(state, address, max(0, 4 * count))
    return tuple(Write(start, state.memory.read(start, length), BUFFER) for start, length in parts)
