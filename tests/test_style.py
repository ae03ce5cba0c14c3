"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [path for folder in ("rig", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
OURS = [path for path in MODULES if path.is_relative_to(ROOT / "rig")]

#: a module is one idea; longer than this, it is two
LONGEST = 450


def complaints(path: Path, text: str) -> list[str]:
    """What is wrong with a module, in words."""
    found = []
    if text.count("\n") >= LONGEST:
        found.append(f"{text.count(chr(10))} lines; split what is more than one idea")
    if "\t" in text:
        found.append("a tab")
    if text.strip() and ast.get_docstring(ast.parse(text)) is None:
        found.append("no docstring that says what the module is for")
    if path in OURS and "time.sleep(" in text:
        found.append("time.sleep: wait for what is awaited, with a deadline")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_keep_the_rules(path: Path) -> None:
    assert not complaints(path, path.read_text())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('"""Long."""\n' * LONGEST, "lines"),
        ('"""Tab."""\nif True:\n\tpass\n', "a tab"),
        ("import os\n", "no docstring"),
        ('"""Waits."""\ntime.sleep(1)\n', "time.sleep"),
    ],
)
def test_broken_rules_are_found(text: str, complaint: str) -> None:
    (found,) = complaints(OURS[0], text)
    assert complaint in found
