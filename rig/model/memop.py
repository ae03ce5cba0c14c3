"""H_LOGICAL_MEMOP (0xf001): one operation on a range of guest-physical memory.

The contract is QEMU's hcall document and the patch that introduced the call, with its review; it is not
what a build happens to do.  Elements are processed one after another in the contract; whole ranges are
computed here at once, which is the same because the direction follows the overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rig.frozen import frozen
from rig.model.address import SPACE, in_ram, in_window, load, pieces, ram_of
from rig.model.environment import Region
from rig.model.expectation import Breach, Case, Exactly, Expectation, OneOf, Scratch, Write
from rig.model.hypercall import (
    H_PARAMETER,
    H_SUCCESS,
    MASK64,
    Argument,
    Hypercall,
    Kind,
    State,
    returns,
    unsigned,
)
from rig.model.memory import Memory
from rig.program import H_LOGICAL_MEMOP

#: as posted on 2012-05-25 (every operation but 0 inverts), and after its review
REVISIONS = ("posted-v2", "merged")

PATCH = "QEMU patch 'spapr: Add memop hypercall', v2 of 2012-05-25"
REVIEW = "review of QEMU patch 'spapr: Add memop hypercall', v2: operations above 1 are invalid"
DOCUMENT = "QEMU docs/specs/ppc-spapr-hcalls, H_LOGICAL_MEMOP"

#: the largest number of elements (PATCH)
MAX_COUNT = 0x8000_0000
#: log2 of the largest element, 8 bytes (DOCUMENT)
MAX_ESIZE = 3

#: every byte inverted, for bytes.translate
INVERTED = bytes(range(255, -1, -1))

XOR_INVERTS = Breach(
    "memop.xor-inverts",
    "operation 1 stores the inverted source where the document says xor",
    f"{DOCUMENT}, operation 1",
)
OUTSIDE_MEMORY = Breach(
    "memop.outside-memory",
    "a range that is not all memory is accepted: what is not there reads as zero and drops stores",
    f"{DOCUMENT}: H_PARAMETER for an invalid argument",
)


#: an integer, or an array of uint64
Words = Any


@frozen
class Operation:
    """What is stored, from the source's bytes and, where it ``accumulates``, the destination's old ones."""

    name: str
    store: Callable[[bytes, bytes], bytes]
    breach: Breach | None = None
    rule: str = PATCH
    accumulates: bool = False


def _xor(source: bytes, old: bytes) -> bytes:
    return (int.from_bytes(source) ^ int.from_bytes(old)).to_bytes(len(old))


COPY = Operation("copy", lambda source, _: source)
INVERT = Operation("invert", lambda source, _: source.translate(INVERTED))
INVERT_FOR_XOR = Operation("invert", INVERT.store, XOR_INVERTS)
XOR = Operation("xor", _xor, rule=DOCUMENT, accumulates=True)


def operations(op: int, revision: str) -> tuple[Operation, ...]:
    """What operation ``op`` may mean, the meaning that its users rely on first; none when it is invalid."""
    if op == 0:
        return (COPY,)
    if op == 1:
        return INVERT_FOR_XOR, XOR
    return (INVERT,) if revision == "posted-v2" else ()


# These rules hold for integers and, element by element, for arrays of uint64 (rig.model.vectorised).


def size_in_bytes(count: Words, esize: Words) -> Words:
    """Bytes in ``count`` elements of a valid size."""
    return count << esize


def misaligned(dst: Words, src: Words, esize: Words) -> Words:
    """The bits by which an address misses a multiple of the element size (PATCH); none is zero."""
    return (dst | src) & ((1 << esize) - 1)


def backward(dst: Words, src: Words, length: Words) -> Words:
    """Whether elements are processed from the last to the first: the destination starts in the source.

    All in 64-bit arithmetic (PATCH).
    """
    return (src <= dst) & (dst < (src + length) & MASK64)


def expect(registers: Mapping[str, int], state: State) -> Expectation:
    """The expectation for r4 destination, r5 source, r6 log2 of the element size, r7 count, r8 operation."""
    dst, src, esize, count, op = (registers.get(f"r{number}", 0) for number in range(4, 9))
    length = size_in_bytes(count, min(esize, MAX_ESIZE))
    meanings = operations(op, state.revision)
    faults = _faults(dst, src, esize, count, known=bool(meanings))
    facts = faults | _facts(state, dst, src, esize, length)
    return Expectation(
        "H_LOGICAL_MEMOP",
        _cases(state, facts, faults, dst, src, length, meanings),
        {"destination": dst, "source": src, "esize": esize, "count": count, "operation": op},
        facts,
        None if "mmio" in facts else ram_of(state, dst, length) + ram_of(state, src, length),
    )


def _cases(
    state: State,
    facts: frozenset[str],
    faults: frozenset[str],
    dst: int,
    src: int,
    length: int,
    meanings: tuple[Operation, ...],
) -> tuple[Case, ...]:
    refused = returns(
        H_PARAMETER, f"{DOCUMENT}; {REVIEW}" if "op-over-1" in faults else f"{DOCUMENT}; {PATCH}"
    )
    if faults == {"invalid-esize"} and {"count-zero", "esize-31-up"} <= facts:
        # The patch shifts a 32-bit int by the element size before it looks at it: C leaves that undefined.
        either = OneOf((unsigned(H_PARAMETER), H_SUCCESS))
        return (Case("H_PARAMETER or H_SUCCESS", {"r3": either}, rule=PATCH),)
    if faults:
        return (refused,)
    if not length:
        return (returns(H_SUCCESS, PATCH),)
    if "mmio" in facts:
        return (_through_window(state, dst, length),)
    outside = bool(facts & {"destination-outside", "source-outside"})
    performed = tuple(
        Case(
            operation.name,
            {"r3": Exactly(H_SUCCESS)},
            writes=tuple(stores(state.memory, operation, dst, src, length)),
            breach=OUTSIDE_MEMORY if outside else operation.breach,
            rule=operation.rule,
        )
        for operation in meanings
    )
    return (refused, *performed) if outside else performed


def _faults(dst: int, src: int, esize: int, count: int, *, known: bool) -> frozenset[str]:
    """What makes the arguments invalid, memory aside."""
    faults = set()
    if count > MAX_COUNT:
        faults.add("count-over-limit")
    if esize > MAX_ESIZE:
        faults.add("invalid-esize")
    elif misaligned(dst, src, esize):
        faults.add("misaligned")
    if not known:
        faults.add("op-over-1")
    return frozenset(faults)


def _facts(state: State, dst: int, src: int, esize: int, length: int) -> frozenset[str]:
    """Stable words for the situation; ``length`` is in bytes."""
    facts = set()
    if not length:
        facts.add("count-zero")
    if esize >= 31:
        facts.add("esize-31-up")
    for name, start in (("destination", dst), ("source", src)):
        if not in_ram(state, start, length):
            facts.add(f"{name}-outside")
            if ram_of(state, start, length):
                facts.add(f"{name}-straddles-end")
        if start + length > SPACE:
            facts.add("wraps")
        if in_window(state, start, length):
            facts.add("mmio")
    if length and dst == src:
        facts.add("in-place")
    elif 0 < dst - src < length:
        facts.add("overlap-backward")
    elif 0 < src - dst < length:
        facts.add("overlap-forward")
    return frozenset(facts)


def _through_window(state: State, dst: int, length: int) -> Case:
    """A range with device memory in it: whether a device answers, and what, the model does not know.

    Reaching I/O is what the call is for (DOCUMENT), so it may succeed; where no device answers the address
    is invalid.
    """
    return Case(
        "through a window",
        {"r3": OneOf((H_SUCCESS, unsigned(H_PARAMETER)))},
        scratch=tuple(Scratch(address, size, DOCUMENT) for address, size in ram_of(state, dst, length)),
        rule=DOCUMENT,
    )


def stores(memory: Memory, operation: Operation, dst: int, src: int, length: int) -> Iterable[Write]:
    """What ``operation`` on ``length`` bytes leaves in RAM; zero is loaded and nothing stored elsewhere.

    From the last element to the first when the destination starts inside the source range (PATCH), all in
    64-bit arithmetic: where the source range runs over the top of the address space an overlap goes unseen
    and stored elements are loaded again, ``distance`` bytes further on.
    """
    descending = backward(dst, src, length)
    distance = (dst - src) & MASK64
    block = length if descending else min(distance or length, length)
    done: list[Write] = []
    for piece in pieces(memory.ram, dst, length):
        old = memory.read(piece.address, piece.length) if operation.accumulates else b""
        size = min(block, piece.length)
        loaded = load(memory, (src + piece.offset) & MASK64, size)
        if done and not descending:
            loaded = _patched(loaded, (src + piece.offset) & MASK64, done)
        blocks = [operation.store(loaded, old[:size])]
        for at in range(size, piece.length, size):
            end = min(at + size, piece.length)
            blocks.append(operation.store(blocks[-1][: end - at], old[at:end]))
        done.append(Write(piece.address, b"".join(blocks), operation.rule))
    return done


def _patched(loaded: bytes, address: int, writes: Iterable[Write]) -> bytes:
    """What was ``loaded`` at ``address`` as it is after ``writes``."""
    data = bytearray(loaded)
    for write in writes:
        for piece in pieces((Region(write.address, len(write.data)),), address, len(data)):
            start = piece.address - write.address
            data[piece.offset : piece.offset + piece.length] = write.data[start : start + piece.length]
    return bytes(data)


HYPERCALLS = (
    Hypercall(
        H_LOGICAL_MEMOP,
        "H_LOGICAL_MEMOP",
        (
            Argument("destination", Kind.ADDRESS, "guest physical, aligned to the element size"),
            Argument("source", Kind.ADDRESS, "guest physical, aligned to the element size"),
            Argument("esize", Kind.SHIFT, "log2 of the element size in bytes: 0, 1, 2 or 3"),
            Argument("count", Kind.COUNT, "number of elements, at most 0x80000000"),
            Argument("operation", Kind.OPERATION, "0 copy; 1 xor by the document, invert by the patch"),
        ),
        "Applies an operation to each element of a range, as memmove does where source and destination "
        "overlap. H_PARAMETER for a count above 0x80000000, an element size other than 1, 2, 4 or 8 bytes, a "
        "misaligned address, an operation above 1, or a range that is not all memory.",
        f"{DOCUMENT}; {PATCH}",
        expect,
    ),
)
