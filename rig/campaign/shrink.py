"""Make a failing program small: fewest steps, plainest numbers, shortest memory.

It knows programs but no machine: whether a candidate still fails is asked of a predicate, which may be slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from rig.deadline import Deadline
from rig.program import Call, Rtas, Seed, Step, Value

Program = tuple[Step, ...]
Holds = Callable[[Program], bool]

#: where seeded memory goes if it can
PLAIN = 0x100_0000
#: bytes past a seed that belong to it when it moves
MARGIN = 64


def shrink(program: Sequence[Step], holds: Holds, deadline: Deadline) -> Program:
    """The smallest program found until ``deadline`` for which ``holds`` is true, as it is for ``program``.

    Repeats until nothing helps any more, so that the order of what is tried hardly matters.
    """
    best = tuple(program)
    while not deadline.expired:
        before = best
        best = _fewer(best, holds, deadline)
        best = _plainer(best, holds, deadline)
        if best == before:
            break
    return best


def _fewer(program: Program, holds: Holds, deadline: Deadline) -> Program:
    """Leave out steps: halves first, single ones last."""
    size = (len(program) + 1) // 2
    while size:
        at = 0
        while at < len(program) and not deadline.expired:
            shorter = program[:at] + program[at + size :]
            if shorter and holds(shorter):
                program = shorter
            else:
                at += size
        size //= 2
    return program


def _plainer(program: Program, holds: Holds, deadline: Deadline) -> Program:
    """Take the first candidate that holds, again and again."""
    for at in range(len(program)):
        while (plainer := _first(_candidates(program, at), holds, deadline)) is not None:
            program = plainer
    return program


def _first(candidates: Iterator[Program], holds: Holds, deadline: Deadline) -> Program | None:
    return next((one for one in candidates if not deadline.expired and holds(one)), None)


def _candidates(program: Program, at: int) -> Iterator[Program]:
    """Programs in which step ``at`` is plainer, the plainest first."""
    step = program[at]
    match step:
        case Seed():
            moved = _moved(program, step)
            if moved is not None:
                yield moved
            changed: Iterator[Step] = _seeds(step)
        case Call():
            changed = (replace(step, args=args) for args in _arguments(step.args))
        case Rtas():
            changed = (replace(step, args=args) for args in _arguments(step.args))
        case _:
            changed = iter(())
    yield from ((*program[:at], one, *program[at + 1 :]) for one in changed)


def _arguments(args: tuple[Value, ...]) -> Iterator[tuple[Value, ...]]:
    if args and args[-1] == 0:
        yield args[:-1]
    for at, value in enumerate(args):
        if isinstance(value, int):
            yield from ((*args[:at], plain, *args[at + 1 :]) for plain in smaller(value))


def smaller(value: int) -> Iterator[int]:
    """Smaller numbers to try: nothing, a little, half, without each of its bits, one less."""
    yield from sorted(
        {
            candidate
            for candidate in (
                0,
                1,
                value >> 1,
                *(value & ~(1 << bit) for bit in range(value.bit_length())),
                value - 1,
            )
            if 0 <= candidate < value
        }
    )


def _seeds(seed: Seed) -> Iterator[Step]:
    if seed.cells:
        return
    data = seed.data
    half = len(data) // 2
    if half:
        yield replace(seed, data=data[:half])
        if isinstance(seed.address, int):
            yield replace(seed, address=seed.address + half, data=data[half:])
    counting = bytes(index & 0xFF for index in range(1, len(data) + 1))
    if data not in (bytes(len(data)), counting):
        yield replace(seed, data=bytes(len(data)))
        yield replace(seed, data=counting)


def _moved(program: Program, seed: Seed) -> Program | None:
    """All that points into a seed's memory, moved to :data:`PLAIN` with it."""
    start = seed.address
    if not isinstance(start, int) or start == PLAIN or any(_at(step) == PLAIN for step in program):
        return None
    low, high = start - MARGIN, start + len(seed.data) + MARGIN

    def moved(value: Value) -> Value:
        return value - start + PLAIN if isinstance(value, int) and low <= value < high else value

    def one(step: Step) -> Step:
        match step:
            case Seed():
                return replace(step, address=moved(step.address))
            case Call() | Rtas():
                return replace(step, args=tuple(moved(arg) for arg in step.args))
        return step

    return tuple(one(step) for step in program)


def _at(step: Step) -> Value | None:
    return step.address if isinstance(step, Seed) else None
