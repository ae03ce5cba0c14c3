"""``rig run`` under the variables of QEMU's own tests, and with several workers on a real QEMU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ONE, TWO = "memop/outside/source-ram.end", "memop/alignment/bytes"


def rig(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rig", "run", *map(str, words)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_scratch_folders_are_kept_and_a_second_monitor_is_there(qemu: Path, short_tmp: Path) -> None:
    backdoor, words, wrapper = short_tmp / "backdoor", short_tmp / "words", short_tmp / "qemu-system-ppc64"
    wrapper.write_text(f'#!/bin/sh\necho "$*" >>{words}\nexec {qemu} "$@"\n')
    wrapper.chmod(0o755)
    done = rig(
        ONE,
        QEMU_TEST_QEMU_BINARY=str(wrapper),
        QEMU_TEST_KEEP_SCRATCH="1",
        QEMU_TEST_QMP_BACKDOOR=str(backdoor),
        TMPDIR=str(short_tmp),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (kept,) = short_tmp.glob("rig-*")
    assert {"qmp.log", "console.log", "gdb.log"} <= {path.name for path in kept.iterdir()}
    assert f"-qmp unix:{backdoor},server=on,wait=off" in words.read_text()


def test_without_them_nothing_is_left(qemu: Path, short_tmp: Path) -> None:
    done = rig(ONE, "--qemu", qemu, TMPDIR=str(short_tmp))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(short_tmp.iterdir())


def test_two_workers_write_one_trace_and_one_report(qemu: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    done = rig(ONE, TWO, "--qemu", qemu, "--jobs", 2, "--report", tmp_path / "report", "--trace", trace)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [json.loads(line) for line in trace.read_text().splitlines()]
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert {step["scenario"] for step in steps} == {ONE, TWO}
    assert len(steps) == sum(result["calls"] for result in report["results"])
    assert (tmp_path / "report/index.html").is_file()


def test_several_builds_are_shown_side_by_side(qemu: Path) -> None:
    done = rig(ONE, "--qemu", qemu, "--qemu", qemu)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.strip().startswith(ONE)]
    assert row.count("deviates memop-outside-memory") == 2
