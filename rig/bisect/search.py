"""Find the first bad one in an ordered list whose first member is good and whose last is bad."""

from __future__ import annotations

from collections.abc import Callable

from rig.bisect.trial import Answer
from rig.frozen import frozen


@frozen
class Found:
    """Positions: the last known ``good`` one, the first known ``bad`` one; those between are untestable."""

    good: int
    bad: int

    @property
    def candidates(self) -> range:
        """The positions of which one is the first bad one; a single one when the search succeeded."""
        return range(self.good + 1, self.bad + 1)


def first_bad(count: int, ask: Callable[[int], Answer]) -> Found:
    """Search ``count`` members; ``ask`` is called for none twice and neither for the first nor the last.

    Members that cannot be tested are avoided: the nearest to the middle is taken instead.
    """
    good, bad = 0, count - 1
    untestable: set[int] = set()
    while left := [position for position in range(good + 1, bad) if position not in untestable]:
        middle = (good + bad) / 2
        position = min(left, key=lambda one: abs(one - middle))
        match ask(position):
            case "good":
                good = position
            case "bad":
                bad = position
            case "untestable":
                untestable.add(position)
    return Found(good, bad)
