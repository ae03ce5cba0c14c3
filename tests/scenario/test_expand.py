"""Substitution and matrices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.scenario.expand import MAX_COMBINATIONS, BadTemplate, combinations, expression, template


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("0x10 + 1", 17),
        ("a - b * 2", 10 - 6),
        ("-a", -10),
        ("(a + b) // 2", 6),
        ("a % 4", 2),
        ("1 << b", 8),
        ("a >> 1", 5),
        ("a & 6", 2),
        ("h + 1", 0x101),
    ],
)
def test_expression(text: str, value: int) -> None:
    assert expression(text)({"a": 10, "b": 3, "h": "0x100"}) == value


@given(st.integers(-(2**60), 2**60), st.integers(-(2**60), 2**60))
def test_arithmetic_is_pythons(a: int, b: int) -> None:
    names = {"a": a, "b": b}
    assert expression("a + b")(names) == a + b
    assert expression("a - b")(names) == a - b
    assert expression("a * b + 1 - a")(names) == a * b + 1 - a


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a +",
        "__import__('os')",
        "a.real",
        "a[0]",
        "a ** b",
        "1.5",
        "True",
        "'text'",
        "lambda: 1",
        "a if b else 1",
        "a; b",
        "not a",
        "-" * 5000 + "1",
    ],
)
def test_no_expression(text: str) -> None:
    with pytest.raises(BadTemplate, match=r"expression|may only hold"):
        expression(text)({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing", "not in the matrix"),
        ("a // 0", "zero"),
        ("1 << 129", "shifts by 129"),
        ("1 << -1", "negative shift"),
        ("(1 << 127) * 4", "more than 128 bits"),
        ("word + 1", "no integer"),
    ],
)
def test_what_cannot_be_calculated(text: str, message: str) -> None:
    with pytest.raises(BadTemplate, match=message):
        expression(text)({"a": 1, "word": "copy"})


def test_whole_hole_keeps_the_type() -> None:
    evaluate = template({"args": "${date}", "at": "$ram.end-${n}", "fixed": [1, 2]})
    assert evaluate is not None
    data = {"args": [2000, 1, 1], "at": "$ram.end-16", "fixed": [1, 2]}
    assert evaluate({"date": [2000, 1, 1], "n": 16}) == data


def test_reference_from_a_name() -> None:
    evaluate = template("$${where}")
    assert evaluate is not None
    assert evaluate({"where": "ram.end+8"}) == "$ram.end+8"


def test_without_holes_is_no_template() -> None:
    assert template({"a": ["$ram.end", 1, None]}) is None


def test_error_has_a_path() -> None:
    with pytest.raises(BadTemplate) as info:
        template([{"memop": {"source": "${1 +}"}}])
    assert info.value.path == (0, "memop", "source")


def test_unclosed_hole() -> None:
    with pytest.raises(BadTemplate, match="not closed"):
        template("${a")


def test_combinations_vary_the_last_fastest() -> None:
    found = list(combinations({"a": [1, 2], "b": {"range": [0, 4, 2]}}))
    assert [(one["a"], one["b"], one["index"]) for one in found] == [
        (1, 0, 0),
        (1, 2, 1),
        (2, 0, 2),
        (2, 2, 3),
    ]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ({"a": []}, "no values"),
        ({"a": {"range": [3, 3]}}, "no values"),
        ({"a": {"range": [0, 3, 0]}}, "step other than 0"),
        ({"a": {"range": [0, "x"]}}, "integers"),
        ({"a": {"span": [0, 3]}}, "list of values"),
        ({"a": 3}, "list of values"),
        ({"index": [1]}, "cannot name"),
        ({"from": [1]}, "cannot name"),
        ({"a b": [1]}, "cannot name"),
        ({"a": {"range": [0, MAX_COMBINATIONS + 1]}}, "at most"),
    ],
)
def test_bad_matrix(matrix: dict[str, object], message: str) -> None:
    with pytest.raises(BadTemplate, match=message):
        list(combinations(matrix))
