"""Turn a step into what a target can execute: every reference a number, every RTAS step a seed and a call.

It decides where the cells of a parameter block go and what surrounds them; what a call then does with them is
the model's business.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rig.model.environment import Environment, Region
from rig.program import (
    H_RTAS,
    Arrive,
    Await,
    Call,
    Host,
    Outcome,
    Ref,
    Rtas,
    Run,
    Seed,
    Step,
    Together,
    Value,
)
from rig.scenario.errors import BadScenario
from rig.scenario.reference import FromMap, FromStep, FromTree, Reference, parse
from rig.scenario.reserved import AGENT, SCRATCH, refusal
from rig.target import GuestMemory

MASK64 = (1 << 64) - 1
MASK32 = (1 << 32) - 1
#: QEMU ignores the top nibble of the block's address (real-mode addresses have 60 bits, Power ISA 5.7.3)
REAL = (1 << 60) - 1

#: canary bytes before and after a parameter block
BEFORE = 64
AFTER = 256
#: at most so many cells of ``rets`` are filled in advance and can be referred to
RETS = 64

#: the canary bytes of 64 KiB, after which they repeat
_CANARIES = bytes((at * 167 + (at >> 8) * 59 + 0x5A) & 0xFF for at in range(1 << 16))

#: what a target executes
Resolved = Seed | Call | Together | Host | Await | Arrive


@dataclass(slots=True)
class Names:
    """What the steps of one program have returned so far, and which memory they seeded."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    #: ranges seeded by the program itself, which no canary may overwrite
    seeded: list[Region] = field(default_factory=list)
    #: RTAS steps under way, oldest first: address of ``rets`` and number of cells
    pending: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def record(self, step: Step, outcome: Outcome, memory: GuestMemory) -> None:
        """Keep what ``step`` left behind, so that later steps can refer to it by name."""
        if not step.name:
            return
        self.outcomes[step.name] = outcome
        if isinstance(step, Rtas):
            address, count = self.pending[step.name].pop(0)
            self.rets[step.name] = tuple(_cells(memory, address, count))


