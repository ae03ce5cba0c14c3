"""``rig history``: verdicts by build over time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, history_option

if TYPE_CHECKING:
    from rig.history import Entry

#: verdicts between which a result may change because a known deviation shows by chance
PASSED = {"conforms", "deviates"}


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
            first = history.first()
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
    elif not last:
        of = f" of a build with {wanted} in its path or version" if wanted else ""
        raise InvalidInput(f"{history_file} has no run{of}")
    elif as_json:
        pairs = [{"before": asdict(old), "after": asdict(new)} for old, new in changed]
        click.echo(json.dumps({"last": [asdict(one) for one in last], "changes": pairs}, indent=1))
    else:
        click.echo("\n".join(_overview(last, changed, first)))


def _overview(
    last: Sequence[Entry], changed: Sequence[tuple[Entry, Entry]], first: Collection[tuple[str, str, str]]
) -> Iterable[str]:
    """Each build: when it ran last, the counts, and what changed."""
    for build, group in groupby(last, key=_build):
        entries = list(group)
        counts = Counter(entry.verdict for entry in entries)
        words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        yield f"{_when(entries[0])}  {entries[0].path}: {words}"
        mine = [(old, new) for old, new in changed if _build(new) == build]
        kept = _kept(entries, mine)
        by_chance = [
            (old, new)
            for old, new in mine
            if {old.verdict, new.verdict} <= PASSED and _other(old, new) <= kept
        ]
        for old, new in mine:
            if (old, new) not in by_chance:
                yield f"  {new.scenario}: {_verdict(old)} ({_when(old)}) -> {_verdict(new)}"
        if by_chance:
            names = sorted({name for pair in by_chance for name in _other(*pair)})
            yield f"  not in the same scenarios, but seen in both runs: {', '.join(names)}"
        if not mine:
            yield "  its first run" if build in first else "  nothing changed since the run before"


def _kept(entries: Sequence[Entry], changed: Sequence[tuple[Entry, Entry]]) -> set[str]:
    """The deviations that a build has shown in its last run, and before."""
    now = {name for entry in entries for name in entry.deviations}
    same = {entry.scenario for entry in entries} - {new.scenario for _, new in changed}
    before = {name for entry in entries if entry.scenario in same for name in entry.deviations}
    return now & (before | {name for old, _ in changed for name in old.deviations})


def _other(old: Entry, new: Entry) -> set[str]:
    """The deviations that one of two results has: some show by chance."""
    return {*old.deviations} ^ {*new.deviations}


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
            word = f"shows in {count} of" if count else "does not show in"
            plural = "s" if len(mine) > 1 else ""
            yield f"{_when(mine[0])}  {word} {len(mine)} scenario{plural}  {mine[0].path}"


def _build(entry: Entry) -> tuple[str, str, str]:
    return entry.path, entry.machine, entry.cpu


def _when(entry: Entry) -> str:
    return f"{entry.at}  {entry.version} [{entry.sha256[:8]}]"


def _verdict(entry: Entry) -> str:
    return entry.verdict + (f" ({', '.join(entry.deviations)})" if entry.deviations else "")
