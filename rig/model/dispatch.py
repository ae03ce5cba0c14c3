"""Which hypercalls the model knows: the built-in ones and those of other packages, in one registry.

A package adds calls by an entry point in the group ``rig.hypercalls`` that names a
:class:`~rig.model.hypercall.Hypercall` or a sequence of them, which is also how the built-in modules hold
theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from rig.errors import UserError
from rig.model import logical, memop, rtas, update_dt, vof
from rig.model.expectation import Expectation
from rig.model.hypercall import H_FUNCTION, MASK64, Footprint, Hypercall, State, returns

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "rig.hypercalls"

#: the fact of a call that has a meaning which no description here gives, so that only a refusal can be judged
UNDESCRIBED = "undescribed"

BUILT_IN: tuple[Hypercall, ...] = (
    *rtas.HYPERCALLS,
    *memop.HYPERCALLS,
    *logical.HYPERCALLS,
    *update_dt.HYPERCALLS,
    *vof.HYPERCALLS,
)


class DuplicateHypercall(ValueError):
    """Two descriptions claim one opcode or one name."""


class BadPlugin(UserError):
    """An entry point of the group ``rig.hypercalls`` cannot be used."""


class Registry:
    """Hypercalls by opcode; raises :class:`DuplicateHypercall` for an opcode or a name given twice.

    ``plugins`` tells of further ones, and is asked when one is wanted that is not among ``hypercalls``.
    """

    def __init__(
        self,
        hypercalls: Iterable[Hypercall] = BUILT_IN,
        plugins: Callable[[], Iterable[EntryPoint]] | None = None,
    ) -> None:
        self._plugins = plugins
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

    def _complete(self) -> None:
        """Add the plugins; raises :class:`BadPlugin`."""
        if self._plugins is None:
            return
        before = dict(self._by_opcode)
        try:
            for plugin in self._plugins():
                self._add(plugin)
        except BadPlugin:
            self._by_opcode = before  # so that whoever asks again is told again
            raise
        self._plugins = None

    def _add(self, plugin: EntryPoint) -> None:
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
                self.add(hypercall)
            except ValueError as error:
                raise BadPlugin(f"{where}: {error}") from error

    def __iter__(self) -> Iterator[Hypercall]:
        self._complete()
        return iter(self._by_opcode.values())

    def find(self, opcode: int) -> Hypercall | None:
        """The call with this opcode, of which all 64 bits are compared; raises :class:`BadPlugin`."""
        if opcode not in self._by_opcode:
            self._complete()
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
            facts=frozenset({UNDESCRIBED if _assigned(opcode) else "unknown-opcode"}),
            footprint=(),
        )


def _assigned(opcode: int) -> bool:
    """Whether some document gives the opcode a meaning, or may: LoPAR 14.5.4's tokens, and those after them
    that later versions took; the ultravisor's; and QEMU's own, for client-architecture-support and nesting.
    """
    if opcode in (0xF002, 0xF080):
        return True
    return opcode % 4 == 0 and (0 < opcode < 0x600 or 0xEF00 <= opcode <= 0xEF80 or 0xF800 <= opcode < 0xF810)


def _plugins() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import

    return entry_points(group=GROUP)


@cache
def installed() -> Registry:
    """The registry of this installation: the built-in calls and those of every installed package."""
    return Registry(plugins=_plugins)
