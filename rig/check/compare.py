"""Compare an outcome with its expectation: registers, cells, console, events, and then all of RAM.

The comparison decides which of the permitted cases happened, reports what breaks it, and brings the model's
memory to what was observed, so that the next step is judged from where the build really is.  It
does not know deviations: what it reports is the contract's view.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache

from rig.check.memory_diff import Difference, Standing, adopt, differences, unequal
from rig.check.violation import Reporter, Violation
from rig.machine.registers import ALL, FULL_SIZE, MASK64, Endian, Record, put
from rig.model.expectation import Case, Expectation, ExpectedEvent
from rig.program import Event, Outcome
from rig.target import GuestMemory

#: at most so many runs of wrong bytes are reported one by one
MAX_RUNS = 16

#: what a hypercall may destroy besides its outputs (LoPAR 14.5.3); SRR0 and SRR1 need not survive (7.2.2)
VOLATILE = frozenset({"r0", *(f"r{n}" for n in range(3, 13)), "ctr", "xer", "srr0", "srr1"})
#: CR2..CR4, the fields a hypercall preserves
CR_PRESERVED = 0x00FF_F000


class Comparison:
    """Compares steps one after another against one model memory and one observed memory.

    ``ignored`` are the (start, end) ranges that belong to the rig: mailbox and batch area.  ``late`` names
    events of earlier steps that may come at any time.  What is observed is read once: whoever lets the guest
    run must say so (:meth:`Standing.forget`).
    """

    def __init__(
        self,
        model: GuestMemory,
        observed: GuestMemory,
        ignored: Sequence[tuple[int, int]] = (),
        late: Set[str] = frozenset(),
    ) -> None:
        self.late = late
        self.model = model
        self.observed = Standing(observed)
        self.ignored = tuple(sorted(ignored))

    def step(self, expectation: Expectation, outcome: Outcome, step: int) -> tuple[Case, list[Violation]]:
        """The case that happened and what breaks it; RAM is left to :meth:`sweep`."""
        report = Reporter(expectation, step)
        case = self._choose(expectation, outcome)
        if outcome.ending != case.ending:
            check = "liveness" if outcome.ending in ("died", "running") else "ending"
            words = f" ({outcome.last_words})" if outcome.last_words else ""
            report.add(
                check, f"the call ended otherwise{words}", expected=case.ending, observed=outcome.ending
            )
            if check == "liveness":
                return case, report.violations
        elif case.ending == "returned":
            _registers(case, outcome, report)
        if case.breach:
            report.add(case.breach.check, case.breach.text, rule=case.breach.rule)
        self._memory(case, report)
        for relation in case.relations:
            wrong = relation.holds(outcome, self.observed)
            if wrong:
                report.add(relation.check, wrong, rule=relation.rule)
        if outcome.console != case.console:
            report.add(
                "console", "wrong console output", expected=repr(case.console), observed=repr(outcome.console)
            )
        _events(case.events, [event for event in outcome.events if event.name not in self.late], report)
        return case, report.violations

    def sweep(self, steps: Sequence[tuple[int, Expectation]]) -> list[Violation]:
        """Compare all of RAM after ``steps`` and adopt what was observed."""
        violations: list[Violation] = []
        runs = total = 0
        for difference in differences(self.model, self.observed, self.ignored):
            runs += 1
            total += len(difference.observed)
            self.model.write(difference.address, difference.observed)
            if runs <= MAX_RUNS:
                report = Reporter(*_owner(difference, steps))
                report.add(
                    "memory",
                    f"wrong bytes in memory ({len(difference.observed)}) at {difference.address:#x}",
                    expected=_hex(difference.expected),
                    observed=_hex(difference.observed),
                    address=difference.address,
                )
                violations += report.violations
        if runs > MAX_RUNS:
            report = Reporter(steps[-1][1], steps[-1][0])
            report.add("memory", f"{runs} runs, {total} bytes differ in all; the first {MAX_RUNS} are listed")
            violations += report.violations
        return violations

    def _choose(self, expectation: Expectation, outcome: Outcome) -> Case:
        """The permitted case that fits best; a case without a breach wins a tie."""
        cases = [case for case in expectation.cases if case.ending == outcome.ending] or expectation.cases[:1]
        best, least = cases[0], (sys.maxsize, 0, 0, False)
        for case in cases if len(cases) > 1 else ():
            misfit = (*self._misfit(case, outcome), case.breach is not None)
            if misfit < least:
                best, least = case, misfit
            if not any(misfit):
                break
        return best

    def _misfit(self, case: Case, outcome: Outcome) -> tuple[int, int, int]:
        wrong = sum(
            not permitted.permits(outcome.registers.get(name, 0))
            for name, permitted in case.registers.items()
        )
        wrong += sum(not cell.permitted.permits(self._cell(cell.address, cell.width)) for cell in case.cells)
        wrong += outcome.console != case.console
        wrong += sum(
            event.required and not any(_fits(event, seen) for seen in outcome.events) for event in case.events
        )
        wrong += sum(not any(_fits(event, seen) for event in case.events) for seen in outcome.events)
        bytes_wrong = 0
        for write in case.writes:
            bytes_wrong += unequal(write.data, self.observed.read(write.address, len(write.data)))
        # A relation may fail in every case alike: it only decides between cases that fit equally well.
        related = sum(relation.holds(outcome, self.observed) is not None for relation in case.relations)
        return wrong, bytes_wrong, related

    def _cell(self, address: int, width: int) -> int:
        return int.from_bytes(self.observed.read(address, width), "big")

    def _memory(self, case: Case, report: Reporter) -> None:
        for write in case.writes:
            self.model.write(write.address, write.data)
        for scratch in case.scratch:
            adopt(self.model, self.observed, scratch.address, scratch.address + scratch.length)
        for cell in case.cells:
            value = self._cell(cell.address, cell.width)
            if not cell.permitted.permits(value):
                report.add(
                    "status" if cell.what.startswith("status") else "rets",
                    cell.what,
                    expected=str(cell.permitted),
                    observed=f"{value:#x}",
                    value=value,
                    rule=cell.rule,
                    address=cell.address,
                )
            self.model.write(cell.address, value.to_bytes(cell.width, "big"))


def _registers(case: Case, outcome: Outcome, report: Reporter) -> None:
    for name, permitted in case.registers.items():
        value = outcome.registers.get(name)
        if value is not None and not permitted.permits(value):
            report.add(
                name, name, expected=str(permitted), observed=f"{value:#x}", value=value, rule=case.rule
            )
    registers = outcome.registers
    for name in _changed(outcome.before, registers):
        if name in case.registers or name in VOLATILE:
            continue
        before, after = outcome.before[name], registers[name]
        mask = CR_PRESERVED if name == "cr" else -1
        if (after ^ before) & mask:
            report.add(
                "register",
                f"{name} is not preserved",
                expected=f"{before & mask:#x}",
                observed=f"{after & mask:#x}",
                value=after,
                rule="LoPAR 14.5.3",
            )


@cache
def preserved(endian: Endian) -> bytes:
    """A record of ones where a hypercall must leave everything as it is."""
    data = bytearray(FULL_SIZE)
    for name in ALL:
        ones = MASK64 << 64 | MASK64 if name.startswith("vs") else MASK64
        put(data, name, 0 if name in VOLATILE else CR_PRESERVED if name == "cr" else ones, endian)
    return bytes(data)


def _changed(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The registers that do not hold what they held, of those that are seen before and after."""
    if isinstance(before, Record) and isinstance(after, Record):
        return before.changed(after)
    return [name for name, value in before.items() if after.get(name, value) != value]


