"""What a YAML scenario file may hold, as pydantic models: for messages, and as JSON Schema for editors.

The models only check; :mod:`rig.scenario.build` makes the steps, and its functions decide about numbers and
names.  Fields are called as in :mod:`rig.program`, where their defaults are.  Importing pydantic takes longer
than everything else that loads a scenario, so only :mod:`rig.scenario.document` imports this, when it must.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from rig.program import MachineOptions
from rig.scenario import build, names
from rig.scenario.number import integer, value, within
from rig.scenario.reference import PATTERN, PLACES

MAX_ARGS = 9
#: a seed is data that somebody wrote down, not a disk
MAX_SEED = 1 << 28

#: what a call has as opcode and args
_ARGUMENTS = frozenset(f"r{number}" for number in range(3, 13))
#: registers that a call may set besides these (images/PROTOCOL.md, full vectors)
_REGISTER = re.compile(
    r"r(?:0|1|2|1[3-9]|2[0-9]|3[01])|cr|lr|ctr|xer|sprg[03]|fpscr|vrsave|vscr|vs(?:[0-9]|[1-5][0-9]|6[0-3])"
)
#: a version range as :mod:`packaging` reads it: ``>=7.2,<10.0`` or ``==7.2.*``
_VERSION = r"\d+(?:\.\d+){0,2}"
_CLAUSE = rf"(?:[<>]=?{_VERSION}|[=!]={_VERSION}(?:\.\*)?)"
_RANGE = rf"^(?:{_CLAUSE}(?:, ?{_CLAUSE})*)?$"
_HOLE = r"\$\{[^}]+\}"
_NUMBER = r"^-?(?:0[xX][0-9a-fA-F]+|[0-9]+)$"


class _Strict(BaseModel):
    """The settings of every model: nothing unknown, nothing built before it is used."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _OneKey(_Strict):
    """A mapping with one key, which says what the rest is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        fields = type(self).model_fields
        if not _one(self, fields):
            keys = ", ".join(field.alias or name for name, field in fields.items())
            raise ValueError(f"must be exactly one of {keys}")
        return self


def _one(model: BaseModel, names: Iterable[str]) -> bool:
    """Whether exactly one of these fields is written, and not left empty."""
    given = model.model_fields_set.intersection(names)
    return len(given) == 1 and getattr(model, *given) is not None


def _checked(check: Callable[[Any], object], schema: Mapping[str, Any]) -> Any:
    """A type whose raw value stays as it is once ``check`` accepts it."""

    def keep(raw: object) -> object:
        check(raw)
        return raw

    return (PlainValidator(keep), WithJsonSchema(dict(schema)))


def _numbers(bits: int, *patterns: str) -> dict[str, Any]:
    low, high = -(1 << bits - 1), (1 << bits) - 1
    texts = ({"type": "string", "pattern": text} for text in (_NUMBER, _HOLE, *patterns))
    return {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, *texts]}


def _bounded(low: int, high: int) -> Callable[[object], None]:
    def check(raw: object) -> None:
        if not low <= integer(raw) <= high:
            raise ValueError(f"must be {low}..{high}")

    return check


def _step_name(name: str) -> str:
    if name in PLACES:
        raise ValueError(f"{name!r} cannot name a step: ${name}.end means the memory map")
    return name


def _register_name(name: str) -> str:
    if not _REGISTER.fullmatch(name):
        raise ValueError(f"{name!r} is no register that a call can set; r3..r12 are opcode and args")
    return name


def _argument(word: str) -> str:
    if word in ("-daemonize", "--daemonize"):
        raise ValueError(f"{word} would leave QEMU behind: the rig starts it and ends it")
    return word


def _any_register_name(name: str) -> str:
    return name if name in _ARGUMENTS else _register_name(name)


_TEXT = {"type": ["integer", "string"]}
_LENGTH, _SEED, _BYTE = _bounded(1, MAX_SEED), _bounded(0, (1 << 64) - 1), _bounded(0, 255)

Value64 = Annotated[object, *_checked(lambda raw: value(raw, 64), _numbers(64, PATTERN))]
Value32 = Annotated[object, *_checked(lambda raw: value(raw, 32), _numbers(32, PATTERN))]
Register = Annotated[object, *_checked(lambda raw: within(raw, 128), _numbers(128))]
Length = Annotated[object, *_checked(_LENGTH, _numbers(32))]
Number = Annotated[object, *_checked(_SEED, _numbers(64))]
Byte = Annotated[object, *_checked(_BYTE, _numbers(8))]
Data = Annotated[object, *_checked(build.hexadecimal, {"type": "string"})]
Opcode = Annotated[object, *_checked(build.opcode, _TEXT)]
Service = Annotated[object, *_checked(build.service, _TEXT)]
Name = Annotated[
    StrictStr, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$"), AfterValidator(_step_name)
]
Words = Annotated[StrictStr, StringConstraints(min_length=1)]
#: no program can be given a NUL in an argument
Argument = Annotated[StrictStr, StringConstraints(pattern=r"^[^\x00]+$"), AfterValidator(_argument)]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]
Megabytes = Annotated[StrictInt, Field(ge=1, le=1 << 20)]
Cpu = Annotated[StrictInt, Field(ge=0, le=15)]
# told apart before they are checked, so that a message speaks of the form that was written
Arguments = Annotated[
    Annotated[list[Value64], Field(max_length=MAX_ARGS), Tag("in order")]
    | Annotated[dict[str, Value64], Tag("by name")],
    Discriminator(lambda raw: "by name" if isinstance(raw, dict) else "in order"),
]
Registers = dict[Annotated[str, AfterValidator(_register_name)], Register]


class Pattern(_Strict):
    """Bytes made by a rule: counting up from ``value``, all ``value``, or random from ``seed``."""

    kind: Literal["counter", "random", "fill"]
    length: Length
    seed: Number = 0
    value: Byte = 0


class Seed(_Strict):
    """``seed:`` put bytes at ``at``: ``bytes`` (hexadecimal), ``text`` (UTF-8), ``pattern`` or ``cells``."""

    at: Value64
    data: Annotated[Data, Field(alias="bytes")] = None
    text: Words | None = None
    pattern: Pattern | None = None
    cells: Annotated[list[Value64], Field(min_length=1)] | None = None
    width: Literal[1, 2, 4, 8] = 4
    name: Name = ""

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if not _one(self, ("data", "text", "pattern", "cells")):
            raise ValueError("a seed has exactly one of bytes, text, pattern and cells")
        for cell in self.cells or ():
            value(cell, 8 * self.width)
        return self


class Call(_Strict):
    """``call:`` a hypercall, by name or number; ``args`` in the order of registers, or by name."""

    opcode: Opcode
    args: Arguments = []
    registers: Registers = {}
    timeout: Seconds | None = None
    cpu: Cpu = 0
    problem: StrictBool = False
    name: Name = ""

    @model_validator(mode="after")
    def _named_args(self) -> Self:
        if isinstance(self.args, dict):
            names.in_order(build.opcode(self.opcode), self.args)
        return self


class Memop(_Strict):
    """``memop:`` H_LOGICAL_MEMOP with its arguments by name; ``esize`` is log2 of the element's bytes."""

    destination: Value64
    source: Value64
    esize: Value64
    count: Value64
    op: Value64 = 0
    registers: Registers = {}
    timeout: Seconds | None = None
    cpu: Cpu = 0
    problem: StrictBool = False
    name: Name = ""


