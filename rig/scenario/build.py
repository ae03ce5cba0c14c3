"""Make a program's steps of the plain data of a YAML file whose ``${...}`` are replaced.

The data are taken to have the shape of :mod:`rig.scenario.schema`; numbers and names are checked here,
because the schema asks these functions.  All raise :class:`ValueError` in words for a user.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from rig.program import (
    H_LOGICAL_MEMOP,
    Arrive,
    Await,
    Call,
    Host,
    MachineOptions,
    Requirement,
    Rtas,
    Run,
    Seed,
    Step,
    Together,
    Value,
)
from rig.scenario import names
from rig.scenario.number import integer, value, within

Data = Mapping[str, Any]
Part = Call | Rtas | Run

_SERVICE = re.compile(r"[A-Za-z][\w,.+-]*")


def opcode(raw: object) -> Value:
    """A hypercall's name, number or a reference."""
    if isinstance(raw, str) and re.match(r"[A-Za-z_]", raw):
        return names.hypercall(raw).opcode
    return value(raw, 64)


def service(raw: object) -> str | Value:
    """An RTAS service's name, token or a reference."""
    if isinstance(raw, str) and _SERVICE.fullmatch(raw):
        return raw
    return value(raw, 32)


def hexadecimal(raw: object) -> bytes:
    """Bytes from pairs of hexadecimal digits."""
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is no string of hexadecimal digits; put it in quotes")
    try:
        return bytes.fromhex(raw)
    except ValueError as error:
        raise ValueError(f"{raw!r} is not pairs of hexadecimal digits such as 00 ff") from error


def pattern(data: Data) -> bytes:
    """Bytes made by a rule, the same in every run."""
    numbers = (integer(data.get(name, 0)) for name in ("length", "seed", "value"))
    return _pattern(data["kind"], *numbers)


@lru_cache(maxsize=1)  # the scenarios of a file mostly share one
def _pattern(kind: str, length: int, seed: int, first: int) -> bytes:
    match kind:
        case "random":
            return random.Random(seed).randbytes(length)
        case "fill":
            return bytes([first]) * length
        case _:
            cycle = bytes((first + at) & 0xFF for at in range(256))
            return (cycle * (length // 256 + 1))[:length]


def step(data: Data) -> Step:
    """One step: a mapping with one key that says what it does."""
    ((kind, body),) = data.items()
    return _KINDS[kind](body)


def issued(data: Data) -> str | int | None:
    """The hypercall or RTAS service of a step, by name or number; ``None`` for other steps and references."""
    if "memop" in data:
        return H_LOGICAL_MEMOP
    called = data["call"]["opcode"] if "call" in data else data["rtas"]["service"] if "rtas" in data else None
    return called if isinstance(called, str | int) else None


def machine(data: Data) -> MachineOptions:
    """``machine:``."""
    options = _frozen(data)
    if "smp" in options:
        options["smp"] = str(options["smp"])
    return MachineOptions(**options)


def requirement(data: Data) -> Requirement:
    """``requires:``."""
    return Requirement(**_frozen(data))


def _frozen(data: Data) -> dict[str, Any]:
    return {name: tuple(raw) if isinstance(raw, list) else raw for name, raw in data.items()}


def _seed(data: Data) -> Seed:
    at, name = value(data["at"], 64), data.get("name", "")
    if "cells" in data:
        width = data.get("width", 4)
        cells = tuple(value(cell, 8 * width) for cell in data["cells"])
        return Seed(at, cells=cells, width=width, name=name)
    if "pattern" in data:
        return Seed(at, pattern(data["pattern"]), name=name)
    content = data["text"].encode() if "text" in data else hexadecimal(data["bytes"])
    return Seed(at, content, name=name)


def _call(data: Data) -> Call:
    number, args = opcode(data["opcode"]), data.get("args", [])
    if isinstance(args, Mapping):
        args = names.in_order(number, args)
    return Call(number, tuple(value(arg, 64) for arg in args), **_call_options(data))


def _memop(data: Data) -> Call:
    raw = (data["destination"], data["source"], data["esize"], data["count"], data.get("op", 0))
    return Call(H_LOGICAL_MEMOP, tuple(value(arg, 64) for arg in raw), **_call_options(data))


def _call_options(data: Data) -> dict[str, Any]:
    options = _given(data, "name", "timeout", "cpu", "problem")
    if "registers" in data:
        options["registers"] = {name: within(raw, 128) for name, raw in data["registers"].items()}
    return options


def _rtas(data: Data) -> Rtas:
    args = tuple(value(arg, 32) for arg in data.get("args", []))
    options = _given(data, "name", "timeout", "cpu", "problem")
    options |= {name: value(data[name], 32) for name in ("nret", "nargs") if name in data}
    options |= {name: value(data[name], 64) for name in ("block", "address") if name in data}
    return Rtas(service(data["service"]), args, **options)


def _run(data: Data) -> Run:
    registers = {name: within(raw, 128) for name, raw in data.get("registers", {}).items()}
    touches = tuple((integer(start), integer(length)) for start, length in data.get("touches", ()))
    return Run(value(data["address"], 64), registers, touches, **_given(data, "name", "timeout", "cpu"))


def _together(data: Data) -> Together:
    return Together(tuple(cast(Part, step(part)) for part in data["parts"]), **_given(data, "name"))


def _host(data: Data) -> Host:
    return Host(data["command"], **_given(data, "arguments", "name", "fails", "timeout"))


def _await(data: Data) -> Await:
    return Await(data["event"], **_given(data, "data", "name", "timeout"))


def _arrive(data: Data) -> Arrive:
    return Arrive(data["cpu"], **_given(data, "timeout", "name"))


def _given(data: Data, *keys: str) -> dict[str, Any]:
    """The keys that are there; the others keep the defaults of :mod:`rig.program`."""
    return {key: data[key] for key in keys if key in data}


_KINDS: Mapping[str, Callable[[Data], Step]] = {
    "seed": _seed,
    "call": _call,
    "memop": _memop,
    "rtas": _rtas,
    "run": _run,
    "together": _together,
    "host": _host,
    "await": _await,
    "arrive": _arrive,
}
