"""The message-signalled interrupts that PCI functions have, as the platform was seen to choose.

What may be asked for and answered is in :mod:`rig.model.rtas.msi`; this is the state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from rig.frozen import frozen
from rig.model.environment import Environment
from rig.model.pci import Function, Pci
from rig.model.rtas.pci import Place, answers
from rig.model.rtas.service import Request


@dataclass(slots=True)
class Assignment:
    """The message-signalled interrupts of one function.

    ``count`` is ``None`` when nobody knows, ``kind`` is 0 then or when ``count`` is.  ``numbers`` are the
    source numbers seen so far.  ``before`` is what there was before the requests that were granted in part,
    one after the other.
    """

    count: int | None
    kind: int = 0
    numbers: dict[int, int] = field(default_factory=dict)
    before: Assignment | None = None


class Interrupts:
    """The assignments of all functions; a reset brings back those of the boot."""

    def __init__(self, environment: Environment) -> None:
        self.assignments: dict[Function, Assignment] = {}

    def reset(self, environment: Environment) -> None:
        """Forget: the functions are new, too."""
        self.assignments = {}

    def of(self, function: Function) -> Assignment:
        """What a function has.

        At boot a conventional function has its level-sensitive interrupt only; how many vectors one of PCI
        Express gets is the platform's choice (LoPAR R1-6.2.3-4).
        """
        return self.assignments.get(function) or default(function)

    def taken(self, pci: Pci, function: Function, vector: int) -> frozenset[int]:
        """The numbers that a vector cannot have, because another interrupt does."""
        numbers = {one.source for one in pci.functions if one.source is not None}
        for other, assignment in self.assignments.items():
            for index, number in assignment.numbers.items():
                if (other, index) != (function, vector):
                    numbers.add(number)
        return frozenset(numbers)


def default(function: Function) -> Assignment:
    """What a function has at boot."""
    return Assignment(None if function.extended else 0)


@frozen
class Target:
    """The function that a request names, and what it has."""

    interrupts: Interrupts
    pci: Pci
    place: Place
    function: Function | None
    #: whether nobody can say which function is meant
    uncertain: bool
    now: Assignment

    @classmethod
    def of(cls, request: Request) -> Self:
        """From config_addr and the unit id, the first three arguments of both services."""
        interrupts = request.state.of(Interrupts)
        place = Place.of(*request.args[:3])
        function, uncertain = answers(place, request.state)
        now = Assignment(0) if function is None else interrupts.of(function)
        return cls(interrupts, request.state.of(Pci), place, function, uncertain, now)

    def crowded(self, count: int) -> bool:
        """Whether ``count`` more interrupts are more than the host bridge has."""
        used = sum(one.count or 0 for one in self.interrupts.assignments.values())
        return used + count > self.pci.units.get(self.place.unit, 0)

    @property
    def facts(self) -> set[str]:
        """What is odd about the address."""
        known = {
            "unit-unknown": self.place.unit not in self.pci.units,
            "function-unknown": self.uncertain,
            "function-absent": self.function is None and not self.uncertain,
            "register-given": self.place.more,
        }
        return {name for name, wrong in known.items() if wrong}


__all__ = ["Assignment", "Interrupts", "Target", "default"]
