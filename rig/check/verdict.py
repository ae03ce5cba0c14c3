"""From violations and known deviations to a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from rig.frozen import frozen

if TYPE_CHECKING:
    from rig.check.deviations import Deviation, Deviations
    from rig.check.violation import Violation

Verdict = Literal["conforms", "deviates", "mismatch", "fixed", "skipped", "error"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@frozen
class Opinion:
    """The verdict's word, the ids of the deviations seen, and the reason in words."""

    verdict: Verdict
    deviations: tuple[str, ...]
    reason: str


def decide(scenario: str, violations: Sequence[Violation], known: Deviations) -> Opinion:
    """``mismatch`` if anything is unexplained, else ``fixed`` if a deviation that this scenario must show
    did not show, else ``deviates`` if anything was explained, else ``conforms``.
    """
    explained: dict[str, Deviation] = {}
    unknown: list[Violation] = []
    for violation in violations:
        deviation = known.explain(violation)
        if deviation is None:
            unknown.append(violation)
        else:
            explained[deviation.id] = deviation
    ids = tuple(sorted(explained))
    if unknown:
        return Opinion("mismatch", ids, "\n".join(_listed(unknown)))
    gone = [deviation for deviation in known.shown_by(scenario) if deviation.id not in explained]
    if gone:
        words = "; ".join(f"{one.id} ({one.versions}) no longer shows: end its range" for one in gone)
        return Opinion("fixed", ids, words)
    if ids:
        return Opinion("deviates", ids, "; ".join(explained[one].summary for one in ids))
    return Opinion("conforms", (), "")


def _listed(violations: Sequence[Violation]) -> Iterator[str]:
    """The first violation of each kind in words, with how often that kind was seen."""
    kinds = Counter((violation.signature, violation.text) for violation in violations)
    for violation in violations:
        count = kinds.pop((violation.signature, violation.text), 0)
        if count:
            yield str(violation) + (f" (and {count - 1} more like it)" if count > 1 else "")
