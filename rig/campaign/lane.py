"""RTAS calls in bulk: a judge that lets plain ones pass by their replies alone.

To make all of an expectation takes several times as long as to see that a reply fits.  A call is *plain* when
its parameter block is aligned, alone in its slot and of a shape that the service has, and when it is known
what else the call may touch.  It passes when one of its replies fits to the byte and nothing around it
changed, which is when :class:`~rig.check.judge.Judge` finds nothing either; or with the breach of that reply
and what does not hold between its outputs, as that would have it.  All else is judged by that.

The calls of a chunk do not refer to each other: those that cannot share a batch come after those that can,
and those that are known to end QEMU at the end of the program.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

from rig.campaign.programs import BLOCKS, CHUNK, MOSTLY, STRIDE
from rig.check.compare import preserved
from rig.check.deviations import Match
from rig.check.granules import granules
from rig.check.judge import MAX_BATCH, Judge, Judged, Pending
from rig.check.memory_diff import adopt, differences
from rig.check.violation import Reporter
from rig.machine.machine import Machine
from rig.machine.registers import doubleword
from rig.model.environment import Environment, Region
from rig.model.expectation import Case, Cell, Exactly, Relation
from rig.model.hypercall import H_SUCCESS, Footprint
from rig.model.model import Model
from rig.model.rtas.call import Block, Tokens, described, reach
from rig.model.rtas.families import SERVICES
from rig.model.rtas.service import Reply, Request, Service
from rig.program import H_RTAS, Call, Outcome, Ref, Rtas, Seed, Step
from rig.scenario.errors import BadScenario
from rig.scenario.resolve import BEFORE, MASK32, canary, resolve, resolve_step

#: the slots of a chunk's parameter blocks, each with the canaries before it
SLOTS = Region(BLOCKS - BEFORE, CHUNK * STRIDE)
_CANARIES = canary(SLOTS.start, SLOTS.length)
#: programs refer to what calls wrote into their blocks, not to registers
RETURNED = Outcome()


@dataclass(slots=True)
class Plain(Pending):
    """A plain call; ``slot`` and ``at`` are offsets in :data:`SLOTS`, of its slot and its outputs."""

    service: Service
    block: Block
    request: Request
    footprint: Footprint
    slot: int
    at: int


@dataclass(slots=True)
class Other(Pending):
    """Any other call, and what memory holds for it."""

    seeds: tuple[tuple[int, bytes], ...]


class Lane(Judge):
    """A judge of ``machine`` for the programs of :class:`~rig.campaign.programs.Programs`.

    Calls of chunks that match one of the ``lethal`` are not made but added to ``deferred``.
    """

    machine: Machine

    def __init__(
        self,
        machine: Machine,
        model: Model,
        observe: Callable[[Judged], None] | None = None,
        lethal: Mapping[str, Sequence[Match]] = MappingProxyType({}),
        deferred: list[Rtas] | None = None,
    ) -> None:
        super().__init__(machine, model, observe)
        self._lethal = lethal
        self._deferred = [] if deferred is None else deferred
        self._tree: Environment | None = None
        self._services: dict[object, tuple[int, Service]] = {}
        #: the slots as they are before the calls of the chunk
        self._slots = bytearray()
        self._used: set[int] = set()
        #: whether a call of the chunk has been executed
        self._begun = False
        #: the plain calls of the batch that passed
        self._passed: list[tuple[Plain, Reply]] = []

    def _steps(self, steps: Sequence[Step]) -> list[Outcome]:
        outcomes = [Outcome()] * len(steps)
        waiting = self._prepare(steps, outcomes)
        if waiting is None:
            return super()._steps(steps)
        alone: list[Plain | Other] = []
        while waiting and self.result.reusable:
            later: list[Plain | Other] = []
            for pending in waiting:
                touched = self._touch(pending)
                if touched is None:
                    alone.append(pending)
                elif touched.isdisjoint(self._touched) and len(self._batch) < MAX_BATCH:
                    self._touched |= touched
                    self._join(pending)
                else:
                    later.append(pending)
            self._flush()
            waiting = later
        for pending in alone:
            if self.result.reusable:
                self._touch(pending)
                self._join(pending)
                self._flush()
        return outcomes

    # ---- the calls of a chunk ------------------------------------------------------------------------------

    def _prepare(self, steps: Sequence[Step], outcomes: list[Outcome]) -> list[Plain | Other] | None:
        """The calls of a chunk, their parameter blocks in place; ``None`` when it is none of a program's."""
        environment = self.model.state.environment
        if self._tree is not environment:
            self._meet(environment)
        if len(steps) < 2 or not self._room(environment):
            return None
        self._slots[:] = _CANARIES
        self._used.clear()
        self._begun = False
        found: list[Plain | Other] = []
        deferred: list[Rtas] = []
        postponed = bool(self._deferred) and steps[0] is self._deferred[0]  # their time has come
        try:
            for position, step in enumerate(steps):
                if not isinstance(step, (Call, Rtas)) or step.cpu or step.problem or step.timeout is not None:
                    return None
                if not postponed and isinstance(step, Rtas) and self._deadly(step):
                    deferred.append(step)
                    continue
                pending = self._plain(step, outcomes, position) if isinstance(step, Rtas) else None
                found.append(pending or self._other(step, outcomes, position))
        except BadScenario:  # a reference to another call of the chunk, or to none at all
            return None
        self._put(SLOTS.start, bytes(self._slots))
        self._deferred += deferred
        return found

    def _deadly(self, step: Rtas) -> bool:
        """Whether it is known that such calls end QEMU; one that others refer to is not left out."""
        if step.service not in self._lethal or step.name:
            return False
        name = str(step.service)
        service, args = SERVICES[name], self._cells(step)
        if len(args) not in {nargs for nargs, _ in service.shapes}:
            return False
        block = Block(BLOCKS, self.model.state.environment.tokens.get(name, 0), len(args), 0)
        request = Request(args, block.nargs, block.nret, block.rets, self.model.state, exact=False)
        call = described(service, block, request)
        return any(match.foresees(call.facts, call.arguments) for match in self._lethal[name])

    def _cells(self, step: Rtas) -> tuple[int, ...]:
        """The arguments; raises :class:`BadScenario` for a reference to a call that was not made."""
        names, environment = self.names, self.model.state.environment
        return tuple(
            [
                (resolve(arg, names, environment) if isinstance(arg, Ref) else arg) & MASK32
                for arg in step.args
            ]
        )

    def _meet(self, environment: Environment) -> None:
        """The machine was started or reset: look up its services, and make the pages of the buffers."""
        self._tree = environment
        names = self.model.state.of(Tokens).names
        self._services = {
            name: (token, service)
            for name, token in environment.tokens.items()
            if (service := SERVICES.get(name)) and names[token] == name and service.buffers
        }
        if environment.is_ram(MOSTLY.start, MOSTLY.length):
            # At once: RAM is compared by runs of pages, and this is one.
            self._put(MOSTLY.start, self.machine.memory.read(MOSTLY.start, MOSTLY.length))

    def _room(self, environment: Environment) -> bool:
        """Whether the slots are memory that nobody else uses."""
        taken = (environment.fdt, *self.names.seeded)
        return environment.is_ram(SLOTS.start, SLOTS.length) and not any(
            region.overlaps(SLOTS.start, SLOTS.length) for region in taken
        )

    def _plain(self, step: Rtas, outcomes: list[Outcome], position: int) -> Plain | None:
        """A plain call, its parameter block put into its slot."""
        token, service = self._services.get(step.service, (0, None))
        nargs, nret, block = len(step.args), step.nret, step.block
        if service is None or (nargs, nret) not in service.shapes or not isinstance(nret, int):
            return None
        if step.nargs is not None or step.address is not None or not isinstance(block, int):
            return None
        slot = block - BLOCKS
        if slot % STRIDE or not 0 <= slot < SLOTS.length or slot in self._used:
            return None
        args = self._cells(step)
        self._used.add(slot)
        _cells(3 + nargs).pack_into(self._slots, slot + BEFORE, token, nargs, nret, *args)
        held = Block(block, token, nargs, nret)
        request = Request(args, nargs, nret, held.rets, self.model.state)
        call = Call(H_RTAS, (block,), step.name)
        touched = reach(service, held, request)
        at = held.rets - SLOTS.start
        return Plain(0, step, call, outcomes, position, service, held, request, touched, slot, at)

    def _other(self, step: Call | Rtas, outcomes: list[Outcome], position: int) -> Other:
        *seeds, call = resolve_step(step, self.names, self.model.state.environment)
        assert isinstance(call, Call)
        own = tuple(
            (seed.address, seed.data)
            for seed in seeds
            if isinstance(seed, Seed) and isinstance(seed.address, int)
        )
        return Other(0, step, call, outcomes, position, own)

    def _touch(self, pending: Plain | Other) -> set[int] | None:
        """The granules that a call touches; ``None`` when it must run alone."""
        if isinstance(pending, Plain):
            return granules(pending.footprint)
        own = granules([(address, len(data)) for address, data in pending.seeds])
        if own is None or not own.isdisjoint(self._touched):
            return own
        for address, data in pending.seeds:
            self._put(address, data)
        return granules(self.model.footprint(pending.call))

    def _join(self, pending: Plain | Other) -> None:
        """Put a call into the batch."""
        if isinstance(pending, Plain) and self._begun:  # an earlier one may have written here
            block = pending.block
            at = pending.slot + BEFORE
            self._put(block.address, bytes(self._slots[at : at + block.length]))
        self.result.executed.append(pending.step)
        pending.index = self._index
        self._batch.append(pending)

    # ---- what became of a batch ----------------------------------------------------------------------------

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        self._touched = set()
        if not batch or not self.result.reusable:
            return
        self._begun = True
        outcomes = self.machine.batch([pending.call for pending in batch])
        self._comparison.observed.forget()
        slots, passes = b"", [False]
        if len(batch) > 1:
            slots = self.machine.memory.read(SLOTS.start, SLOTS.length)
            succeeded = outcomes.rows[:, doubleword("r3")] == H_SUCCESS
            passes = (succeeded & ~outcomes.disturbed(preserved(outcomes.endian))).tolist()
        self.model.state.caller = 0
        judged: list[Judged] = []
        settled = 0
        for position, pending in enumerate(batch[: len(outcomes)]):
            if settled < len(judged):
                self._settle(judged[settled:])
                settled = len(judged)
            # What else happened in the batch is with the last of them.
            if isinstance(pending, Plain) and position + 1 < len(outcomes) and passes[position]:
                outcome = partial(outcomes.brief, position)
                if (reply := self._reply(pending, slots, outcome)) is not None:
                    judged += self._pass(pending, reply, slots, outcome)
                    continue
            if isinstance(pending, Plain) and pending.step.name:
                block = pending.block
                self.names.pending.setdefault(pending.step.name, []).append((block.rets, block.nret))
            judged.append(self._judge(pending, outcomes[position]))
        self.result.calls += len(outcomes)
        self._conclude(judged)
        for plain, reply in self._passed:
            self.result.returns[plain.service.name, reply.status] += 1
        self._passed.clear()

    def _reply(self, plain: Plain, slots: bytes, outcome: Callable[[], Outcome]) -> Reply | None:
        """The reply that the judge would choose, when it fits to the byte and nothing around it changed."""
        at, end = plain.at, plain.slot + STRIDE
        nret = plain.block.nret
        after = at + 4 * nret
        if (
            slots[plain.slot : at] != self._slots[plain.slot : at]
            or slots[after:end] != self._slots[after:end]
        ):
            return None
        status, *outputs = _cells(nret).unpack_from(slots, at)
        best: Reply | None = None
        least = (sys.maxsize, False)
        for reply in plain.service.replies(plain.request):
            if reply.status & MASK32 != status or reply.ending != "returned":
                continue
            if reply.events or reply.console:
                return None
            if not self._fits(reply, outputs):
                continue
            left = at + 4 * (1 + len(reply.outputs))
            if not reply.status and slots[left:after] != self._slots[left:after]:
                return None
            misfit = (len(self._broken(reply, outcome)), reply.breach is not None)
            if misfit < least:
                best, least = reply, misfit
            if not any(misfit):
                break
        return best

    def _broken(self, reply: Reply, outcome: Callable[[], Outcome]) -> list[tuple[Relation, str]]:
        """The relations that do not hold, and why."""
        if not reply.relations:
            return []
        observed = self._comparison.observed
        held = ((relation, relation.holds(outcome(), observed)) for relation in reply.relations)
        return [(relation, wrong) for relation, wrong in held if wrong is not None]

    def _fits(self, reply: Reply, outputs: Sequence[int]) -> bool:
        """Whether outputs and buffers are what the reply says."""
        observed = self._comparison.observed
        for permitted, value in zip(reply.outputs, outputs, strict=False):
            if not permitted.permits(value):
                return False
        for cell in reply.cells:
            if not cell.permitted.permits(int.from_bytes(observed.read(cell.address, cell.width), "big")):
                return False
        return not reply.writes or all(
            observed.read(write.address, len(write.data)) == write.data for write in reply.writes
        )

    def _pass(self, plain: Plain, reply: Reply, slots: bytes, outcome: Callable[[], Outcome]) -> list[Judged]:
        """Let the model go where a reply leads; the step with what is wrong with it, if anything is."""
        judged: list[Judged] = []
        broken = self._broken(reply, outcome)
        if reply.breach is None and not broken:
            self._passed.append((plain, reply))
        else:
            judged.append(_described(plain, reply, outcome(), broken))
        memory, observed, block = self.model.memory, self._comparison.observed, plain.block
        at = plain.at
        memory.write(at + SLOTS.start, slots[at : at + 4 * block.nret])
        for write in reply.writes:
            memory.write(write.address, write.data)
        for scratch in reply.scratch:
            adopt(memory, observed, scratch.address, scratch.address + scratch.length)
        for cell in reply.cells:
            memory.write(cell.address, observed.read(cell.address, cell.width))
        if reply.effect is not None:
            reply.effect(outcome())
        if plain.step.name:
            self.names.outcomes[plain.step.name] = RETURNED
            self.names.rets[plain.step.name] = _cells(block.nret).unpack_from(slots, at)
        return judged

    def _sweep(self, judged: list[Judged]) -> None:
        comparison = self._comparison
        if next(differences(comparison.model, comparison.observed, comparison.ignored), None) is None:
            return
        # Any of them may have written it.
        passed = [_described(plain, reply, judged[-1].outcome) for plain, reply in self._passed]
        self._passed.clear()
        judged[:-1] = sorted([*judged[:-1], *passed], key=lambda one: one.index)
        super()._sweep(judged)


@cache
def _cells(count: int) -> struct.Struct:
    return struct.Struct(f">{count}I")


def _described(
    plain: Plain, reply: Reply, outcome: Outcome, broken: Sequence[tuple[Relation, str]] = ()
) -> Judged:
    """A call that passed, as the judge would have it, with the breach of its reply and what does not hold."""
    expectation = described(plain.service, plain.block, plain.request)
    status = Cell(plain.block.rets, 4, Exactly(reply.status & MASK32), "status")
    report = Reporter(expectation, plain.index)
    if reply.breach:
        report.add(reply.breach.check, reply.breach.text, rule=reply.breach.rule)
    for relation, wrong in broken:
        report.add(relation.check, wrong, rule=relation.rule)
    case = Case(f"status {reply.status}", cells=(status,), breach=reply.breach)
    return Judged(plain.index, plain.call, outcome, expectation, case, report.violations)


__all__ = ["Lane"]
