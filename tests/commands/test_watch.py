"""What ``rig watch`` makes of what it saw."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rig import watch
from rig.watch import Watched

from .conftest import Rig

JUDGED = Watched(Counter({"H_RTAS": 1}), rtas=Counter({("nvram-fetch", 0): 1}), ended="the prompt")


@pytest.mark.parametrize(
    ("seen", "code", "last"),
    [
        (JUDGED, 0, "conforms"),
        (Watched(ended="2 s are over"), 5, "skipped: no call was judged"),
        (Watched(Counter({"H_RTAS": 3}), ended="2 s are over"), 5, "skipped: no call was judged"),
        (
            Watched(JUDGED.calls, rtas=JUDGED.rtas, failure="killed by SIGSEGV; stderr is empty"),
            1,
            "mismatch: QEMU failed under this guest: killed by SIGSEGV; stderr is empty",
        ),
    ],
    ids=["judged", "no call", "no call judged", "crash"],
)
def test_only_what_was_judged_and_went_on_passes(
    rig: Rig, qemu: Path, monkeypatch: pytest.MonkeyPatch, seen: Watched, code: int, last: str
) -> None:
    monkeypatch.setattr(watch, "watch", lambda *_, **__: seen)
    done = rig("watch", "--qemu", qemu)
    assert (done.code, done.out.splitlines()[-1]) == (code, last)
