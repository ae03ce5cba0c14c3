"""What a campaign has come to so far, and the files in which it is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rig.campaign.engine import Finding, Report
from rig.campaign.workbench import scenario
from rig.frozen import frozen
from rig.scenario.dump import dump_program

JOURNAL = "campaign.jsonl"


class BadJournal(ValueError):
    """A journal cannot be continued; the message says why."""


@frozen
class Found:
    """What is told of a finding: ``program`` is its file, empty when it was not saved; ``calls`` are in it.

    It was seen first in batch number ``batch`` of ``engine``.
    """

    summary: str
    program: str
    calls: int
    engine: str
    batch: int


@dataclass(slots=True)
class Tally:
    """Sums over reports.  ``seconds`` is wall time, of all sessions of a campaign that was resumed."""

    calls: int = 0
    seconds: float = 0.0
    guest_seconds: float = 0.0
    deviations: Counter[str] = field(default_factory=Counter)
    mismatches: Counter[str] = field(default_factory=Counter)
    #: by signature
    findings: dict[str, Found] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Verified calls a second, of all machines together."""
        return self.calls / self.seconds if self.seconds else 0.0

    def add(self, report: Report) -> None:
        """Count one batch; its findings are :class:`Folder`'s to keep."""
        self.calls += report.calls
        self.guest_seconds += report.guest_seconds
        self.deviations.update(report.deviations)
        self.mismatches.update(report.mismatches)
        self.errors += report.errors

    def as_json(self, seed: int, first: int = 0) -> dict[str, object]:
        """The campaign's JSON, schema 1."""
        return {
            "schema": 1,
            "calls": self.calls,
            "seconds": round(self.seconds, 3),
            "guest_seconds": round(self.guest_seconds, 3),
            "verified_per_second": round(self.rate),
            "raw_per_second": round(self.calls / self.guest_seconds) if self.guest_seconds else 0,
            "seed": seed,
            "first": first,
            "findings": [
                {"signature": signature, **asdict(found), "count": self.mismatches[signature]}
                for signature, found in self.findings.items()
            ],
            "deviations": dict(sorted(self.deviations.items())),
            "errors": len(self.errors),
        }

    def exit_code(self, *, interrupted: bool = False) -> int:
        """As ``rig run``: 2 interrupted, 3 error, 1 a mismatch, 5 nothing ran, 0 otherwise."""
        if interrupted:
            return 2
        if self.errors:
            return 3
        if self.mismatches or self.findings:
            return 1
        return 0 if self.calls else 5


class Folder:
    """Where a campaign keeps its journal and its findings; a batch counts when its line is written.

    ``header`` says what the campaign is; a journal with another header is not continued.  Raises
    :class:`BadJournal`, and :class:`OSError` for a folder that cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, object], *, resume: bool) -> None:
        journal = path / JOURNAL
        if resume and not journal.exists():
            raise BadJournal(f"{journal} does not exist: there is no campaign to resume")
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        #: calls given out for each batch of each engine
        self.done: dict[str, dict[int, int]] = {}
        self.tally = Tally()
        if journal.exists() and not resume:
            raise BadJournal(f"{journal} exists: continue it with --resume, or choose another folder")
        if resume:
            self._read(journal, header)
        # What a killed rig left of its last line must not become a part of the next.
        whole = journal.exists() and not journal.read_bytes().endswith(b"\n")
        self._stream: TextIO = journal.open("a")
        if whole:
            self._stream.write("\n")
        if not resume:
            self._write({"campaign": dict(header)})

    def close(self) -> None:
        """Close the journal."""
        self._stream.close()

    def add(self, engine: str, report: Report, given: int, seconds: float) -> None:
        """Keep a report on ``given`` calls; ``seconds`` is the wall time since the one before."""
        self._write(
            {
                "engine": engine,
                "batch": report.batch,
                "given": given,
                "calls": report.calls,
                "seconds": round(seconds, 6),
                "guest_seconds": round(report.guest_seconds, 6),
                "deviations": dict(report.deviations),
                "mismatches": dict(report.mismatches),
                "errors": list(report.errors),
            }
        )

    def keep(self, engine: str, finding: Finding) -> Found:
        """Save a finding's program."""
        file = self.path / f"{slug(finding.signature)}.yaml"
        file.write_text(as_yaml(finding))
        found = told(engine, finding, str(file))
        self._write({"finding": finding.signature, **asdict(found)})
        return found

    def _write(self, entry: Mapping[str, object]) -> None:
        self._stream.write(json.dumps(entry) + "\n")
        self._stream.flush()

    def _read(self, journal: Path, header: Mapping[str, object]) -> None:
        lines = journal.read_text().splitlines()
        entries = [entry for entry in map(_parsed, lines) if entry]
        if not entries or "campaign" not in entries[0]:
            raise BadJournal(f"{journal} is no journal of a campaign: choose another folder")
        if entries[0]["campaign"] != json.loads(json.dumps(dict(header))):
            raise BadJournal(
                f"{journal} is the journal of another campaign: build, seed, mix, --first or rig differ"
            )
        for entry in entries[1:]:
            if "finding" in entry:
                signature = entry.pop("finding")
                self.tally.findings[signature] = Found(**entry)
            elif "batch" in entry and entry["batch"] not in self.done.setdefault(entry["engine"], {}):
                self.done[entry["engine"]][entry["batch"]] = entry["given"]
                self.tally.seconds += entry["seconds"]
                self.tally.add(
                    Report(
                        entry["batch"],
                        entry["calls"],
                        entry["seconds"],
                        entry["guest_seconds"],
                        entry["deviations"],
                        entry["mismatches"],
                        (),
                        tuple(entry["errors"]),
                    )
                )


def _parsed(line: str) -> dict[str, Any]:
    """A line of the journal; nothing for one that a killed rig did not finish."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return entry if isinstance(entry, dict) else {}


def told(engine: str, finding: Finding, program: str = "") -> Found:
    """What is told of a finding of ``engine`` whose file is ``program``."""
    return Found(finding.summary, program, finding.calls, engine, finding.batch)


def slug(signature: str) -> str:
    """A signature as a file name."""
    return "".join(letter if letter.isalnum() else "-" for letter in signature.lower()).strip("-")


def as_yaml(finding: Finding) -> str:
    """A finding as a scenario file."""
    return dump_program(
        scenario(slug(finding.signature), finding.summary, finding.steps, finding.machine), finding.steps
    )
