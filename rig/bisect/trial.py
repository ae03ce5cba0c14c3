"""One build under the question of a bisection: good, bad, or not to be told.

It runs scenarios and reads their verdicts; which builds are asked, and in which order, is for
:mod:`rig.bisect.search` and git.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rig.check.deviations import load
from rig.frozen import frozen
from rig.report.result import Result, summary
from rig.runner import Runner, Settings

if TYPE_CHECKING:
    from rig.machine.build import Build
    from rig.scenario.script import Scenario

Answer = Literal["good", "bad", "untestable"]

#: verdicts that can be hunted; an ``error`` says nothing of a build
WORDS = ("conforms", "deviates", "mismatch", "fixed", "skipped")
#: checks after whose violation a program did not go on, so that what comes later in it cannot be seen
CUT_SHORT = ("/liveness", "/ending")
_SIGNATURE = re.compile(r"[^/\s]+/[^/\s]+")


class BadSign(ValueError):
    """Nothing that a scenario could ever show."""


@frozen
class Hunt:
    """What is looked for.

    ``sign`` is the signature of a violation (``get-time-of-day/rets``, with ``*`` and ``?`` as wildcards),
    the id of a deviation or a verdict; when empty, any mismatch and any deviation that no longer shows.  A
    build is bad when it shows the sign, or, when ``gone``, when it no longer does.  Each is asked ``repeat``
    times.
    """

    scenarios: tuple[Scenario, ...]
    sign: str = ""
    gone: bool = False
    repeat: int = 1

    def shown_by(self, result: Result) -> bool:
        """Whether one verdict shows the sign."""
        if not self.sign:
            return result.verdict in ("mismatch", "fixed")
        signs = (result.verdict, *result.deviations, *result.signatures)
        return any(fnmatchcase(one, self.sign) for one in signs)

    @property
    def words(self) -> str:
        """The sign for messages."""
        return self.sign or "a mismatch"


@frozen
class Trial:
    """What came of one build, the ``scenario`` that decided it and why in words.

    ``failed`` is set when rig or build failed to answer: then the host may be to blame.
    """

    answer: Answer
    reason: str
    scenario: str = ""
    evidence: str = ""
    failed: bool = False


def check_sign(sign: str) -> None:
    """Raise :class:`BadSign` for what is neither a signature, nor a deviation's id, nor a verdict."""
    ids = [deviation.id for deviation in load()]
    if sign in WORDS or sign in ids or _SIGNATURE.fullmatch(sign):
        return
    raise BadSign(
        f"{sign!r} is nothing that a scenario can show: give CALL/CHECK as in report.json's signatures, the "
        f"id of a deviation, or one of {', '.join(WORDS)}"
    )


def run(hunt: Hunt, build: Build, evidence: Path | None = None) -> Trial:
    """Ask one build, each time on fresh machines; answers that differ make it untestable."""
    first = _once(hunt, build, evidence)
    for count in range(2, hunt.repeat + 1):
        again = _once(hunt, build, evidence)
        if again.answer != first.answer:
            words = f"unstable: {first.answer} {count - 1} times ({first.reason}), then {again.answer}"
            return Trial("untestable", f"{words} ({again.reason})", again.scenario)
    return first


def _once(hunt: Hunt, build: Build, evidence: Path | None) -> Trial:
    results: list[Result] = []
    Runner([build], Settings(isolate=True, evidence=evidence)).run(hunt.scenarios, results.append)
    return judge(hunt, results)


def judge(hunt: Hunt, results: Sequence[Result]) -> Trial:
    """What the verdicts say of the build."""
    shown = next((result for result in results if hunt.shown_by(result)), None)
    if shown is not None:
        answer: Answer = "good" if hunt.gone else "bad"
        return Trial(answer, _first_line(shown), shown.scenario, shown.evidence)
    failed = next((result for result in results if result.verdict == "error"), None)
    if failed is not None:
        return Trial("untestable", _first_line(failed), failed.scenario, failed.evidence, failed=True)
    if all(result.verdict == "skipped" for result in results):
        reasons = "; ".join(sorted({result.reason for result in results})) or "no scenario"
        return Trial("untestable", f"everything was skipped: {reasons}")
    cut = next(_cut_short(results), None) if hunt.sign else None
    if cut is not None:
        return Trial("untestable", f"another failure cuts it short: {_first_line(cut)}", cut.scenario)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in summary(results).items() if count)
    return Trial("bad" if hunt.gone else "good", f"{hunt.words} does not show: {counts}")


def _cut_short(results: Iterable[Result]) -> Iterator[Result]:
    """Mismatches that ended their program early."""
    for result in results:
        if result.verdict == "mismatch" and any(one.endswith(CUT_SHORT) for one in result.signatures):
            yield result


def _first_line(result: Result) -> str:
    lines = result.reason.strip().splitlines()
    if not lines:
        return f"{result.scenario} {result.verdict}"
    # a traceback says what happened in its last line
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return f"{result.scenario} {result.verdict}: {line.strip()}"
