"""Make the calls of a chunk ready to run: parameter blocks in their slots, and what each call touches."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from rig.campaign.programs import BLOCKS, MOSTLY, STRIDE
from rig.campaign.slots import SLOTS
from rig.check.deviations import Match
from rig.check.granules import GRANULE, granules
from rig.check.judge import Pending, Subject
from rig.frozen import frozen
from rig.model.environment import Environment
from rig.model.model import Model
from rig.model.rtas.call import HEADER, Block, Tokens, reach, shown
from rig.model.rtas.families import SERVICES
from rig.model.rtas.service import Request, Service, only_block
from rig.program import H_RTAS, Call, Outcome, Ref, Rtas, Seed, Step
from rig.scenario.errors import BadScenario
from rig.scenario.resolve import BEFORE, MASK32, Names, canary, resolve, resolve_step

_CANARIES = canary(SLOTS.start, SLOTS.length)

#: lets machine and model hold bytes at an address
Put = Callable[[int, bytes], None]


@frozen
class Shape:
    """A service as it is called with so many arguments and outputs."""

    service: Service
    token: int
    nargs: int
    nret: int
    #: token, nargs, nret and arguments; the outputs
    inputs: struct.Struct
    outputs: struct.Struct
    #: whether a call touches nothing but one granule, that of its block
    alone: bool

    @classmethod
    def of(cls, service: Service, token: int, nargs: int, nret: int) -> Shape:
        """For a service that the machine lists."""
        length = HEADER + 4 * (nargs + max(nret, 1 + len(service.results)))
        inputs, outputs = (struct.Struct(f">{count}I") for count in (3 + nargs, nret))
        alone = service.buffers is only_block and length <= GRANULE
        return cls(service, token, nargs, nret, inputs, outputs, alone)

    def block(self, address: int) -> Block:
        """The parameter block of a call."""
        return Block(address, self.token, self.nargs, self.nret)


@dataclass(slots=True)
class Plain(Pending):
    """A plain call; ``slot`` and ``at`` are offsets in :data:`SLOTS`, of its slot and its outputs."""

    shape: Shape
    request: Request
    #: the granules that it touches; ``None`` when it must run alone
    touched: set[int] | None
    slot: int
    at: int

    @property
    def block(self) -> Block:
        """Its parameter block."""
        return self.shape.block(SLOTS.start + self.slot + BEFORE)


@dataclass(slots=True)
class Other(Pending):
    """Any other call, and what memory holds for it."""

    seeds: tuple[tuple[int, bytes], ...]


class Preparation:
    """Makes calls ready for ``machine`` and its ``model``.

    ``names`` are what earlier calls returned, and ``put`` lets both hold bytes.  Calls that match one of the
    ``lethal`` are not made ready but added to ``deferred``.
    """

    def __init__(
        self,
        machine: Subject,
        model: Model,
        names: Names,
        put: Put,
        lethal: Mapping[str, Sequence[Match]],
        deferred: list[Rtas],
    ) -> None:
        self._machine, self._model, self._names, self._put = machine, model, names, put
        self._lethal, self._deferred = lethal, deferred
        self._tree: Environment | None = None
        self._shapes: dict[tuple[object, int, object], Shape] = {}
        #: the slots as they are before the calls of the chunk
        self._slots = bytearray()
        self._used: set[int] = set()

    def chunk(self, steps: Sequence[Step], outcomes: list[Outcome]) -> list[Plain | Other] | None:
        """The calls of a chunk, whose outcomes go to ``outcomes``; ``None`` when it is not a program's."""
        environment = self._model.state.environment
        if self._tree is not environment:
            self._meet(environment)
        if len(steps) < 2 or not self._room(environment):
            return None
        self._slots[:] = _CANARIES
        self._used.clear()
        found: list[Plain | Other] = []
        deferred: list[Rtas] = []
        postponed = bool(self._deferred) and steps[0] is self._deferred[0]  # their time has come
        try:
            for position, step in enumerate(steps):
                if not isinstance(step, (Call, Rtas)) or step.cpu or step.problem or step.timeout is not None:
                    return None
                if isinstance(step, Rtas):
                    if not postponed and step.service in self._lethal and self._deadly(step):
                        deferred.append(step)
                        continue
                    if (plain := self._plain(step, outcomes, position)) is not None:
                        found.append(plain)
                        continue
                found.append(self._other(step, outcomes, position))
        except BadScenario:  # a reference to another call of the chunk, or to none at all
            return None
        self._put(SLOTS.start, bytes(self._slots))
        self._deferred += deferred
        return found

    def renew(self, plain: Plain) -> None:
        """Put the block of a call into its slot once more."""
        block, at = plain.block, plain.slot + BEFORE
        self._put(block.address, bytes(self._slots[at : at + block.length]))

    def _deadly(self, step: Rtas) -> bool:
        """Whether it is known that such calls end QEMU; one that others refer to is not left out."""
        if step.name:
            return False
        name = str(step.service)
        service, args = SERVICES[name], self._cells(step)
        if all(len(args) != nargs for nargs, _ in service.shapes):
            return False
        block = Block(BLOCKS, self._model.state.environment.tokens.get(name, 0), len(args), 0)
        arguments = shown(service, block, args)
        matches = [match for match in self._lethal[name] if match.reaches(arguments)]
        if not matches:
            return False
        request = Request(args, block.nargs, block.nret, block.rets, self._model.state, exact=False)
        facts = service.facts(request) if service.facts else frozenset[str]()
        return any(match.foresees(facts, arguments) for match in matches)

    def _cells(self, step: Rtas) -> tuple[int, ...]:
        """The arguments; raises :class:`BadScenario` for a reference to a call that was not made."""
        names, environment = self._names, self._model.state.environment
        return tuple(
            [
                (resolve(arg, names, environment) if isinstance(arg, Ref) else arg) & MASK32
                for arg in step.args
            ]
        )

    def _meet(self, environment: Environment) -> None:
        """The machine was started or reset: look up its services, and make the pages of the buffers."""
        self._tree = environment
        names = self._model.state.of(Tokens).names
        self._shapes = {
            (name, nargs, nret): Shape.of(service, token, nargs, nret)
            for name, token in environment.tokens.items()
            if (service := SERVICES.get(name)) and names[token] == name and service.buffers
            for nargs, nret in service.shapes
        }
        if environment.is_ram(MOSTLY.start, MOSTLY.length):
            # At once: RAM is compared by runs of pages, and this is one.
            self._put(MOSTLY.start, self._machine.memory.read(MOSTLY.start, MOSTLY.length))

    def _room(self, environment: Environment) -> bool:
        """Whether the slots are memory that nobody else uses."""
        taken = (environment.fdt, *self._names.seeded)
        return environment.is_ram(SLOTS.start, SLOTS.length) and not any(
            region.overlaps(SLOTS.start, SLOTS.length) for region in taken
        )

    def _plain(self, step: Rtas, outcomes: list[Outcome], position: int) -> Plain | None:
        """A plain call, its parameter block put into its slot."""
        block = step.block
        shape = self._shapes.get((step.service, len(step.args), step.nret))
        if shape is None or step.nargs is not None or step.address is not None or not isinstance(block, int):
            return None
        slot = block - BLOCKS
        if slot % STRIDE or not 0 <= slot < SLOTS.length or slot in self._used:
            return None
        self._used.add(slot)
        nargs, nret = shape.nargs, shape.nret
        put = shape.inputs.pack_into
        args: Any = step.args  # numbers, when they can be packed
        try:
            put(self._slots, slot + BEFORE, shape.token, nargs, nret, *args)
        except struct.error:  # a reference, or more than 32 bits
            args = self._cells(step)
            put(self._slots, slot + BEFORE, shape.token, nargs, nret, *args)
        rets = block + HEADER + 4 * nargs
        request = Request(args, nargs, nret, rets, self._model.state)
        touched: set[int] | None
        if shape.alone:
            touched = {block // GRANULE}
        else:
            touched = granules(reach(shape.service, shape.block(block), request))
        call = Call(H_RTAS, (block,), step.name) if step.name else _hypercall(block)
        return Plain(0, step, call, outcomes, position, shape, request, touched, slot, rets - SLOTS.start)

    def _other(self, step: Call | Rtas, outcomes: list[Outcome], position: int) -> Other:
        *seeds, call = resolve_step(step, self._names, self._model.state.environment)
        assert isinstance(call, Call)
        own = tuple(
            (seed.address, seed.data)
            for seed in seeds
            if isinstance(seed, Seed) and isinstance(seed.address, int)
        )
        return Other(0, step, call, outcomes, position, own)


@cache
def _hypercall(block: int) -> Call:
    return Call(H_RTAS, (block,))


__all__ = ["Other", "Plain", "Preparation"]
