"""The verdict on one scenario and one build, and what a run counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field

from rig.check.verdict import VERDICTS, Verdict
from rig.frozen import frozen


@frozen
class Result:
    """One scenario on one build.  ``build`` is an index into the run's builds, ``seconds`` wall time.

    ``reason`` says in words why the verdict is not ``conforms``; ``signatures`` are those of its violations;
    ``evidence`` is a folder relative to the report.
    """

    scenario: str
    build: int
    verdict: Verdict
    deviations: tuple[str, ...] = ()
    calls: int = 0
    seconds: float = 0.0
    reason: str = ""
    evidence: str = ""
    signatures: tuple[str, ...] = ()
    #: (call, returned code) and how often, for the coverage
    returns: Mapping[tuple[str, int], int] = field(default_factory=dict)
    #: (call, ending) and how often, of calls that did not return or of whose status nothing is seen
    endings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The entry of report.json."""
        return {
            "scenario": self.scenario,
            "build": self.build,
            "verdict": self.verdict,
            "deviations": list(self.deviations),
            "calls": self.calls,
            "seconds": round(self.seconds, 4),
            "reason": self.reason,
            "evidence": self.evidence,
            "signatures": list(self.signatures),
        }


def summary(results: Iterable[Result]) -> dict[str, int]:
    """How often each verdict was given; all six words are there."""
    counts = Counter(result.verdict for result in results)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def exit_code(results: Iterable[Result], strict: bool = False, interrupted: bool = False) -> int:
    """The exit code of a run: 0 conforms, 1 mismatch or fixed, 2 interrupted, 3 error, 5 nothing ran.

    With ``strict`` a known deviation counts as a mismatch.  An error outranks a mismatch.
    """
    counts = summary(results)
    if interrupted:
        return 2
    if counts["error"]:
        return 3
    if counts["mismatch"] or counts["fixed"] or (strict and counts["deviates"]):
        return 1
    if not counts["conforms"] and not counts["deviates"]:
        return 5
    return 0
