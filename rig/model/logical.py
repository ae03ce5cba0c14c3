"""H_LOGICAL_CI_LOAD and its neighbours: one access to a guest-physical address by hypercall.

LoPAR specifies only the cache-inhibited forms, as syntax text without numbered requirements.  The
cacheable forms are private to QEMU and taken as the same access to RAM; instruction and data cache forms
change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rig.model.address import in_ram, in_window, ram_of
from rig.model.expectation import (
    UNSPECIFIED,
    Breach,
    Case,
    Exactly,
    Expectation,
    OneOf,
    Permitted,
    Scratch,
    Write,
)
from rig.model.hypercall import (
    H_PARAMETER,
    H_SUCCESS,
    Argument,
    Hypercall,
    Kind,
    Reference,
    State,
    returns,
    unsigned,
)

H_LOGICAL_CI_LOAD = 0x3C
H_LOGICAL_CI_STORE = 0x40
H_LOGICAL_CACHE_LOAD = 0x44
H_LOGICAL_CACHE_STORE = 0x48
H_LOGICAL_ICBI = 0x4C
H_LOGICAL_DCBF = 0x50

LOAD = "LoPAR 14.5.4.4.1"
STORE = "LoPAR 14.5.4.4.2"
PRIVATE = "QEMU-private, as LoPAR 14.5.4.4 on RAM"

#: permitted access sizes in bytes
SIZES = (1, 2, 4, 8)

#: the case of an access that was made, once its breach is known
Performed = Callable[[Breach | None], Case]


def _facts(state: State, size: int, address: int) -> frozenset[str]:
    """Stable words for the situation; only ``invalid-size`` when the size is none."""
    if size not in SIZES:
        return frozenset({"invalid-size"})
    facts = set()
    if address % size:
        facts.add("unaligned")
    if in_ram(state, address, size):
        facts.add("ram")
    elif in_window(state, address, size):
        facts.add("mmio")
    else:
        facts.add("outside")
        if ram_of(state, address, size):
            facts.add("straddles-end")
    return frozenset(facts)


def _breach(facts: frozenset[str], rule: str, *, inhibited: bool) -> Breach | None:
    """What a build that makes the access breaks, the caller's plainest fault first."""
    if "unaligned" in facts:
        return Breach("logical.unaligned", "an address not aligned to the access size is accepted", rule)
    if "outside" in facts:
        return Breach("logical.outside-memory", "an address outside the partition is accepted", rule)
    if inhibited and "ram" in facts:
        return Breach("logical.ci-on-ram", "cacheable RAM is accessed cache-inhibited", rule)
    return None


def _cases(facts: frozenset[str], rule: str, performed: Performed, *, inhibited: bool) -> tuple[Case, ...]:
    refused = returns(H_PARAMETER, rule)
    if "invalid-size" in facts:
        return (refused,)
    breach = _breach(facts, rule, inhibited=inhibited)
    if breach:
        return refused, performed(breach)
    # LoPAR is silent on an address in a window at which no device answers.
    return (performed(None), refused) if "mmio" in facts else (performed(None),)


def _extended(data: bytes) -> OneOf:
    """A big-endian value in 64 bits; zero or sign extension is silent in LoPAR."""
    signed = int.from_bytes(data, "big", signed=True)
    return OneOf((int.from_bytes(data, "big"), unsigned(signed)))


def _load(name: str, rule: str, *, inhibited: bool) -> Reference:
    def expect(registers: Mapping[str, int], state: State) -> Expectation:
        size, address = registers.get("r4", 0), registers.get("r5", 0)
        facts = _facts(state, size, address)

        def performed(breach: Breach | None) -> Case:
            value: Permitted = UNSPECIFIED
            if "ram" in facts:
                value = _extended(state.memory.read(address, size))
            elif "outside" in facts and "straddles-end" not in facts:
                value = Exactly(0)
            return Case("loaded", {"r3": Exactly(H_SUCCESS), "r4": value}, breach=breach, rule=rule)

        return Expectation(
            name,
            _cases(facts, rule, performed, inhibited=inhibited),
            {"size": size, "address": address},
            facts,
            _footprint(state, facts, size, address),
        )

    return expect


