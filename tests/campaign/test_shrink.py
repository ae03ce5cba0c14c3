"""Programs are made small without losing what they show."""

from __future__ import annotations

import random

from rig.campaign.shrink import PLAIN, shrink
from rig.deadline import Deadline
from rig.program import Call, Host, Rtas, Seed, Step

FOREVER = Deadline(86_400.0)


def numbers(step: Step) -> tuple[int, ...]:
    assert isinstance(step, Call | Rtas)
    return tuple(value for value in step.args if isinstance(value, int))


def test_only_the_guilty_steps_stay() -> None:
    program = [Call(7, (index,)) for index in range(100)]
    random.Random(1).shuffle(program)

    def holds(steps: tuple[Step, ...]) -> bool:
        seen = [numbers(step)[0] for step in steps]
        return 17 in seen and 80 in seen

    assert sorted(numbers(step)[0] for step in shrink(program, holds, FOREVER)) == [17, 80]


def test_a_number_becomes_the_least_that_shows_it() -> None:
    program = (Call(7, (12345, 0xFFFF_0000_0000_0001, 3)),)
    small = shrink(program, lambda steps: bool(steps) and numbers(steps[0])[0] > 1000, FOREVER)
    assert small == (Call(7, (1001, 0x80_0000, 0)),)


def test_memory_becomes_short_plain_and_lies_where_it_is_easy_to_read() -> None:
    start = 0x123_4500
    program = (Seed(start, bytes(random.Random(2).randbytes(256))), Call(7, (start + 3, 16)))

    def holds(steps: tuple[Step, ...]) -> bool:
        """Three bytes into the seed there is memory, and the count is no less than two."""
        if len(steps) != 2 or not isinstance(steps[0], Seed):
            return False
        at, count = numbers(steps[1])
        seed = steps[0]
        assert isinstance(seed.address, int)
        return seed.address <= at < seed.address + len(seed.data) and count >= 2

    seed, call = shrink(program, holds, FOREVER)
    assert isinstance(seed, Seed)
    assert len(seed.data) == 1
    assert seed.data in (b"\0", b"\1")
    assert seed.address == PLAIN
    assert numbers(call) == (PLAIN, 2)


def test_an_address_does_not_become_one_of_the_agents() -> None:
    small = shrink((Call(7, (0x123_4567,)),), lambda steps: bool(steps), FOREVER)
    assert small == (Call(7, (0x80_0000,)),)


def test_other_steps_are_left_as_they_are() -> None:
    program = (Host("stop"), Call(7, (5,)), Host("cont"))
    small = shrink(program, lambda steps: Host("cont") in steps and len(steps) >= 2, FOREVER)
    assert Host("cont") in small
    assert len(small) == 2


def test_an_expired_deadline_leaves_the_program() -> None:
    program = (Call(7, (5,)), Call(8, (6,)))
    assert shrink(program, lambda steps: True, Deadline(0.0)) == program
