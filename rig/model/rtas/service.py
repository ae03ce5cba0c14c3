"""How an RTAS service is described to the model, and how its replies become cases of H_RTAS.

A service sees its argument cells and answers with the replies that LoPAR permits; where the block lies, how
cells are masked and what may be written around it is the business of :mod:`rig.model.rtas.call`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from rig.frozen import frozen
from rig.model.expectation import (
    UNSPECIFIED,
    Breach,
    Cell,
    ExpectedEvent,
    Permitted,
    Relation,
    Scratch,
    Write,
)
from rig.model.hypercall import Argument, Footprint, State
from rig.program import Ending, Outcome

#: statuses of Table 7.6 (LoPAR R1-7.2.8-1), signed
SUCCESS = 0
HARDWARE_ERROR = -1
BUSY = -2
PARAMETER_ERROR = -3

#: LoPAR A.6: extended delay statuses 9900..9905
EXTENDED_DELAY = tuple(range(9900, 9906))


@frozen
class Request:
    """One RTAS call as the platform sees it: unsigned 32-bit cells, and where the outputs go."""

    args: tuple[int, ...]
    nargs: int
    nret: int
    #: address of ``rets[0]``
    rets: int
    state: State
    #: False when the caller announced another shape or gave a block that LoPAR leaves open: ``nargs`` may
    #: differ from the number of ``args``, and the outputs are unspecified, so that no effect may rely on them
    exact: bool = True


@frozen
class Reply:
    """One permitted way for a service to end.

    ``status`` is signed.  ``outputs`` are the cells after the status; cells of ``rets[0..nret)`` that a reply
    does not name are unspecified when ``status`` is not 0 (LoPAR A.5 is silent) and must be unchanged
    otherwise. Everything else is as in :class:`rig.model.expectation.Case`.
    """

    status: int
    outputs: tuple[Permitted, ...] = ()
    rule: str = ""
    cells: tuple[Cell, ...] = ()
    writes: tuple[Write, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    relations: tuple[Relation, ...] = ()
    events: tuple[ExpectedEvent, ...] = ()
    console: bytes = b""
    ending: Ending = "returned"
    effect: Callable[[Outcome], None] | None = None
    breach: Breach | None = None


#: the replies permitted for a request with the right nargs and nret; must not change the state
Replies = Callable[[Request], Iterable[Reply]]


@frozen
class Service:
    """One RTAS service.

    ``shapes`` are the permitted (nargs, nret), the usual one first; ``statuses`` every status of the
    service's table, signed; ``results`` names the outputs after the status.  ``facts`` gives stable words
    for a request that deviations match.
    """

    name: str
    arguments: tuple[Argument, ...]
    results: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    statuses: frozenset[int]
    text: str
    source: str
    requirements: tuple[str, ...]
    replies: Replies
    facts: Callable[[Request], frozenset[str]] | None = None
    #: the (address, length) ranges besides the block that the service may read or write, whatever state its
    #: family is in; without them a call runs alone instead of in a batch, as it must when it prints, emits
    #: events, or does not return
    buffers: Callable[[Request], Footprint] | None = None


@cache
def refuse(rule: str, status: int = PARAMETER_ERROR) -> tuple[Reply, ...]:
    """The only reply to a request that must fail with ``status`` and change nothing."""
    return (Reply(status, rule=rule),)


@cache
def put_off(rule: str, *statuses: int) -> tuple[Reply, ...]:
    """The replies that ask the caller to come again (-2, 9900..9905) and change nothing."""
    return tuple(Reply(status, rule=rule) for status in statuses)


def only_block(_: Request) -> Footprint:
    """The ``buffers`` of a service that touches nothing but its parameter block."""
    return ()


def bounded(address: int, most: int, length: int | None = None) -> Callable[[Request], Footprint]:
    """The ``buffers`` of a service with one buffer at the argument with index ``address``.

    ``most`` are the bytes that it ever touches; ``length``, when given, is the index of the argument that
    says how many they are.  A call that names more runs alone: nobody says how far it goes before it fails.
    """

    def buffers(request: Request) -> Footprint:
        size = most if length is None else request.args[length]
        return None if size > most else ((request.args[address], size),)

    return buffers


__all__ = [
    "BUSY",
    "EXTENDED_DELAY",
    "HARDWARE_ERROR",
    "PARAMETER_ERROR",
    "SUCCESS",
    "UNSPECIFIED",
    "Replies",
    "Reply",
    "Request",
    "Service",
    "bounded",
    "only_block",
    "put_off",
    "refuse",
]
