"""How much longer a whole ``rig run`` takes than the same QEMU needs to answer its first QMP command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

import psutil

from rig.bench.measurement import Measurement, Ratio, interleave
from rig.machine.build import Build

#: a scenario of a few memop calls
SCENARIO = "memop/limits/count-over-0xffffffff"
#: seconds between two looks at a process's memory
LOOK = 0.005


def first_answer(build: Build) -> float:
    """Seconds from starting QEMU with ``-S`` to the answer to its first QMP command."""
    data = ("-L", str(build.data_dir)) if build.data_dir else ()
    command = [*build.argv, *data, "-M", "pseries", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    began = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as qemu:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        _answer(qemu.stdout, "QMP")
        for name in ("qmp_capabilities", "query-status"):
            qemu.stdin.write(json.dumps({"execute": name}) + "\n")
            qemu.stdin.flush()
            _answer(qemu.stdout, "return")
        seconds = time.monotonic() - began
        qemu.stdin.write('{"execute": "quit"}\n')
    return seconds


def _answer(stream: IO[str], key: str) -> None:
    for line in stream:
        if key in json.loads(line):
            return
    raise RuntimeError("QEMU ended before it answered")


def whole_run(build: Build, scenario: str = SCENARIO) -> tuple[float, float]:
    """Seconds of a whole ``rig run`` of one scenario, and the rig's own largest resident memory in MiB."""
    command = [sys.executable, "-m", "rig", "run", scenario, "--qemu", str(build.path), "--jobs", "1"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        largest = 0
        while run.poll() is None:
            try:
                largest = max(largest, psutil.Process(run.pid).memory_info().rss)
                run.wait(LOOK)
            except (subprocess.TimeoutExpired, psutil.NoSuchProcess):
                continue
        seconds = time.monotonic() - began
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {run.returncode}")
    return seconds, largest / (1 << 20)


def measure(index: int, build: Build, rounds: int) -> Iterator[Measurement | Ratio]:
    """Start-up of QEMU alone, of a whole run, their ratio, and the rig's resident memory."""
    memory: list[float] = []

    def run() -> float:
        seconds, resident = whole_run(build)
        memory.append(resident)
        return seconds

    whole_run(build)  # so that neither pays for a cold cache
    values = interleave({"qemu": lambda: first_answer(build), "run": run}, rounds)
    alone = Measurement("QEMU -S to first QMP answer", index, "s", tuple(values["qemu"]))
    whole = Measurement("rig run of one scenario", index, "s", tuple(values["run"]))
    yield alone
    yield whole
    yield Measurement("resident memory of the rig, 512 MiB guest", index, "MiB", tuple(memory))
    yield Ratio("one scenario / QEMU start", index, whole.median / alone.median, "at most 10")
