"""What ends ``rig`` otherwise than by its command: a message and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from rig.model import dispatch

from .conftest import Rig


@pytest.mark.parametrize(
    "error",
    [dispatch.BadPlugin("repair the package"), OSError(errno.ENOSPC, "no space", "repair the package")],
    ids=["what a user can mend", "the host"],
)
def test_a_failure_outside_the_rig_is_a_message(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(dispatch, "installed", fail)
    done = rig("explain", "get-time-of-day")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("Error: ")
    assert "repair the package" in done.err


def test_output_that_nobody_reads_on_is_no_failure_worth_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "rig", "list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
