"""``rig history``: verdicts by build over time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, history_option

if TYPE_CHECKING:
    from rig.history import Entry


@click.command("history")
@click.argument("name", required=False)
@history_option
@click.option(
    "--build", "wanted", metavar="TEXT", default="", help="Only builds whose path or version has it."
)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def command(name: str | None, history_file: Path | None, wanted: str, as_json: bool) -> None:
    """Show the verdicts on NAME, a scenario (or a pattern) or a deviation, by build over time.

    Without NAME: the last run of each build, and what changed since the one before.
    """
    from rig.check.deviations import load
    from rig.history import BadHistory, History

    if history_file is None:
        raise click.UsageError("which history? give --history FILE, or set RIG_HISTORY")
    history = History(history_file)

    def shown(entry: Entry) -> bool:
        return wanted in entry.path or wanted in entry.version

    try:
        if name is None:
            last = [one for one in history.last() if shown(one)]
            changed = [(old, new) for old, new in history.changes() if shown(new)]
        else:
            is_deviation = name in {deviation.id for deviation in load()}
            found = history.of_deviation(name) if is_deviation else []
            found = [one for one in found or history.of_scenario(name) if shown(one)]
    except BadHistory as error:
        raise InvalidInput(str(error)) from error
    if name is not None:
        if not found:
            raise InvalidInput(f"{history_file} has no run of a scenario, and no deviation, called {name}")
        lines = _deviation(found, name) if is_deviation else _scenario(found)
        click.echo(json.dumps([asdict(one) for one in found], indent=1) if as_json else "\n".join(lines))
    elif as_json:
        pairs = [{"before": asdict(old), "after": asdict(new)} for old, new in changed]
        click.echo(json.dumps({"last": [asdict(one) for one in last], "changes": pairs}, indent=1))
    else:
        click.echo("\n".join(_overview(last, changed)))


def _overview(last: Sequence[Entry], changed: Sequence[tuple[Entry, Entry]]) -> Iterable[str]:
    """Each build: when it ran last, the counts, and what changed."""
    for build, group in groupby(last, key=_build):
        entries = list(group)
        counts = Counter(entry.verdict for entry in entries)
        words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        yield f"{_when(entries[0])}  {entries[0].path}: {words}"
        mine = [(old, new) for old, new in changed if _build(new) == build]
        for old, new in mine:
            yield f"  {new.scenario}: {_verdict(old)} ({_when(old)}) -> {_verdict(new)}"
        if not mine:
            yield "  nothing changed since the run before"


def _scenario(entries: Iterable[Entry]) -> Iterable[str]:
    """One line a verdict, by scenario."""
    for scenario, group in groupby(
        sorted(entries, key=lambda one: one.scenario), key=lambda one: one.scenario
    ):
        yield scenario
        for entry in group:
            yield f"  {_when(entry)}  {_verdict(entry):<12} {entry.path}"


def _deviation(entries: Iterable[Entry], name: str) -> Iterable[str]:
    """One line a run of a build: in how many of the scenarios that can show it the deviation showed."""
    for _, group in groupby(entries, key=lambda one: (one.at, *_build(one), one.sha256)):
        mine = [entry for entry in group if entry.verdict not in ("skipped", "error")]
        if mine:
            count = sum(name in entry.deviations for entry in mine)
            word = f"shows in {count} of {len(mine)}" if count else f"does not show in {len(mine)}"
            yield f"{_when(mine[0])}  {word} scenarios  {mine[0].path}"


def _build(entry: Entry) -> tuple[str, str, str]:
    return entry.path, entry.machine, entry.cpu


def _when(entry: Entry) -> str:
    return f"{entry.at}  {entry.version} [{entry.sha256[:8]}]"


def _verdict(entry: Entry) -> str:
    return entry.verdict + (f" ({', '.join(entry.deviations)})" if entry.deviations else "")
