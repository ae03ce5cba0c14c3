"""set-indicator, get-sensor-state, set-power-level, get-power-level (LoPAR 7.3.5, 7.3.6, 13.5.3).

Indicators and sensors other than those of connectors are few here: an EPOW sensor where the device tree
promises EPOW events, and the tone that a rack server need not have.
"""

from __future__ import annotations

from rig.model.environment import Environment
from rig.model.expectation import Breach, Exactly, ExpectedEvent, OneOf, Permitted, Satisfies
from rig.model.hypercall import Argument, Footprint, Kind, State
from rig.model.rtas.connectors import Connector, Connectors
from rig.model.rtas.hotplug import HOST_ACTIONS
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

SET = "R1-7.3.5.4-1"
STATES = "R1-13.5.3.4-1"
BUSY_UNTIL_DONE = "R1-13.5.3.4-3"
NOT_USABLE = "R1-13.5.3.4-5"
EMPTY_SLOT = "R1-13.6.3-2"
LOGICAL_LIGHT = "R1-13.7.4.2-1"
MULTI_LEVEL = "R1-13.7.4.1.3-1"
UNMAPPED = "R1-13.7.4.1.2-2"
SENSOR = "R1-7.3.5.5-1"
SENSE = "R1-13.5.3.3-2"
EPOW = "R1-10.2.2-1"
SET_POWER = "R1-7.3.6.1-1"
ACTUAL = "R1-7.3.6.1-4"
GET_POWER = "R1-7.3.6.2-1"
SILENT = "LoPAR is silent; -3 by 7.2.7"
NULL = "LoPAR 13.5.3.4: a null transition succeeds"

#: indicators: tone frequency and volume (LoPAR R1-7.3.5.4-3), and those of connectors (R1-13.5.3.4-1)
TONE = (1, 2)
ISOLATION, LIGHT, ALLOCATION = 9001, 9002, 9003
#: sensors
EPOW_SENSOR, ENTITY_SENSE = 9, 9003

MULTI_LEVEL_ISOLATION = -9000
VALID_TRANSLATION = -9001

#: action codes that the sensor may show on a machine that nothing ails: none, or the shutdown asked for
CALM = frozenset({0, 3})
FULL_POWER = 100

IGNORED_UNUSABLE = Breach(
    "drc.unusable-accepted", "an unusable connector takes an indicator's state", NOT_USABLE
)
EMPTY_REFUSED = Breach("drc.empty-slot-refused", "an empty slot cannot be unisolated", EMPTY_SLOT)
NOT_ISOLATED = Breach("drc.unconfigured-kept", "what was not configured yet cannot be isolated", STATES)
MEMORY_KEPT = Breach("drc.memory-kept", "unmapped memory cannot be isolated: -1", UNMAPPED)
BRANCH_ISOLATED = Breach(
    "drc.multi-level", "a connector is isolated above one that is not isolated", MULTI_LEVEL
)

#: QEMU's word that an unplugged device is gone
DELETED = ExpectedEvent("DEVICE_DELETED", required=False)
#: its words that the guest keeps a device whose removal was asked for
KEPT = tuple(
    ExpectedEvent(name, required=False)
    for name in ("DEVICE_UNPLUG_GUEST_ERROR", "MEM_UNPLUG_ERROR", "DEVICE_DELETED")
)

DR_BUSY = (BUSY, *EXTENDED_DELAY)


