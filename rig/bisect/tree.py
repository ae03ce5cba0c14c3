"""The QEMU source tree under bisection, through git.

All work is done in a worktree of its own, below the rig's cache: the user's checkout, its index and a
bisection that the user may have under way there stay as they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

#: git's own variables, which would lead it to another repository (set in a hook, for example)
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE")
#: where a bisection that checks nothing out keeps the commit in hand
IN_HAND = "BISECT_HEAD"
#: in the folder of a worktree: held as long as its bisection lives
LOCK = "lock"


class BadTree(ValueError):
    """A source tree or a revision that cannot be bisected; the message says what to do."""


class GitFailed(Exception):
    """Git refused something that it should do."""


def environment() -> Mapping[str, str]:
    """For git: this repository, no hooks of the user's, English and no questions."""
    clean = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    count = int(clean.get("GIT_CONFIG_COUNT") or 0)
    clean |= {f"GIT_CONFIG_KEY_{count}": "core.hooksPath", f"GIT_CONFIG_VALUE_{count}": os.devnull}
    return clean | {"GIT_CONFIG_COUNT": str(count + 1), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def git(folder: Path, *words: str) -> str:
    """What git says to ``words``, stripped; raises :class:`GitFailed` with its own words."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise GitFailed("git is not on PATH: install it") from error
    if done.returncode != 0:
        raise GitFailed(f"git {' '.join(words)} in {folder}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def commit(source: Path, revision: str) -> str:
    """The full name of a revision's commit; raises :class:`BadTree`."""
    if not source.is_dir():
        raise BadTree(f"{source} is no folder: give that of a git checkout of QEMU with --source")
    try:
        git(source, "rev-parse", "--git-dir")
    except GitFailed as error:
        raise BadTree(f"{source} is no git checkout: {error}") from error
    try:
        return git(source, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except GitFailed as error:
        raise BadTree(f"{source} has no commit {revision!r}") from error


def described(source: Path, name: str) -> str:
    """A commit for people: short name, date, author and subject."""
    return git(source, "show", "--no-patch", "--date=short", "--format=%h %ad %an: %s", name)


def check(source: Path, good: str, bad: str) -> None:
    """Raise :class:`BadTree` unless there is something to search between two commits of a clean tree."""
    if good == bad:
        raise BadTree(f"the good and the bad revision are the same commit, {good}: nothing lies between")
    changed = dirty(source)
    if changed:
        raise BadTree(
            f"{source} has changes that are in no commit ({', '.join(changed[:3])}), so no bisection can "
            "test them: commit or stash them first"
        )
    base = _base(source, good, bad)
    if not base:
        raise BadTree("the good and the bad revision have no common ancestor")
    if base == bad:
        raise BadTree(
            "the bad revision is an ancestor of the good one: exchange them; to find where something went "
            "away, give it with --gone"
        )


def dirty(folder: Path) -> list[str]:
    """Tracked files that differ from the commit checked out."""
    lines = git(folder, "status", "--porcelain", "--untracked-files=no").splitlines()
    return [line.split(maxsplit=1)[-1] for line in lines]


def _base(source: Path, good: str, bad: str) -> str:
    try:
        return git(source, "merge-base", good, bad)
    except GitFailed:
        return ""  # git says nothing when there is none


def in_hand(folder: Path) -> str:
    """The commit that a bisection in ``folder`` asks about."""
    for name in (IN_HAND, "HEAD"):
        try:
            return git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except GitFailed:
            continue
    raise GitFailed(f"{folder} has no commit checked out")


class Worktree:
    """A worktree of ``source`` below ``root`` with nothing checked out; a context manager that removes it.

    It is kept from commit to commit, so that what the build command leaves makes the next build shorter.
    """

    def __init__(self, source: Path, root: Path, at: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=root))
        self.path = self.work / "tree"
        self._lock = FileLock(self.work / LOCK)
        self._lock.acquire()
        try:
            git(source, "worktree", "add", "--detach", "--no-checkout", str(self.path), at)
        except GitFailed:
            self._remove()
            raise

    def __enter__(self) -> Worktree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        _forget(self.work)
        self._lock.release()

    def bisect(self, *words: str) -> str:
        """``git bisect`` here."""
        return git(self.path, "bisect", *words)

    def run(self, script: Sequence[str]) -> subprocess.Popen[str]:
        """``git bisect run`` here, in a session of its own, its output as text on one pipe."""
        return subprocess.Popen(
            # should the rig be killed, git asks no further
            ["setpriv", "--pdeathsig", "TERM", "--", "git", "-C", str(self.path), "bisect", "run", *script],
            start_new_session=True,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )


def _forget(work: Path) -> None:
    """Take a worktree out of its repository and off the disk."""
    with suppress(GitFailed):  # it was never added, or its repository is gone
        git(work / "tree", "worktree", "remove", "--force", str(work / "tree"))
    shutil.rmtree(work, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove the worktrees of bisections that were killed."""
    for work in root.glob("work-*"):
        lock = FileLock(work / LOCK, timeout=0)
        with suppress(Timeout, OSError), lock:
            _forget(work)


def check_out(folder: Path, name: str) -> None:
    """Put a commit's files into a worktree of ours; what builds left untracked stays."""
    git(folder, "checkout", "--quiet", "--force", "--detach", name)
