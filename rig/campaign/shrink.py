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
#: bytes around a seed that belong to it when it moves
MARGIN = 64
#: below is the agent's memory: an address above stays there
AGENT_END = 0x80_0000


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
    """Numbers before memory: while much of it is filled, a smaller call shows as much as a larger one."""
    for at in range(len(program)):
        moved = _moved(program, at)
        if moved is not None and not deadline.expired and holds(moved):
            program = moved
    for at in range(len(program)):
        program = _numbers(program, at, holds, deadline)
    for at in range(len(program)):
        while (plainer := _first(_memory(program, at), holds, deadline)) is not None:
            program = plainer
    return program


def _first(candidates: Iterator[Program], holds: Holds, deadline: Deadline) -> Program | None:
    return next((one for one in candidates if not deadline.expired and holds(one)), None)


def _numbers(program: Program, at: int, holds: Holds, deadline: Deadline) -> Program:
    """Make the arguments of step ``at`` small, one after another: addresses, which are large, last."""
    step = program[at]
    if not isinstance(step, Call | Rtas):
        return program
    numbers = sorted((value, index) for index, value in enumerate(step.args) if isinstance(value, int))
    for value, index in numbers:

        def still(value: int, program: Program = program, index: int = index) -> bool:
            return not deadline.expired and holds(_with(program, at, index, value))

        program = _with(program, at, index, _least(value, still))
    return program


def _with(program: Program, at: int, index: int, value: int) -> Program:
    """The program with another value for one argument of one step."""
    step = program[at]
    assert isinstance(step, Call | Rtas)
    args = (*step.args[:index], value, *step.args[index + 1 :])
    return (*program[:at], replace(step, args=args), *program[at + 1 :])


def _least(value: int, holds: Callable[[int], bool]) -> int:
    """A small number for which ``holds`` is true: nothing, or with bit after bit gone, or one less."""
    floor = AGENT_END if value >= AGENT_END else 0
    if value > floor and holds(floor):
        return floor
    before = -1
    while value != before:
        before = value
        for bit in reversed(range(value.bit_length())):
            candidate = value & ~(1 << bit)
            if floor <= candidate < value and holds(candidate):
                value = candidate
        if value > floor and holds(value - 1):
            value -= 1
    return value


def _memory(program: Program, at: int) -> Iterator[Program]:
    """Programs in which a seed at ``at`` is shorter, or of plainer bytes."""
    seed = program[at]
    if isinstance(seed, Seed):
        yield from ((*program[:at], one, *program[at + 1 :]) for one in _seeds(seed))


def _seeds(seed: Seed) -> Iterator[Seed]:
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


def _moved(program: Program, at: int) -> Program | None:
    """All that points into the memory of a seed at ``at``, moved to :data:`PLAIN` with it."""
    seed = program[at]
    if not isinstance(seed, Seed):
        return None
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
