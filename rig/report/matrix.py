"""Scenarios down, builds across: the table of a run over several builds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rig.frozen import frozen
from rig.report.result import Result

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {
    "conforms": "green",
    "deviates": "yellow",
    "mismatch": "bold red",
    "fixed": "bold red",
    "error": "bold magenta",
    "skipped": "dim",
}


@frozen
class Row:
    """One scenario: its result on each build, ``None`` where the run was interrupted before it."""

    scenario: str
    cells: tuple[Result | None, ...]

    @property
    def plain(self) -> bool:
        """Whether there is nothing to say: it conforms wherever it can be run."""
        words = {cell.verdict for cell in self.cells if cell is not None}
        return words <= {"conforms", "skipped"}


def rows(results: Sequence[Result], builds: int) -> Iterator[Row]:
    """The rows in the order in which the scenarios first appear."""
    found: dict[str, list[Result | None]] = {}
    for result in results:
        found.setdefault(result.scenario, [None] * builds)[result.build] = result
    for scenario, cells in found.items():
        yield Row(scenario, tuple(cells))


def table(results: Sequence[Result], versions: Sequence[str]) -> Table:
    """For a terminal: scenarios of which there is something to say; the caption counts the others."""
    from rich import box
    from rich.table import Table

    every = list(rows(results, len(versions)))
    shown = [row for row in every if not row.plain]
    plain = len(every) - len(shown)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.caption = f"{plain} more conform on every build that can run them" if plain else None
    drawn.add_column("scenario", overflow="fold")
    for version in versions:
        drawn.add_column(f"QEMU {version}", overflow="fold")
    for row in shown:
        drawn.add_row(row.scenario, *(_text(cell) for cell in row.cells))
    return drawn


def _text(cell: Result | None) -> str:
    if cell is None:
        return ""
    word = f"[{COLOURS[cell.verdict]}]{cell.verdict}[/]"
    return " ".join((word, *cell.deviations))
