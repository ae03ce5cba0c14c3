"""ibm,configure-connector (LoPAR 13.5.3.5): a plugged entity's part of the device tree, piece by piece.

The model does not know what the platform will say of an entity: it follows the walk, holds every step to the
rules of the work area, and the whole to what the documents promise of such an entity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rig.model.address import in_ram, load, ram_of
from rig.model.environment import Environment, Node
from rig.model.expectation import Breach, Relation, Scratch
from rig.model.hypercall import Argument, Footprint, Kind, State
from rig.model.pci import Pci
from rig.model.rtas.connectors import Connector, Connectors, Fragment, Walk, lmb_size
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
)
from rig.program import Outcome
from rig.target import GuestMemory

SHAPE = "R1-13.5.3.5-1"
AREA = "R1-13.5.3.5-2"
ISOLATED = "R1-13.7.4.3-1"
NOT_USABLE = "R1-13.7.4.3-2"
PCI_PROPERTIES = "R1-13.6.3-4"
WORK_AREA = "LoPAR 13.5.3.5, work area"

COMPLETE, SIBLING, CHILD, PROPERTY, PARENT, MORE_MEMORY = range(6)
NO_SYSTEM, NO_CONNECTOR, CANNOT = -9001, -9002, -9003

PAGE = 4096

#: properties that every PCI function has (LoPAR R1-13.6.3-4, "always present")
PCI_ALWAYS = (
    "name",
    "vendor-id",
    "device-id",
    "revision-id",
    "class-code",
    "compatible",
    "reg",
    "assigned-addresses",
    "ibm,loc-code",
    "ibm,my-drc-index",
)
#: what binds the nodes of a logical entity: "as would be contained in those nodes … at boot time"
AS_AT_BOOT = {"CPU": "R1-13.7.4.3-3", "MEM": "R1-13.7.4.3-4", "PHB": "R1-13.7.4.3-5"}

REFUSED = Breach(
    "connector.isolated-refused", "an isolated connector is refused instead of complete", ISOLATED
)


def _cells(area: bytes) -> tuple[int, ...]:
    """The entries of a work area: 32 bits each, as RTAS is called through the hypervisor (LoPAR T:44663)."""
    return tuple(int.from_bytes(area[at : at + 4], "big") for at in range(0, 20, 4))


def _name(area: bytes) -> str | None:
    """The name at the offset in entry 2; ``None`` when none lies in the page."""
    at = _cells(area)[2]
    end = area.find(b"\0", at)
    return area[at:end].decode(errors="replace") if at < end else None


def _value(area: bytes) -> bytes | None:
    """The property value that entries 3 and 4 describe; ``None`` when it leaves the page."""
    _, _, _, length, at = _cells(area)
    return area[at : at + length] if at + length <= PAGE else None


def _named(address: int) -> Relation:
    def holds(_: Outcome, memory: GuestMemory) -> str | None:
        area = memory.read(address, PAGE)
        return None if _name(area) else f"no name at offset {_cells(area)[2]:#x} of the work area"

    return Relation("connector.name", holds, WORK_AREA)


def _valued(address: int) -> Relation:
    def holds(_: Outcome, memory: GuestMemory) -> str | None:
        area = memory.read(address, PAGE)
        length, at = _cells(area)[3:]
        return f"{length} bytes at offset {at:#x} leave the page" if _value(area) is None else None

    return Relation("connector.value", holds, WORK_AREA)


# ---- the walk ----


def _follow(walk: Walk, status: int, area: bytes) -> None:
    """Take a step of the walk as the work area tells it."""
    name = _name(area) or ""
    if status == PROPERTY and walk.path:
        walk.path[-1].properties[name] = _value(area) or b""
    elif status == PARENT:
        walk.path.pop()
    elif status in (CHILD, SIBLING):
        if status == SIBLING and walk.path:
            walk.path.pop()
        node = Fragment(name)
        if walk.path:
            walk.path[-1].children.append(node)
        walk.top = walk.top or node
        walk.path.append(node)
    walk.up = status == PARENT


def _steps(walk: Walk) -> tuple[int, ...]:
    """The statuses by which a walk may go on."""
    if not walk.path:
        return (CHILD,)
    after_node = () if walk.up else (PROPERTY,)
    up = (PARENT,) if len(walk.path) > 1 else ()
    return (*after_node, CHILD, SIBLING, *up, COMPLETE)


def _walk(request: Request, connector: Connector, address: int, area: bytes) -> tuple[Reply, ...]:
    """The connector can be configured: the next step of its walk."""
    scratch = (Scratch(address, PAGE, AREA),)
    if connector.lost:
        return _anywhere(request.state, connector, scratch)
    under_way = connector.walk
    goes_on = under_way is not None and (under_way.area, under_way.left) == (address, area)
    walk = under_way if under_way is not None and goes_on else Walk(address, area)

    def reply(walk: Walk, status: int) -> Reply:
        def settle(_: Outcome) -> None:
            left = request.state.memory.read(address, PAGE)
            connector.walk = walk
            request.state.of(Connectors).walked[connector.index] = connector
            _initialised(request.state, connector)
            if not request.exact:
                connector.walk, connector.lost = None, True  # no telling what was done
            elif status == COMPLETE:
                connector.configured, connector.walk = True, None
            else:
                _follow(walk, status, left)
                walk.area, walk.left = address, left

        checks: tuple[Relation, ...] = ()
        if status in (CHILD, SIBLING, PROPERTY):
            checks = (_named(address),)
        if status == PROPERTY:
            checks += (_valued(address),)
        if status == COMPLETE and walk.top is not None:
            checks = _promised(connector, walk.top, request.state)
        return Reply(status, rule=SHAPE, scratch=scratch, relations=checks, effect=settle)

    replies = [reply(walk, status) for status in _steps(walk)]
    if not goes_on and connector.configured:  # LoPAR 13.5.3.5: unpredictable
        replies += [Reply(status, rule=WORK_AREA, scratch=scratch) for status in (COMPLETE, CANNOT)]
    if not goes_on and under_way is not None:  # a walk given up may be taken up again (LoPAR 13.5.3.5)
        again = replace(under_way, path=list(under_way.path))
        replies += [reply(again, status) for status in _steps(again) if status != CHILD]
    later = put_off(SHAPE, BUSY, *EXTENDED_DELAY, MORE_MEMORY)
    return (*replies, *(replace(one, scratch=scratch) for one in later))


def _anywhere(state: State, connector: Connector, scratch: tuple[Scratch, ...]) -> tuple[Reply, ...]:
    """Some step of a walk of which nobody can say where it stands, or whether it has come to its end."""

    def step(_: Outcome) -> None:
        _initialised(state, connector)

    def settle(outcome: Outcome) -> None:
        step(outcome)
        connector.configured, connector.lost = True, False

    steps = (CHILD, PROPERTY, SIBLING, PARENT, CANNOT, MORE_MEMORY, BUSY, *EXTENDED_DELAY)
    complete = Reply(COMPLETE, rule=SHAPE, scratch=scratch, effect=settle)
    return (*(Reply(status, rule=SHAPE, scratch=scratch, effect=step) for status in steps), complete)


def _initialised(state: State, *connectors: Connector) -> None:
    """The platform initialises the MSI registers of functions, and bridges (LoPAR R1-6.2.3-8, R1-6.2.3-9)."""
    behind = {one.index for one in connectors}
    behind |= {one.index for one in state.of(Connectors).by_index.values() if one.parent in behind}
    state.of(Pci).configured(behind)


# ---- the whole ----


def _promised(connector: Connector, top: Fragment, state: State) -> tuple[Relation, ...]:
    """What the documents say of the properties of an entity."""
    if not connector.logical:
        return tuple(_has(top, name, PCI_PROPERTIES) for name in PCI_ALWAYS)
    checks: tuple[Relation, ...] = ()
    model = _boot_time(connector.type, state.environment)
    if model is not None:
        checks += (_like(top, model, AS_AT_BOOT[connector.type]),)
    if connector.base is not None:
        region = connector.base.to_bytes(8, "big") + lmb_size(state.environment).to_bytes(8, "big")
        checks += (_is(top, "reg", region, AS_AT_BOOT["MEM"]),)
    return checks


def _relation(check: str, fault: str | None, rule: str) -> Relation:
    """A rule over the pieces that earlier calls brought: what is wrong is known before the call."""
    return Relation(check, lambda _outcome, _memory: fault, rule)


def _has(top: Fragment, name: str, rule: str) -> Relation:
    fault = None if name in top.properties else f"{top.name} has no property {name!r}"
    return _relation(f"connector.pci-{name}", fault, rule)


def _is(top: Fragment, name: str, value: bytes, rule: str) -> Relation:
    shown = top.properties.get(name, b"")
    fault = f"{name} is {shown.hex()}, not {value.hex()}" if shown != value else None
    return _relation(f"connector.{name}", fault, rule)


def _like(top: Fragment, model: Node, rule: str) -> Relation:
    missing = sorted(model.properties.keys() - top.properties.keys() - {"phandle", "linux,phandle"})
    fault = f"{top.name} lacks {', '.join(missing)}, which {model.name} has" if missing else None
    return _relation("connector.as-at-boot", fault, rule)


def _boot_time(kind: str, environment: Environment) -> Node | None:
    """A node of this kind that was there at boot."""
    tree = environment.tree
    places: dict[str, tuple[str, str]] = {
        "CPU": ("/cpus", "cpu"),
        "MEM": ("/", "memory"),
        "PHB": ("/", "pci"),
    }
    path, wanted = places.get(kind, ("/", ""))
    above = tree.find(path)
    children = above.children.values() if above is not None else ()
    return next(
        (
            node
            for node in children
            if node.properties.get("device_type", b"").rstrip(b"\0").decode() == wanted
        ),
        None,
    )


# ---- the call ----


def _configure(request: Request) -> Iterable[Reply]:
    address, extent = request.args[:2]
    state = request.state
    if address % PAGE or extent or not in_ram(state, address, PAGE):
        return _astray(request, address, extent)
    area = load(state.memory, address, PAGE)
    connector = state.of(Connectors).by_index.get(_cells(area)[0])
    scratch = (Scratch(address, PAGE, AREA),)

    def ends(*statuses: int, rule: str, breach: Breach | None = None) -> tuple[Reply, ...]:
        return tuple(Reply(status, rule=rule, scratch=scratch, breach=breach) for status in statuses)

    if connector is None:  # LoPAR 13.5.3.5 is silent
        return ends(PARAMETER_ERROR, CANNOT, NO_CONNECTOR, NO_SYSTEM, rule=SHAPE)
    if not connector.usable:
        return ends(CANNOT, rule=NOT_USABLE)
    if connector.isolated and connector.logical:
        return ends(COMPLETE, rule=ISOLATED) + ends(CANNOT, rule=ISOLATED, breach=REFUSED)
    if connector.isolated or not connector.occupied:  # R1-13.7.4.3 speaks of logical connectors only
        return ends(COMPLETE, CANNOT, rule=SHAPE)
    return _walk(request, connector, address, area)


def _astray(request: Request, address: int, extent: int) -> Iterator[Reply]:
    """A work area off its page or out of memory, or memory that was not asked for: LoPAR is silent.

    Nothing but the area may change.  Whether a walk goes on after an error is not known, and where it stands
    after anything else.  Each reply is made when it is asked for: most callers need one of them.
    """
    state = request.state
    pages = (address, extent) if extent else (address,)
    scratch = tuple(Scratch(*part, AREA) for page in pages for part in ram_of(state, page, PAGE))

    def refused(_: Outcome) -> None:
        for connector in state.of(Connectors).walked.values():
            if connector.walk is not None:
                connector.walk.left = b""

    def lost(_: Outcome) -> None:
        connectors = state.of(Connectors).by_index.values()
        for connector in connectors:
            connector.walk, connector.lost = None, True
        _initialised(state, *connectors)

    for status in (PARAMETER_ERROR, CANNOT, NO_CONNECTOR, NO_SYSTEM, BUSY, *EXTENDED_DELAY):
        yield Reply(status, rule=SHAPE, scratch=scratch, effect=refused)
    for status in (CHILD, PROPERTY, SIBLING, PARENT, COMPLETE, MORE_MEMORY):
        yield Reply(status, rule=SHAPE, scratch=scratch, effect=lost)


def _areas(request: Request) -> Footprint:
    """The work area and its extension."""
    return tuple((area, PAGE) for area in request.args[:2] if area)


def _facts(request: Request) -> frozenset[str]:
    address, extent = request.args[:2]
    facts = {"extent"} if extent else set()
    if not in_ram(request.state, address, PAGE):
        return frozenset(facts | {"area-outside-memory"})
    index = int.from_bytes(request.state.memory.read(address, 4), "big")
    connector = request.state.of(Connectors).by_index.get(index)
    if connector is not None:
        facts |= {"logical" if connector.logical else "physical", f"type-{connector.type}"}
    return frozenset(facts)


SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,configure-connector",
        (
            Argument(
                "work_area", Kind.ADDRESS, "a page; its first cell holds the connector's index at first"
            ),
            Argument("memory_extent", Kind.ADDRESS, "another page after status 5, else 0"),
        ),
        (),
        ((2, 1),),
        frozenset(
            {
                *(COMPLETE, SIBLING, CHILD, PROPERTY, PARENT, MORE_MEMORY),
                *(NO_SYSTEM, NO_CONNECTOR, CANNOT),
                *(SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR, BUSY, *EXTENDED_DELAY),
            }
        ),
        "Configures what is plugged and returns its nodes: 2 child, 1 sibling, 3 property, 4 parent, 0 done.",
        "LoPAR 13.5.3.5, 13.6.3, 13.7.4.3",
        (SHAPE, AREA, ISOLATED, NOT_USABLE, PCI_PROPERTIES, *AS_AT_BOOT.values()),
        _configure,
        _facts,
        _areas,
    ),
)

__all__ = ["SERVICES"]
