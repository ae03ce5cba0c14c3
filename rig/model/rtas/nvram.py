"""nvram-fetch and nvram-store (LoPAR 7.3.1): the non-volatile memory, byte for byte.

What it holds at first is not specified: the model knows a byte once it was stored or fetched.
"""

from __future__ import annotations

from dataclasses import replace

from rig.model.environment import Environment
from rig.model.expectation import Between, Breach, Exactly, Relation, Scratch, Write
from rig.model.hypercall import Argument, Kind
from rig.model.rtas import buffer
from rig.model.rtas.service import (
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    UNSPECIFIED,
    Reply,
    Request,
    Service,
    bounded,
)
from rig.program import Outcome
from rig.target import GuestMemory

FETCH = "R1-7.3.1.1-1"
STORE = "R1-7.3.1.2-1"
VISIBLE = "R1-7.3.1.2-2"
#: the map of a partition's NVRAM contradicts the calls' tables: both endings are permitted
ELSEWHERE = "LoPAR 14, NVRAM outside the partition's range: fetched as 0, stores are discarded"

SHORT = Breach("rtas.nvram-short", "success is reported although not every byte was copied", FETCH)
HIDDEN = Breach("rtas.nvram-failure-hidden", "a store that failed is reported as a success", STORE)

#: NVRAM is a few KiB; a request for more is not copied byte by byte to see what it would have done
LARGEST = 1 << 20


class Contents:
    """The NVRAM's size in bytes and what is known of what it holds; it outlives a reset (LoPAR R1-8.1-2)."""

    def __init__(self, environment: Environment) -> None:
        self.size = size_of(environment)
        self.data = bytearray(self.size)
        self.known = bytearray(self.size)
        #: whether a drive is behind it, and whether that was told to fail when it is written
        self.backed = any("if=pflash" in word for word in environment.options.arguments)
        self.failing = any("inject-error" in word for word in environment.options.arguments)

    def reset(self, environment: Environment) -> None:
        """Nothing: that is what it is for."""

    def restart(self, environment: Environment) -> None:
        """Only what has a drive behind it is still there."""
        if not self.backed:
            self.forget(0, self.size)

    def learn(self, index: int, data: bytes) -> None:
        """``data`` is what lies at ``index``."""
        self.data[index : index + len(data)] = data
        self.known[index : index + len(data)] = b"\1" * len(data)

    def forget(self, index: int, length: int) -> None:
        """Anything may lie in the range; it may run over the end."""
        end = min(self.size, index + length)
        self.known[index:end] = bytes(max(0, end - index))


def size_of(environment: Environment) -> int:
    """``#bytes`` of the node of device type ``nvram`` below ``/vdevice``; 0 when there is none."""
    vdevice = environment.tree.find("/vdevice")
    for node in vdevice.children.values() if vdevice else ():
        if node.properties.get("device_type", b"").rstrip(b"\0") == b"nvram":
            return next(iter(node.cells("#bytes")), 0)
    return 0


def _fetch(request: Request) -> tuple[Reply, ...]:
    state, contents = request.state, request.state.of(Contents)
    index, address, length = request.args[:3]
    in_range = index + length <= contents.size
    refused = Reply(
        PARAMETER_ERROR,
        scratch=buffer.open_to(state, address, min(length, contents.size - index)),
        rule=FETCH,
    )
    if not in_range:
        if length > LARGEST or buffer.facts(state, address, length):
            return (refused,)
        padding = bytes(length - max(0, contents.size - index))
        filled = Write(address + length - len(padding), padding, ELSEWHERE)
        return (refused, replace(refused, status=SUCCESS, outputs=(Exactly(length),), writes=(filled,)))

    def learn(outcome: Outcome) -> None:
        contents.learn(index, state.memory.read(address, length))

    if buffer.facts(state, address, length):
        taken = Reply(
            SUCCESS,
            (Between(0, length),),
            scratch=buffer.open_to(state, address, length),
            rule=FETCH,
            breach=buffer.TAKEN,
        )
        return (refused, taken)
    writes, scratch = _shown(contents, index, address, length)
    done = Reply(SUCCESS, (Exactly(length),), FETCH, writes=writes, scratch=scratch, effect=learn)
    if not length:
        return (done, refused)

    def first_bytes(outcome: Outcome, memory: GuestMemory) -> str | None:
        count = int.from_bytes(memory.read(request.rets + 4, 4), "big")
        for at, byte in enumerate(memory.read(address, min(count, length)), index):
            if contents.known[at] and contents.data[at] != byte:
                return f"byte {at:#x} is {byte:#x}, not {contents.data[at]:#x}"
        return None

    short = Reply(
        SUCCESS,
        (Between(0, length - 1),),
        FETCH,
        scratch=buffer.open_to(state, address, length),
        relations=(Relation("rtas.nvram-contents", first_bytes, VISIBLE),),
        breach=SHORT,
    )
    return (done, short)