def canary(address: int, length: int) -> bytes:
    """The canary bytes for ``address``: each depends on its address, so that moved bytes show."""
    start = address % len(_CANARIES)
    whole = _CANARIES if start + length <= len(_CANARIES) else _CANARIES * (2 + length // len(_CANARIES))
    return whole[start : start + length]


def resolve(value: Value, names: Names, environment: Environment) -> int:
    """The 64-bit number that ``value`` stands for now.

    Raises :class:`BadScenario` for a reference to a step that was not executed or returned nothing there, or
    to a property or cell that the device tree lacks.
    """
    if not isinstance(value, Ref):
        return value & MASK64
    reference = parse(value)
    try:
        found = _look_up(reference, names, environment)
    except LookupError as error:
        raise BadScenario(f"{value} cannot be resolved: {error.args[0]}") from error
    return (found + reference.offset) & MASK64


def _look_up(reference: Reference, names: Names, environment: Environment) -> int:
    match reference:
        case FromMap(place, edge):
            region = {
                "ram": Region(environment.ram[0].start, environment.ram[-1].end - environment.ram[0].start),
                "rma": environment.rma,
                "fdt": environment.fdt,
            }[place]
            return region.start if edge == "start" else region.end
        case FromTree(path, name, index):
            node = environment.tree.find(path)
            if node is None:
                raise LookupError(f"the device tree has no node {path}")
            cells = node.cells(name)
            if index >= len(cells):
                raise LookupError(f"property {name} of {path} has {len(cells)} cells")
            return cells[index]
        case FromStep():
            return _returned(reference, names)


def _returned(reference: FromStep, names: Names) -> int:
    step, register = reference.step, reference.register
    if step not in names.outcomes:
        raise LookupError(f"no step named {step!r} was executed before")
    if not register:
        held = names.rets.get(step, ())
        if reference.rets >= len(held):
            raise LookupError(f"step {step!r} returned {len(held)} cells")
        return held[reference.rets]
    registers = names.outcomes[step].registers
    if register not in registers:
        raise LookupError(f"step {step!r} left no {register} (it is no call, or did not return)")
    return registers[register]


def resolve_step(step: Step, names: Names, environment: Environment) -> tuple[Resolved, ...]:
    """What a target has to execute for ``step``, in order; a call is always last.

    Raises :class:`BadScenario` for references that cannot be resolved, memory that cannot be seeded and
    services that the build does not have.
    """
    try:
        match step:
            case Seed():
                return (_seed(step, names, environment),)
            case Call():
                opcode = resolve(step.opcode, names, environment)
                args = tuple(resolve(arg, names, environment) for arg in step.args)
                return (replace(step, opcode=opcode, args=args),)
            case Rtas():
                return _rtas(step, names, environment)
            case Run():
                run = replace(step, address=resolve(step.address, names, environment))
                return (Together((run,), name=step.name),)
            case Together():
                return _together(step, names, environment)
            case _:
                return (step,)
    except BadScenario as error:
        raise BadScenario(f"step {step.name!r}: {error}" if step.name else str(error)) from error


def literal(step: Step, names: Names) -> Step:
    """``step`` with the numbers that earlier calls returned in place of references to these.

    Raises :class:`LookupError` for a reference to a step that was not executed or returned nothing there.
    """

    def number(value: Value) -> Value:
        if not isinstance(value, Ref) or not isinstance(reference := parse(value), FromStep):
            return value
        return (_returned(reference, names) + reference.offset) & MASK64

    return replace(step, args=tuple(map(number, step.args))) if isinstance(step, Call | Rtas) else step


def _together(step: Together, names: Names, environment: Environment) -> tuple[Resolved, ...]:
    """All seeds first, then the parts at once."""
    seeds: list[Resolved] = []
    parts: list[Call | Rtas | Run] = []
    for part in step.parts:
        for resolved in resolve_step(part, names, environment):
            match resolved:
                case Call():
                    parts.append(resolved)
                case Together():
                    parts += resolved.parts
                case _:
                    seeds.append(resolved)
    return (*seeds, replace(step, parts=tuple(parts)))


def _seed(step: Seed, names: Names, environment: Environment) -> Seed:
    address = resolve(step.address, names, environment)
    data = step.data
    if step.cells:
        mask = (1 << 8 * step.width) - 1
        data = b"".join(
            (resolve(cell, names, environment) & mask).to_bytes(step.width, "big") for cell in step.cells
        )
    if reason := refusal(address, len(data)):
        raise BadScenario(reason)
    if not environment.is_ram(address, len(data)):
        raise BadScenario(f"{address:#x}..{address + len(data):#x} cannot be seeded: it is not all RAM")
    if (region := Region(address, len(data))) not in names.seeded:
        names.seeded.append(region)
    return Seed(address, data, name=step.name)


def token(service: str | Value, names: Names, environment: Environment) -> int:
    """The token of ``service``: from ``/rtas`` for a name; raises :class:`BadScenario` for an unknown one."""
    if not isinstance(service, str):
        return resolve(service, names, environment) & MASK32
    tokens = environment.tokens
    if service not in tokens:
        near = difflib.get_close_matches(service, tokens, n=3)
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        raise BadScenario(
            f"the build has no RTAS service {service!r} in /rtas{hint}; a scenario for a service "
            f"that not every build has says so in requires: services: [{service!r}]"
        )
    return tokens[service]


def _rtas(step: Rtas, names: Names, environment: Environment) -> tuple[Resolved, ...]:
    block = resolve(step.block, names, environment)
    nargs = len(step.args) if step.nargs is None else resolve(step.nargs, names, environment) & MASK32
    nret = resolve(step.nret, names, environment) & MASK32
    address = block if step.address is None else resolve(step.address, names, environment)
    cells = [token(step.service, names, environment), nargs, nret]
    cells += [resolve(arg, names, environment) & MASK32 for arg in step.args]
    inputs = b"".join(cell.to_bytes(4, "big") for cell in cells)
    if reason := refusal(block, len(inputs) + 4 * min(nret, RETS)):
        raise BadScenario(f"parameter block: {reason}")
    if step.name:
        rets = (address & REAL) + 12 + 4 * nargs
        names.pending.setdefault(step.name, []).append((rets, min(nret, RETS)))
    seeds = [Seed(start, data) for start, data in _block(block, inputs, min(nret, RETS), names, environment)]
    call = Call(H_RTAS, (address,), name=step.name, timeout=step.timeout, cpu=step.cpu, problem=step.problem)
    return (*seeds, call)


def _block(
    block: int, inputs: bytes, nret: int, names: Names, environment: Environment
) -> Iterator[tuple[int, bytes]]:
    """What to seed for a parameter block, in pieces where memory of others is to be kept."""
    rets = block + len(inputs)
    whole = Region(max(0, block - BEFORE), min(block, BEFORE) + len(inputs) + 4 * nret + AFTER)
    ram = environment.ram[0]
    taken = (AGENT, environment.fdt, *names.seeded)
    if whole.end <= ram.end and not any(region.overlaps(whole.start, whole.length) for region in taken):
        before = canary(whole.start, block - whole.start)
        yield whole.start, before + inputs + canary(rets, whole.end - rets)
        return
    for piece, data in _pieces(_surroundings(block, inputs, nret, names.seeded), environment):
        yield piece.start, data


def _surroundings(
    block: int, inputs: bytes, nret: int, seeded: Sequence[Region]
) -> Iterator[tuple[Region, bytes]]:
    """The ranges of a parameter block in ascending order: canary, inputs, ``rets`` and canary."""
    rets = block + len(inputs)
    end = rets + 4 * nret
    keep = [*seeded, Region(AGENT.start, SCRATCH.start), Region(SCRATCH.end, AGENT.end - SCRATCH.end)]
    before = Region(max(0, block - BEFORE), min(block, BEFORE))
    for piece in _without(before, keep):
        yield piece, canary(piece.start, piece.length)
    yield Region(block, len(inputs)), inputs
    yield Region(rets, end - rets), canary(rets, end - rets)
    for piece in _without(Region(end, AFTER), keep):
        yield piece, canary(piece.start, piece.length)


def _pieces(ranges: Iterable[tuple[Region, bytes]], environment: Environment) -> list[tuple[Region, bytes]]:
    """``ranges`` clipped to RAM outside the device tree, adjacent ones joined."""
    pieces: list[tuple[Region, bytes]] = []
    for whole, data in ranges:
        for ram in environment.ram:
            start, end = max(whole.start, ram.start), min(whole.end, ram.end)
            for part in _without(Region(start, end - start), [environment.fdt]) if start < end else ():
                cut = data[part.start - whole.start : part.end - whole.start]
                if pieces and pieces[-1][0].end == part.start:
                    last, held = pieces.pop()
                    pieces.append((Region(last.start, last.length + part.length), held + cut))
                else:
                    pieces.append((part, cut))
    return pieces


def _without(region: Region, keep: Iterable[Region]) -> list[Region]:
    """What is left of ``region`` when ``keep`` is taken out, ascending."""
    left = [region] if region.length > 0 else []
    for held in keep:
        parts = []
        for part in left:
            if not held.overlaps(part.start, part.length):
                parts.append(part)
                continue
            if part.start < held.start:
                parts.append(Region(part.start, held.start - part.start))
            if held.end < part.end:
                parts.append(Region(held.end, part.end - held.end))
        left = parts
    return left


def _cells(memory: GuestMemory, address: int, count: int) -> Iterator[int]:
    """Up to ``count`` big-endian 32-bit cells at ``address``; fewer where RAM ends."""
    for index in range(count):
        try:
            yield int.from_bytes(memory.read(address + 4 * index, 4), "big")
        except ValueError:
            return


__all__ = ["Names", "Resolved", "canary", "literal", "resolve", "resolve_step", "token"]
