"""A reproducer is written and run, with nothing but a real QEMU."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from rig.export import table
from rig.export.standalone import Exported, export
from rig.export.table import CannotExport
from rig.machine.build import Build
from rig.scenario.errors import BadScenario
from rig.scenario.file import load_file

HERE = Path(table.__file__).parent


def exported(build: Build, folder: Path, steps: str, machine: str = "memory: 256") -> Exported:
    file = folder / "given.yaml"
    file.write_text(
        f"scenarios:\n- name: it\n  summary: What is shown\n  machine: {{{machine}}}\n  steps:\n{steps}"
    )
    return export(load_file(file)[0], build, folder / "out")


def run(build: Build, folder: Path) -> subprocess.CompletedProcess[str]:
    wrapper = folder / "qemu"
    data = [] if build.data_dir is None else ["-L", str(build.data_dir)]
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([*build.argv, *data])} "$@"\n')
    wrapper.chmod(0o755)
    environment = {**os.environ, "QEMU": str(wrapper)}
    return subprocess.run(
        [folder / "out" / "run.sh"], env=environment, text=True, capture_output=True, check=False, timeout=120
    )


def test_the_image_is_what_the_source_gives(tmp_path: Path) -> None:
    made = subprocess.run(["make", "-C", tmp_path, "-f", HERE / "Makefile"], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "player.bin").read_bytes() == (HERE / "player.bin").read_bytes()


CONFORMING = """
  - seed: {at: 0x1000100, bytes: "de ad be ef"}
  - memop: {destination: 0x1000000, source: 0x1000100, esize: 0, count: 4}
  - rtas: {service: "ibm,get-xive", args: [0xffffff], nret: 3}
"""


def test_a_conforming_program_passes_every_check(build: Build, tmp_path: Path) -> None:
    assert exported(build, tmp_path, CONFORMING).broken == ()
    ran = run(build, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1. H_LOGICAL_MEMOP(destination=0x1000000" in ran.stdout
    assert "memory at 0x1000000 as the contract demands" in ran.stdout
    assert ran.stdout.endswith("Every check passed.\n")


def test_virtual_devices_do_not_take_the_consoles_place(build: Build, tmp_path: Path) -> None:
    assert exported(build, tmp_path, CONFORMING, "memory: 256, devices: [spapr-vscsi]").broken == ()
    ran = run(build, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_deviating_program_says_what_differs_and_why(build: Build, tmp_path: Path) -> None:
    steps = '  - rtas: {service: "ibm,read-pci-config", args: [0, 0, 1, 4], nret: 2}\n'
    assert exported(build, tmp_path, steps).broken
    ran = run(build, tmp_path)
    assert ran.returncode == 1
    assert "status ffffffff DIFFERS: permitted is 0xfffffffd" in ran.stdout
    assert "LoPAR" in (tmp_path / "out" / "README.md").read_text()


def test_results_are_taken_from_the_running_qemu_and_not_from_the_export(
    build: Build, tmp_path: Path
) -> None:
    exported(build, tmp_path, CONFORMING)
    image = tmp_path / "out" / "image.bin"
    data = image.read_bytes()
    # The seed of the source is changed, the expectation of the destination is not.
    image.write_bytes(data.replace(b"\xde\xad\xbe\xef", b"\xde\xad\xbe\xee", 1))
    ran = run(build, tmp_path)
    assert ran.returncode == 1
    assert "memory at 0x1000000 DIFFERS" in ran.stdout


def test_a_qemu_that_ends_early_is_told_from_one_that_passes(build: Build, tmp_path: Path) -> None:
    exported(build, tmp_path, "  - rtas: {service: power-off, args: [0, 0]}\n")
    ran = run(build, tmp_path)
    assert ran.returncode == 1
    assert "did not reach the end" in ran.stderr


PLUGGING = """
  - host: {command: device_add, arguments: {driver: virtio-rng-pci, id: card, bus: pci.0, addr: "1"}}
  - rtas: {service: get-sensor-state, args: [9003, 0x40000008], nret: 2}
  - host: {command: device_del, arguments: {id: none}, fails: DeviceNotFound}
"""


def test_actions_of_the_host_are_issued_when_the_image_asks(build: Build, tmp_path: Path) -> None:
    assert exported(build, tmp_path, PLUGGING).broken == ()
    ran = run(build, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[1].startswith('host: {"execute": "device_add"')
    assert lines[2] == '  QMP answers {"return": {}}'
    assert '  QMP answers {"error": {"class": "DeviceNotFound"' in ran.stdout
    assert ran.stdout.endswith("Every check passed.\n")


def test_an_action_that_is_refused_differs(build: Build, tmp_path: Path) -> None:
    assert exported(build, tmp_path, "  - host: {command: device_del, arguments: {id: none}}\n").broken
    ran = run(build, tmp_path)
    assert ran.returncode == 1
    assert 'DIFFERS: QMP answers {"error"' in ran.stdout


def test_a_qemu_that_an_action_ends_did_not_reach_the_end(build: Build, tmp_path: Path) -> None:
    exported(
        build,
        tmp_path,
        "  - host: {command: quit}\n  - memop: {destination: 0, source: 0, esize: 0, count: 0}\n",
    )
    ran = run(build, tmp_path)
    assert ran.returncode == 1
    assert "did not reach the end" in ran.stderr


def test_what_only_shows_from_outside_is_no_pass(build: Build, tmp_path: Path) -> None:
    event = "  - host: {command: system_powerdown}\n  - rtas: {service: check-exception, nret: 1, "
    arguments = "args: [0, 0, 0x40000000, 0, 0x1000000, 256]}\n"
    assert exported(build, tmp_path, event + arguments).broken
    ran = run(build, tmp_path)
    assert ran.returncode == 2, ran.stdout
    assert "Every check passed" not in ran.stdout


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("  - host: {command: system_reset}\n", "does not go on"),
        ("  - await: {event: RESET}\n", "cannot be exported"),
    ],
)
def test_what_no_image_can_play_is_refused(build: Build, tmp_path: Path, steps: str, message: str) -> None:
    with pytest.raises((CannotExport, BadScenario), match=message):
        exported(build, tmp_path, steps)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ("nodes: [256, 256]", "NUMA nodes"),
        ('arguments: [-drive, "if=pflash,format=raw,file={file nvram 65536}"]', "files of its own"),
        ("smp: 2", "more than one CPU"),
    ],
)
def test_a_machine_that_run_sh_does_not_make_is_refused(
    build: Build, tmp_path: Path, machine: str, message: str
) -> None:
    with pytest.raises(CannotExport, match=message):
        exported(build, tmp_path, CONFORMING, machine)
    assert not (tmp_path / "out").exists()


def test_a_table_too_large_for_an_image_is_refused() -> None:
    long = table.Table(0x7100_0000)
    long.seed(0x100_0000, bytes(table.LIMIT))
    with pytest.raises(CannotExport, match="shrink it first"):
        long.image()


def test_a_table_refuses_to_write_into_the_image() -> None:
    with pytest.raises(CannotExport, match="belongs to the image"):
        table.Table(0).seed(0x1_0000, b"x")
