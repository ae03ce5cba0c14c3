"""The wheel, installed in an empty environment, runs the main job from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*words: object, cwd: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"


def test_an_installed_wheel_runs_the_main_job_anywhere(tmp_path: Path, qemu: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = tmp_path / "venv" / "bin" / "rig"
    run(command, "run", "memop/outside", "--qemu", qemu, "--report", "report", cwd=elsewhere)
    report = json.loads((elsewhere / "report" / "report.json").read_text())
    assert report["summary"]["conforms"] + report["summary"]["deviates"] == len(report["results"]) > 0
    run(command, "explain", "H_LOGICAL_MEMOP", cwd=elsewhere)
