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

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from rig.campaign.preparation import Other, Plain, Preparation
from rig.campaign.programs import STRIDE
from rig.campaign.slots import SLOTS, Slots
from rig.check.compare import preserved
from rig.check.deviations import Deviation, Match
from rig.check.granules import granules
from rig.check.judge import MAX_BATCH, Judge, Judged, Pending
from rig.check.memory_diff import adopt, differences
from rig.check.violation import Reporter
from rig.machine.batch import Outcomes
from rig.machine.machine import Machine
from rig.machine.registers import doubleword
from rig.model.expectation import Case, Cell, Exactly, Relation
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model
from rig.model.rtas.call import described
from rig.model.rtas.service import Reply
from rig.program import Outcome, Rtas, Step
from rig.scenario.resolve import MASK32

#: what of a reply does not hold, and why
Broken = Sequence[tuple[Relation, str]]

#: programs refer to what calls wrote into their blocks, and so do effects, not to registers
RETURNED = Outcome()


class Lane(Judge):
    """A judge of ``machine`` for the programs of :class:`~rig.campaign.programs.Programs`.

    Calls of chunks that match one of the ``lethal`` are not made but added to ``deferred``.  A violation
    whose call and check are ``expected`` is no step's but counted in ``met``, by the deviation's id.
    """

    machine: Machine

    def __init__(
        self,
        machine: Machine,
        model: Model,
        observe: Callable[[Judged], None] | None = None,
        lethal: Mapping[str, Sequence[Match]] = MappingProxyType({}),
        deferred: list[Rtas] | None = None,
        expected: Mapping[tuple[str, str], Deviation] = MappingProxyType({}),
        met: Counter[str] | None = None,
    ) -> None:
        super().__init__(machine, model, observe)
        self._expected = expected
        self._met = Counter() if met is None else met
        self._preparation = Preparation(
            machine, model, self.names, self._put, lethal, [] if deferred is None else deferred
        )
        #: whether a call of the chunk has been executed
        self._begun = False
        #: the plain calls of the batch that passed, with what is expected of them
        self._passed: list[tuple[Plain, Reply, Broken]] = []
        #: what an effect may look at besides memory
        self._timed = RETURNED

    def _steps(self, steps: Sequence[Step]) -> list[Outcome]:
        outcomes = [Outcome()] * len(steps)
        waiting = self._preparation.chunk(steps, outcomes)
        if waiting is None:
            return super()._steps(steps)
        self._begun = False
        alone: list[Plain | Other] = []
        while waiting and self.result.reusable:
            later: list[Plain | Other] = []
            batch, taken = self._batch, self._touched
            for pending in waiting:
                touched = pending.touched if isinstance(pending, Plain) else self._reach(pending)
                if touched is None:
                    alone.append(pending)
                elif len(batch) < MAX_BATCH and touched.isdisjoint(taken):
                    taken |= touched
                    self._join(pending)
                else:
                    later.append(pending)
            self._flush()
            waiting = later
        for pending in alone:
            if self.result.reusable:
                if isinstance(pending, Other):
                    self._reach(pending)
                self._join(pending)
                self._flush()
        return outcomes

    def _reach(self, pending: Other) -> set[int] | None:
        """The granules that a call touches, memory made as it wants it; ``None`` when it must run alone."""
        own = granules([(address, len(data)) for address, data in pending.seeds])
        if own is None or not own.isdisjoint(self._touched):
            return own
        for address, data in pending.seeds:
            self._put(address, data)
        return granules(self.model.footprint(pending.call))

    def _join(self, pending: Plain | Other) -> None:
        """Put a call into the batch."""
        if self._begun and isinstance(pending, Plain):  # an earlier one may have written into its block
            self._preparation.renew(pending)
        executed = self.result.executed
        pending.index = len(executed)
        executed.append(pending.step)
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
        done = len(outcomes)
        passes = [False] * done
        if done > 1:
            slots, passes = self._look(batch, outcomes)
        self.model.state.caller = 0
        self._timed = Outcome(clock=outcomes.last.clock)
        judged: list[Judged] = []
        settled = 0
        for position, (pending, passing) in enumerate(zip(batch, passes, strict=False)):
            if settled < len(judged):
                self._settle(judged[settled:])
                settled = len(judged)
            if isinstance(pending, Plain):
                if passing:
                    found = self._reply(pending, slots, outcomes, position)
                    if found is not None:
                        flawed = self._pass(pending, *found, slots, outcomes, position)
                        if flawed is not None:
                            judged.append(flawed)
                        continue
                    self.model.memory.write(
                        SLOTS.start + pending.slot, slots.before[pending.slot : pending.slot + STRIDE]
                    )
                if pending.step.name:
                    block = pending.block
                    self.names.pending.setdefault(pending.step.name, []).append((block.rets, block.nret))
            judged.append(self._judge(pending, outcomes[position]))
        self.result.calls += done
        self._conclude(judged)
        self.result.returns.update(
            [(plain.shape.service.name, reply.status) for plain, reply, _ in self._passed]
        )
        for plain, reply, broken in self._passed:
            for check in _checks(reply, broken):
                self._met[self._expected[plain.shape.service.name, check].id] += 1
        self._passed.clear()

    def _look(self, batch: Sequence[Pending], outcomes: Outcomes) -> tuple[Slots, list[bool]]:
        """The slots, and of each call whether it is a plain one that may pass: then the model has adopted
        its outputs.
        """
        succeeded = outcomes.rows[:, doubleword("r3")] == H_SUCCESS
        passes = (succeeded & ~outcomes.disturbed(preserved(outcomes.endian))).tolist()
        # What else happened in the batch is with the last of them.
        passes[len(outcomes) - 1 :] = [False]
        plain = [
            (position, pending)
            for position, (pending, passing) in enumerate(zip(batch, passes, strict=False))
            if passing and isinstance(pending, Plain)
        ]
        memory = self.model.memory
        slots = Slots(
            memory.read(SLOTS.start, SLOTS.length),
            self.machine.memory.read(SLOTS.start, SLOTS.length),
            [(pending.at, pending.at + 4 * pending.shape.nret) for _, pending in plain],
        )
        for (position, _), kept in zip(plain, slots.kept, strict=True):
            passes[position] = kept
        memory.write(SLOTS.start, slots.adopted)
        return slots, passes

    def _reply(
        self, plain: Plain, slots: Slots, outcomes: Outcomes, position: int
    ) -> tuple[Reply, Broken] | None:
        """The reply that the judge would choose, and what of it does not hold, when it fits to the byte."""
        at, shape = plain.at, plain.shape
        outputs = shape.outputs.unpack_from(slots.after, at)
        status = outputs[0]
        best: tuple[Reply, Broken] | None = None
        least = (sys.maxsize, False)
        for reply in shape.service.replies(plain.request):
            if reply.status & MASK32 != status or reply.ending != "returned":
                continue
            if reply.events or reply.console:
                return None
            if (reply.outputs or reply.cells or reply.writes) and not self._fits(reply, outputs):
                continue
            if not status and 1 + len(reply.outputs) < shape.nret:
                left, end = at + 4 * (1 + len(reply.outputs)), at + 4 * shape.nret
                if slots.after[left:end] != slots.before[left:end]:
                    return None
            broken = self._broken(reply, outcomes.brief(position)) if reply.relations else ()
            if not broken and reply.breach is None:
                return reply, broken
            misfit = (len(broken), reply.breach is not None)
            if misfit < least:
                best, least = (reply, broken), misfit
        return best

    def _broken(self, reply: Reply, outcome: Outcome) -> Broken:
        observed = self._comparison.observed
        held = ((relation, relation.holds(outcome, observed)) for relation in reply.relations)
        return [(relation, wrong) for relation, wrong in held if wrong is not None]

    def _fits(self, reply: Reply, outputs: Sequence[int]) -> bool:
        """Whether ``outputs``, the status first, and buffers are what the reply says."""
        observed = self._comparison.observed
        for permitted, value in zip(reply.outputs, outputs[1:], strict=False):
            if not permitted.permits(value):
                return False
        for cell in reply.cells:
            if not cell.permitted.permits(int.from_bytes(observed.read(cell.address, cell.width), "big")):
                return False
        return not reply.writes or all(
            observed.read(write.address, len(write.data)) == write.data for write in reply.writes
        )

    def _pass(
        self, plain: Plain, reply: Reply, broken: Broken, slots: Slots, outcomes: Outcomes, position: int
    ) -> Judged | None:
        """Let the model go where a reply leads; the step with what is wrong with it, if anything is."""
        flawed = None
        checks = _checks(reply, broken)
        if not checks or all((plain.shape.service.name, check) in self._expected for check in checks):
            self._passed.append((plain, reply, broken))
        else:
            flawed = _described(plain, reply, broken, outcomes.brief(position))
        memory, observed = self.model.memory, self._comparison.observed
        for write in reply.writes:
            memory.write(write.address, write.data)
        for scratch in reply.scratch:
            adopt(memory, observed, scratch.address, scratch.address + scratch.length)
        for cell in reply.cells:
            memory.write(cell.address, observed.read(cell.address, cell.width))
        if reply.effect is not None:
            reply.effect(self._timed)
        if plain.step.name:
            self.names.outcomes[plain.step.name] = RETURNED
            self.names.rets[plain.step.name] = plain.shape.outputs.unpack_from(slots.after, plain.at)
        return flawed

    def _sweep(self, judged: list[Judged]) -> None:
        comparison = self._comparison
        if next(differences(comparison.model, comparison.observed, comparison.ignored), None) is None:
            return
        # Any of them may have written it.
        passed = [_described(*one, judged[-1].outcome) for one in self._passed]
        self._passed.clear()
        judged[:-1] = sorted([*judged[:-1], *passed], key=lambda one: one.index)
        super()._sweep(judged)


def _checks(reply: Reply, broken: Broken) -> Sequence[str]:
    """The checks that a reply fails."""
    if reply.breach is None and not broken:
        return ()
    checks = [relation.check for relation, _ in broken]
    return checks if reply.breach is None else [reply.breach.check, *checks]


def _described(plain: Plain, reply: Reply, broken: Broken, outcome: Outcome) -> Judged:
    """A call that passed, as the judge would have it, with the breach of its reply and what does not hold."""
    block = plain.block
    expectation = described(plain.shape.service, block, plain.request)
    status = Cell(block.rets, 4, Exactly(reply.status & MASK32), "status")
    report = Reporter(expectation, plain.index)
    if reply.breach:
        report.add(reply.breach.check, reply.breach.text, rule=reply.breach.rule)
    for relation, wrong in broken:
        report.add(relation.check, wrong, rule=relation.rule)
    case = Case(f"status {reply.status}", cells=(status,), breach=reply.breach)
    return Judged(plain.index, plain.call, outcome, expectation, case, report.violations)


__all__ = ["Lane"]
