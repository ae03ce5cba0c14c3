"""ibm,set-xive, ibm,get-xive, ibm,int-off and ibm,int-on (LoPAR 7.3.10.1-4): routing of external interrupts.

Each interrupt source has a server, a priority, and a priority saved while it is off.  The services are there
when the machine has the XICS interrupt controller; with XIVE alone their tokens are absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rig.frozen import frozen
from rig.model.environment import Environment, Node
from rig.model.expectation import UNSPECIFIED, Breach, Exactly, OneOf, Permitted
from rig.model.hypercall import Argument, Kind
from rig.model.rtas.service import (
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    only_block,
    refuse,
)
from rig.program import Outcome

GET = "R1-7.3.10.1-4"
GET_UNIMPLEMENTED = "R1-7.3.10.1-5"
SET = "R1-7.3.10.2-4"
SET_UNIMPLEMENTED = "R1-7.3.10.2-5"
SET_RESERVED = "R1-7.3.10.2-6"
SET_SERVER = "R1-14.10-21"
SET_RANGE = "Argument Call Buffer of ibm,set-xive: priorities 0x00..0xff"
OFF = "R1-7.3.10.3-5"
OFF_UNIMPLEMENTED = "R1-7.3.10.3-6"
ON = "R1-7.3.10.4-5"
ON_UNIMPLEMENTED = "R1-7.3.10.4-6"

#: at boot, and what ibm,int-off puts into the entry (LoPAR R1-7.3.10.1-4, R1-7.3.10.3-5)
LEAST_FAVORED = 0xFF
#: interrupt numbers have as many bits as the XISR field of an XIRR has
NUMBERS = 1 << 24

HIDDEN = Breach(
    "xics.masked-priority-hidden",
    "ibm,get-xive shows 0xff instead of the priority that was set before ibm,int-off",
    GET,
)


@frozen
class Source:
    """One interrupt source: the values that ibm,get-xive may show.

    ``server`` is ``None`` where it was never set.  ``off`` counts the calls of ibm,int-off since the last
    that set or restored the priority.
    """

    server: int | None = None
    priorities: tuple[int, ...] = (LEAST_FAVORED,)
    off: int = 0


class Sources:
    """The sources that were touched since boot, and what the device tree says of all."""

    def __init__(self, environment: Environment) -> None:
        self._read(environment)

    def reset(self, environment: Environment) -> None:
        """A reboot makes every priority the least favored (LoPAR R1-6.2.1-13)."""
        self._read(environment)

    def _read(self, environment: Environment) -> None:
        self.touched: dict[int, Source] = {}
        self.listed = frozenset(_listed(environment.tree))
        self.servers = frozenset(_servers(environment.tree))
        self.reserved = frozenset(_reserved(environment.tree))

    def source(self, number: int) -> Source:
        """What is known of a source."""
        return self.touched.get(number, Source())


def _listed(tree: Node) -> Iterator[int]:
    """Interrupt numbers that the device tree gives to event sources, virtual devices and PCI slots."""
    for path in ("/event-sources", "/vdevice"):
        parent = tree.find(path)
        for node in parent.children.values() if parent else ():
            yield from node.cells("interrupts")[::2]
    for node in tree.children.values():
        # child address (3), pin, parent's phandle, number, trigger
        yield from node.cells("interrupt-map")[5::7]


def _servers(tree: Node) -> Iterator[int]:
    cpus = tree.find("/cpus")
    for node in cpus.children.values() if cpus else ():
        yield from node.cells("ibm,ppc-interrupt-server#s")
        yield from node.cells("ibm,ppc-interrupt-gserver#s")[1::2]


def _reserved(tree: Node) -> Iterator[int]:
    """Priorities that the platform keeps: pairs of the first and how many."""
    cells = tree.cells("ibm,plat-res-int-priorities")
    for first, count in zip(cells[::2], cells[1::2], strict=False):
        yield from range(first, min(first + count, LEAST_FAVORED + 1))


def _answer(request: Request, rule: str, done: Reply) -> tuple[Reply, ...]:
    """``done`` for a source in the device tree, -3 for a number that no source can have.

    Another number may belong to a source or not: which do is told by ``interrupt-ranges`` alone, which
    not every platform has; an access to the source of another partition succeeds without effect
    (R1-14.10-20..24).
    """
    number = request.args[0]
    if number in request.state.of(Sources).listed:
        return (done,)
    refused = Reply(PARAMETER_ERROR, rule=rule)
    return (refused, done) if 0 < number < NUMBERS else (refused,)


def _change(request: Request, make: Callable[[Source], Source]) -> Callable[[Outcome], None]:
    sources, number = request.state.of(Sources), request.args[0]

    def change(_: Outcome) -> None:
        sources.touched[number] = make(sources.source(number))

    return change


def _set(request: Request) -> tuple[Reply, ...]:
    _, server, priority = request.args[:3]
    sources = request.state.of(Sources)
    if priority in sources.reserved:
        return refuse(SET_RESERVED)
    if priority > LEAST_FAVORED:
        return refuse(SET_RANGE)
    known = server in sources.servers
    new = Source(server if known else None, (priority,))
    replies = _answer(
        request, SET_UNIMPLEMENTED, Reply(SUCCESS, rule=SET, effect=_change(request, lambda _: new))
    )
    if known:
        return replies
    # LoPAR does not say how the restriction to the partition's processors shows.
    unchanged = Reply(SUCCESS, rule=SET_SERVER, effect=_change(request, lambda old: _either(old, new)))
    return (Reply(PARAMETER_ERROR, rule=SET_SERVER), unchanged)


def _either(old: Source, new: Source) -> Source:
    """A source of which it is not known whether it was set."""
    return Source(None, (*old.priorities, *new.priorities), old.off)


def _get(request: Request) -> tuple[Reply, ...]:
    sources, number = request.state.of(Sources), request.args[0]
    source = sources.source(number)
    priorities = source.priorities
    if number not in sources.listed and LEAST_FAVORED not in priorities:
        priorities += (LEAST_FAVORED,)  # R1-14.10-22: of a source that is not the partition's
    server: Permitted = UNSPECIFIED if source.server is None else Exactly(source.server)

    def adopt(_: Outcome) -> None:
        if request.exact and not source.off:
            data = request.state.memory.read(request.rets + 4, 8)
            seen = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
            sources.touched[number] = Source(seen[0], (seen[1],))

    shown = Reply(SUCCESS, (server, OneOf(priorities)), rule=GET, effect=adopt)
    replies = _answer(request, GET_UNIMPLEMENTED, shown)
    if source.off and LEAST_FAVORED not in priorities:
        replies += (replace(shown, outputs=(server, Exactly(LEAST_FAVORED)), breach=HIDDEN),)
    return replies


def _off(request: Request) -> tuple[Reply, ...]:
    masked = _change(request, lambda source: replace(source, off=source.off + 1))
    return _answer(request, OFF_UNIMPLEMENTED, Reply(SUCCESS, rule=OFF, effect=masked))


def _restored(source: Source) -> Source:
    """A source after ibm,int-on.

    What a second ibm,int-off saves is open: the priority that the first one saved, or its 0xff.
    """
    priorities = source.priorities + ((LEAST_FAVORED,) if source.off > 1 else ())
    return replace(source, priorities=priorities, off=0)


def _on(request: Request) -> tuple[Reply, ...]:
    return _answer(request, ON_UNIMPLEMENTED, Reply(SUCCESS, rule=ON, effect=_change(request, _restored)))


def _facts(request: Request) -> frozenset[str]:
    sources, number = request.state.of(Sources), request.args[0]
    facts = set()
    if number not in sources.listed:
        facts.add("unlisted-interrupt" if 0 < number < NUMBERS else "no-such-interrupt")
    if sources.source(number).off:
        facts.add("interrupt-off")
    return frozenset(facts)


INTERRUPT = Argument("interrupt", Kind.INTERRUPT, "number of the source, from the device tree")
STATUSES = frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR})

SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,set-xive",
        (
            INTERRUPT,
            Argument("server", Kind.CPU, "the processor that is to get the interrupt"),
            Argument("priority", Kind.VALUE, "0 is the most favored, 0xff masks the interrupt"),
        ),
        (),
        ((3, 1),),
        STATUSES,
        "Sets server and priority of an interrupt source.",
        "LoPAR 7.3.10.2",
        ("R1-7.3.10.2-1", SET, SET_UNIMPLEMENTED, SET_RESERVED, SET_SERVER),
        _set,
        _facts,
        only_block,
    ),
    Service(
        "ibm,get-xive",
        (INTERRUPT,),
        ("server", "priority"),
        ((1, 3),),
        STATUSES,
        "Shows server and priority of an interrupt source as they were last set.",
        "LoPAR 7.3.10.1",
        ("R1-7.3.10.1-1", GET, GET_UNIMPLEMENTED),
        _get,
        _facts,
        only_block,
    ),
    Service(
        "ibm,int-off",
        (INTERRUPT,),
        (),
        ((1, 1),),
        STATUSES,
        "Masks an interrupt source and keeps its priority for ibm,int-on.",
        "LoPAR 7.3.10.3",
        ("R1-7.3.10.3-1", "R1-7.3.10.3-4", OFF, OFF_UNIMPLEMENTED),
        _off,
        _facts,
        only_block,
    ),
    Service(
        "ibm,int-on",
        (INTERRUPT,),
        (),
        ((1, 1),),
        STATUSES,
        "Unmasks an interrupt source with the priority that ibm,int-off kept.",
        "LoPAR 7.3.10.4",
        ("R1-7.3.10.4-1", "R1-7.3.10.4-4", ON, ON_UNIMPLEMENTED),
        _on,
        _facts,
        only_block,
    ),
)

__all__ = ["SERVICES", "Source", "Sources"]
