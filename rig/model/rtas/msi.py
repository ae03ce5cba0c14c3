"""ibm,change-msi and ibm,query-interrupt-source-number (LoPAR 7.3.10.5): a function's interrupts.

The platform chooses how many vectors a function gets and which numbers they have; the model follows its
choice and holds it to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rig.model.expectation import Breach, Exactly, OneOf, Permitted, Satisfies, Unspecified
from rig.model.hypercall import Argument, Kind
from rig.model.pci import Function
from rig.model.rtas.interrupts import Assignment, Interrupts, Target, default
from rig.model.rtas.service import (
    BUSY,
    EXTENDED_DELAY,
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    only_block,
    put_off,
    refuse,
)
from rig.program import Outcome

CHANGE_SHAPE = "R1-7.3.10.5.1-1"
FINAL_VALID = "R1-7.3.10.5.1-2"
UNSUPPORTED = "R1-7.3.10.5.1-3"
LSI_KEPT = "R1-7.3.10.5.1-5"
REDUCTION = "R1-7.3.10.5.1-6"
FIRST_SEQUENCE = "R1-7.3.10.5.1-7"
QUERY_AGAIN = "R1-7.3.10.5.1-9"
NEVER_BUSY = "R1-7.3.10.5.1-10"
QUERY_SHAPE = "R1-7.3.10.5.2-1"
NOT_ASSIGNED = "R1-7.3.10.5.2-2"
NOT_SHARED = "R1-6.2.3-5"
TABLE = "LoPAR 7.3.10.5.1, argument call buffer"

#: functions of ibm,change-msi
QUERY, CHANGE, DEFAULT, MSI, MSIX, MSI32 = range(6)
#: types of interrupts
TYPE_MSI, TYPE_MSIX = 1, 2
#: what the three bits of Multiple Message Enable can say
MOST_MSI = 128
#: the status of a query for an interrupt that is not there
NONE = 1
LEVEL, EDGE = 0, 1

REFUSED = Breach("rtas.change-msi-function", "a function that the table lists is refused", TABLE)
NONE_TO_FREE = Breach(
    "rtas.change-msi-none-to-free", "freeing where nothing is assigned is a hardware error", REDUCTION
)
REGISTER = Breach(
    "rtas.msi-register", "a config_addr with a register or reserved bits is another function", TABLE
)
NO_INTERRUPT = Breach(
    "rtas.interrupt-not-assigned", "an interrupt that is not assigned is a hardware error", NOT_ASSIGNED
)
NO_LSI = Breach(
    "rtas.interrupt-lsi", "the level-sensitive interrupt of a function is a hardware error", NOT_ASSIGNED
)
NOT_ALLOCATED = Breach(
    "rtas.msi-not-allocated", "the interrupts that ibm,change-msi said are assigned are not", QUERY_AGAIN
)


# ---- ibm,change-msi ----


def _kinds(function: Function, wanted: int) -> tuple[int, ...]:
    """The types of interrupts that a function of ibm,change-msi may give; empty when there is none."""
    has = {TYPE_MSI: function.msi, TYPE_MSIX: function.msix}
    asked = {CHANGE: (TYPE_MSI, TYPE_MSIX), MSIX: (TYPE_MSIX,)}.get(wanted, (TYPE_MSI,))
    return tuple(kind for kind in asked if has[kind])


def _change(request: Request) -> tuple[Reply, ...]:
    target = Target.of(request)
    function = target.function
    wanted, count, sequence = request.args[3:6]
    if function is None and target.uncertain:
        changed = Reply(SUCCESS, (Unspecified(),) * 3, CHANGE_SHAPE)
        return (*refuse(CHANGE_SHAPE), changed, _failed(target, NONE_TO_FREE, REDUCTION))
    if function is None or wanted > MSI32:
        return refuse(CHANGE_SHAPE)
    replies = tuple(_granted(request, target, function, wanted, count))
    if target.place.more or sequence != 1:  # the caller's faults
        replies += refuse(FIRST_SEQUENCE)
        if target.place.more:
            replies += (Reply(HARDWARE_ERROR, rule=TABLE, breach=REGISTER),)
    return replies


def _failed(target: Target, breach: Breach, rule: str) -> Reply:
    """The hardware error that a build reports of a function which may be there or not."""
    if target.place.more:
        return Reply(HARDWARE_ERROR, rule=TABLE, breach=REGISTER)
    return Reply(HARDWARE_ERROR, rule=rule, breach=breach)


def _granted(
    request: Request, target: Target, function: Function, wanted: int, count: int
) -> Iterator[Reply]:
    now = target.now
    if wanted in (QUERY, DEFAULT):
        then = now if wanted == QUERY else default(function)
        yield _done(request, target, function, _exactly(then.count), _exactly(then.kind or None), then)
        yield Reply(PARAMETER_ERROR, rule=TABLE, breach=REFUSED)
        return
    kinds = _kinds(function, wanted)
    if not kinds:
        yield Reply(PARAMETER_ERROR, rule=UNSUPPORTED)
        if not count:  # the text around the requirement says that this removes whatever there is
            yield _done(request, target, function, Exactly(0), Unspecified(), Assignment(0))
        return
    if count:
        kind: Permitted = OneOf(kinds) if len(kinds) > 1 else Exactly(kinds[0])
        then = Assignment(None, kinds[0] if len(kinds) == 1 else 0)
        yield _done(request, target, function, _final(function, kinds, count, now), kind, then)
        yield from put_off(CHANGE_SHAPE, BUSY, *EXTENDED_DELAY)
        if request.nret < 4 and kinds == (TYPE_MSIX,):  # function 1 is for MSI then; the status is left open
            yield Reply(PARAMETER_ERROR, rule=TABLE)
    else:
        yield _done(request, target, function, Exactly(0), Unspecified(), Assignment(0))
        if now.count in (0, None):
            yield Reply(HARDWARE_ERROR, rule=REDUCTION, breach=NONE_TO_FREE)
        elif now.before is not None and now.before.count in (0, None):
            yield _unallocated(target.interrupts, function, now.before)
    if wanted == MSI32:
        yield Reply(PARAMETER_ERROR, rule=TABLE, breach=REFUSED)


def _exactly(value: int | None) -> Permitted:
    return Unspecified() if value is None else Exactly(value)


def _final(function: Function, kinds: tuple[int, ...], count: int, now: Assignment) -> Permitted:
    """How many vectors a request for ``count`` may end with: all when fewer than now, else at least one.

    A change of the type may first keep the number that there was.  What a function has that was told to have
    more MSIs than it can (Multiple Message Enable) is not defined (PCI 3.0, 6.8.1.3).
    """
    if TYPE_MSI in kinds and function.registers.touched:
        return Satisfies(lambda final: 1 <= final <= min(count, MOST_MSI), "as many as it was told to", 1)
    most = max({TYPE_MSI: function.msi, TYPE_MSIX: function.msix}[kind] for kind in kinds)
    high = min(count, most)
    reduced = now.count is not None and count <= now.count and now.kind in kinds and len(kinds) == 1
    if reduced:
        return Exactly(high)
    return Satisfies(lambda final: 1 <= final <= high, f"1..{high}", high)


def _done(
    request: Request,
    target: Target,
    function: Function,
    final: Permitted,
    kind: Permitted,
    then: Assignment,
) -> Reply:
    """Success: final number, next sequence number, type, which is valid where the number is not 0."""
    wanted, asked = request.args[3:5]
    kept = then is target.now

    def adopt(_: Outcome) -> None:
        if kept:
            return
        after = Assignment(None)
        if request.exact and not target.place.more:
            cells = _cells(request)
            shown = cells[3] if request.nret > 3 else then.kind
            after = Assignment(cells[1], shown if cells[1] else 0)
            if wanted != DEFAULT and 0 < cells[1] < asked:
                after.before = target.now.before or target.now
        target.interrupts.assignments[function] = after

    typed = Unspecified(kind.canonical) if final.permits(0) else kind
    return Reply(SUCCESS, (final, Unspecified(), typed), FINAL_VALID, effect=adopt)


def _cells(request: Request) -> tuple[int, ...]:
    data = request.state.memory.read(request.rets, 4 * request.nret)
    return tuple(int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))


def _change_facts(request: Request) -> frozenset[str]:
    target = Target.of(request)
    facts = target.facts
    if request.args[5] != 1:
        facts.add("sequence-not-1")
    if target.function is not None:
        facts |= {
            name
            for name, lacks in (
                ("no-msi", not target.function.msi),
                ("no-msi-x", not target.function.msix),
                ("none-assigned", target.now.count == 0),
                ("pool-exceeded", target.crowded(request.args[4])),
            )
            if lacks
        }
    return frozenset(facts)


# ---- ibm,query-interrupt-source-number ----


def _query(request: Request) -> tuple[Reply, ...]:
    target = Target.of(request)
    function = target.function
    if function is None and target.uncertain:
        found = Reply(SUCCESS, (Unspecified(), Unspecified()), QUERY_SHAPE)
        none = Reply(NONE, rule=QUERY_SHAPE)
        return (*refuse(QUERY_SHAPE), found, none, _failed(target, NO_INTERRUPT, NOT_ASSIGNED))
    if function is None:
        return refuse(QUERY_SHAPE)
    replies = tuple(_found(request, target, function, request.args[3]))
    if target.place.more:
        replies += refuse(TABLE)
        if not any(reply.status == HARDWARE_ERROR for reply in replies):
            replies += (Reply(HARDWARE_ERROR, rule=TABLE, breach=REGISTER),)
        replies += (Reply(SUCCESS, (Unspecified(), Exactly(EDGE)), TABLE, breach=REGISTER),)
    return replies


def _found(request: Request, target: Target, function: Function, vector: int) -> Iterator[Reply]:
    now = target.now
    missing = Reply(NONE, rule=NOT_ASSIGNED)
    if now.count is None:
        number = Unspecified(function.source or 1)
        yield Reply(SUCCESS, (number, OneOf((EDGE, LEVEL))), QUERY_SHAPE)
        yield missing
        yield Reply(HARDWARE_ERROR, rule=NOT_ASSIGNED, breach=NO_INTERRUPT)
    elif vector < now.count:
        held = now.numbers.get(vector)
        taken = target.interrupts.taken(target.pci, function, vector)
        fresh = next(number for number in range(0x1300, 0x1300 + len(taken) + 1) if number not in taken)
        unshared = Satisfies(lambda seen: seen not in taken, "a number that no other interrupt has", fresh)
        yield Reply(
            SUCCESS,
            (unshared if held is None else Exactly(held), Exactly(EDGE)),
            NOT_SHARED,
            # With a register it may be another function's.
            effect=None if target.place.more else _keep(request, now, vector),
        )
        if now.before is not None:
            yield _unallocated(target.interrupts, function, now.before)
    elif vector == 0 and function.pin:
        yield Reply(SUCCESS, (_exactly(function.source), Exactly(LEVEL)), LSI_KEPT)
        yield Reply(HARDWARE_ERROR, rule=NOT_ASSIGNED, breach=NO_LSI)
    else:
        yield missing
        yield Reply(HARDWARE_ERROR, rule=NOT_ASSIGNED, breach=NO_INTERRUPT)
        if now.before is not None and (now.before.count is None or vector < now.before.count):
            kept = _unallocated(target.interrupts, function, now.before)
            yield replace(kept, status=SUCCESS, outputs=(Unspecified(), OneOf((EDGE, LEVEL))))


def _keep(request: Request, now: Assignment, vector: int) -> Callable[[Outcome], None]:
    def keep(_: Outcome) -> None:
        if request.exact:
            now.numbers[vector] = _cells(request)[1]

    return keep


def _unallocated(interrupts: Interrupts, function: Function, before: Assignment) -> Reply:
    """The status by which a request that was granted in part turns out to have done nothing."""

    def go_back(_: Outcome) -> None:
        interrupts.assignments[function] = before

    return Reply(HARDWARE_ERROR, rule=QUERY_AGAIN, breach=NOT_ALLOCATED, effect=go_back)


def _query_facts(request: Request) -> frozenset[str]:
    target = Target.of(request)
    facts = target.facts
    if target.now.count == 0:
        facts.add("none-assigned")
    return frozenset(facts)


_ADDRESS = (
    Argument("config_addr", Kind.CONFIG_ADDRESS, "bus, device and function; register 0"),
    Argument("PHB_Unit_ID_Hi", Kind.BUID_HIGH, "upper 32 bits of the host bridge's unit id"),
    Argument("PHB_Unit_ID_Low", Kind.BUID_LOW, "lower 32 bits of it"),
)

SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,change-msi",
        (
            *_ADDRESS,
            Argument(
                "function", Kind.OPERATION, "0 query, 1 change, 2 default, 3 MSI, 4 MSI-X, 5 32-bit MSI"
            ),
            Argument("requested", Kind.COUNT, "number of interrupts; 0 frees them"),
            Argument("sequence", Kind.VALUE, "1 at first, then what the call before returned"),
        ),
        ("final number", "next sequence", "type"),
        ((6, 4), (6, 3)),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY, PARAMETER_ERROR, *EXTENDED_DELAY}),
        "Queries or changes the number and type of the message-signalled interrupts of a PCI function.",
        "LoPAR 7.3.10.5.1",
        (
            CHANGE_SHAPE,
            FINAL_VALID,
            UNSUPPORTED,
            LSI_KEPT,
            REDUCTION,
            FIRST_SEQUENCE,
            QUERY_AGAIN,
            NEVER_BUSY,
        ),
        _change,
        _change_facts,
        only_block,
    ),
    Service(
        "ibm,query-interrupt-source-number",
        (*_ADDRESS, Argument("interrupt", Kind.INDEX, "relative number, 0 is the function's first")),
        ("source number", "trigger"),
        ((4, 3),),
        frozenset({SUCCESS, NONE, HARDWARE_ERROR, PARAMETER_ERROR}),
        "The source number of a PCI function's interrupt and its trigger (0 level, 1 edge); 1 when none.",
        "LoPAR 7.3.10.5.2",
        (QUERY_SHAPE, NOT_ASSIGNED, NOT_SHARED),
        _query,
        _query_facts,
        only_block,
    ),
)

__all__ = ["SERVICES"]
