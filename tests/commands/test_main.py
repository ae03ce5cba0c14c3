"""What ends ``rig`` otherwise than by its command: a message and an exit code, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rig.model import dispatch
from rig.report.files import write_json

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
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", ["ab", "bench", "bisect memop", "campaign"])
def test_json_that_could_not_be_written_is_refused_at_once(rig: Rig, tmp_path: Path, words: str) -> None:
    """Before anything else is looked at: there is neither a build nor a question here."""
    for file, said in (
        (tmp_path / "none/found.json", "none is no folder that can be"),
        (tmp_path, "is a directory"),
    ):
        done = rig(*words.split(), "--json", file)
        assert done.code == 4
        assert said in done.err


def test_what_json_is_written_to_stays_what_it_is(tmp_path: Path) -> None:
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(file)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in (link, pipe):
        write_json(path, {"a": 1})
    assert link.is_symlink()
    assert file.read_bytes() == os.read(reader, 100) == b'{\n "a": 1\n}\n'
    assert pipe.is_fifo()
    os.close(reader)


def test_a_run_that_is_told_to_end_keeps_what_there_is(qemu: Path, short_tmp: Path) -> None:
    report = short_tmp / "report"
    command = [sys.executable, "-m", "rig", "run", "memop", "logical", "--qemu", str(qemu)]
    command += ["--report", str(report), "--jobs", "1"]
    # without standard input: nothing of the rig's may be taken for it
    words = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as run:
        results = report / "results.jsonl"
        while run.poll() is None and not (results.exists() and results.stat().st_size):
            time.sleep(0.01)
        run.terminate()
        said, _ = run.communicate()
    assert run.returncode == 2
    assert "interrupted: " in said
    verdicts = [json.loads(line)["verdict"] for line in results.read_text().splitlines()]
    assert set(verdicts) <= {"conforms", "deviates"}
    found = json.loads((report / "report.json").read_text())
    assert len(found["results"]) == len(verdicts) > 0
    # What is missing, every report says.
    words = f"interrupted: {found['unplayed']}"
    assert found["unplayed"] > 0
    assert words in said
    assert words in (report / "index.html").read_text()
    assert words in (report / "junit.xml").read_text()
