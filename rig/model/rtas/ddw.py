"""The services for dynamic DMA windows, DDW (LoPAR 7.3.27): query, create, remove and reset.

What a platform has to offer is its own business; the model holds it to what it said last: windows that it
reported must be there for a later create.
"""

from __future__ import annotations

from dataclasses import replace

from rig.model.expectation import (
    UNSPECIFIED,
    Between,
    Breach,
    Exactly,
    Permitted,
    Relation,
    Satisfies,
)
from rig.model.hypercall import Argument, Kind
from rig.model.rtas import bridges
from rig.model.rtas.bridges import Window
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
from rig.model.rtas.windows import MANY, Domain, Domains
from rig.program import Outcome
from rig.target import GuestMemory

OFFERED = "R1-7.3.27-3"
QUERY = "R1-7.3.27.1-1"
TCES = "R1-7.3.27.1-2"
CREATE_SHAPE = "R1-7.3.27.2-1"
CREATE = "R1-7.3.27.2-2"
REMOVE = "R1-7.3.27.3-1"
RESTORE = "R1-7.3.27.3-3"
RESET = "R1-7.3.27.4.1-3"
RESET_SHAPE = "R1-7.3.27.4.1-1"

#: log2 of the I/O page sizes, from bit 31 of the page-size mask (Table of ibm,query-pe-dma-window)
PAGE_SHIFTS = (12, 16, 24, 25, 26, 27, 28, 34)
PAGE_BITS = (1 << len(PAGE_SHIFTS)) - 1
#: I/O addresses have as many bits
ADDRESS_BITS = 64
#: log2 of the TCEs that a 32-bit number cannot count
WIDE = 32
#: a page size, by its log2 and its bit in the mask, that is used although LoPAR 2.9 reserves the bit
PAGE_2M, BIT_2M = 21, 0x100

NO_FAILURE = Breach(
    "ddw.hardware-error",
    "a window that cannot be made is a hardware error, not a parameter error",
    CREATE_SHAPE,
)
SHIFT_WRAPS = Breach("ddw.shift-wraps", "a window is made with a size modulo 2^64", CREATE)
NOT_RESTORED = Breach(
    "ddw.default-not-restored",
    "the default window is not there after the last other window was removed",
    RESTORE,
)


def _offered(request: Request) -> Domain | None:
    """The windows of the PHB that a request names."""
    return request.state.of(Domains).offered(*request.args[1:3])


def _cell(memory: GuestMemory, request: Request, index: int) -> int:
    return int.from_bytes(memory.read(request.rets + 4 * index, 4), "big")


def _of_pe(request: Request, domain: Domain, *replies: Reply) -> tuple[Reply, ...]:
    """``replies``, and -3 too where LoPAR does not say whether the address is that of a PE."""
    address = request.args[0]
    if domain.bridge.names_function(address):
        return replies
    return (*replies, Reply(PARAMETER_ERROR, rule=OFFERED))


def _query(request: Request) -> tuple[Reply, ...]:
    domain = _offered(request)
    if domain is None:
        return refuse(OFFERED)
    extended = request.exact and request.nret == 6
    if extended and domain.bridge.extensions[2:3] != (1,):
        return refuse(QUERY)

    def outputs(windows: Permitted) -> tuple[Permitted, ...]:
        pages = Satisfies(lambda mask: not mask & ~PAGE_BITS & ~BIT_2M, "page sizes, other bits 0", 1)
        return (windows, *[UNSPECIFIED] * (1 + extended), pages, replace(pages, canonical=0))

    def holds(_: Outcome, memory: GuestMemory) -> str | None:
        told = _cell(memory, request, 0) == SUCCESS and _cell(memory, request, request.nret - 2) & BIT_2M
        return "the page sizes have bit 23, which is reserved" if told else None

    def adopt(_: Outcome) -> None:
        if not request.exact:
            return
        cells = [_cell(request.state.memory, request, index) for index in range(1, request.nret)]
        windows, *tces, pages, _migration = cells
        domain.fewest = domain.most = windows
        domain.tces = tces[-1] | (tces[0] << 32 if extended else 0)
        domain.pages = frozenset(shift for bit, shift in enumerate(PAGE_SHIFTS) if pages >> bit & 1)
        if domain.default and not domain.made and not domain.unseen:
            domain.boot = (windows, windows)

    def found(outcome: Outcome) -> None:
        if domain.most < MANY:
            domain.unseen = frozenset()
        adopt(outcome)

    def missing(outcome: Outcome) -> None:
        domain.lose_default()
        adopt(outcome)

    told = Reply(
        SUCCESS,
        outputs(Between(domain.fewest, domain.most)),
        rule=QUERY,
        relations=(Relation("ddw.page-size-2m", holds, QUERY),) if request.exact else (),
        effect=found,
    )
    replies: tuple[Reply, ...] = (told,)
    if domain.unseen and domain.most < MANY:
        more = outputs(Between(domain.most + 1, MANY))
        replies += (replace(told, outputs=more, effect=missing, breach=NOT_RESTORED),)
    return _of_pe(request, domain, *replies)


