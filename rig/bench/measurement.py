"""What a benchmark yields: measurements, interleaved so that noise hits all alike, and ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from statistics import fmean, median, stdev
from typing import TypeVar

from rig.frozen import frozen

K = TypeVar("K")


@frozen
class Measurement:
    """Repeated readings of one quantity on one build (an index into the run's builds)."""

    name: str
    build: int
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle reading."""
        return median(self.values)

    def as_json(self) -> dict[str, object]:
        """The entry of the benchmark's JSON."""
        return {
            "name": self.name,
            "build": self.build,
            "unit": self.unit,
            "median": self.median,
            "low": min(self.values),
            "high": max(self.values),
        }


@frozen
class Ratio:
    """One quantity divided by another; ``goal`` says in words what the project wants of it.

    ``within`` are the bounds of the :func:`interval` around a mean, which ``value`` is then.
    """

    name: str
    build: int
    value: float
    goal: str = ""
    within: tuple[float, float] | None = None

    @property
    def note(self) -> str:
        """What is to be known besides the value, in words."""
        if self.within is None:
            return self.goal
        low, high = self.within
        return f"{self.goal}; within {low:.3f}..{high:.3f}, by 95 %"

    def as_json(self) -> dict[str, object]:
        """The entry of the benchmark's JSON."""
        return {
            "name": self.name,
            "build": self.build,
            "ratio": self.value,
            "goal": self.goal,
            "within": self.within,
            "note": self.note,
        }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Two standard errors to either side of the mean of many readings, or of two at least: 95 %."""
    middle, error = fmean(values), stdev(values) / sqrt(len(values))
    return middle - 2 * error, middle + 2 * error


def interleave(readings: Mapping[K, Callable[[], float]], rounds: int) -> Mapping[K, Sequence[float]]:
    """Take every reading in turn, ``rounds`` times over (A B A B)."""
    values: dict[K, list[float]] = {name: [] for name in readings}
    for _ in range(rounds):
        for name, reading in readings.items():
            values[name].append(reading())
    return values