class Rtas(_Strict):
    """``rtas:`` one H_RTAS call with its parameter block; see :class:`rig.program.Rtas`."""

    service: Service
    args: list[Value32] = []
    nret: Value32 = 1
    nargs: Value32 = None
    block: Value64 = None
    address: Value64 = None
    timeout: Seconds | None = None
    cpu: Cpu = 0
    problem: StrictBool = False
    name: Name = ""


class Run(_Strict):
    """``run:`` guest code at ``address`` that ends with ``sc 0``; see :class:`rig.program.Run`."""

    address: Value64
    registers: dict[Annotated[str, AfterValidator(_any_register_name)], Register] = {}
    touches: list[Annotated[list[Number], Field(min_length=2, max_length=2)]] = []
    timeout: Seconds | None = None
    cpu: Cpu = 0
    name: Name = ""


class Part(_OneKey):
    """One part of ``together:``."""

    call: Call | None = None
    memop: Memop | None = None
    rtas: Rtas | None = None
    run: Run | None = None


class Together(_Strict):
    """``together:`` calls and routines of several CPUs at once; see :class:`rig.program.Together`."""

    parts: Annotated[list[Part], Field(min_length=1)]
    name: Name = ""


class Host(_Strict):
    """``host:`` a QMP command; ``fails`` is the error class, or a part of the message, expected instead."""

    command: Words
    arguments: dict[str, Any] = {}
    fails: Words | None = None
    timeout: Seconds | None = None
    name: Name = ""


