"""What the player can check of an expectation: r3, output cells, bytes, against all that is permitted.

A case with a breach is not permitted; where several cases are, each place is held to the union of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rig.check.judge import Judged
from rig.check.violation import Violation
from rig.export.table import REGISTERS, Table
from rig.model.expectation import Between, Case, Cell, Exactly, OneOf, Permitted
from rig.program import Call

#: what a call returns, by number
OUTPUTS = {number: f"r{number}" for number in range(3, 3 + REGISTERS)}
#: checks whose differences show: to the image itself, or to whoever runs it
SEEN = frozenset({"status", "rets", "memory", "host", "liveness", "ending", *OUTPUTS.values()})

Ranges = tuple[tuple[int, int], ...]


def describe(table: Table, judged: Judged) -> None:
    """Print what a call or an action of the host left, place by place, and check it."""
    permitted = [case for case in judged.expectation.cases if case.breach is None] or [judged.case]
    returning = [case for case in permitted if case.ending == "returned"]
    if not returning:
        table.text("  the call returned, ")
        table.check("", f"which is not permitted: {permitted[0].ending} is\n")
        return
    if isinstance(judged.step, Call):
        for number, name in OUTPUTS.items():
            if number == 3 or any(violation.check == name for violation in judged.violations):
                table.text(f"  {name} ")
                table.take_register(number)
                _settle(table, _union(case.registers.get(name) for case in returning), judged, name, None)
    for cell in _common(returning):
        table.text(f"  {cell.what} ")
        table.take_cell(cell.address, cell.width)
        ranges = _union(other.permitted for case in returning for other in case.cells if _same(other, cell))
        _settle(table, ranges, judged, cell.what, cell.address, cell.rule)
    for address, choices, rule in _bytes(returning, judged.violations):
        table.text(f"  memory at {address:#x} ")
        for data in choices:
            table.bytes_at(address, data)
        table.check("as the contract demands\n", f"DIFFERS from what the contract demands [{rule}]\n")


def unseen(judged: Judged) -> bool:
    """Whether something is wrong that the image cannot see: several places together, an event."""
    seen = SEEN | ({judged.case.breach.check} if judged.case.breach else set())
    return any(violation.check not in seen for violation in judged.violations)


def _settle(
    table: Table, ranges: Ranges | None, judged: Judged, what: str, address: int | None, rule: str = ""
) -> None:
    """Check the value in hand against ranges; where a rule is no range, only what broke it fails."""
    wrong = next((one for one in judged.violations if _concerns(one, what, address)), None)
    if ranges is None and wrong is not None and wrong.value is not None:
        ranges = ((0, wrong.value - 1), (wrong.value + 1, (1 << 64) - 1))
    if ranges is None:
        table.text("\n")
        return
    for low, high in ranges:
        if low <= high:
            table.between(low, high)
    named = ", ".join(f"{low:#x}" if low == high else f"{low:#x}..{high:#x}" for low, high in ranges[:8])
    expected = wrong.expected if wrong is not None and wrong.expected else named
    table.check(
        " permitted\n", f" DIFFERS: permitted is {expected} [{rule or 'the call has no such result'}]\n"
    )


def _concerns(violation: Violation, what: str, address: int | None) -> bool:
    return violation.address == address if address is not None else violation.check == what


def _union(permitted: Iterable[Permitted | None]) -> Ranges | None:
    """All values that any of ``permitted`` permits; ``None`` where that is no list of ranges."""
    ranges: dict[tuple[int, int], None] = {}
    for one in permitted:
        match one:
            case Exactly(value):
                ranges[value, value] = None
            case OneOf(values):
                ranges |= dict.fromkeys((value, value) for value in values)
            case Between(low, high):
                ranges[low, high] = None
            case _:
                return None
    return tuple(ranges)


def _same(one: Cell, other: Cell) -> bool:
    return (one.address, one.width) == (other.address, other.width)


def _common(cases: Sequence[Case]) -> Iterator[Cell]:
    """The cells that every case has."""
    for cell in cases[0].cells:
        if all(any(_same(cell, other) for other in case.cells) for case in cases):
            yield cell


def _bytes(
    cases: Sequence[Case], violations: Sequence[Violation]
) -> Iterator[tuple[int, tuple[bytes, ...], str]]:
    """Address, what may be there, and the rule: where every case says so, and where bytes were wrong."""
    for write in cases[0].writes:
        choices = [
            next((other.data for other in case.writes if other.address == write.address), None)
            for case in cases
        ]
        known = tuple(dict.fromkeys(data for data in choices if data))
        if None not in choices and known:
            yield write.address, known, write.rule
    for one in violations:
        if one.check == "memory" and one.address is not None:
            yield (
                one.address,
                (bytes.fromhex(one.expected.removesuffix(" …")),),
                one.rule or "must stay as it was",
            )