def _store(name: str, rule: str, *, inhibited: bool) -> Reference:
    def expect(registers: Mapping[str, int], state: State) -> Expectation:
        size, address, value = (registers.get(f"r{number}", 0) for number in (4, 5, 6))
        facts = _facts(state, size, address)

        def performed(breach: Breach | None) -> Case:
            writes: tuple[Write, ...] = ()
            scratch: tuple[Scratch, ...] = ()
            if "ram" in facts:
                low = value & ((1 << 8 * size) - 1)
                writes = (Write(address, low.to_bytes(size, "big"), rule),)
            else:
                scratch = tuple(Scratch(*part, rule) for part in ram_of(state, address, size))
            return Case(
                "stored", {"r3": Exactly(H_SUCCESS)}, writes=writes, scratch=scratch, breach=breach, rule=rule
            )

        return Expectation(
            name,
            _cases(facts, rule, performed, inhibited=inhibited),
            {"size": size, "address": address, "value": value},
            facts,
            _footprint(state, facts, size, address),
        )

    return expect


def _footprint(
    state: State, facts: frozenset[str], size: int, address: int
) -> tuple[tuple[int, int], ...] | None:
    if "invalid-size" in facts:
        return ()
    return None if "mmio" in facts else ram_of(state, address, size)


def _cache(name: str) -> Reference:
    def expect(registers: Mapping[str, int], state: State) -> Expectation:
        arguments = {"size": registers.get("r4", 0), "address": registers.get("r5", 0)}
        return Expectation(name, (returns(H_SUCCESS, PRIVATE),), arguments, footprint=())

    return expect


_SIZE = Argument("size", Kind.SIZE, "1, 2, 4 or 8 bytes")
_ADDRESS = Argument("address", Kind.ADDRESS, "guest physical, aligned to the size")
_VALUE = Argument("value", Kind.VALUE, "low-order justified")

_LOADS = "Loads a big-endian value of the given size into the low-order bytes of r4."
_STORES = "Stores the low-order bytes of the value, big-endian."
_CACHED = " H_PARAMETER for another size, an unaligned address and one outside the partition."
_INHIBITED = f"{_CACHED[:-1]}, and for RAM, which is cacheable."
_NOTHING = "Succeeds and changes no memory."

HYPERCALLS = (
    Hypercall(
        H_LOGICAL_CI_LOAD,
        "H_LOGICAL_CI_LOAD",
        (_SIZE, _ADDRESS),
        _LOADS + _INHIBITED,
        LOAD,
        _load("H_LOGICAL_CI_LOAD", LOAD, inhibited=True),
    ),
    Hypercall(
        H_LOGICAL_CI_STORE,
        "H_LOGICAL_CI_STORE",
        (_SIZE, _ADDRESS, _VALUE),
        _STORES + _INHIBITED,
        STORE,
        _store("H_LOGICAL_CI_STORE", STORE, inhibited=True),
    ),
    Hypercall(
        H_LOGICAL_CACHE_LOAD,
        "H_LOGICAL_CACHE_LOAD",
        (_SIZE, _ADDRESS),
        _LOADS + _CACHED,
        PRIVATE,
        _load("H_LOGICAL_CACHE_LOAD", PRIVATE, inhibited=False),
    ),
    Hypercall(
        H_LOGICAL_CACHE_STORE,
        "H_LOGICAL_CACHE_STORE",
        (_SIZE, _ADDRESS, _VALUE),
        _STORES + _CACHED,
        PRIVATE,
        _store("H_LOGICAL_CACHE_STORE", PRIVATE, inhibited=False),
    ),
    Hypercall(
        H_LOGICAL_ICBI, "H_LOGICAL_ICBI", (_SIZE, _ADDRESS), _NOTHING, PRIVATE, _cache("H_LOGICAL_ICBI")
    ),
    Hypercall(
        H_LOGICAL_DCBF, "H_LOGICAL_DCBF", (_SIZE, _ADDRESS), _NOTHING, PRIVATE, _cache("H_LOGICAL_DCBF")
    ),
)
