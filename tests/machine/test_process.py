"""Children, how they end, and what they leave."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from rig.deadline import Deadline
from rig.machine.errors import LaunchError
from rig.machine.process import TAIL, Process, bound


def run(folder: Path, script: str) -> Process:
    return Process(["/bin/sh", "-c", script], stderr=folder / "stderr.log")


def test_last_words_are_the_status_and_the_end_of_stderr(short_tmp: Path) -> None:
    process = run(short_tmp, f"yes x | head -c {2 * TAIL} >&2; echo ' the end' >&2; exit 3")
    assert process.wait(Deadline(10))
    assert process.last_words().startswith("exit status 3; stderr: ")
    assert process.last_words().endswith("the end")
    assert len(process.last_words()) < TAIL + 100
    process.release()


def test_a_signal_is_named(short_tmp: Path) -> None:
    process = run(short_tmp, "kill -SEGV $$")
    assert process.wait(Deadline(10))
    assert process.last_words() == "killed by SIGSEGV; stderr is empty"
    process.release()


def test_release_kills_the_whole_session_and_closes_everything(short_tmp: Path) -> None:
    before = psutil.Process().num_fds()
    process = Process(
        ["/bin/sh", "-c", "sleep 60 & echo $!; cat"],
        stderr=short_tmp / "stderr.log",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.popen.stdout is not None
    below = psutil.Process(int(process.popen.stdout.readline()))
    assert os.getsid(process.pid) == process.pid
    process.release()
    process.release()
    assert psutil.wait_procs([below], timeout=10)[1] == []
    assert psutil.Process().num_fds() <= before


def test_a_deadline_ends_the_wait(short_tmp: Path) -> None:
    process = run(short_tmp, "exec cat /dev/zero >/dev/null")
    assert not process.wait(Deadline(0.05))
    assert process.status() == "still running"
    assert process.cpu_seconds() >= 0
    process.release()
    assert process.status() == "killed by SIGKILL"
    assert process.cpu_seconds() == 0


def test_what_is_no_program_is_refused(short_tmp: Path) -> None:
    with pytest.raises(LaunchError, match="/nonexistent is missing or not executable"):
        Process(["/nonexistent"], stderr=short_tmp / "stderr.log")


@pytest.mark.parametrize("early", [False, True], ids=["parent-alive", "parent-ended-before"])
def test_a_child_whose_parent_ended_before_it_was_bound_executes_nothing(early: bool) -> None:
    words = bound(["/bin/echo", "a  b"], 1 if early else os.getpid())
    assert subprocess.run(words, capture_output=True, text=True).stdout == ("" if early else "a  b\n")


def test_without_setpriv_nothing_is_started(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(short_tmp))
    with pytest.raises(LaunchError, match="install util-linux"):
        Process(["/bin/true"], stderr=short_tmp / "stderr.log")
