"""The DMA windows of every PHB as the platform told of them: what :mod:`rig.model.rtas.ddw` keeps.

All functions below a PHB share its windows: the PHB is the PE.  It knows no replies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rig.model.environment import Environment
from rig.model.rtas import bridges
from rig.model.rtas.bridges import Bridge, Window

#: more windows than anyone has
MANY = (1 << 32) - 1
#: facts: a window is half made, and that is the default one
HALF_MADE, DEFAULT_HALF_MADE = "window-half-made", "default-window-half-made"


@dataclass(slots=True)
class Domain:
    """The windows of one PHB (``made`` by LIOBN), and what the platform said of them.

    Between ``fewest`` and ``most`` further windows can be made; ``boot`` is the same for the default window
    alone.  ``pages`` and ``tces`` are the page sizes and the largest block of TCEs reported, as far as that
    still holds.
    """

    bridge: Bridge
    default: bool = True
    made: dict[int, Window] = field(default_factory=dict)
    boot: tuple[int, int] = (0, MANY)
    fewest: int = 0
    most: int = MANY
    pages: frozenset[int] | None = None
    tces: int | None = None
    #: facts about a return of the default window that was not seen yet; no facts when there is none
    unseen: frozenset[str] = frozenset()
    #: facts about windows of 2^32 TCEs or more that were refused: what that leaves behind, deviations know
    half_made: frozenset[str] = frozenset()

    def leave_half(self) -> None:
        """A window that is too wide was begun, in the place of the default one if that is free."""
        default = self.bridge.default
        free = default is not None and not self.default and default.liobn not in self.made
        self.half_made |= {HALF_MADE, *((DEFAULT_HALF_MADE,) if free else ())}

    @property
    def at_return(self) -> frozenset[str]:
        """Facts about a return of the default window."""
        return self.half_made & {DEFAULT_HALF_MADE}

    def restore(self) -> None:
        """The default window alone, as at boot (LoPAR R1-7.3.27-5, R1-7.3.27-6)."""
        self.default, self.made, self.unseen, self.tces = True, {}, frozenset(), None
        self.fewest, self.most = self.boot

    def forget(self) -> None:
        """Something was done that cannot be told: any number of windows may be left."""
        self.fewest, self.most, self.tces = 0, MANY, None

    def has_default(self, liobn: int) -> bool:
        """Whether ``liobn`` is that of the default window, which is there."""
        return self.default and self.bridge.default is not None and self.bridge.default.liobn == liobn

    def lose_default(self) -> None:
        """The default window is not there; how many windows can be made is not known."""
        self.default, self.unseen = False, frozenset()
        self.forget()

    def remove(self, liobn: int) -> None:
        """A made window is gone; the last one gives way to the default window (LoPAR R1-7.3.27.3-3)."""
        del self.made[liobn]
        if self.made or self.default:
            self.most, self.tces = MANY, None
            return
        self.restore()
        reused = self.has_default(liobn)
        self.unseen = frozenset({"default-restored", *(("default-liobn-reused",) if reused else ())})

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows that there are."""
        default = (self.bridge.default,) if self.default and self.bridge.default else ()
        return (*self.made.values(), *default)


class Domains:
    """The DMA windows of all PHBs, and the LIOBNs of virtual devices, which are no PE's."""

    def __init__(self, environment: Environment) -> None:
        self.by_unit = {unit: Domain(bridge) for unit, bridge in bridges.bridges(environment).items()}
        self.virtual = bridges.windows(environment)

    def reset(self, environment: Environment) -> None:
        """A reboot restores the default windows (LoPAR R1-7.3.27-5)."""
        self.virtual = bridges.windows(environment)
        old, self.by_unit = self.by_unit, {}
        for unit, bridge in bridges.bridges(environment).items():
            domain = self.by_unit[unit] = old.get(unit, Domain(bridge))
            domain.bridge = bridge
            domain.restore()

    @property
    def fragile(self) -> bool:
        """Whether a window was left half made, which is QEMU's and no reset mends."""
        return any(domain.half_made for domain in self.by_unit.values())

    altered = fragile

    @property
    def at_reset(self) -> frozenset[str]:
        """A reset restores the default window of every PHB."""
        return frozenset[str]().union(*(domain.at_return for domain in self.by_unit.values()))

    def offered(self, high: int, low: int) -> Domain | None:
        """The windows of the PHB with a unit ID, if it has the option."""
        domain = self.by_unit.get(bridges.unit_id(high, low))
        return domain if domain and domain.bridge.applicable else None

    def used(self, liobn: int) -> bool:
        """Whether a window has this LIOBN."""
        windows = (window for domain in self.by_unit.values() for window in domain.windows)
        return liobn in self.virtual or any(window.liobn == liobn for window in windows)

    @property
    def unused(self) -> int:
        """A LIOBN that a model target gives to a new window."""
        return next(liobn for liobn in range(0x8000_0000, MANY) if not self.used(liobn))


__all__ = ["MANY", "Domain", "Domains"]
