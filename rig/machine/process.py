"""Child processes that never outlive the rig, and what is left of them when they end.

It starts QEMU and gdb and watches them; what is said to them is the business of monitor and debugger.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from rig.deadline import Deadline
from rig.machine import sanitizer
from rig.machine.errors import LaunchError

#: characters of stderr that last words quote
TAIL = 2000

_keepers: dict[int, ThreadPoolExecutor] = {}


def _keeper() -> ThreadPoolExecutor:
    """The thread that starts all children of this process.

    PR_SET_PDEATHSIG fires when the *thread* that started the child ends (prctl(2)), so a worker that ends
    before its machine would kill it.
    """
    return _keepers.setdefault(os.getpid(), ThreadPoolExecutor(1, "rig-keeper"))


def bound(argv: Sequence[str], parent: int) -> list[str]:
    """The words that execute ``argv`` as a child of the process ``parent`` that does not outlive it.

    Raises :class:`LaunchError` without setpriv(1), which rather than a preexec_fn does it: that may deadlock
    in a process with threads.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LaunchError("setpriv is not on PATH; install util-linux")
    # A parent that ended before the signal was asked for sends none: its child has another parent by then.
    still = f'[ "$PPID" = {parent} ] && exec "$0" "$@"'
    return [setpriv, "--pdeathsig", "KILL", "--", "/bin/sh", "-c", still, *argv]


class Process:
    """One child in a session of its own, killed by the kernel should the rig end first.

    It works in ``directory``, or where the rig does.  ``stdin`` and ``stdout`` may be ``subprocess.PIPE``;
    the end of the file ``stderr`` is its last words.  Raises :class:`LaunchError` when the program cannot be
    executed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stderr: Path,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.name = Path(argv[0]).name
        self._stderr = stderr
        self._reports = sanitizer.Log(stderr)
        words = bound(argv, os.getpid())
        if shutil.which(argv[0]) is None:
            raise LaunchError(f"{argv[0]} is missing or not executable")
        with stderr.open("ab") as errors:
            self.popen = (
                _keeper()
                .submit(
                    subprocess.Popen,
                    words,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=errors,
                    bufsize=0,
                    pass_fds=tuple(pass_fds),
                    start_new_session=True,
                    env=environment,
                    cwd=directory,
                )
                .result()
            )
        self.pid = self.popen.pid
        # A build that a call brings down must leave no core file where the user happens to stand.
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        #: readable once the process has ended
        self.pidfd = os.pidfd_open(self.pid)

    @property
    def alive(self) -> bool:
        """Whether the process still runs; reaps it when it does not."""
        return self.popen.poll() is None

    def cpu_seconds(self) -> float:
        """CPU time used so far by all threads, in seconds; 0 once it has ended."""
        # clock_getcpuclockid(3): the CPU clock of another process has the id (~pid << 3) | CPUCLOCK_SCHED.
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def wait(self, deadline: Deadline) -> bool:
        """Wait for the end; whether it came in time."""
        if self.alive:
            select.select([self.pidfd], [], [], deadline.remaining())
        return not self.alive

    def kill(self) -> None:
        """SIGKILL to its process group, and reap it."""
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait()

    def status(self) -> str:
        """How it ended, in words."""
        code = self.popen.poll()
        if code is None:
            return "still running"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"

    def stderr_tail(self) -> str:
        """The end of what it wrote to stderr."""
        try:
            text = self._stderr.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return text[-TAIL:].strip()

    def reports(self) -> tuple[sanitizer.Report, ...]:
        """What sanitizers have said since the last time."""
        return self._reports.reports()

    def last_words(self) -> str:
        """How it ended, what a sanitizer said last, and the end of stderr."""
        tail = self.stderr_tail()
        if not tail:
            return f"{self.status()}; stderr is empty"
        said = sanitizer.reports(self._stderr.read_text(errors="replace"))
        return "; ".join([self.status(), *(str(report) for report in said[-1:]), f"stderr: {tail}"])

    def release(self) -> None:
        """Kill it if need be and close what the rig holds of it.  May be called twice."""
        self.kill()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # what was still buffered for a process that is gone
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
