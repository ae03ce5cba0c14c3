"""What verdicts say of a build."""

from __future__ import annotations

import pytest

from rig.bisect.trial import BadSign, Hunt, check_sign, judge
from rig.check.deviations import load
from rig.report.result import Result

CONFORMS = Result("a/one", 0, "conforms")
KNOWN = Result("a/one", 0, "deviates", deviations=("memop-x",), signatures=("H_LOGICAL_MEMOP/memory",))
WRONG = Result("a/one", 0, "mismatch", reason="step 1: r3", signatures=("H_RTAS/r3",))
DIED = Result("a/one", 0, "mismatch", reason="died", signatures=("H_RTAS/liveness",))
GONE = Result("a/one", 0, "fixed", reason="memop-x no longer shows")
SKIPPED = Result("a/one", 0, "skipped", reason="no such service")
FAILED = Result("a/two", 0, "error", reason="Traceback (most recent call last):\n  File\nOSError: no room")


@pytest.mark.parametrize(
    ("sign", "gone", "results", "answer"),
    [
        ("", False, [CONFORMS], "good"),
        ("", False, [KNOWN], "good"),
        ("", False, [CONFORMS, WRONG], "bad"),
        ("", False, [GONE], "bad"),
        ("", False, [SKIPPED], "untestable"),
        ("", False, [SKIPPED, CONFORMS], "good"),
        ("", False, [CONFORMS, FAILED], "untestable"),
        ("", False, [WRONG, FAILED], "bad"),
        ("", False, [DIED], "bad"),
        ("H_RTAS/r3", False, [WRONG], "bad"),
        ("H_RTAS/*", False, [WRONG], "bad"),
        ("H_RTAS/r4", False, [WRONG], "good"),
        ("H_RTAS/r4", False, [DIED], "untestable"),
        ("H_LOGICAL_MEMOP/memory", False, [KNOWN], "bad"),
        ("memop-x", False, [KNOWN], "bad"),
        ("memop-x", False, [CONFORMS], "good"),
        ("memop-x", True, [KNOWN], "good"),
        ("memop-x", True, [CONFORMS], "bad"),
        ("memop-x", True, [SKIPPED], "untestable"),
        ("skipped", True, [SKIPPED], "good"),
        ("skipped", True, [CONFORMS], "bad"),
        ("skipped", False, [CONFORMS], "good"),
        ("skipped", False, [FAILED], "untestable"),
    ],
)
def test_answers(sign: str, gone: bool, results: list[Result], answer: str) -> None:
    found = judge(Hunt((), sign, gone), results)
    assert found.answer == answer, found
    assert found.failed == (answer == "untestable" and FAILED in results)


def test_a_failure_of_the_rig_is_told_by_its_last_line() -> None:
    assert judge(Hunt(()), [FAILED]).reason == "a/two error: OSError: no room"


@pytest.mark.parametrize("sign", ["skipped", "get-time-of-day/rets", "H_*/memory", load()[0].id])
def test_signs(sign: str) -> None:
    check_sign(sign)


@pytest.mark.parametrize("sign", ["error", "missmatch", "no-such-deviation", "a b/c", "/r3", "H_RTAS/"])
def test_what_can_never_show_is_refused(sign: str) -> None:
    with pytest.raises(BadSign, match="nothing that a scenario can show"):
        check_sign(sign)
