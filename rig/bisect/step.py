"""One step of a bisection over commits: the commit in hand, built if need be, and judged.

Also what every step writes down: the driver (:mod:`rig.bisect.drive`) reads it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rig.bisect import host, tree, trial
from rig.bisect.commits import Binaries, BuildFailed
from rig.bisect.trial import Answer, Hunt, Trial
from rig.frozen import frozen
from rig.machine.build import BadBuild, Build, probe

#: what ``git bisect run`` understands; any other code between 1 and 127 would be "bad" to it
CODES: dict[Answer, int] = {"good": 0, "bad": 1, "untestable": 125}
#: makes ``git bisect run`` stop
BROKEN = 128
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


class HostBroken(Exception):
    """Nothing can be said of any build; the message says what to repair."""


@frozen
class Entry:
    """What is known of one commit or build: ``name``, answer, and the binary that gave it (``path``)."""

    name: str
    answer: Answer
    reason: str
    scenario: str = ""
    evidence: str = ""
    path: str = ""

    def __str__(self) -> str:
        name = self.name[:12] if _COMMIT.fullmatch(self.name) else self.name
        return f"{name} is {self.answer}: {self.reason}"


def take(
    folder: Path, hunt: Hunt, binaries: Binaries, *, ours: bool, evidence: Path | None, control: Build | None
) -> Entry:
    """Judge the commit in hand in the checkout ``folder``; raises :class:`HostBroken`.

    ``ours`` says that files may be checked out there.  ``control`` is a build that is known to work.
    """
    name = tree.in_hand(folder)
    try:
        binary = obtain(folder, name, binaries, ours=ours)
    except BuildFailed as error:
        blame(Trial("untestable", str(error), failed=True), hunt, None, folder)
        return Entry(name, "untestable", str(error))
    found = ask(binary, hunt, evidence)
    blame(found, hunt, control, folder)
    return entry(name, found, binary)


def obtain(folder: Path, name: str, binaries: Binaries, *, ours: bool) -> Path:
    """The binary of a commit: the one that was kept, or one that is built now.

    Raises :class:`rig.bisect.commits.BuildFailed` and, when something else than the commit would be built,
    :class:`rig.bisect.tree.BadTree`.
    """
    binary = binaries.get(name)
    if binary is not None:
        return binary
    if ours:
        tree.check_out(folder, name)
    elif tree.git(folder, "rev-parse", "HEAD") != name or tree.dirty(folder):
        raise tree.BadTree(f"{folder} does not hold commit {name} and nothing else: commit or stash changes")
    return binaries.make(name, folder)


def ask(binary: Path, hunt: Hunt, evidence: Path | None) -> Trial:
    """Judge one binary."""
    try:
        build = probe(binary)
    except BadBuild as error:
        return Trial("untestable", str(error), failed=True)
    return trial.run(hunt, build, evidence)


def entry(name: str, found: Trial, path: Path) -> Entry:
    """What to write down of a trial."""
    return Entry(name, found.answer, found.reason, found.scenario, found.evidence, str(path))


def blame(found: Trial, hunt: Hunt, control: Build | None, *folders: Path) -> None:
    """Raise :class:`HostBroken` when a failure is the host's rather than the build's."""
    if found.failed:
        cause = host.trouble(*folders) or (host.fails_too(control, hunt) if control else "")
        if cause:
            raise HostBroken(f"{cause} (seen when a build failed: {found.reason})")


def write(journal: Path, one: Entry) -> None:
    """Append to the journal of a bisection."""
    with journal.open("a") as file:
        file.write(json.dumps(asdict(one)) + "\n")


def read(journal: Path) -> Iterator[Entry]:
    """What was written down so far."""
    if journal.exists():
        for line in journal.read_text().splitlines():
            yield Entry(**json.loads(line))
