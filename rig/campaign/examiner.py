"""From calls that differ to deviations and findings: the scalar model's second look.

A kind of call is looked at once, and its explanation kept; now and then one is looked at again, so that no
explanation outlives its truth unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from rig.campaign.batch import Batch
from rig.campaign.engine import Finding
from rig.campaign.rerun import Rerun, Shows, program
from rig.campaign.shrink import shrink
from rig.campaign.verification import MEMORY, NAMES, Kind, Seen
from rig.campaign.workbench import Replay, Workbench
from rig.deadline import Deadline
from rig.frozen import frozen
from rig.machine.errors import MachineError
from rig.program import Call, Step

#: batches from one such look to the next
AGAIN = 64
#: seconds for making one finding small
SHRINKING = 30.0


@frozen
class Explanation:
    """What calls of a kind mean: the known ``deviations`` that they show, or the finding's ``signature``."""

    deviations: tuple[str, ...] = ()
    signature: str = ""


@dataclass(slots=True)
class Examined:
    """What the examination of one batch came to; as in :class:`rig.campaign.engine.Report`."""

    deviations: Counter[str] = field(default_factory=Counter)
    mismatches: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def count(self, explanation: Explanation, calls: int) -> None:
        """Count calls of one kind."""
        for one in explanation.deviations:
            self.deviations[one] += calls
        if explanation.signature:
            self.mismatches[explanation.signature] += calls


class Examiner:
    """Explains on a workbench what differs, and shrinks what nothing explains."""

    def __init__(self, workbench: Workbench, rerun: Rerun) -> None:
        self.workbench = workbench
        self._rerun = rerun
        self._explained: dict[Kind, Explanation] = {}
        self._found: set[str] = set()

    def batch(
        self,
        batch: Batch,
        seen: Sequence[Seen],
        deferred: Iterable[int],
        sample: Iterable[int],
        result: Examined,
    ) -> None:
        """Explain all that differs in a batch; judge ``deferred`` calls, and a ``sample`` of the others.

        What deviations the sample shows is counted already.
        """
        if seen and batch.number % AGAIN == AGAIN - 1:
            self._explained.pop(seen[batch.number // AGAIN % len(seen)].kind, None)
        for one in seen:
            explanation = self._explained.get(one.kind)
            if explanation is None:
                explanation = self._look(batch, one, result)
                if explanation != Explanation():
                    self._explained[one.kind] = explanation
            result.count(explanation, one.count)
        left = set(deferred)
        for call in sorted(left.union(sample)):
            self.program(batch, tuple(batch.program(call)), result, count=call in left)

    def program(self, batch: Batch, steps: tuple[Step, ...], result: Examined, *, count: bool = True) -> None:
        """Judge a program by itself; unless told to ``count``, known deviations are not."""
        replay = self._play(steps, result)
        if replay is not None and (count or replay.unknown):
            result.count(self._judged(batch, steps, replay, result), 1)

    def _look(self, batch: Batch, seen: Seen, result: Examined) -> Explanation:
        """What one call of a kind means: by itself, or else with others before it."""
        alone = tuple(batch.program(seen.call))
        replay = self._play(alone, result)
        if replay is None:
            return Explanation()
        explanation = self._judged(batch, alone, replay, result)
        if explanation.signature or (explanation.deviations and seen.kind.difference != MEMORY):
            return explanation
        words = f"{NAMES[seen.kind.difference]}: {batch.call(seen.call)}"
        first = tuple(one for one in batch.companions(seen.call) if one <= seen.call)
        explanation = self.blame(
            batch, seen.call + 1, lambda traces: seen.kind in traces.kinds, words, result, first
        )
        if explanation == Explanation():
            result.errors.append(
                f"batch {batch.number}: {words} differed once, and not when it was run again"
            )
        return explanation

    def blame(
        self,
        batch: Batch,
        calls: int,
        shows: Shows,
        words: str,
        result: Examined,
        first: tuple[int, ...] = (),
    ) -> Explanation:
        """Which calls of a batch together leave what the stream saw, and what they mean; nothing if none.

        Whether it is those that come ``first`` is asked before any others.
        """
        try:
            blamed = self._rerun.blamed(batch, calls, shows, Deadline(SHRINKING), first)
        except MachineError as error:
            result.errors.append(f"batch {batch.number} could not be run again: {error}")
            return Explanation()
        if not blamed:
            return Explanation()
        steps = tuple(program(batch, blamed))
        replay = self._play(steps, result)
        if replay is not None and replay.unknown:
            return self._judged(batch, steps, replay, result)
        words = f"{words}; seen in every run of the batch, not when its calls are executed one by one"
        return self.noted(batch, blamed, words, result)

    def noted(self, batch: Batch, calls: tuple[int, ...], words: str, result: Examined) -> Explanation:
        """A finding that is not made smaller than ``calls``; its signature is what ``words`` begin with."""
        signature = f"stream/{words.partition(':')[0]}"
        if signature not in self._found:
            self._found.add(signature)
            steps = tuple(program(batch, calls))
            options = self.workbench.options
            result.findings.append(Finding(signature, words, steps, options, len(calls), batch.number))
        return Explanation(signature=signature)

    def ended(
        self, batch: Batch, call: int, ending: str, words: str, patience: float, result: Examined
    ) -> Explanation:
        """A call that did not come back: judge it by itself, with as much patience, or else with others."""
        *before, last = batch.program(call)
        assert isinstance(last, Call)
        steps = (*before, replace(last, timeout=patience))
        replay = self._play(steps, result)
        if replay is None:
            return Explanation()
        explanation = self._judged(batch, steps, replay, result)
        if explanation == Explanation():
            what = f"{ending}: QEMU did not come back from {batch.call(call)} ({words})"
            explanation = self.blame(batch, call + 1, lambda traces: traces.ending == ending, what, result)
        if explanation == Explanation():
            result.errors.append(f"batch {batch.number}: {what}, and did when the batch was run again")
        result.count(explanation, 1)
        return explanation

    def _judged(self, batch: Batch, steps: tuple[Step, ...], replay: Replay, result: Examined) -> Explanation:
        if not replay.unknown:
            return Explanation(replay.deviations)
        signature = replay.unknown[0].signature
        if signature not in self._found:
            self._found.add(signature)
            result.findings.append(self._finding(signature, batch.number, steps))
        return Explanation(signature=signature)

    def _finding(self, signature: str, number: int, steps: tuple[Step, ...]) -> Finding:
        small = shrink(steps, self._shows(signature), Deadline(SHRINKING))
        summary = signature
        try:
            violations = self.workbench.play(small).unknown
            summary = next(str(one) for one in violations if one.signature == signature)
        except (MachineError, StopIteration):
            summary += ", which does not show every time"
        calls = sum(isinstance(step, Call) for step in small)
        return Finding(signature, summary, small, self.workbench.options, calls, number)

    def _shows(self, signature: str) -> Callable[[tuple[Step, ...]], bool]:
        def holds(steps: tuple[Step, ...]) -> bool:
            try:
                return self.workbench.harmless(steps) and signature in self.workbench.play(steps).signatures
            except MachineError:
                return False

        return holds

    def _play(self, steps: tuple[Step, ...], result: Examined) -> Replay | None:
        try:
            return self.workbench.play(steps)
        except MachineError as error:
            result.errors.append(f"a program could not be repeated: {error}")
            return None
