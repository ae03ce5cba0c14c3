"""A whole bisection: check both ends, then let git or the search ask for what lies between."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rig.bisect import search, step, tree, trial
from rig.bisect.commits import Binaries, BuildFailed
from rig.bisect.step import Entry, HostBroken
from rig.bisect.trial import Answer, Hunt, Trial
from rig.frozen import frozen
from rig.machine.build import BadBuild, Build

Tell = Callable[[str], None]

#: begins every line of a step's output that is for people
MARK = "rig: "
#: trusts the code of a step only when the step has also written it down: an interpreter that does not start
#: ends with 1 as well, which git would take for "bad"
GUARD = """\
answer=$1; shift
rm -f "$answer"
"$@"; code=$?
[ "$(cat "$answer" 2>&1)" = "$code" ] && exit "$code"
exit 128
"""
_FIRST_BAD = re.compile(r"^# first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
_POSSIBLE = re.compile(r"^# possible first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)


class WrongEnd(ValueError):
    """An end of the range that cannot be one; the message says which and why."""


class Undecided(Exception):
    """The bisection could not be carried through."""


@frozen
class Finding:
    """What a bisection came to.

    ``candidates`` has the first bad commit or build alone, or, where what lies before it cannot be tested,
    all that it could be.  ``bad`` is the earliest one seen to be bad; ``entries`` is all that was asked.
    """

    candidates: tuple[str, ...]
    good: str
    bad: Entry
    entries: tuple[Entry, ...]


# ---- over a list of builds ---------------------------------------------------------------------------------


def over_builds(
    names: Sequence[str],
    probed: Callable[[str], Build],
    hunt: Hunt,
    evidence: Path | None,
    tell: Tell,
) -> Finding:
    """Search ``names``, oldest first.  ``probed`` makes a build of a name, or raises :class:`BadBuild`.

    Raises :class:`WrongEnd` and :class:`rig.bisect.step.HostBroken`.
    """
    entries: list[Entry] = []
    control: list[Build] = []

    def ask(position: int) -> Answer:
        name, path = names[position], ""
        try:
            build = probed(name)
        except BadBuild as error:
            found = Trial("untestable", str(error), failed=True)
        else:
            path = str(build.path)
            found = trial.run(hunt, build, evidence)
            if not found.failed:
                control.append(build)
        step.blame(found, hunt, control[0] if control else None)
        entries.append(step.entry(name, found, Path(path)))
        tell(str(entries[-1]))
        return found.answer

    ask(0)
    _demand(entries[-1], "good", hunt)
    ask(len(names) - 1)
    _demand(entries[-1], "bad", hunt)
    found = search.first_bad(len(names), ask)
    by_name = {one.name: one for one in entries}
    return Finding(
        tuple(names[position] for position in found.candidates),
        names[found.good],
        by_name[names[found.bad]],
        tuple(entries),
    )


def _demand(end: Entry, wanted: Answer, hunt: Hunt) -> None:
    """Raise :class:`WrongEnd` for an end that is not what the user says it is."""
    if end.answer == wanted:
        return
    if end.answer == "untestable":
        raise WrongEnd(f"{end.name}, given as {wanted}, cannot be tested: {end.reason}")
    hint = "; to find where something went away, give it with --gone" if not hunt.gone else ""
    raise WrongEnd(f"{end.name}, given as {wanted}, is {end.answer}: {end.reason}{hint}")


# ---- over commits ------------------------------------------------------------------------------------------


def over_commits(
    source: Path,
    ends: tuple[str, str],
    binaries: Binaries,
    hunt: Hunt,
    words: Sequence[str],
    evidence: Path | None,
    tell: Tell,
) -> Finding:
    """Search the commits between two revisions of ``source``, the good and the bad ``ends``.

    ``words`` are the arguments of ``rig bisect-step`` that repeat ``hunt`` and the recipe.  Raises
    :class:`rig.bisect.tree.BadTree`, :class:`WrongEnd`, :class:`Undecided`,
    :class:`rig.bisect.tree.GitFailed` and :class:`rig.bisect.step.HostBroken`.
    """
    good, bad = (tree.commit(source, revision) for revision in ends)
    tree.check(source, good, bad)
    with tree.Worktree(source, binaries.root, good) as worktree:
        known = _ends(worktree.path, (good, bad), binaries, hunt, evidence, tell)
        worktree.bisect("start", "--no-checkout", bad, good)
        if not _FIRST_BAD.search(worktree.bisect("log")):
            _run(worktree, [*words, "--control", known[0].path], tell)
        log = worktree.bisect("log")
        entries = (*known, *step.read(worktree.work / "journal"))
        return _finding(log, good, entries, worktree.work / "output")


def _ends(
    folder: Path,
    names: tuple[str, str],
    binaries: Binaries,
    hunt: Hunt,
    evidence: Path | None,
    tell: Tell,
) -> tuple[Entry, Entry]:
    """Both ends, built one after the other and judged at once."""
    paths: list[Path] = []
    for name, kind in zip(names, ("good", "bad"), strict=True):
        try:
            paths.append(step.obtain(folder, name, binaries, ours=True))
        except BuildFailed as error:
            step.blame(Trial("untestable", str(error), failed=True), hunt, None, folder)
            raise WrongEnd(f"{name}, given as {kind}, cannot be built: {error}") from error
    with ThreadPoolExecutor(2) as executor:
        trials = list(executor.map(lambda path: step.ask(path, hunt, evidence), paths))
    entries = []
    for name, found, path in zip(names, trials, paths, strict=True):
        step.blame(found, hunt, None, folder)
        entries.append(step.entry(name, found, path))
        tell(str(entries[-1]))
    _demand(entries[0], "good", hunt)
    _demand(entries[1], "bad", hunt)
    return entries[0], entries[1]


def _run(worktree: tree.Worktree, words: Sequence[str], tell: Tell) -> None:
    """Let git ask for one commit after the other."""
    guard, answer = worktree.work / "guard.sh", worktree.work / "answer"
    guard.write_text(GUARD)
    # this very rig, wherever it was imported from; nothing of the tree under test can take its place
    home = str(Path(tree.__file__).parents[2])
    start = f"import sys; sys.path.append({home!r}); import rig.cli; rig.cli.main()"
    command = ["sh", str(guard), str(answer), sys.executable, "-P", "-c", start, "bisect-step", "--ours"]
    command += ["--answer", str(answer), "--journal", str(worktree.work / "journal"), *words]
    git = worktree.run(command)
    assert git.stdout is not None
    with git, (worktree.work / "output").open("w") as output:
        try:
            for line in git.stdout:
                output.write(line)
                if line.startswith(MARK):
                    tell(line.removeprefix(MARK).rstrip())
        except BaseException:
            os.killpg(git.pid, signal.SIGTERM)
            git.stdout.read()  # ends when the step in hand has cleared up and ended
            raise


def _finding(log: str, good: str, entries: tuple[Entry, ...], output: Path) -> Finding:
    first = _FIRST_BAD.search(log)
    candidates = (first[1],) if first else tuple(_POSSIBLE.findall(log))
    bad = next((one for one in reversed(entries) if one.answer == "bad" and one.name in candidates), None)
    if bad is None:
        said = [line for line in output.read_text().splitlines() if line.strip()] if output.exists() else []
        broken = [line for line in said if line.startswith(f"{MARK}broken: ")]
        if broken:
            raise HostBroken(broken[-1].removeprefix(f"{MARK}broken: "))
        raise Undecided("git could not bisect: " + " / ".join(said[-6:]))
    goods = [one.name for one in entries if one.answer == "good"]
    return Finding(candidates, goods[-1] if goods else good, bad, entries)