class Domains:
    """The power levels of the domains that the device tree names (``ibm,drc-power-domains``)."""

    def __init__(self, environment: Environment) -> None:
        self.reset(environment)

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree and powers everything."""
        nodes = (node for _, node in environment.tree.walk())
        self.levels = {
            domain: FULL_POWER for node in nodes for domain in node.cells("ibm,drc-power-domains")[1:]
        }


# ---- indicators ----


def _set(request: Request) -> tuple[Reply, ...]:
    indicator, index, value = request.args[:3]
    if indicator in TONE and index == 0:  # demanded by R1-7.3.5.4-3, optional by R1-2.9-6
        return (Reply(SUCCESS, rule=SET), *refuse(SET))
    connector = request.state.of(Connectors).by_index.get(index)
    if connector is None:
        return refuse(SET)
    if indicator == ISOLATION and value in (0, 1):
        return _unisolate(connector) if value else _isolate(connector, request.state)
    if indicator == ALLOCATION and value in (0, 1) and connector.logical:
        return _allocate(connector) if value else _deallocate(connector, request.state)
    if indicator == LIGHT and connector.logical:
        return refuse(LOGICAL_LIGHT)
    if indicator == LIGHT and value < 4:
        return (Reply(SUCCESS, rule=STATES), *put_off(BUSY_UNTIL_DONE, BUSY))
    return refuse(SILENT)


def _not_usable(*, accepted: bool) -> tuple[Reply, ...]:
    """An unusable connector has no indicators; builds may take a state that it is in anyway."""
    refused = refuse(NOT_USABLE)
    return (*refused, Reply(SUCCESS, breach=IGNORED_UNUSABLE)) if accepted else refused


def _silently(request: Request) -> Footprint:
    """Only the block, unless a device is on its way out, of which QEMU may tell the host."""
    leaving = any(connector.leaving for connector in request.state.of(Connectors).hosted())
    return None if leaving else ()


def _may_go(connector: Connector, state: State) -> None:
    """What the host wanted back may go: QEMU says so for every part of it, when no CPU runs any more."""
    if connector.leaving:
        state.late.add(DELETED.name)


def _isolate(connector: Connector, state: State) -> tuple[Reply, ...]:
    if not connector.usable:
        return _not_usable(accepted=True)
    if connector.isolated:
        return (Reply(SUCCESS, rule=NULL), *refuse(SILENT))
    later = put_off(BUSY_UNTIL_DONE, *DR_BUSY)

    def isolate(_: Outcome) -> None:
        _may_go(connector, state)
        connector.isolate()

    done = Reply(SUCCESS, rule=STATES, events=(DELETED,), effect=isolate)
    foreseen: tuple[Reply, ...] = ()
    if not connector.configured and connector.occupied:
        foreseen += (Reply(PARAMETER_ERROR, breach=NOT_ISOLATED),)
    if any(one.occupied and not one.isolated for one in state.of(Connectors).below(connector)):
        broken = Reply(SUCCESS, breach=BRANCH_ISOLATED, effect=isolate)
        return (Reply(MULTI_LEVEL_ISOLATION, rule=MULTI_LEVEL), broken, *later, *foreseen)
    if connector.type == "CPU" and connector.cold:  # R1-13.7.4.1.1-1: unpredictable while its threads run
        return (done, *refuse(SILENT), Reply(VALID_TRANSLATION, rule=SILENT), *later)
    if connector.type == "MEM" and not connector.leaving:
        foreseen += (Reply(HARDWARE_ERROR, breach=MEMORY_KEPT),)
    return (done, *later, *foreseen)


def _unisolate(connector: Connector) -> tuple[Reply, ...]:
    if not connector.usable:
        return _not_usable(accepted=False)
    later = put_off(BUSY_UNTIL_DONE, *DR_BUSY)

    def unisolate(outcome: Outcome) -> None:
        connector.isolated = False
        # The guest keeps what the host wanted back; QEMU may take that for its answer.
        if connector.logical and any(event.name.endswith("ERROR") for event in outcome.events):
            connector.leaving = False

    if not connector.isolated:
        done = Reply(SUCCESS, rule=NULL, events=KEPT, effect=unisolate)
        return (done, *refuse(SILENT), *later)
    rule = STATES if connector.occupied else EMPTY_SLOT
    done = Reply(SUCCESS, rule=rule, events=KEPT if connector.leaving else (), effect=unisolate)
    if not connector.occupied:
        return (done, *later, Reply(PARAMETER_ERROR, breach=EMPTY_REFUSED))
    return (done, *refuse(SILENT), *later) if connector.leaving else (done, *later)


def _allocate(connector: Connector) -> tuple[Reply, ...]:
    later = put_off(BUSY_UNTIL_DONE, BUSY)
    if connector.usable:
        return (Reply(SUCCESS, rule=NULL), *refuse(SILENT), *later)
    if not connector.occupied:
        return refuse(STATES)

    def allocate(_: Outcome) -> None:
        connector.usable = True

    done = Reply(SUCCESS, rule=STATES, effect=allocate)
    return (done, *refuse(SILENT), *later) if connector.leaving else (done, *later)


def _deallocate(connector: Connector, state: State) -> tuple[Reply, ...]:
    if not connector.usable:
        return _not_usable(accepted=True)
    connectors = state.of(Connectors)
    removed = connector.leaving and connector.type == "CPU"

    def deallocate(_: Outcome) -> None:
        _may_go(connector, state)
        connector.deallocate()
        connectors.cpu_removed = connectors.cpu_removed or removed

    done = Reply(SUCCESS, rule=STATES, events=(DELETED,), effect=deallocate)
    later = put_off(BUSY_UNTIL_DONE, BUSY)
    if connector.isolated and not connector.cold:
        return (done, *later)
    return (*refuse(SILENT), done, *later)  # LoPAR 13.7.3.2 isolates first


# ---- sensors ----


def _sense(request: Request) -> tuple[Reply, ...]:
    sensor, index = request.args[:2]
    if sensor == EPOW_SENSOR and index == 0 and _has_epow(request.state):
        shown = Satisfies(lambda value: value & 0xF in CALM, "action code 0 or 3")
        return (Reply(SUCCESS, (shown,), EPOW),)
    connector = request.state.of(Connectors).by_index.get(index) if sensor == ENTITY_SENSE else None
    if connector is None:
        return refuse(SENSOR)
    return (Reply(SUCCESS, (Exactly(connector.sense),), SENSE), *put_off(SENSOR, *DR_BUSY))


def _has_epow(state: State) -> bool:
    return state.environment.tree.find("/event-sources/epow-events") is not None


# ---- power ----


def _set_power(request: Request) -> tuple[Reply, ...]:
    domain, level = request.args[:2]
    levels = request.state.of(Domains).levels
    if domain not in levels:  # R1-7.3.6.1-2 is the caller's; there is no -3 in the table
        return refuse(SILENT)

    def adopt(_: Outcome) -> None:
        if request.exact:
            levels[domain] = int.from_bytes(request.state.memory.read(request.rets + 4, 4), "big")

    # A domain of logical connectors is always live (LoPAR 13.7.2): it may stay as it is.
    actual: Permitted = Exactly(level) if level == levels[domain] else OneOf((levels[domain], level))
    done = Reply(SUCCESS, (actual,), ACTUAL, effect=adopt)
    later = put_off(SET_POWER, *DR_BUSY)
    return (done, *later) if level in (0, FULL_POWER) else (done, *refuse(SILENT), *later)


def _get_power(request: Request) -> tuple[Reply, ...]:
    level = request.state.of(Domains).levels.get(request.args[0])
    if level is None:
        return refuse(GET_POWER)
    return (Reply(SUCCESS, (Exactly(level),), GET_POWER), *refuse(GET_POWER), *put_off(GET_POWER, BUSY))


def _facts(request: Request) -> frozenset[str]:
    """What a connector is like, and whether the build may be damaged."""
    connectors = request.state.of(Connectors)
    facts = {"cpu-removed"} if connectors.cpu_removed else set()
    connector = connectors.by_index.get(request.args[1])
    if connector is not None:
        facts |= {"logical" if connector.logical else "physical", f"type-{connector.type}"}
    return frozenset(facts)


INDEX = Argument("index", Kind.DRC, "of the connector, as in ibm,drc-indexes")
DOMAIN = Argument("domain", Kind.INDEX, "power domain, as in ibm,drc-power-domains")

SERVICES: tuple[Service, ...] = (
    Service(
        "set-indicator",
        (
            Argument("indicator", Kind.OPERATION, "9001 isolation, 9002 light, 9003 allocation"),
            INDEX,
            Argument("state", Kind.VALUE),
        ),
        (),
        ((3, 1),),
        frozenset(
            {SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR, MULTI_LEVEL_ISOLATION, VALID_TRANSLATION, *DR_BUSY}
        ),
        "Sets an indicator: isolates and unisolates, allocates and frees what is plugged, lights its slot.",
        "LoPAR 7.3.5.4, 13.5.3.4, 13.7.4",
        (SET, STATES, BUSY_UNTIL_DONE, NOT_USABLE, EMPTY_SLOT, LOGICAL_LIGHT, MULTI_LEVEL, UNMAPPED),
        _set,
        _facts,
        _silently,
    ),
    Service(
        "get-sensor-state",
        (Argument("sensor", Kind.OPERATION, "9003 dr-entity-sense, 9 EPOW"), INDEX),
        ("state",),
        ((2, 2),),
        frozenset(
            {SUCCESS, 9, 10, 11, 12, 13, HARDWARE_ERROR, PARAMETER_ERROR, -9000, -9001, -9002, *DR_BUSY}
        ),
        "Reads a sensor: whether a connector is empty, occupied or unusable, or what the power is like.",
        "LoPAR 7.3.5.5, 13.5.3.3",
        (SENSOR, SENSE, "R1-13.5.3.3-4", EPOW),
        _sense,
        _facts,
        only_block,
    ),
    Service(
        "set-power-level",
        (DOMAIN, Argument("level", Kind.VALUE, "100 or 0")),
        ("actual level",),
        ((2, 2),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR, -9000, *DR_BUSY}),
        "Sets the power of a domain and says what it is now.",
        "LoPAR 7.3.6.1, 13.5.3.2",
        (SET_POWER, ACTUAL),
        _set_power,
        buffers=only_block,
    ),
    Service(
        "get-power-level",
        (DOMAIN,),
        ("level",),
        ((1, 2),),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY, PARAMETER_ERROR}),
        "Reads the power of a domain; -3 when it cannot be determined.",
        "LoPAR 7.3.6.2",
        (GET_POWER,),
        _get_power,
        buffers=only_block,
    ),
)

__all__ = ["HOST_ACTIONS", "SERVICES", "Domains"]
