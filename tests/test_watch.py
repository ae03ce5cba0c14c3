"""Watching a guest: what is read from QEMU's log, and what is judged of it."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from pathlib import Path

import psutil
import pytest

from rig.deadline import Deadline
from rig.export.standalone import export
from rig.machine.build import Build, probe
from rig.machine.errors import MachineError, Timeout
from rig.model.environment import Environment, Node, Region
from rig.model.model import Model
from rig.model.vof import H_VOF_CLIENT
from rig.program import H_LOGICAL_MEMOP, H_RTAS, MachineOptions
from rig.resources import image_root
from rig.scenario.file import load_file
from rig.watch import Watched, _Watcher, calls, how, watch

OPTIONS = MachineOptions(memory=256, arguments=("-prom-env", "auto-boot?=false"), firmware="slof")


@pytest.fixture(scope="module")
def build(qemu: Path) -> Build:
    return probe(qemu)


#: a guest of a few calls, made by the program that `rig export` writes
GUEST = """
scenarios:
  - name: guest
    summary: a few calls of a guest
    machine: {{endian: {endian}}}
    steps:
      - seed: {{at: 0x1000000, pattern: {{kind: counter, length: 64}}}}
      - memop: {{destination: 0x2000000, source: 0x1000000, esize: 3, count: 8}}
      - rtas: {{service: nvram-store, args: [0x2000, 0x1000000, 64], nret: 2, block: 0x900000}}
      - rtas: {{service: display-character, args: [0x41], block: 0x901000}}
      - rtas: {{service: set-time-of-day, args: [2010, 11, 12, 13, 14, 15, 0], block: 0x901000}}
      - rtas: {{service: {last}, block: 0x901000}}
