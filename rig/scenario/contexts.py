"""Contexts: other states of the calling CPU in which whole folders of scenarios run once more.

A scenario ``memop/limits/count-over`` in the context ``le`` is ``memop/limits/count-over@le``: the same steps
on a machine made otherwise.  Any pattern may end in ``@`` and a context's name; a run without patterns has
what each context lists in ``always``, chosen so that every path is there and the run stays short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from rig.frozen import frozen
from rig.program import MachineOptions
from rig.scenario.errors import BadScenario
from rig.scenario.script import Scenario

#: between a scenario's id and the name of its context
MARK = "@"


@frozen
class Context:
    """One context: ``options`` of the machine that make it, and the folders or files of scenarios it is for.

    ``of`` are those that can run in it, ``always`` those of them that are part of a run of everything.
    """

    name: str
    summary: str
    options: Mapping[str, Any]
    of: tuple[str, ...]
    always: tuple[str, ...]

    def apply(self, scenario: Scenario) -> Scenario | None:
        """The scenario in this context; ``None`` when it cannot be, or chooses its context itself."""
        plain, own = asdict(MachineOptions()), asdict(scenario.machine)
        if not under(scenario.name, self.of) or any(own[name] != plain[name] for name in self.options):
            return None
        return replace(
            scenario,
            name=scenario.name + MARK + self.name,
            summary=f"{scenario.summary} ({self.summary})",
            machine=replace(scenario.machine, **self.options),
        )


CONTEXTS = (
    Context(
        "le",
        "little-endian guest",
        {"endian": "little"},
        of=("memop", "logical", "rtas", "update_dt"),
        always=(
            "memop/alignment",
            "memop/exhaustive",
            "memop/outside",
            "memop/registers",
            "logical",
            "update_dt",
            "rtas/block",
            "rtas/clock",
            "rtas/console",
            "rtas/fwnmi/inject",
            "rtas/nvram",
            "rtas/shape",
            "rtas/sysparm",
            "rtas/token",
            "rtas/xics",
        ),
    ),
    Context(
        "hash",
        "hashed page tables",
        {"translation": "hash"},
        of=("memop", "logical", "rtas"),
        always=("memop/alignment", "memop/outside", "memop/registers", "logical", "rtas/shape"),
    ),
    Context(
        "radix",
        "radix page tables",
        {"translation": "radix"},
        of=("memop", "logical", "rtas"),
        always=("memop/alignment", "memop/outside", "memop/registers", "logical", "rtas/shape"),
    ),
)

_BY_NAME = {context.name: context for context in CONTEXTS}


def under(name: str, folders: Iterable[str]) -> bool:
    """Whether an id is, or lies below, one of ``folders``."""
    return any(name == folder or name.startswith(folder + "/") for folder in folders)


def context(name: str) -> Context:
    """The context called ``name``; raises :class:`BadScenario` for one that is not there."""
    if name not in _BY_NAME:
        raise BadScenario(f"there is no context {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def always(scenarios: Iterable[Scenario]) -> Iterator[Scenario]:
    """Of ``scenarios``, in each context, what a run of everything has."""
    held = list(scenarios)
    for one in CONTEXTS:
        for scenario in held:
            if under(scenario.name, one.always) and (varied := one.apply(scenario)) is not None:
                yield varied