def _fits(expected: ExpectedEvent, seen: Event) -> bool:
    if expected.name != seen.name:
        return False
    for key, want in expected.data.items():
        have = seen.data.get(key)
        permits = getattr(want, "permits", None)
        if permits is not None:
            if not isinstance(have, int) or not permits(have):
                return False
        elif have != want:
            return False
    return True


def _events(expected: Sequence[ExpectedEvent], seen: Sequence[Event], report: Reporter) -> None:
    left = list(seen)
    for event in expected:
        found = next((one for one in left if _fits(event, one)), None)
        if found is not None:
            left.remove(found)
        elif event.required:
            report.add(
                "event",
                f"no {event.name} event",
                expected=_show(event.name, event.data),
                observed=_list(seen),
            )
    for one in left:
        if not any(event.name == one.name and _fits(event, one) for event in expected):
            report.add(
                "event", f"unexpected {one.name} event", expected="none", observed=_show(one.name, one.data)
            )


def _show(name: str, data: Mapping[str, object]) -> str:
    return name + "".join(f" {key}={value}" for key, value in data.items())


def _list(events: Iterable[Event]) -> str:
    return ", ".join(_show(event.name, event.data) for event in events) or "none"


def _owner(difference: Difference, steps: Sequence[tuple[int, Expectation]]) -> tuple[Expectation, int]:
    """The step of a batch whose footprint holds the difference; the last one when none does."""
    for step, expectation in steps:
        for start, length in expectation.footprint or ():
            if start <= difference.address < start + length:
                return expectation, step
    step, expectation = steps[-1]
    return expectation, step


def _hex(data: bytes) -> str:
    return data[:16].hex(" ") + (" …" if len(data) > 16 else "")