def _made(request: Request, domain: Domain, length: int, *, missing: bool = False) -> Reply:
    """The reply that makes a window of ``length`` bytes; ``missing``: in place of the default window."""
    domains, memory = request.state.of(Domains), request.state.memory
    others = [window for window in domain.windows if not (missing and window is domain.bridge.default)]

    def start(memory: GuestMemory) -> int:
        return bridges.unit_id(_cell(memory, request, 2), _cell(memory, request, 3))

    def holds(_: Outcome, memory: GuestMemory) -> str | None:
        if _cell(memory, request, 0) != SUCCESS:
            return None
        at = start(memory)
        overlapping = [window for window in others if window.overlaps(at, length)]
        return f"the window at {at:#x} overlaps that at {overlapping[0].start:#x}" if overlapping else None

    def adopt(_: Outcome) -> None:
        if missing:
            domain.lose_default()
        if not request.exact:
            domain.forget()
            return
        liobn = _cell(memory, request, 1)
        domain.made[liobn] = Window(liobn, start(memory), length)
        if domain.most < MANY:
            domain.most = max(0, domain.most - 1)
        domain.fewest, domain.tces = 0, None

    liobn: Permitted = Satisfies(lambda value: not domains.used(value), "a LIOBN not in use", domains.unused)
    if missing and domain.bridge.default:
        liobn = Exactly(domain.bridge.default.liobn)
    return Reply(
        SUCCESS,
        (liobn, UNSPECIFIED, UNSPECIFIED),
        rule=CREATE,
        relations=(Relation("ddw.window-overlaps", holds, CREATE),),
        effect=adopt,
        breach=NOT_RESTORED if missing else None,
    )


def _create(request: Request) -> tuple[Reply, ...]:
    domain = _offered(request)
    if domain is None:
        return refuse(OFFERED)
    page, size = request.args[3:5]
    # in the arithmetic of a build that calculates modulo 2^64
    count = (size - page) % ADDRESS_BITS

    def leave_half(_: Outcome) -> None:
        if count >= WIDE:
            domain.leave_half()

    refused = Reply(PARAMETER_ERROR, rule=CREATE_SHAPE)
    failed = Reply(HARDWARE_ERROR, rule=CREATE_SHAPE, effect=leave_half, breach=NO_FAILURE)
    if page > size or (size < ADDRESS_BITS and page not in (*PAGE_SHIFTS, PAGE_2M)):
        return (refused,)
    if size >= ADDRESS_BITS:
        wrapped = _made(request, domain, 1 << count + page % ADDRESS_BITS)
        return (refused, replace(wrapped, breach=SHIFT_WRAPS), failed)
    if not domain.most:
        return (refused, failed)

    made = [_made(request, domain, 1 << size)]
    if domain.unseen:
        made.append(_made(request, domain, 1 << size, missing=True))
    later = put_off(CREATE_SHAPE, BUSY, *EXTENDED_DELAY)
    promised = domain.fewest and page in (domain.pages or ()) and 1 << count <= (domain.tces or 0)
    if not promised:
        return (*made, refused, *later, failed)
    replies = (*made, *later) if count < WIDE else (*made, *later, failed)
    return _of_pe(request, domain, *replies)


def _remove(request: Request) -> tuple[Reply, ...]:
    liobn = request.args[0]
    for domain in request.state.of(Domains).by_unit.values():
        if domain.bridge.applicable and liobn in domain.made:
            return _remove_made(domain, liobn)
        if domain.bridge.applicable and domain.has_default(liobn):
            return _remove_default(domain)
    return refuse(REMOVE)


def _remove_made(domain: Domain, liobn: int) -> tuple[Reply, ...]:
    return (Reply(SUCCESS, rule=REMOVE, effect=lambda _: domain.remove(liobn)),)


