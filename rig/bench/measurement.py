"""What a benchmark yields: measurements, interleaved so that noise hits all alike, and ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
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
    """One median divided by another; ``goal`` says in words what the project wants of it."""

    name: str
    build: int
    value: float
    goal: str = ""

    def as_json(self) -> dict[str, object]:
        """The entry of the benchmark's JSON."""
        return {"name": self.name, "build": self.build, "ratio": self.value, "goal": self.goal}


def interleave(readings: Mapping[K, Callable[[], float]], rounds: int) -> Mapping[K, Sequence[float]]:
    """Take every reading in turn, ``rounds`` times over (A B A B)."""
    values: dict[K, list[float]] = {name: [] for name in readings}
    for _ in range(rounds):
        for name, reading in readings.items():
            values[name].append(reading())
    return values
