"""Runs kept over time in one SQLite file, and what can be asked of them.

A build is told by its path, machine and CPU, so that one that is rebuilt in place stays the same; its version
and hash are kept with each run.  Runs are only ever added, each in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rig import __version__
from rig.frozen import frozen

if TYPE_CHECKING:
    from rig.report.result import Result

#: of the file's layout, as SQLite's user_version
SCHEMA = 1
#: says whose file it is, as SQLite's application_id: "righ"
OURS = 0x72696768
#: seconds to wait for another run that is writing
PATIENCE = 30.0

_LAYOUT = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, rig TEXT NOT NULL, seed INTEGER NOT NULL,
    command TEXT NOT NULL);
CREATE TABLE build (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, path TEXT NOT NULL, version TEXT NOT NULL,
    sha256 TEXT NOT NULL, machine TEXT NOT NULL, cpu TEXT NOT NULL);
CREATE TABLE result (
    build INTEGER NOT NULL REFERENCES build, scenario TEXT NOT NULL, verdict TEXT NOT NULL,
    deviations TEXT NOT NULL, reason TEXT NOT NULL, calls INTEGER NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (build, scenario)) WITHOUT ROWID;
CREATE INDEX result_scenario ON result (scenario, build);
CREATE INDEX build_path ON build (path, machine, cpu, id)"""

_ENTRIES = """
SELECT run.at, build.path, build.version, build.sha256, build.machine, build.cpu,
       result.scenario, result.verdict, result.deviations, result.reason
FROM result JOIN build ON build.id = result.build JOIN run ON run.id = build.run"""
#: the last run of every build
_LAST = "(SELECT max(id) FROM build GROUP BY path, machine, cpu)"
#: for each result of those, the build's row in the run before that had the same scenario
_BEFORE = f"""
SELECT now.scenario, build.id,
       (SELECT max(older.id) FROM build AS older JOIN result AS was ON was.build = older.id
        WHERE was.scenario = now.scenario AND older.id < build.id
          AND (older.path, older.machine, older.cpu) = (build.path, build.machine, build.cpu)) AS before
FROM result AS now JOIN build ON build.id = now.build WHERE build.id IN {_LAST}"""


class BadHistory(ValueError):
    """A file that cannot be used; the message says why and what to do."""


@frozen
class Entry:
    """One verdict of one run.  ``at`` is UTC, ISO 8601; ``deviations`` are ids."""

    at: str
    path: str
    version: str
    sha256: str
    machine: str
    cpu: str
    scenario: str
    verdict: str
    deviations: tuple[str, ...]
    reason: str


@frozen
class History:
    """The runs in the file ``path``, made by :meth:`begin`.  Every method raises :class:`BadHistory`."""

    path: Path

    def begin(self) -> None:
        """Make the file unless it is there; refuse one that is something else."""
        with self._open() as database:
            # taken at once: two runs may begin the same file
            database.execute("BEGIN IMMEDIATE")
            if database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                for statement in _LAYOUT.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {OURS}")
                database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute("COMMIT")
            self._check(database)

    def append(
        self, builds: Sequence[Mapping[str, object]], results: Iterable[Result], seed: int, command: str
    ) -> None:
        """Add one run; ``builds`` are as in report.json."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with self._open() as database:
            self._check(database)
            database.execute("BEGIN IMMEDIATE")
            run = database.execute(
                "INSERT INTO run (at, rig, seed, command) VALUES (?, ?, ?, ?)",
                (at, __version__, seed, command),
            ).lastrowid
            rows = [
                database.execute(
                    "INSERT INTO build (run, path, version, sha256, machine, cpu) VALUES (?, ?, ?, ?, ?, ?)",
                    (run, *(build[key] for key in ("path", "version", "sha256", "machine", "cpu"))),
                ).lastrowid
                for build in builds
            ]
            database.executemany(
                "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        rows[one.build],
                        one.scenario,
                        one.verdict,
                        " ".join(one.deviations),
                        one.reason,
                        one.calls,
                        one.seconds,
                    )
                    for one in results
                ),
            )
            database.execute("COMMIT")

    def of_scenario(self, pattern: str) -> list[Entry]:
        """Every verdict on the scenarios that a shell pattern selects, oldest first."""
        return self._ask(
            f"{_ENTRIES} WHERE result.scenario GLOB ? ORDER BY build.id, result.scenario", pattern
        )

    def of_deviation(self, name: str) -> list[Entry]:
        """Every verdict on a scenario that has ever shown a deviation, oldest first."""
        showing = "SELECT scenario FROM result WHERE instr(' ' || deviations || ' ', ' ' || ? || ' ')"
        return self._ask(
            f"{_ENTRIES} WHERE result.scenario IN ({showing}) ORDER BY build.id, result.scenario", name
        )

    def last(self) -> list[Entry]:
        """Every verdict of the last run of each build."""
        return self._ask(
            f"{_ENTRIES} WHERE build.id IN {_LAST} ORDER BY build.path, build.id, result.scenario"
        )

    def first(self) -> set[tuple[str, str, str]]:
        """The builds that ran once only, by path, machine and CPU."""
        query = "SELECT path, machine, cpu FROM build GROUP BY path, machine, cpu HAVING count(*) = 1"
        return {(path, machine, cpu) for path, machine, cpu in self._rows(query)}

    def changes(self) -> list[tuple[Entry, Entry]]:
        """What came out otherwise in the last run of a build than the time before, before and after."""
        pairs = f"WITH pair AS ({_BEFORE})"
        order = "ORDER BY pair.id, pair.scenario"
        joined = "JOIN pair ON pair.before IS NOT NULL AND pair.scenario = result.scenario AND build.id ="
        before = self._ask(f"{pairs} {_ENTRIES} {joined} pair.before {order}")
        after = self._ask(f"{pairs} {_ENTRIES} {joined} pair.id {order}")
        return [
            (old, new)
            for old, new in zip(before, after, strict=True)
            if (old.verdict, old.deviations) != (new.verdict, new.deviations)
        ]

    def _ask(self, query: str, *values: str) -> list[Entry]:
        return [_entry(row) for row in self._rows(query, *values)]

    def _rows(self, query: str, *values: str) -> list[Sequence[Any]]:
        if not self.path.is_file():
            raise BadHistory(f"there is no {self.path}: `rig run --history {self.path}` begins it")
        with self._open() as database:
            self._check(database)
            return database.execute(query, values).fetchall()

    def _check(self, database: sqlite3.Connection) -> None:
        owner, version = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if owner != OURS:
            raise BadHistory(f"{self.path} is a database of something else: give another file")
        if version != SCHEMA:
            raise BadHistory(
                f"{self.path} has layout {version} and this rig knows {SCHEMA}: begin another file, or use "
                "the rig that wrote it"
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as database:
                yield database
        except sqlite3.Error as error:
            raise BadHistory(f"{self.path} cannot be used as a history: {error}") from error


def _entry(row: Sequence[Any]) -> Entry:
    fields = [*row]
    fields[8] = tuple(row[8].split())
    return Entry(*fields)