class Await(_Strict):
    """``await:`` the QMP event ``event`` whose data contain ``data``."""

    event: Annotated[StrictStr, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    data: dict[str, Any] = {}
    timeout: Seconds = 5.0
    name: Name = ""


class Arrive(_Strict):
    """``arrive:`` wait until the CPU with index ``cpu``, which a call has started, is in the agent."""

    cpu: Cpu
    timeout: Seconds = 5.0
    name: Name = ""


class Step(_OneKey):
    """One step: a mapping with one key that says what it does."""

    seed: Seed | None = None
    call: Call | None = None
    memop: Memop | None = None
    rtas: Rtas | None = None
    run: Run | None = None
    together: Together | None = None
    host: Host | None = None
    await_: Annotated[Await | None, Field(alias="await")] = None
    arrive: Arrive | None = None


class Machine(_Strict):
    """``machine:`` how the machine is made; see :class:`rig.program.MachineOptions`."""

    memory: Annotated[StrictInt, Field(ge=128, le=1 << 20)] = 0
    cpu: Argument = ""
    machine: Argument = ""
    options: list[Argument] = []
    smp: Argument | Annotated[StrictInt, Field(ge=1)] = ""
    devices: list[Argument] = []
    arguments: list[Argument] = []
    mapping: StrictBool = True
    console: StrictBool = True
    endian: Literal["big", "little"] = "big"
    translation: Literal["off", "hash", "radix"] = "off"
    no_shutdown: StrictBool = True
    firmware: Literal["agent", "slof", "vof"] = "agent"
    nodes: list[Megabytes] = []
    dimms: list[Megabytes] = []

    @model_validator(mode="after")
    def _whole(self) -> Self:
        memory = self.memory or MachineOptions().memory
        if self.nodes and sum(self.nodes) != memory:
            raise ValueError(f"the nodes have {sum(self.nodes)} MiB together, the machine has {memory}")
        return self


class Requires(_Strict):
    """``requires:`` what a build must have; see :class:`rig.program.Requirement`."""

    versions: Annotated[StrictStr, StringConstraints(pattern=_RANGE)] = ""
    devices: list[Words] = []
    services: list[Words] = []
    newer: Annotated[StrictStr, StringConstraints(pattern=_RANGE)] = ""


class Range(_Strict):
    """``{range: [start, stop, step]}``: as Python's range, ``stop`` excluded."""

    range: Annotated[list[StrictInt], Field(min_length=1, max_length=3)]


class Scenario(_Strict):
    """One scenario: ``before`` once, then ``steps`` for every combination of ``matrix``."""

    name: Annotated[StrictStr, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._=+,-]*$")]
    summary: Words
    machine: Machine = Machine.model_construct()
    requires: Requires = Requires.model_construct()
    requirements: list[Annotated[StrictStr, StringConstraints(pattern=r"^R\d+-\d+(?:\.\d+)+-\d+$")]] = []
    matrix: dict[str, list[Any] | Range] = {}
    expand: Literal["steps", "scenarios"] = "steps"
    before: list[Step] = []
    steps: Annotated[list[Step], Field(min_length=1)]


class File(_Strict):
    """A scenario file."""

    scenarios: Annotated[list[Scenario], Field(min_length=1)]


class Top(_Strict):
    """A scenario file before its matrices are expanded."""

    scenarios: Annotated[list[dict[str, Any]], Field(min_length=1)]


def json_schema() -> Mapping[str, Any]:
    """The JSON Schema of a scenario file, for editors."""
    schema = File.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "spapr-rig scenario file",
    }
