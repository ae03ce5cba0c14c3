"""The search over an ordered list, for every list there can be."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from rig.bisect.search import first_bad
from rig.bisect.trial import Answer


@given(st.integers(2, 2000), st.data())
def test_finds_the_first_bad_one_in_logarithmic_time(count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, count - 1))
    asked: list[int] = []

    def ask(position: int) -> Answer:
        asked.append(position)
        return "bad" if position >= first else "good"

    found = first_bad(count, ask)
    assert list(found.candidates) == [first]
    assert found.good == first - 1
    assert len(asked) <= math.ceil(math.log2(count))


@given(st.integers(2, 60), st.data())
def test_names_all_that_could_be_when_some_cannot_be_tested(count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, count - 1))
    untestable = data.draw(st.sets(st.integers(1, max(1, count - 2)))) - {count - 1}
    asked: list[int] = []

    def ask(position: int) -> Answer:
        asked.append(position)
        return "untestable" if position in untestable else "bad" if position >= first else "good"

    found = first_bad(count, ask)
    assert len(asked) == len(set(asked))
    assert not {0, count - 1} & set(asked)
    assert first in found.candidates or set(range(first, found.bad)) <= untestable
    assert set(found.candidates) - {found.bad} <= untestable, "what can be tested is decided"


def test_two_members_need_no_question() -> None:
    found = first_bad(2, lambda position: "untestable")
    assert list(found.candidates) == [1]
