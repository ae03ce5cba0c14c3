"""The same machine seen in different ways: what one way shows, every other must show too.

Without this, a difference between build and model could as well be one between two ways of looking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rig.program import H_LOGICAL_MEMOP, Call, Outcome, Seed
from rig.scenario.script import Disagreement, Playing, Stage, scenario

H_LOGICAL_CACHE_LOAD = 0x44
H_LOGICAL_CACHE_STORE = 0x48

DATA = 0x100_0000
COPY = 0x200_0000
LENGTH = 0x1000
PATTERN = bytes((at * 7 + (at >> 8)) & 0xFF for at in range(LENGTH))

#: registers that the agent leaves as they are between the end of a call and its stop label
KEPT = ("r1", "r2", *(f"r{number}" for number in (*range(4, 28), 29)), "lr", "ctr")
VECTORS = tuple(f"vs{number}" for number in (*range(1, 32), *range(33, 64)))
LOW_HALF = (1 << 64) - 1


def compare(stage: Stage, address: int, length: int) -> None:
    """Read a range in every way there is; raise :class:`Disagreement` where two differ."""
    expected = stage.memory.read(address, length)
    for name, memory in stage.memories.items():
        seen = memory.read(address, length)
        if seen != expected:
            at = next(i for i in range(length) if seen[i] != expected[i])
            raise Disagreement(
                "agreement.memory",
                f"{name} reads {seen[at]:#x} at {address + at:#x}, not {expected[at]:#x}",
            )


@scenario(
    name="memory",
    summary="memory written by the host, by a copy and by a store reads the same in every way",
    needs=frozenset({"memories"}),
    issues=frozenset({H_LOGICAL_MEMOP, H_LOGICAL_CACHE_STORE}),
)
def memory(stage: Stage) -> Playing:
    """Ranges written by three hands, read in every way."""
    end = stage.environment.ram[-1].end
    yield [
        Seed(DATA, PATTERN),
        Seed(end - LENGTH, PATTERN),
        Call(H_LOGICAL_MEMOP, (COPY, DATA, 0, LENGTH, 0)),
        Call(H_LOGICAL_MEMOP, (COPY + LENGTH, DATA, 3, LENGTH // 8, 1)),
        Call(H_LOGICAL_CACHE_STORE, (8, COPY + 2 * LENGTH, 0x0123_4567_89AB_CDEF)),
    ]
    compare(stage, DATA, LENGTH)
    compare(stage, COPY, 3 * LENGTH)
    compare(stage, end - LENGTH, LENGTH)


@scenario(
    name="image-and-device-tree",
    summary="the agent's code and the device tree read the same in every way",
    needs=frozenset({"memories"}),
)
def image_and_device_tree(stage: Stage) -> Playing:
    """What QEMU put into memory, read in every way."""
    yield Seed(0xF000, PATTERN)
    compare(stage, 0x2000, 2 * LENGTH)
    compare(stage, 0xF000, LENGTH)
    fdt = stage.environment.fdt
    compare(stage, fdt.start, min(fdt.length, LENGTH))


@scenario(
    name="guest-loads",
    summary="loads by the guest show the bytes that the host sees",
    issues=frozenset({H_LOGICAL_CACHE_LOAD}),
)
def guest_loads(stage: Stage) -> Playing:
    """Doublewords loaded by the guest against the host's view."""
    yield Seed(DATA, PATTERN)
    addresses = range(DATA, DATA + 256, 8)
    outcomes = yield [Call(H_LOGICAL_CACHE_LOAD, (8, address)) for address in addresses]
    for address, outcome in zip(addresses, outcomes, strict=True):
        seen = outcome.registers["r4"]
        held = int.from_bytes(stage.memory.read(address, 8), "big")
        if outcome.registers["r3"] == 0 and seen != held:
            raise Disagreement(
                "agreement.guest", f"the guest loads {seen:#x} at {address:#x}, the host sees {held:#x}"
            )


@scenario(
    name="registers",
    summary="the registers that the agent stored after a call are those that gdb shows",
    needs=frozenset({"debugger"}),
    issues=frozenset({H_LOGICAL_MEMOP}),
)
def registers(stage: Stage) -> Playing:
    """Each call's record against gdb, for the three ways in which the call ends."""
    yield Seed(DATA, PATTERN)
    all_shifted = False
    for op in (0, 1, 2):
        outcome: Outcome = yield Call(H_LOGICAL_MEMOP, (COPY, DATA, 3, 8, op))
        shown = stage.debugger.registers((*KEPT, *VECTORS))
        agree(outcome.registers, shown, KEPT)
        if shifted(outcome.registers, shown):
            all_shifted = True
        else:
            agree(outcome.registers, shown, VECTORS)
    if all_shifted:
        raise Disagreement(
            "agreement.vectors-shifted", "gdb shows in each vector register what the next one holds"
        )


def agree(stored: Mapping[str, int], shown: Mapping[str, int], names: Iterable[str]) -> None:
    """Raise :class:`Disagreement` for the first register of ``names`` that differs."""
    for name in names:
        if stored[name] != shown[name]:
            raise Disagreement(
                "agreement.register",
                f"{name}: the agent stored {stored[name]:#x}, gdb shows {shown[name]:#x}",
            )


def shifted(stored: Mapping[str, int], shown: Mapping[str, int]) -> bool:
    """Whether gdb shows in each vector register, as far as it is not a floating-point one, the next one."""
    return all(
        shown[f"vs{n}"] >> 64 == stored[f"vs{n}"] >> 64
        and shown[f"vs{n}"] & LOW_HALF == stored[f"vs{n + 1}"] & LOW_HALF
        for n in range(1, 31)
    ) and all(shown[f"vs{n}"] == stored[f"vs{n + 1}"] for n in range(33, 63))
