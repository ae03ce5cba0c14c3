"""Which hypercalls the model knows: the built-in ones and those of other packages, in one registry.

A package adds calls by an entry point in the group ``rig.hypercalls`` that names a
:class:`~rig.model.hypercall.Hypercall` or a sequence of them, which is also how the built-in modules hold
theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from rig.model import logical, memop, update_dt, vof
from rig.model.expectation import Expectation
from rig.model.hypercall import H_FUNCTION, MASK64, Footprint, Hypercall, State, returns
from rig.model.rtas import call as rtas

GROUP = "rig.hypercalls"

BUILT_IN: tuple[Hypercall, ...] = (
    *rtas.HYPERCALLS,
    *memop.HYPERCALLS,
    *logical.HYPERCALLS,
    *update_dt.HYPERCALLS,
    *vof.HYPERCALLS,
)


class DuplicateHypercall(ValueError):
    """Two descriptions claim one opcode or one name."""


class BadPlugin(RuntimeError):
    """An entry point of the group ``rig.hypercalls`` cannot be used."""


class Registry:
    """Hypercalls by opcode; raises :class:`DuplicateHypercall` for an opcode or a name given twice."""

    def __init__(self, hypercalls: Iterable[Hypercall] = BUILT_IN) -> None:
        self._by_opcode: dict[int, Hypercall] = {}
        for hypercall in hypercalls:
            self.add(hypercall)

    def add(self, hypercall: Hypercall) -> None:
        """Register one more; raises :class:`ValueError` for an opcode beyond 64 bits."""
        if not 0 <= hypercall.opcode <= MASK64:
            raise ValueError(f"{hypercall.name}: opcode {hypercall.opcode:#x} does not fit into r3")
        for other in self._by_opcode.values():
            if hypercall.opcode == other.opcode or hypercall.name == other.name:
                raise DuplicateHypercall(
                    f"{hypercall.name} ({hypercall.opcode:#x}, by {hypercall.source!r}) clashes with "
                    f"{other.name} ({other.opcode:#x}, by {other.source!r}): give it its own opcode and name"
                )
        self._by_opcode[hypercall.opcode] = hypercall

    def __iter__(self) -> Iterator[Hypercall]:
        return iter(self._by_opcode.values())

    def find(self, opcode: int) -> Hypercall | None:
        """The call with this opcode; the opcode is compared in all its 64 bits."""
        return self._by_opcode.get(opcode)

    def footprint(self, opcode: int, registers: Mapping[str, int], state: State) -> Footprint:
        """The footprint of the expectation for the same arguments, whatever the families' states are."""
        hypercall = self.find(opcode)
        if hypercall is not None and hypercall.footprint is not None:
            return hypercall.footprint(registers, state)
        return self.expect(opcode, registers, state).footprint

    def expect(self, opcode: int, registers: Mapping[str, int], state: State) -> Expectation:
        """The expectation for an opcode with argument registers ``r4``..``r12``."""
        hypercall = self.find(opcode)
        if hypercall is not None:
            return hypercall.expect(registers, state)
        # The code's meaning in LoPAR's table of return codes; no numbered requirement says it.
        return Expectation(
            f"{opcode:#x}",
            (returns(H_FUNCTION, "LoPAR 14.5.3, return codes"),),
            facts=frozenset({"unknown-opcode"}),
            footprint=(),
        )


def load(plugins: Iterable[EntryPoint] | None = None) -> Registry:
    """A registry of the built-in calls and of ``plugins``, by default those of every installed package.

    Raises :class:`BadPlugin` for one that cannot be imported, is no hypercall or clashes with another.
    """
    registry = Registry()
    for plugin in entry_points(group=GROUP) if plugins is None else plugins:
        where = f"entry point {plugin.name} = {plugin.value}"
        if plugin.dist is not None:
            where += f" of {plugin.dist.name} {plugin.dist.version}"
        try:
            found = plugin.load()
        except Exception as error:
            raise BadPlugin(
                f"{where} cannot be imported: {error}; repair or uninstall the package"
            ) from error
        for hypercall in found if isinstance(found, Sequence) else (found,):
            if not isinstance(hypercall, Hypercall):
                raise BadPlugin(
                    f"{where} gives a {type(hypercall).__name__}; "
                    "it must name a rig.model.hypercall.Hypercall or a sequence of them"
                )
            try:
                registry.add(hypercall)
            except ValueError as error:
                raise BadPlugin(f"{where}: {error}") from error
    return registry


@cache
def installed() -> Registry:
    """The registry of this installation, made once."""
    return load()