def _shown(
    contents: Contents, index: int, address: int, length: int
) -> tuple[tuple[Write, ...], tuple[Scratch, ...]]:
    """A fetched range: bytes that are known, and bytes that may be anything."""
    writes: list[Write] = []
    scratch: list[Scratch] = []
    at, end = index, index + length
    while at < end:
        known = contents.known[at]
        stop = contents.known.find(0 if known else 1, at, end)
        stop = end if stop < 0 else stop
        start = address + at - index
        if known:
            writes.append(Write(start, bytes(contents.data[at:stop]), VISIBLE))
        else:
            scratch.append(Scratch(start, stop - at, buffer.NAMED))
        at = stop
    return tuple(writes), tuple(scratch)


def _store(request: Request) -> tuple[Reply, ...]:
    state, contents = request.state, request.state.of(Contents)
    index, address, length = request.args[:3]

    def keep(outcome: Outcome) -> None:
        contents.learn(index, state.memory.read(address, length))

    def lose(outcome: Outcome) -> None:  # LoPAR R1-7.3.1.2-2: undefined after a store that failed
        contents.forget(index, length)

    refused = Reply(PARAMETER_ERROR, rule=STORE, effect=lose)
    if index + length > contents.size:
        return (refused, Reply(SUCCESS, (Exactly(length),), ELSEWHERE, effect=lose))
    if buffer.facts(state, address, length):
        return (refused, Reply(SUCCESS, (Between(0, length),), STORE, effect=lose, breach=buffer.TAKEN))
    if contents.failing and length:
        hidden = Reply(SUCCESS, (UNSPECIFIED,), STORE, effect=lose, breach=HIDDEN)
        return (replace(refused, status=HARDWARE_ERROR), hidden)
    done = Reply(SUCCESS, (Exactly(length),), STORE, effect=keep if request.exact else lose)
    if not length:
        return (done, refused)
    return (done, Reply(SUCCESS, (Between(0, length - 1),), STORE, effect=lose, breach=SHORT))


def _facts(request: Request) -> frozenset[str]:
    index, address, length = request.args[:3]
    facts = buffer.facts(request.state, address, length)
    if index + length > request.state.of(Contents).size:
        facts |= {"out-of-range"}
    return facts


ARGUMENTS = (
    Argument("index", Kind.OFFSET, "bytes from the start of NVRAM"),
    Argument("buffer", Kind.ADDRESS),
    Argument("length", Kind.LENGTH),
)

SERVICES: tuple[Service, ...] = (
    Service(
        "nvram-fetch",
        ARGUMENTS,
        ("num",),
        ((3, 2),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR}),
        "Copies bytes of NVRAM to a buffer and says how many.",
        "LoPAR 7.3.1.1",
        (FETCH,),
        _fetch,
        _facts,
        bounded(1, LARGEST, 2),
    ),
    Service(
        "nvram-store",
        ARGUMENTS,
        ("num",),
        ((3, 2),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR}),
        "Copies a buffer's bytes to NVRAM and says how many.",
        "LoPAR 7.3.1.2",
        (STORE, VISIBLE),
        _store,
        _facts,
        bounded(1, LARGEST, 2),
    ),
)

__all__ = ["SERVICES", "Contents", "size_of"]
