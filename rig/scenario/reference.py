"""The grammar of references: values that are known only while a program runs (:class:`rig.program.Ref`).

It parses and lists them; :mod:`rig.scenario.resolve` looks the values up.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rig.frozen import frozen
from rig.program import Ref, Step, Together

#: the regions of the memory map that references may name
PLACES = ("ram", "rma", "fdt")

_OFFSET = r"(?P<offset>[+-](?:0[xX][0-9a-fA-F]+|[0-9]+))?"
_STEP = re.compile(
    r"\$(?P<step>[A-Za-z_][\w-]*)\.(?:rets\[(?P<index>[0-9]+)\]|r(?P<register>[12]?[0-9]|3[01]))" + _OFFSET
)
_PLACE = re.compile(r"\$(?P<place>ram|rma|fdt)\.(?P<edge>start|end)" + _OFFSET)
_PROPERTY = re.compile(r"\$fdt:(?P<path>/[^:\[\]]*):(?P<property>[^:\[\]]+)\[(?P<index>[0-9]+)\]" + _OFFSET)

#: all references, as one pattern for editors (JSON Schema)
PATTERN = r"^\$(?:[A-Za-z_][\w-]*\.(?:rets\[[0-9]+\]|r[0-9]+|start|end)|fdt:/[^:]*:[^:\[]+\[[0-9]+\])"


@frozen
class FromStep:
    """``$NAME.rN``, or ``$NAME.rets[I]`` when ``register`` is empty."""

    step: str
    register: str
    rets: int
    offset: int


@frozen
class FromMap:
    """``$ram.end``, ``$rma.end``, ``$fdt.start`` …: an edge of a region of the memory map."""

    place: str
    edge: str
    offset: int


@frozen
class FromTree:
    """``$fdt:PATH:PROPERTY[I]``: a 32-bit cell of a device-tree property."""

    path: str
    property: str
    index: int
    offset: int


Reference = FromStep | FromMap | FromTree


@lru_cache(maxsize=1024)
def parse(ref: Ref) -> Reference:
    """What ``ref`` refers to; raises :class:`ValueError` when it is not of the grammar."""
    text = ref.text
    if match := _PLACE.fullmatch(text):
        return FromMap(match["place"], match["edge"], _offset(match))
    if match := _PROPERTY.fullmatch(text):
        return FromTree(match["path"], match["property"], int(match["index"]), _offset(match))
    if match := _STEP.fullmatch(text):
        register = match["register"]
        return FromStep(
            match["step"],
            "" if register is None else f"r{register}",
            int(match["index"] or 0),
            _offset(match),
        )
    raise ValueError(
        f"{text!r} is no reference; known are $STEP.rets[I], $STEP.rN, $fdt:PATH:PROPERTY[I], "
        "$ram.start, $ram.end, $rma.end, $fdt.start and $fdt.end, each with an offset such as +8 or -0x10"
    )


def references(step: Step) -> frozenset[str]:
    """The names of the steps whose results ``step`` uses."""
    if isinstance(step, Together):
        return frozenset[str]().union(*map(references, step.parts))
    values = [getattr(step, name, ()) for name in ("opcode", "service", "address", "block", "nret", "nargs")]
    values += [*getattr(step, "args", ()), *getattr(step, "cells", ())]
    parsed = [parse(value) for value in values if isinstance(value, Ref)]
    return frozenset(one.step for one in parsed if isinstance(one, FromStep))


def _offset(match: re.Match[str]) -> int:
    text = match["offset"] or "0"
    return int(text, 16 if "x" in text.lower() else 10)
