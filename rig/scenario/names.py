"""Hypercalls by their names in the contract, for scenario files.

The names are those of the model's registry, third-party calls included; nothing is listed here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from rig.program import Value

if TYPE_CHECKING:
    from rig.model.hypercall import Hypercall


@cache
def _by_name() -> Mapping[str, Hypercall]:
    # imported only when a file names a call: the registry looks for plug-ins, which takes time
    from rig.model.dispatch import installed

    return {hypercall.name: hypercall for hypercall in installed()}


def hypercall(name: str) -> Hypercall:
    """The hypercall called ``name``; raises :class:`ValueError` with near names for an unknown one."""
    known = _by_name()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"
        raise ValueError(f"no hypercall is called {name!r}; {hint}")
    return known[name]


def opcode(name: str) -> int | None:
    """The opcode of the hypercall called ``name``; ``None`` when there is none."""
    found = _by_name().get(name)
    return None if found is None else found.opcode


def in_order(opcode: Value, args: Mapping[str, Any]) -> tuple[Any, ...]:
    """``args`` in the order of the registers r4…; those not given are 0.

    Raises :class:`ValueError` for a call or an argument that the model does not know.
    """
    described = next((call for call in _by_name().values() if call.opcode == opcode), None)
    if described is None:
        raise ValueError(f"the arguments of {opcode} have no names; give args as a list")
    order = [argument.name for argument in described.arguments]
    for name in args:
        if name not in order:
            raise ValueError(f"{described.name} has no argument {name!r}; it has {', '.join(order)}")
    return tuple(args.get(name, 0) for name in order)