"""


def guest(build: Build, folder: Path, *, endian: str = "big", last: str = "query-cpu-stopped-state") -> Path:
    """The image of a guest whose last call but the power-off is ``last``."""
    program = folder / "guest.yaml"
    text = GUEST.format(endian=endian, last=last)
    program.write_text(text.replace("state,", "state, args: [0], nret: 2,"))
    (scenario,) = load_file(program)
    return export(scenario, build, folder / "alone").folder / "image.bin"


def watched(build: Build, folder: Path, seconds: float, *arguments: str) -> Watched:
    return watch(build, MachineOptions(memory=256, arguments=arguments), folder, seconds, prompt=False)


def line(*registers: int, nip: int = 0x4074) -> str:
    """A call as QEMU logs it."""
    values = (*registers, *(0,) * (10 - len(registers)))
    words = " ".join(f"r{number}={value:016x}" for number, value in enumerate(values, 3))
    return f"Raise exception at {nip:016x} => SYSCALL (8) error=01\nhypercall {words} nip={nip:016x}\n"


def judged(build: Build, folder: Path, log: str) -> tuple[_Watcher, tuple[int, ...]]:
    watcher = _Watcher(build, OPTIONS, folder / "run", Deadline(5), prompt=True)
    (folder / "run" / "int.log").write_text(log)
    ram = Region(0, 256 << 20)
    environment = Environment((ram,), Region(0, 0), Region(0, 0), Node(""), options=OPTIONS)
    return watcher, watcher._judge_log(Model(environment))


def test_every_call_in_the_log_is_found_and_nothing_else() -> None:
    log = line(H_RTAS, 0x900) + "vector 0x300\n" + line(H_LOGICAL_MEMOP, 1, 2, 3, 4, 5, nip=0x100)
    assert list(calls(log.encode())) == [
        ((H_RTAS, 0x900, *(0,) * 8), 0x4074),
        ((H_LOGICAL_MEMOP, 1, 2, 3, 4, 5, *(0,) * 4), 0x100),
    ]


def test_a_line_that_is_cut_is_no_call() -> None:
    assert list(calls(line(H_RTAS, 0x900)[:-20].encode())) == []


def test_rtas_is_found_where_it_is_called_from(build: Build, tmp_path: Path) -> None:
    log = line(H_RTAS, 1, nip=0x30) + line(H_RTAS, 1, nip=0x20) + line(0x58, nip=0x10)
    watcher, sites = judged(build, tmp_path, log)
    assert sites == (0x20, 0x30)
    assert watcher.seen.calls["H_RTAS"] == 2
    assert watcher.seen.unknown == {"0x58": 1}


def test_arguments_that_the_contract_permits_are_not_reported(build: Build, tmp_path: Path) -> None:
    watcher, _ = judged(build, tmp_path, line(H_LOGICAL_MEMOP, 0x100_0000, 0x200_0000, 3, 16, 0))
    assert watcher.seen.calls == {"H_LOGICAL_MEMOP": 1}
    assert not watcher.seen.illegal


def test_arguments_that_the_contract_refuses_are_reported(build: Build, tmp_path: Path) -> None:
    bad = line(H_LOGICAL_MEMOP, 0x100_0001, 0x200_0000, 3, 16, 0)
    watcher, _ = judged(build, tmp_path, bad * 2)
    ((text, count),) = watcher.seen.illegal.items()
    assert "misaligned" in text
    assert count == 2


def test_a_slof_without_a_prompt_is_an_error_with_its_console(build: Build, tmp_path: Path) -> None:
    with pytest.raises(Timeout, match=r"its console ends with"):
        watch(build, OPTIONS, tmp_path, 1.5, prompt=True)


def test_a_guest_that_cannot_be_started_is_an_error(build: Build, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no-such-device"):
        watch(build, MachineOptions(arguments=("-device", "no-such-device")), tmp_path, 10, prompt=False)


@pytest.mark.parametrize("endian", ["big", "little"])
def test_the_calls_of_a_guest_given_are_judged(build: Build, tmp_path: Path, endian: str) -> None:
    image = guest(build, tmp_path, endian=endian)
    seen = watched(build, tmp_path / "watched", 30, "-bios", str(image))
    assert seen.ended == "the guest ended by power-off: shutdown"
    services = ("nvram-store", "display-character", "set-time-of-day", "query-cpu-stopped-state", "power-off")
    assert seen.rtas == {(service, 0): 1 for service in services}
    assert (seen.calls["H_RTAS"], seen.calls["H_LOGICAL_MEMOP"]) == (5, 1)
    assert not seen.violations
    assert not seen.illegal


def test_a_guest_that_reboots_is_watched_on(build: Build, tmp_path: Path) -> None:
    image = guest(build, tmp_path, last="system-reboot")
    seen = watched(build, tmp_path / "watched", 4, "-bios", str(image))
    assert seen.ended == "4 s are over"
    assert seen.rtas["system-reboot", 0] >= 1
    assert not seen.violations


def test_a_qemu_that_fails_under_its_guest_is_noticed(build: Build, tmp_path: Path) -> None:
    def kill() -> None:
        for process in psutil.Process().children(recursive=True):
            if process.name() == build.path.name:
                process.send_signal(signal.SIGSEGV)

    timer = threading.Timer(1.0, kill)
    timer.start()
    seen = watched(build, tmp_path, 30, "-prom-env", "auto-boot?=false")
    timer.join()
    assert seen.ended == "killed by SIGSEGV"
    assert seen.failure.startswith("killed by SIGSEGV; stderr")


def test_a_guest_of_the_firmware_that_keeps_the_tree_to_itself(build: Build, tmp_path: Path) -> None:
    if build.version < (7, 2):
        pytest.skip("this build has no such firmware, or does not show its tree")
    client = str(image_root() / "client-be.elf")
    seen = watched(build, tmp_path, 1.5, "-machine", "x-vof=on,kernel-addr=0", "-kernel", client)
    assert seen.calls == {"H_VOF_CLIENT": 5}
    assert not seen.illegal


def test_what_was_judged_is_told() -> None:
    seen = Watched(unknown=Counter({"0x58": 1}))
    told = [how(name, seen) for name in ("H_RTAS", "0x58", "H_VOF_CLIENT", "H_LOGICAL_MEMOP")]
    assert [text.split(",")[0] for text in told] == [
        "judged in full",
        "counted only",
        "counted only",
        "arguments judged",
    ]


def test_arguments_in_memory_are_not_judged(build: Build, tmp_path: Path) -> None:
    watcher, _ = judged(build, tmp_path, line(H_VOF_CLIENT, 0x1000))
    assert watcher.seen.calls == {"H_VOF_CLIENT": 1}
    assert not watcher.seen.illegal


def test_another_guest_is_watched_until_its_time_is_over(build: Build, tmp_path: Path) -> None:
    seen = watch(build, OPTIONS, tmp_path, 2.0, prompt=False)
    assert seen.ended == "2 s are over"
    assert not seen.violations
