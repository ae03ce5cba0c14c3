"""Programs of RTAS calls, hypercalls and host actions, generated from the model's descriptions of them.

Seed and number fix a program for a machine with a given device tree.  A program is made of *chunks*: a value
that an earlier call returned is only used in a later chunk, so that the calls of a chunk can share a batch.
What cannot share one is left for the end of its chunk.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from rig.campaign.host import Part, Places
from rig.campaign.kinds import ADDRESSES, BUFFER, POOL, Vocabulary, edge
from rig.check.granules import MAX_FOOTPRINT
from rig.frozen import frozen
from rig.model.dispatch import Registry
from rig.model.environment import Environment, Region
from rig.model.hypercall import Argument, Hypercall, Kind
from rig.model.rtas.families import SERVICES
from rig.model.rtas.service import Service
from rig.model.update_dt import H_UPDATE_DT
from rig.model.vof import H_VOF_CLIENT
from rig.program import H_RTAS, Call, Host, Ref, Rtas, Seed, Step, Value

if TYPE_CHECKING:
    from _typeshed import SupportsLenAndGetItem

#: calls of one chunk at most
CHUNK = 1920
#: parameter blocks stand this far apart: block, and canaries around it
STRIDE = 0x200
BLOCKS = 0x0090_0000
#: memory that the calls of a program share
SHARED = 0x00F0_0000
#: buffers of their own for the calls of a chunk, each with room behind it for calls that go on past its end
BUFFERS = 0x0100_0000
APART = 2 * BUFFER
#: work areas of ibm,configure-connector, whose calls go on from where those of earlier chunks came
WALKS = 0x00F1_0000
AREAS = 16
#: the indicator of set-indicator by which a connector is isolated
ISOLATION = 9001
#: bytes that a call may touch for each unit of such an argument
EXTENTS = {Kind.LENGTH: 1, Kind.COUNT: 8}
#: as far as most chunks need them
MOSTLY = Region(BUFFERS, CHUNK // 6 * APART)

#: services after which the machine stands still or is reset, wherever they come: only a program's last call
FINAL = frozenset({"power-off", "system-reboot", "ibm,os-term", "ibm,suspend-me", "stop-self"})
#: services that may leave QEMU in a state in which a later call ends it: a chunk of their own
FRAGILE = frozenset({"ibm,create-pe-dma-window"})
#: services that keep no state: only these leave the model certain where their status cannot be seen
STATELESS = frozenset(
    {
        "get-time-of-day",
        "ibm,configure-pe",
        "ibm,get-config-addr-info2",
        "ibm,get-xive",
        "ibm,read-pci-config",
        "ibm,read-slot-reset-state2",
        "ibm,set-eeh-option",
        "ibm,set-slot-reset",
        "ibm,slot-error-detail",
        "query-cpu-stopped-state",
        "quiesce",
        "read-pci-config",
    }
)
#: hypercalls that cannot share a batch
SOLE = frozenset({H_UPDATE_DT, H_VOF_CLIENT})
#: outputs that are worth passing on, by their names in the description
RETURNED = {
    "liobn": Kind.LIOBN,
    "interrupt": Kind.INTERRUPT,
    "sequence": Kind.VALUE,
    "server": Kind.CPU,
    "config_addr": Kind.CONFIG_ADDRESS,
    "level": Kind.VALUE,
}


@frozen
class Shares:
    """How often a program has what; ``alone`` is the share of calls that cannot share a batch.

    ``shared`` is the share of addresses in memory that calls have in common.
    """

    alone: float = 0.0003
    hypercalls: float = 0.035
    odd_shape: float = 0.01
    odd_block: float = 0.0015
    unknown: float = 0.0035
    returned: float = 0.3
    shared: float = 0.002
    host: float = 0.0004
    final: float = 0.5


#: what a campaign has unless told otherwise
USUAL = Shares()


T = TypeVar("T")


class _Random(random.Random):
    """With a choice in half the time, as even as a float is fine."""

    def choice(self, seq: SupportsLenAndGetItem[T]) -> T:
        return seq[int(self.random() * len(seq))]


@dataclass(slots=True)
class _Making:
    """One program under way."""

    rng: random.Random
    host: Part
    #: by kind, references to what calls of earlier chunks return, and connectors that the host plugged into
    known: dict[Kind, list[Value]] = field(default_factory=dict)
    fresh: list[tuple[Kind, Ref]] = field(default_factory=list)
    count: int = 0
    #: buffers that calls of the chunk have, and work areas
    buffers: int = 0
    areas: int = 0
    #: the first cells of work areas that are new
    seeds: list[Seed] = field(default_factory=list)
    #: work areas that an earlier chunk used, and for which connector
    walked: dict[int, int] = field(default_factory=dict)
    #: connectors to isolate (0) or not (1), which makes their entities ready to be configured
    isolations: list[tuple[int, int]] = field(default_factory=list)


class Programs:
    """Generates the programs of one campaign for machines like the one that has ``environment``.

    ``only`` limits the RTAS services by name; all those that the machine lists otherwise.
    """

    def __init__(
        self,
        environment: Environment,
        registry: Registry,
        seed: int,
        shares: Shares = USUAL,
        only: frozenset[str] = frozenset(),
    ) -> None:
        self._seed = seed
        self._shares = shares
        self._vocabulary = Vocabulary.of(environment)
        self._places = Places.of(environment)
        listed = [SERVICES[name] for name in sorted(environment.tokens) if name in SERVICES]
        listed = [service for service in listed if not only or service.name in only]
        self._tokens = frozenset(environment.tokens.values())
        self._ram_end = environment.ram[-1].end
        self._final = [service for service in listed if service.name in FINAL]
        self._returned = {
            service.name: [
                (index, RETURNED[name]) for index, name in enumerate(service.results, 1) if name in RETURNED
            ]
            for service in listed
        }
        named = {service.name for service in listed}
        #: connectors of what is there, if they can be made ready
        self._present = [
            index
            for _, node in environment.tree.walk()
            for index in node.cells("ibm,my-drc-index")
            if {"set-indicator", "ibm,configure-connector"} <= named
        ]
        usual = [service for service in listed if service.name not in FINAL]
        alone = [one for one in usual if one.buffers is None or one.name in FRAGILE]
        self._services = [one for one in usual if one not in alone] or alone
        self._hypercalls = [] if only else [one for one in registry if one.opcode not in SOLE | {H_RTAS}]
        #: what cannot share a batch
        self._alone: list[Service | Hypercall] = [
            *alone,
            *(() if only else (one for one in registry if one.opcode in SOLE)),
        ]

    def chunks(self, number: int, calls: int, deferred: Iterable[Step] = ()) -> Iterator[tuple[Step, ...]]:
        """Program ``number``, cut to ``calls`` calls; ``deferred`` ones come before that which ends it."""
        rng = _Random(f"{self._seed}/{number}")
        making = _Making(rng, Part.of(rng, self._places))
        yield (Seed(SHARED, making.rng.randbytes(POOL)),)
        ends = bool(self._final) and making.rng.random() < self._shares.final
        rest = calls - ends
        while making.count < rest:
            making.buffers = making.areas = 0
            together: list[Step] = []
            alone: list[Step] = []
            for slot in range(min(CHUNK, rest - making.count)):
                if making.rng.random() < self._shares.alone + self._shares.host:
                    alone.append(self._apart(making, slot))
                else:
                    together.append(self._step(making, slot))
                making.count += 1
            if making.seeds:
                yield tuple(making.seeds)
                making.seeds.clear()
            yield tuple(together)
            yield from ((step,) for step in alone)
            for kind, reference in making.fresh:
                making.known.setdefault(kind, []).append(reference)
            making.fresh.clear()
        if last := tuple(deferred):
            yield last
        if ends:
            yield (self._rtas(making, making.rng.choice(self._final), 0),)

    def _step(self, making: _Making, slot: int) -> Step:
        """A call that can share a batch."""
        rng, shares = making.rng, self._shares
        if making.isolations:
            args = (ISOLATION, *making.isolations.pop(0))
            return Rtas("set-indicator", args, block=BLOCKS + slot * STRIDE)
        roll = rng.random()
        if self._hypercalls and roll < shares.hypercalls:
            return self._hypercall(making, rng.choice(self._hypercalls))
        if roll < shares.hypercalls + shares.unknown:
            return self._unknown(making, slot)
        return self._rtas(making, rng.choice(self._services), slot)

    def _apart(self, making: _Making, slot: int) -> Step:
        """What cannot share a batch."""
        rng, shares = making.rng, self._shares
        if not self._alone or rng.random() * (shares.alone + shares.host) < shares.host:
            return self._act(making)
        chosen = rng.choice(self._alone)
        if isinstance(chosen, Hypercall):
            return self._hypercall(making, chosen)
        return self._rtas(making, chosen, slot)

    def _act(self, making: _Making) -> Host:
        """The host's next action; what it plugs is of interest from then on."""
        action = making.host.act()
        making.known[Kind.DRC] = [*making.host.indexes]
        return action

    def _rtas(self, making: _Making, service: Service, slot: int) -> Rtas:
        rng = making.rng
        shapes = service.shapes
        nargs, nret = shapes[0] if len(shapes) == 1 or rng.random() < 0.9 else rng.choice(shapes)
        if service.name == "ibm,configure-connector" and making.areas < AREAS and rng.random() < 0.5:
            args = self._walk(making)
        else:
            args = self._arguments(making, service.arguments[:nargs], 32)
        block = BLOCKS + slot * STRIDE
        announced: int | None = None
        stateless = service.name in STATELESS
        roll = rng.random()
        if roll < self._shares.odd_block:
            ends = (self._ram_end - 12, self._ram_end - 4 * (3 + nargs)) if stateless else ()
            block = rng.choice((*ends, block + 4, block + 1))
        elif roll < self._shares.odd_block + self._shares.odd_shape:
            if rng.random() < 0.5:
                # More than any block holds must run alone.
                far = (0x4000_0000, 0xFFFF_FFFF) if rng.random() < 0.03 else (16,)
                some = far if stateless and rng.random() < 0.5 else (0, nargs - 1, nargs + 1)
                announced = rng.choice([one for one in some if 0 <= one != nargs])
            else:
                nret = rng.choice([one for one in (0, nret - 1, nret + 1, 16) if one or stateless])
        name = ""
        for index, kind in self._returned[service.name]:
            if index < nret and announced is None and block + STRIDE < self._ram_end:
                name = f"call{making.count}"
                making.fresh.append((kind, Ref(f"${name}.rets[{index}]")))
        return Rtas(service.name, args, nret, announced, block, name=name)

    def _unknown(self, making: _Making, slot: int) -> Rtas:
        rng = making.rng
        token = edge(rng, 32)
        while token in self._tokens:
            token = edge(rng, 32)
        args = tuple(edge(rng, 32) for _ in range(rng.randrange(4)))
        return Rtas(token, args, rng.randrange(4), block=BLOCKS + slot * STRIDE)

    def _hypercall(self, making: _Making, hypercall: Hypercall) -> Call:
        return Call(hypercall.opcode, self._arguments(making, hypercall.arguments, 64))

    def _arguments(self, making: _Making, arguments: Sequence[Argument], bits: int) -> tuple[Value, ...]:
        rng, draw = making.rng, self._vocabulary.draw
        own: tuple[int, ...] = ()
        values: list[Value] = []
        for argument in arguments:
            kind = argument.kind
            if not own and kind in ADDRESSES:
                own = self._own(making)
            known = making.known.get(kind)
            if known and rng.random() < self._shares.returned:
                values.append(rng.choice(known[-8:]))
                continue
            value = draw(rng, kind, bits, own)
            if own and kind in EXTENTS and BUFFER < value * EXTENTS[kind] <= MAX_FOOTPRINT:
                # The buffers of later calls lie behind what this one may touch.
                making.buffers += value * EXTENTS[kind] // APART + 1
            values.append(value)
        return tuple(values)

    def _walk(self, making: _Making) -> tuple[Value, ...]:
        """A work area as an earlier chunk left it, or a new one for some connector; no further memory.

        Nobody says what comes of two walks of one connector at once.
        """
        rng, walked = making.rng, making.walked
        area = WALKS + making.areas * BUFFER
        making.areas += 1
        if area not in walked or rng.random() < 0.05:
            walked.pop(area, None)
            free = [one for one in (*self._present, *making.host.indexes) if one not in walked.values()]
            if free and rng.random() < 0.8:
                connector = rng.choice(free)
                making.isolations += [(connector, 0), (connector, 1)]
            else:
                connector = self._vocabulary.draw(rng, Kind.DRC, 32, ())
                while connector in walked.values():
                    connector = edge(rng, 32)
            walked[area] = connector
            making.seeds.append(Seed(area, cells=(connector, 0)))
        return (area, 0)

    def _own(self, making: _Making) -> tuple[int, ...]:
        """Addresses for a call: mostly its own buffer, now and then memory that others use too."""
        if making.rng.random() < self._shares.shared:
            return (SHARED + making.rng.randrange(POOL) & ~7,)
        making.buffers += 1
        return (BUFFERS + (making.buffers - 1) * APART,)


__all__ = ["USUAL", "Programs", "Shares"]
