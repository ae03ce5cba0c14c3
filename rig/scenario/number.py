"""Numbers as scenario files write them: integers, decimal or hexadecimal strings, and references."""

from __future__ import annotations

import re

from rig.program import Ref, Value
from rig.scenario.reference import parse

_TEXT = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+)")


def integer(raw: object) -> int:
    """An integer from YAML: a number, or its decimal or hexadecimal text; raises :class:`ValueError`."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and _TEXT.fullmatch(raw):
        return int(raw, 16 if "x" in raw.lower() else 10)
    raise ValueError(f'{raw!r} is no number (write 16, 0x10 or "0x10")')


def within(raw: object, bits: int) -> int:
    """A number as ``bits`` unsigned bits, negative ones as their two's complement.

    Raises :class:`ValueError` when it does not fit.
    """
    number = integer(raw)
    if not -(1 << bits - 1) <= number < 1 << bits:
        raise ValueError(f"{number:#x} does not fit in {bits} bits")
    return number & (1 << bits) - 1


def value(raw: object, bits: int) -> Value:
    """A number of ``bits`` bits or a reference; raises :class:`ValueError` for neither."""
    if isinstance(raw, str) and raw.startswith("$"):
        ref = Ref(raw)
        parse(ref)
        return ref
    return within(raw, bits)
