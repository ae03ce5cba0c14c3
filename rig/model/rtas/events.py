"""check-exception and event-scan (LoPAR 7.3.3): events that wait to be told, and how they are.

An event is told once, by one of the two calls, to a caller whose mask has its class.  Which of several is
told first is left to the platform; the log says which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rig.frozen import frozen
from rig.model.address import in_ram, load, ram_of
from rig.model.environment import Environment
from rig.model.expectation import Breach, Case, Expectation, ExpectedEvent, Relation, Scratch, Write
from rig.model.hypercall import Argument, Footprint, Kind, State
from rig.model.rtas import eventlog
from rig.model.rtas.eventlog import EPOW, HOT_PLUG, Content
from rig.model.rtas.service import HARDWARE_ERROR, SUCCESS, Reply, Request, Service
from rig.program import Host, Outcome
from rig.target import GuestMemory

CHECK_SHAPE = "R1-7.3.3.2-1"
CHECK_ONCE = "R1-7.3.3.2-5"
TRUNCATED = "R1-7.3.3.2-3"
CRITICAL = "R1-7.3.3.2-4"
CLASSES = "R1-7.3.3.2-6"
SCAN_SHAPE = "R1-7.3.3.1-1"
ONE_CALL = "R1-7.3.3-1"
FORMAT = "R1-10.2-5"
EXTENDED = "R1-10.3.2.2.1-3"
SECTION = "R1-10.3.2.2.1-4"
WHOLE_SECTIONS = "R1-10.3.2.2.1-2"
QMP = "QEMU QMP reference, system_powerdown"

NO_ERRORS_FOUND = 1

#: bits of the event mask (LoPAR R1-10.2-7, table of classes)
EPOW_CLASS, HOT_PLUG_CLASS = 1 << 30, 1 << 28
CLASS_OF = {EPOW: EPOW_CLASS, HOT_PLUG: HOT_PLUG_CLASS}

PAST_LENGTH = Breach("events.past-length", "the log is longer than the buffer", TRUNCATED)
LOST = Breach("events.not-told", "an event that waits is not told", CHECK_ONCE)
WRONG_CLASS = Breach("events.wrong-class", "an event of a class that the mask does not have is told", CLASSES)

#: action codes and modifiers of an orderly shutdown (LoPAR R1-10.2.2-2, tables of codes and of section EP)
SHUTDOWN_CODES = frozenset({3, 4})
SHUTDOWN_MODIFIERS = range(1, 5)


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """An event that waits; ``tells`` is given section EP or HP and says whether it is of this event.

    A hot-plug event need be told only to an OS that asked for such events in its architecture vector (LoPAR
    10.2.3), and one of two equal EPOW events will do.
    """

    type: int
    tells: Callable[[bytes], bool]
    text: str
    required: bool = True


class Events:
    """The events that wait, oldest first."""

    def __init__(self, environment: Environment) -> None:
        self.reset(environment)

    def reset(self, environment: Environment) -> None:
        """A new start begins without events."""
        self.pending: list[Pending] = []
        rtas = environment.tree.find("/rtas")
        #: bytes that the longest log has
        self.longest = next(iter(rtas.cells("rtas-error-log-max") if rtas is not None else ()), 2048)

    def told(self, among: Sequence[Pending], log: bytes) -> None:
        """One of ``among`` was told: the one that the log is of.

        When that cannot be seen it may have been any, unless they are equal: then none need be told again.
        """
        seen = eventlog.content(log)
        if seen is None and len(among) > 1 and any(one.type == HOT_PLUG for one in among):
            self.pending = [replace(one, required=False) if one in among else one for one in self.pending]
            return
        match = next((one for one in among if seen is not None and _is_of(seen, one)), among[0])
        self.pending.remove(match)


def _is_of(seen: Content, event: Pending) -> bool:
    return seen.type == event.type and (not seen.section or event.tells(seen.section))


def shutdown_asked(section: bytes) -> bool:
    """Whether section EP asks for an orderly shutdown."""
    return section[8] & 0xF in SHUTDOWN_CODES and section[9] & 0xF in SHUTDOWN_MODIFIERS


def _power_down(action: Host, state: State) -> Expectation:
    events = state.of(Events)

    def warn(_: Outcome) -> None:
        first = not any(event.type == EPOW for event in events.pending)
        events.pending.append(Pending(EPOW, shutdown_asked, "the shutdown that was asked for", first))

    # The main loop sends the event a moment after the command's answer: scenarios wait for it.
    done = Case("done", events=(ExpectedEvent("POWERDOWN", required=False),), effect=warn, rule=QMP)
    return Expectation(action.command, (done,))


HOST_ACTIONS = {"system_powerdown": _power_down}


# ---- the calls ----


@frozen
class Buffer:
    """Where a log goes: ``length`` bytes at ``address``, of which a log can use ``limit``."""

    address: int
    length: int
    limit: int

    @property
    def room(self) -> int:
        """Bytes that a log may take."""
        return min(self.length, self.limit)

    def scratch(self, state: State, room: int) -> tuple[Scratch, ...]:
        """The first ``room`` bytes, as far as they are RAM."""
        return tuple(Scratch(*part, TRUNCATED) for part in ram_of(state, self.address, room))

    def guard(self, state: State) -> tuple[Write, ...]:
        """What a longer log would change, as it is."""
        beyond = ram_of(state, self.address + self.room, self.limit - self.room)
        return tuple(Write(at, state.memory.read(at, length), TRUNCATED) for at, length in beyond)

    def log(self, memory: GuestMemory, room: int) -> bytes:
        """The log that a call left; raises :class:`ValueError` when it is not in RAM."""
        return memory.read(self.address, room)


def _buffer(address: int, length: int, state: State) -> Buffer:
    return Buffer(address, length, state.of(Events).longest)


def _told(request: Request, mask: int, critical: int, buffer: Buffer) -> tuple[Reply, ...]:
    """The replies that tell an event, the permitted ones first."""
    state = request.state
    events = state.of(Events)
    among = [event for event in events.pending if mask & CLASS_OF[event.type]]
    # QEMU tells an OS that did not ask for hot-plug events of them in another class.
    others = [event for event in events.pending if event.type == HOT_PLUG and event not in among]
    others = others if mask & EPOW_CLASS else []
    if among and others and not in_ram(state, buffer.address, buffer.limit):  # nobody can see which it was
        among, others = among + others, []
    room, more = buffer.room, [buffer.limit] if buffer.limit > buffer.room else []
    # Of two that are as wrong as each other, the one that is of the event that was told comes first, and the
    # one that explains what the log claims, where what lies past the buffer would not change.
    tried = [
        (among, [room], None),
        (others, [*more, room], WRONG_CLASS),
        (among, more, None),
    ]
    return tuple(
        _reply(events, told, buffer, state, room, critical, breach)
        for told, rooms, breach in tried
        for room in rooms
        if told
    )


def _reply(
    events: Events,
    among: list[Pending],
    buffer: Buffer,
    state: State,
    room: int,
    critical: int,
    breach: Breach | None,
) -> Reply:
    """An event of ``among`` is told in ``room`` bytes, which may be more than there are."""

    def settle(_: Outcome) -> None:
        events.told(among, load(state.memory, buffer.address, room))

    relations = _relations(among, buffer, room, critical) if in_ram(state, buffer.address, room) else ()
    over = room > buffer.room
    if over and breach:  # a reply has one breach: the other is what does not hold of it
        relations += (Relation(PAST_LENGTH.check, lambda *_: PAST_LENGTH.text, PAST_LENGTH.rule),)
    return Reply(
        SUCCESS,
        rule=CHECK_ONCE,
        scratch=buffer.scratch(state, room),
        relations=relations,
        effect=settle,
        writes=() if over else buffer.guard(state),
        breach=PAST_LENGTH if over and not breach else breach,
    )


def _relations(among: list[Pending], buffer: Buffer, room: int, critical: int) -> tuple[Relation, ...]:
    """What must hold of a log in ``room`` bytes."""

    def rule(check: str, fault: Callable[[bytes], str | None], source: str) -> Relation:
        def holds(_: Outcome, memory: GuestMemory) -> str | None:
            return fault(buffer.log(memory, room))

        return Relation(f"events.{check}", holds, source)

    def disposition(log: bytes) -> str | None:
        shown = eventlog.fixed(log).disposition
        return None if shown == eventlog.FULLY_RECOVERED else f"disposition {shown} although nothing failed"

    def extent(log: bytes) -> str | None:
        part = eventlog.fixed(log)
        if critical and part.extended:
            return f"{part.length} bytes of extended log in a time-critical call"
        return None

    def fits(log: bytes) -> str | None:
        end = eventlog.FIXED + eventlog.fixed(log).length
        return None if end <= room else f"the log claims {end} bytes of {room}"

    def extended(log: bytes) -> str | None:
        broken = fits(log) or eventlog.header_fault(log)
        return None if broken else eventlog.extended_fault(log)

    def told(log: bytes) -> str | None:
        seen = eventlog.content(log)
        if seen is None or eventlog.header_fault(log) or any(_is_of(seen, event) for event in among):
            return None
        expected = " or ".join(event.text for event in among)
        return f"type {seen.type}, {seen.section.hex(' ')}: not {expected}"

    if room < eventlog.FIXED:
        return ()
    return (
        rule("header", eventlog.header_fault, FORMAT),
        rule("disposition", disposition, FORMAT),
        rule("critical", extent, CRITICAL),
        rule("whole-sections", fits, WHOLE_SECTIONS),
        rule("extended", extended, EXTENDED),
        rule("content", told, SECTION),
    )


def _nothing(request: Request, buffer: Buffer, rule: str) -> Reply:
    """No event; LoPAR is silent on what the buffer then holds."""
    return Reply(NO_ERRORS_FOUND, rule=rule, scratch=buffer.scratch(request.state, buffer.room))


def _check(request: Request) -> tuple[Reply, ...]:
    _, _, mask, critical, address, length = request.args[:6]
    buffer = _buffer(address, length, request.state)
    told = _told(request, mask, critical, buffer)
    pending = request.state.of(Events).pending
    due = any(event.required and mask & CLASS_OF[event.type] for event in pending)
    nothing = _nothing(request, buffer, CHECK_SHAPE)
    return (*told, replace(nothing, breach=LOST)) if due else (nothing, *told)


def _scan(request: Request) -> tuple[Reply, ...]:
    mask, critical, address, length = request.args[:4]
    buffer = _buffer(address, length, request.state)
    # ONE_CALL: which of the two calls tells an event is the platform's choice.
    return (_nothing(request, buffer, ONE_CALL), *_told(request, mask, critical, buffer))


def _facts(mask: int, critical: int, length: int, state: State) -> frozenset[str]:
    facts = {f"pending-{event.type}" for event in state.of(Events).pending if mask & CLASS_OF[event.type]}
    if critical:
        facts.add("critical")
    if length < eventlog.FIXED:
        facts.add("no-room")
    return frozenset(facts)


def _log(index: int) -> Callable[[Request], Footprint]:
    """The buffer at the argument with that index, as long as a log may be: builds write more than fits."""
    return lambda request: ((request.args[index], request.state.of(Events).longest),)


MASK = Argument("mask", Kind.MASK, "event classes: 0x40000000 EPOW, 0x10000000 hot plug")
BUFFER = (
    MASK,
    Argument("critical", Kind.BOOLEAN, "not 0: do only what must be done"),
    Argument("buffer", Kind.ADDRESS),
    Argument("length", Kind.LENGTH),
)

SERVICES: tuple[Service, ...] = (
    Service(
        "event-scan",
        BUFFER,
        (),
        ((4, 1),),
        frozenset({SUCCESS, NO_ERRORS_FOUND, HARDWARE_ERROR}),
        "Tells the next event of the mask's classes that no interrupt announces; 1 when there is none.",
        "LoPAR 7.3.3.1",
        (SCAN_SHAPE, ONE_CALL, "R1-7.3.3.1-3", FORMAT),
        _scan,
        lambda request: _facts(request.args[0], request.args[1], request.args[3], request.state),
        _log(2),
    ),
    Service(
        "check-exception",
        (
            Argument("vector", Kind.OFFSET, "of the exception: 0x500 for an external interrupt"),
            Argument("information", Kind.VALUE, "the interrupt's number, or SRR1"),
            *BUFFER,  # and with seven inputs the upper half of SRR1
        ),
        (),
        ((6, 1), (7, 1)),
        frozenset({SUCCESS, NO_ERRORS_FOUND, HARDWARE_ERROR}),
        "Tells the next event of the mask's classes that an interrupt announced; 1 when there is none.",
        "LoPAR 7.3.3.2",
        (CHECK_SHAPE, CHECK_ONCE, TRUNCATED, CRITICAL, CLASSES, FORMAT, EXTENDED, SECTION, WHOLE_SECTIONS),
        _check,
        lambda request: _facts(request.args[2], request.args[3], request.args[5], request.state),
        _log(4),
    ),
)

__all__ = ["HOST_ACTIONS", "SERVICES", "Events", "Pending"]
