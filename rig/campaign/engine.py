"""The seam between a campaign and what generates, executes and judges its programs.

A campaign's work is a row of numbered *batches*.  Seed and number fix a batch for ever, whoever executes it
and after which others, so that a campaign can be cut, continued and repeated anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from typing import Protocol

from rig.frozen import frozen
from rig.program import MachineOptions, Step


@frozen
class Finding:
    """A mismatch: the shortest program found that shows it.

    ``signature`` is what makes two mismatches one defect (call and check), ``summary`` says it in words.
    ``batch`` is the number of the batch in which it was seen first.
    """

    signature: str
    summary: str
    steps: tuple[Step, ...]
    machine: MachineOptions
    calls: int
    batch: int


@frozen
class Report:
    """What one batch came to.

    ``seconds`` is the wall time that the batch added, ``guest_seconds`` that from its start in the guest to
    its end as far as the host looked.  ``deviations`` counts calls by the id of the known deviation that they
    show, ``mismatches`` by signature; of these ``findings`` has the ones that the engine had not met before.
    ``errors`` are failures of rig, build or host, in words.
    """

    batch: int
    calls: int
    seconds: float
    guest_seconds: float
    deviations: Mapping[str, int] = field(default_factory=dict)
    mismatches: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    errors: tuple[str, ...] = ()

    def after(self, earlier: Report) -> Report:
        """One report on a batch that was run again, with less in it."""
        return replace(
            self,
            calls=earlier.calls + self.calls,
            seconds=earlier.seconds + self.seconds,
            guest_seconds=earlier.guest_seconds + self.guest_seconds,
            deviations=Counter(earlier.deviations) + Counter(self.deviations),
            mismatches=Counter(earlier.mismatches) + Counter(self.mismatches),
            findings=earlier.findings + self.findings,
            errors=earlier.errors + self.errors,
        )


class Engine(Protocol):
    """Executes and judges batches."""

    #: calls in a whole batch
    batch_size: int

    def run(self, batches: Iterable[tuple[int, int]]) -> Iterator[Report]:
        """One report for each (number, calls) in its turn; ``calls`` cuts a batch short.

        ``batches`` may be asked for the next one before the report on the last is out.
        """

    def close(self) -> None:
        """End the machines.  May be called twice."""
