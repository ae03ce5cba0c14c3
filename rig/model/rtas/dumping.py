"""What ibm,os-term leaves behind where a kernel dump is registered (LoPAR R1-7.3.26-3).

LoPAR leaves open, and so does this: dump disks, automatic reboots, page tables, and sections that ask for no
copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rig.frozen import frozen
from rig.model import blob
from rig.model.address import in_ram, ram_of
from rig.model.expectation import Breach, Relation, Scratch, Write
from rig.model.hypercall import State
from rig.model.rtas import dump
from rig.model.rtas.dump import Section, Structure
from rig.model.rtas.endings import rebooted
from rig.model.rtas.fadump import PROPERTY, Dump
from rig.model.rtas.service import Reply, Request
from rig.program import Outcome
from rig.target import GuestMemory

DUMP = "R1-7.3.26-3"
FORMAT = "R1-7.3.26-2, Kernel Assisted Dump Memory Structure"
CPU_FORMAT = "LoPAR H.1, Register Save Area"

SIZES = "ibm,configure-kernel-dump-sizes"

#: registers of the CPU state that a call's entry shows, by the names of a record
SAVED = {f"GPR{n:02}": f"r{n}" for n in range(32)} | {
    name.upper(): name for name in ("cr", "lr", "ctr", "xer")
}

IGNORES_TYPE = Breach("fadump.section-ignored", "a section of a type that LoPAR knows is not copied", FORMAT)
PAST_LENGTH = Breach(
    "fadump.past-length", "the CPU state is written past the length that was asked for", FORMAT
)


@frozen
class _Dumped:
    """One section as it must be dumped: the bytes at its destination, and what the platform says of it."""

    section: Section
    writes: tuple[Write, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    #: error flags of which one must be set; none may be when empty; ``None`` leaves it open
    errors: frozenset[int] | None = frozenset()
    dumped: int | None = None


def crash(request: Request) -> tuple[Reply, ...]:
    """How ibm,os-term ends with a dump registered; no reply without one."""
    state = request.state
    held = state.of(Dump)
    structure = held.registered or held.perhaps
    if structure is None:
        return ()
    plan = tuple(_plan(state, structure))

    def settled(_: Outcome) -> None:
        held.registered = held.perhaps = None

    end = replace(rebooted(state, DUMP), effect=settled)
    if end.ending != "reset":
        return (replace(end, scratch=tuple(_open(state, plan))),)
    kept = _reply(end, state, plan)
    broken = [kept]
    for index, part in enumerate(plan):
        for other, breach in _breaches(state, part):
            changed = (*plan[:index], other, *plan[index + 1 :])
            broken.append(replace(_reply(end, state, changed), breach=breach))
    return tuple(broken)


def _plan(state: State, structure: Structure) -> Iterator[_Dumped]:
    """Every section in order; one may copy what an earlier one has left."""
    copied: list[Write] = []
    for section in structure.sections:
        part = _part(state, section, copied)
        copied += part.writes
        yield part


def _part(state: State, section: Section, copied: list[Write]) -> _Dumped:
    destination = tuple(Scratch(*part, FORMAT) for part in ram_of(state, section.destination, section.length))
    if not section.known:
        return _Dumped(section, errors=frozenset({dump.INVALID_TYPE}), dumped=0)
    if not section.flags & dump.COPY or section.kind == dump.PAGE_TABLE:
        return _Dumped(section, scratch=destination, errors=None)
    if not in_ram(state, section.destination, section.length):
        errors = frozenset({dump.INVALID_DESTINATION, dump.TOO_SMALL})
        return _Dumped(section, scratch=destination, errors=errors)
    if section.kind == dump.CPU_STATE:
        return _cpu_part(state, section, destination)
    if not in_ram(state, section.source, section.length):
        errors = frozenset({dump.INVALID_SOURCE, dump.EXCEEDS_SOURCE})
        return _Dumped(section, scratch=destination, errors=errors)
    data = bytearray(state.memory.read(section.source, section.length))
    for write in copied:
        _overlay(data, section.source, write)
    write = Write(section.destination, bytes(data), DUMP)
    return _Dumped(section, (write,), dumped=section.length)


def _cpu_part(state: State, section: Section, destination: tuple[Scratch, ...]) -> _Dumped:
    needed = _state_size(state)
    if section.length >= needed:
        return _Dumped(section, scratch=destination)
    rest = ram_of(state, section.destination + section.length, needed - section.length)
    guards = tuple(Write(start, state.memory.read(start, length), FORMAT) for start, length in rest)
    return _Dumped(section, guards, destination, errors=None)


def _overlay(data: bytearray, start: int, write: Write) -> None:
    """What an earlier copy left in the range at ``start``."""
    low, high = max(start, write.address), min(start + len(data), write.address + len(write.data))
    if low < high:
        data[low - start : high - start] = write.data[low - write.address : high - write.address]


def _breaches(state: State, part: _Dumped) -> Iterator[tuple[_Dumped, Breach]]:
    """The ways in which a build may deal with a section wrongly."""
    section = part.section
    if section.kind == dump.CPU_STATE and part.writes:
        length = max(section.length, _state_size(state))
        scratch = tuple(Scratch(*piece, FORMAT) for piece in ram_of(state, section.destination, length))
        yield replace(part, writes=(), scratch=scratch), PAST_LENGTH
    elif part.writes:
        before = state.memory.read(section.destination, section.length)
        untouched = (Write(section.destination, before, DUMP),)
        yield replace(part, writes=untouched, errors=None, dumped=None), IGNORES_TYPE


def _open(state: State, plan: tuple[_Dumped, ...]) -> Iterator[Scratch]:
    for part in plan:
        length = max(part.section.length, _state_size(state) if part.section.kind == dump.CPU_STATE else 0)
        yield from (Scratch(*piece, DUMP) for piece in ram_of(state, part.section.destination, length))


def _state_size(state: State) -> int:
    """Bytes that the platform says the CPU state needs (LoPAR R1-7.3.26-7)."""
    rtas = state.environment.tree.find("/rtas")
    cells = () if rtas is None else rtas.cells(SIZES)
    sizes = {cells[at]: cells[at + 1] << 32 | cells[at + 2] for at in range(0, len(cells) - 2, 3)}
    return sizes.get(dump.CPU_STATE, 0)


def _reply(end: Reply, state: State, plan: tuple[_Dumped, ...]) -> Reply:
    return replace(
        end,
        writes=tuple(write for part in plan for write in part.writes),
        scratch=tuple(scratch for part in plan for scratch in part.scratch),
        relations=tuple(_relations(state, plan)),
    )


# ---- what is told of it ----------------------------------------------------------------------------------

#: what is wrong with the structure that the platform shows, in words
Wrong = Callable[[Structure, Outcome, GuestMemory], str | None]


def _relations(state: State, plan: tuple[_Dumped, ...]) -> Iterator[Relation]:
    """The rules over ``ibm,kernel-dump`` in the new device tree, and over the CPU state that it tells of."""
    fdt = state.environment.fdt.start

    def shown(memory: GuestMemory) -> Structure | None:
        return dump.parse((blob.found_at(memory, fdt) or {}).get(PROPERTY, b""))

    def relation(check: str, rule: str, wrong: Wrong) -> Relation:
        def holds(outcome: Outcome, memory: GuestMemory) -> str | None:
            structure = shown(memory)
            return None if structure is None else wrong(structure, outcome, memory)

        return Relation(check, holds, rule)

    def present(_: Outcome, memory: GuestMemory) -> str | None:
        structure = shown(memory)
        if structure is None:
            return f"the device tree has no {PROPERTY}"
        requested = tuple(part.section.request for part in plan)
        if structure.whole and tuple(section.request for section in structure.sections) == requested:
            return None
        return f"{PROPERTY} does not describe the sections that were registered"

    yield Relation("fadump.property", present, DUMP)
    for check, rule, wrong in (
        ("fadump.status", FORMAT, _status),
        ("fadump.error-flag", FORMAT, _error_flag),
        ("fadump.section-errors", FORMAT, _section_errors(plan)),
        ("fadump.section-length", FORMAT, _section_lengths(plan)),
        ("fadump.cpu-state", CPU_FORMAT, _cpu_state),
        ("fadump.cpu-registers", DUMP, _cpu_registers),
        ("fadump.cpu-state-length", FORMAT, _cpu_state_length),
    ):
        yield relation(check, rule, wrong)


def _status(structure: Structure, _: Outcome, __: GuestMemory) -> str | None:
    wanted = dump.PERFORMED | dump.TRIGGERED
    return None if structure.status & wanted == wanted else f"status flags {structure.status:#x}"


def _error_flag(structure: Structure, _: Outcome, __: GuestMemory) -> str | None:
    failed = any(section.errors for section in structure.sections)
    if failed == bool(structure.status & dump.ERROR):
        return None
    return f"status flags {structure.status:#x} {'with' if failed else 'without'} an error in a section"


def _section_errors(plan: tuple[_Dumped, ...]) -> Wrong:
    def wrong(structure: Structure, _: Outcome, __: GuestMemory) -> str | None:
        found = [
            f"section {index}: error flags {section.errors:#x}"
            for index, (part, section) in enumerate(zip(plan, structure.sections, strict=False))
            if part.errors is not None
            and not any(section.errors & flag for flag in part.errors)
            and (part.errors or section.errors)
        ]
        return ", ".join(found) or None

    return wrong


def _section_lengths(plan: tuple[_Dumped, ...]) -> Wrong:
    def wrong(structure: Structure, _: Outcome, __: GuestMemory) -> str | None:
        found = [
            f"section {index}: {section.dumped:#x} bytes dumped, not {part.dumped:#x}"
            for index, (part, section) in enumerate(zip(plan, structure.sections, strict=False))
            if part.dumped is not None and section.dumped != part.dumped
        ]
        return ", ".join(found) or None

    return wrong


def _areas(structure: Structure, memory: GuestMemory) -> Iterator[bytes]:
    """The CPU states that were dumped whole."""
    for section in structure.sections:
        if section.kind == dump.CPU_STATE and 0 < section.dumped <= section.length and not section.errors:
            yield memory.read(section.destination, section.dumped)


def _cpu_state(structure: Structure, _: Outcome, memory: GuestMemory) -> str | None:
    for area in _areas(structure, memory):
        try:
            dump.cpu_state(area)
        except dump.BadCpuState as error:
            return f"the CPU state is malformed: {error}"
    return None


def _states(structure: Structure, memory: GuestMemory) -> Iterator[tuple[dict[str, int], int]]:
    """The first CPU's registers in each area in good order, and the bytes that nothing uses."""
    for area in _areas(structure, memory):
        try:
            cpus, used = dump.cpu_state(area)
        except dump.BadCpuState:
            continue
        yield dict(cpus[0]) if cpus else {}, len(area) - used


def _cpu_registers(structure: Structure, outcome: Outcome, memory: GuestMemory) -> str | None:
    for registers, _ in _states(structure, memory):
        wrong = [
            f"{name} {registers[name]:#x} instead of {outcome.before[own]:#x}"
            for name, own in SAVED.items()
            if name in registers and own in outcome.before and registers[name] != outcome.before[own]
        ]
        if wrong:
            return "the CPU state has " + ", ".join(wrong)
    return None


def _cpu_state_length(structure: Structure, _: Outcome, memory: GuestMemory) -> str | None:
    unused = sum(rest for _, rest in _states(structure, memory))
    return f"{unused} bytes were dumped after the last register" if unused else None


__all__ = ["crash"]