def _remove_default(domain: Domain) -> tuple[Reply, ...]:
    def remove(_: Outcome) -> None:
        fewest = 1 if not domain.most else domain.fewest
        domain.lose_default()
        domain.fewest = fewest

    removed = Reply(SUCCESS, rule=REMOVE, effect=remove)
    if not domain.unseen:
        return (removed,)
    missing = Reply(
        PARAMETER_ERROR, rule=RESTORE, effect=lambda _: domain.lose_default(), breach=NOT_RESTORED
    )
    return (removed, missing)


def _reset(request: Request) -> tuple[Reply, ...]:
    domain = _offered(request)
    if domain is None or len(domain.bridge.extensions) < 2:
        return refuse(OFFERED)
    restored = Reply(SUCCESS, rule=RESET, effect=lambda _: domain.restore())
    return _of_pe(request, domain, restored, *put_off(RESET_SHAPE, BUSY))


def _facts(request: Request) -> frozenset[str]:
    domain = _offered(request)
    if domain is None:
        return frozenset({"ddw-not-offered"})
    facts = set(domain.unseen)
    if not domain.bridge.names_function(request.args[0]):
        facts.add("no-such-function")
    return frozenset(facts)


def _create_facts(request: Request) -> frozenset[str]:
    domain = _offered(request)
    page, size = request.args[3:5]
    facts = set(_facts(request))
    if domain:
        facts |= domain.half_made
    if size >= ADDRESS_BITS:
        facts.add("size-beyond-64-bits")
    if page <= size and (size - page) % ADDRESS_BITS >= WIDE:
        facts.add("tces-beyond-32-bits")
    return frozenset(facts)


def _reset_facts(request: Request) -> frozenset[str]:
    domain = _offered(request)
    return _facts(request) | (domain.at_return if domain else frozenset())


def _remove_facts(request: Request) -> frozenset[str]:
    domains, liobn = request.state.of(Domains), request.args[0]
    facts = {"liobn-of-virtual-device"} if liobn in domains.virtual else set()
    for domain in domains.by_unit.values():
        if not domain.default and set(domain.made) == {liobn}:  # the default window comes back
            facts |= domain.at_return
        if domain.has_default(liobn):
            facts |= domain.unseen
    return frozenset(facts)


PE = (
    Argument("config_addr", Kind.CONFIG_ADDRESS, "the PE's; the register fields are 0"),
    Argument("unit_high", Kind.BUID_HIGH, "high half of the PHB's unit ID"),
    Argument("unit_low", Kind.BUID_LOW, "low half of the PHB's unit ID"),
)

SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,query-pe-dma-window",
        PE,
        ("windows", "TCEs (high)", "TCEs low or pages", "pages or migration", "migration"),
        ((3, 6), (3, 5)),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR}),
        "Tells how many more windows can be made, of how many TCEs, and with which page sizes.",
        "LoPAR 7.3.27.1",
        (OFFERED, QUERY, TCES),
        _query,
        _facts,
        only_block,
    ),
    Service(
        "ibm,create-pe-dma-window",
        (
            *PE,
            Argument("page_shift", Kind.SHIFT, "log2 of the I/O page size"),
            Argument("window_shift", Kind.SHIFT, "log2 of the window's size"),
        ),
        ("liobn", "address high", "address low"),
        ((5, 4),),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY, PARAMETER_ERROR, *EXTENDED_DELAY}),
        "Makes a DMA window exactly as wanted, or none.",
        "LoPAR 7.3.27.2",
        (OFFERED, CREATE_SHAPE, CREATE),
        _create,
        _create_facts,
        only_block,
    ),
    Service(
        "ibm,remove-pe-dma-window",
        (Argument("liobn", Kind.LIOBN),),
        (),
        ((1, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR}),
        "Removes a DMA window; the default window comes back when the last other one goes.",
        "LoPAR 7.3.27.3",
        (REMOVE, RESTORE, "R1-7.3.27.3-4"),
        _remove,
        _remove_facts,
        only_block,
    ),
    Service(
        # Its token is in ibm,ddw-extensions; LoPAR spells the name in three ways.
        "ibm,reset-pe-dma-window",
        PE,
        (),
        ((3, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY, PARAMETER_ERROR}),
        "Brings back the default window and no other.",
        "LoPAR 7.3.27.4.1",
        (RESET_SHAPE, RESET),
        _reset,
        _reset_facts,
        only_block,
    ),
)

__all__ = ["SERVICES", "Domain", "Domains"]
