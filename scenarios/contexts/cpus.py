"""Several CPUs call at once: hypercalls are serialised, so some order of whole calls explains every outcome.

That order is searched for by the judge (:mod:`rig.check.orders`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rig.program import H_LOGICAL_MEMOP, Arrive, Call, MachineOptions, Rtas, Seed, Step, Together
from rig.scenario.script import Playing, Scenario, Stage, scenario

SECONDARY, MAILBOX, STRIDE = 0x3000, 0x8000, 0x100
DATA = 0x100_0000
#: bytes that a call moves: long enough for CPUs to meet
LENGTH = 0x1000
ROUNDS = 8

TWO = MachineOptions(smp="2")
FOUR = MachineOptions(smp="4")


def single(options: MachineOptions) -> MachineOptions:
    """The same with all CPUs in one thread of QEMU."""
    return replace(options, arguments=("-accel", "tcg,thread=single"))


def start(count: int) -> Iterator[Step]:
    """Start all further CPUs."""
    for cpu in range(1, count):
        yield Rtas("start-cpu", (cpu, SECONDARY, MAILBOX + STRIDE * cpu))
        yield Arrive(cpu)


def fill(byte: int, length: int = LENGTH) -> bytes:
    """Bytes that say who wrote them."""
    return bytes([byte]) * length


def copy(destination: int, source: int, cpu: int, esize: int = 3, length: int = LENGTH, op: int = 0) -> Call:
    """A memop of one CPU."""
    return Call(H_LOGICAL_MEMOP, (destination, source, esize, length >> esize, op), cpu=cpu)


def disjoint(cpus: int) -> Playing:
    """Each CPU copies and inverts in a megabyte of its own."""
    yield list(start(cpus))
    for turn in range(ROUNDS):
        yield [Seed(DATA + (cpu << 20), fill(16 * turn + cpu)) for cpu in range(cpus)]
        yield Together(
            tuple(
                copy(own + LENGTH * (step + 1), own + LENGTH * step, cpu, turn % 4, op=step & 1)
                for cpu in range(cpus)
                for own in (DATA + (cpu << 20),)
                for step in range(4)
            )
        )


def same(cpus: int) -> Playing:
    """All CPUs copy to one place, which must hold what one of them copied, then rotate it."""
    sources = [DATA + LENGTH * (2 + cpu) for cpu in range(cpus)]
    yield list(start(cpus))
    yield [Seed(source, fill(0x11 * (cpu + 1))) for cpu, source in enumerate(sources)]
    for turn in range(ROUNDS):
        yield Together(
            tuple(copy(DATA, source, cpu, turn % 4) for cpu, source in enumerate(sources))
            + tuple(copy(source, DATA, cpu, turn % 4) for cpu, source in enumerate(sources))
        )


def overlapping(cpus: int) -> Playing:
    """Each CPU shifts one range, part of which is another's, up or down."""
    yield list(start(cpus))
    for turn in range(ROUNDS):
        yield Seed(DATA, bytes((at * 31 + (at >> 8) * 7 + turn) & 0xFF for at in range(4 * LENGTH)))
        yield Together(
            tuple(
                copy(DATA + 0x40 * (1 + cpu), DATA + 0x80 * (cpu % 2), cpu, turn % 4, LENGTH // 2)
                for cpu in range(cpus)
                for _ in range(2)
            )
        )


def with_rtas(cpus: int) -> Playing:
    """One CPU makes RTAS calls whose blocks another copies: before or after, never in between."""
    block, taken = DATA, DATA + 0x10_0000
    yield list(start(cpus))
    for turn in range(ROUNDS):
        asked = Rtas("query-cpu-stopped-state", (1,), nret=2, block=block)
        copies = tuple(
            copy(taken + LENGTH * (4 * cpu + step), block, cpu, turn % 3, 0x200)
            for cpu in range(1, cpus)
            for step in range(3)
        )
        elsewhere = Rtas("query-cpu-stopped-state", (0,), nret=2, block=block + 0x8_0000)
        yield Together((elsewhere, asked, replace(elsewhere, block=block + 0x9_0000), *copies))


def at_once(
    name: str, summary: str, play: Callable[[int], Playing], machine: MachineOptions, *services: str
) -> Scenario:
    """A scenario of as many CPUs as the machine has."""

    def started(stage: Stage) -> Playing:
        return play(int(machine.smp))

    issues: frozenset[str | int] = frozenset((H_LOGICAL_MEMOP, "start-cpu", *services))
    return scenario(name=name, summary=summary, machine=machine, issues=issues)(started)


APART = "CPUs copy and invert in ranges of their own"
MEET = "CPUs copy to and from one range"
SHIFT = "CPUs shift ranges that overlap each other's"
BLOCKS = "one CPU makes RTAS calls while others copy its blocks"
QUERY = "query-cpu-stopped-state"

disjoint_two = at_once("disjoint-2", f"two {APART}", disjoint, TWO)
disjoint_four = at_once("disjoint-4", f"four {APART}", disjoint, FOUR)
disjoint_single = at_once("disjoint-4-single", f"four {APART}, in one thread", disjoint, single(FOUR))
same_two = at_once("same-2", f"two {MEET}", same, TWO)
same_four = at_once("same-4", f"four {MEET}", same, FOUR)
same_single = at_once("same-2-single", f"two {MEET}, in one thread", same, single(TWO))
overlapping_two = at_once("overlapping-2", f"two {SHIFT}", overlapping, TWO)
overlapping_four = at_once("overlapping-4", f"four {SHIFT}", overlapping, FOUR)
overlapping_single = at_once("overlapping-2-single", f"two {SHIFT}, in one thread", overlapping, single(TWO))
rtas_two = at_once("rtas-2", f"of two CPUs {BLOCKS}", with_rtas, TWO, QUERY)
rtas_four = at_once("rtas-4", f"of four CPUs {BLOCKS}", with_rtas, FOUR, QUERY)
rtas_single = at_once(
    "rtas-4-single", f"of four CPUs {BLOCKS}, in one thread", with_rtas, single(FOUR), QUERY
)
