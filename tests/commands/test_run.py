"""``rig run``: exit codes, reports, evidence, and what it refuses before any QEMU is started."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rig.model import memop
from rig.scenario.loader import select

from .conftest import Rig

ONE = "memop/outside/source-ram.end"


@pytest.fixture
def no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when a machine is made."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a machine was made")

    monkeypatch.setattr("rig.pool.Machine", refuse)


def test_a_build_that_conforms_or_deviates_passes(rig: Rig, qemu: Path, tmp_path: Path) -> None:
    done = rig("run", ONE, "memop/limits/count-over-0xffffffff", "--qemu", qemu, "--report", tmp_path)
    assert done.code == 0, done.out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == 1
    assert report["summary"] == {
        "conforms": 1, "deviates": 1, "mismatch": 0, "fixed": 0, "skipped": 0, "error": 0
    }  # fmt: skip
    assert report["builds"][0]["path"] == str(qemu)
    assert report["coverage"]["hypercalls"]["H_LOGICAL_MEMOP"]["returns"]["H_PARAMETER"]
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["scenario"] for line in lines) == sorted(
        [ONE, "memop/limits/count-over-0xffffffff"]
    )
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]
    assert suite.attrib["tests"] == "2"
    assert suite.attrib["failures"] == "0"


def test_strict_makes_a_known_deviation_fail(rig: Rig, qemu: Path) -> None:
    assert rig("run", ONE, "--qemu", qemu, "--strict").code == 1


def test_a_changed_rule_of_the_model_is_a_mismatch_that_names_the_byte(
    rig: Rig, qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_forward(memory: object, operation: memop.Operation, dst: int, src: int, length: int) -> object:
        return original(memory, operation, dst, src - length if src < dst < src + length else src, length)

    original = memop.stores
    monkeypatch.setattr(memop, "stores", always_forward)
    scenario = next(one.name for one in select(["memop/exhaustive"]) if "copy" in one.name)
    done = rig("run", scenario, "--qemu", qemu, "--report", tmp_path)
    assert done.code == 1
    assert "wrong bytes in memory" in done.out
    (folder,) = (tmp_path / "evidence").iterdir()
    assert f"replay:   rig replay {folder / 'program.yaml'} --qemu {qemu}" in done.out
    failure = (folder / "failure.txt").read_text()
    assert "memory around the first differing byte" in failure
    assert str(qemu) in (folder / "command-line.txt").read_text()
    assert {"qmp.log", "gdb.log", "console.log", "program.yaml"} <= {path.name for path in folder.iterdir()}
    assert rig("replay", folder / "program.yaml", "--qemu", qemu).code == 1
    monkeypatch.undo()


def test_the_trace_has_a_line_for_each_step(rig: Rig, qemu: Path, tmp_path: Path) -> None:
    assert rig("run", ONE, "--qemu", qemu, "--trace", tmp_path / "trace.jsonl").code == 0
    steps = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert steps
    assert all(step["scenario"] == ONE and step["call"]["name"] == "H_LOGICAL_MEMOP" for step in steps)
    assert all({"in", "out", "arguments"} <= step["call"].keys() for step in steps)


def test_tap(rig: Rig, qemu: Path) -> None:
    done = rig("run", ONE, "--qemu", qemu, "--tap")
    assert done.out.startswith(f"TAP version 13\n1..1\nok 1 - {ONE}\n")


def test_a_run_in_which_nothing_ran_is_not_green(rig: Rig, qemu: Path, tmp_path: Path) -> None:
    path = tmp_path / "never.yaml"
    path.write_text(
        "scenarios:\n- name: never\n  summary: none\n  requires: {versions: '<1'}\n"
        "  steps:\n  - call: {opcode: 0xf001}\n"
    )
    assert rig("run", path, "--qemu", qemu).code == 5
    assert rig("run", path, "--qemu", qemu, "--meson").code == 77


@pytest.mark.usefixtures("no_qemu")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["no-such-scenario"], "no scenario is called or matched by 'no-such-scenario'"),
        ([ONE, "--qemu", "/nonexistent/qemu-system-ppc64"], "/nonexistent/qemu-system-ppc64"),
        ([ONE, "--qemu", "/bin/true"], "/bin/true"),
        ([ONE, "--qemu", "/etc/passwd"], "/etc/passwd"),
        ([ONE, "--cpu", "power47"], "knows no CPU power47; it knows"),
        ([ONE, "--machine", "pseries-old"], "machine type pseries-old; they know pseries"),
        ([ONE, "--machine", "powernv"], "machine type powernv; they know pseries"),
        ([ONE, "--no-such-option"], "No such option"),
        ([ONE, "--jobs", "0"], "--jobs"),
        ([ONE, "--report", "/proc/none"], "cannot write the report"),
        ([ONE, "--json", "/nonexistent/report.json"], "cannot write the report"),
    ],
)
def test_bad_input_is_refused_before_qemu_starts(rig: Rig, words: list[str], complaint: str) -> None:
    done = rig("run", *words)
    assert done.code == 4
    assert complaint in done.err


@pytest.mark.usefixtures("no_qemu")
def test_what_is_refused_is_an_error_to_meson(rig: Rig) -> None:
    done = rig("run", "no-such-scenario", "--meson")
    assert done.code == 99
    assert "no scenario is called" in done.err


@pytest.mark.usefixtures("no_qemu")
@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ("pseries-0.1", "it is too old, the first one here is pseries-"),
        ("pseries-99.0,cap-htm=off", "it is too new, the last one here is pseries-"),
    ],
)
def test_a_machine_type_of_another_release_is_skipped_before_qemu_starts(
    rig: Rig, machine: str, reason: str
) -> None:
    done = rig("run", ONE, "--machine", machine)
    assert done.code == 5, done.err
    assert f"skipped 1 scenario: this build has no machine type {machine}: {reason}" in done.out


@pytest.mark.usefixtures("no_qemu")
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scenarios: [", "bad.yaml:"),
        ("scenarios:\n- name: x\n  summary: y\n  stpes: []\n", "bad.yaml:4"),
        (
            "scenarios:\n- name: x\n  summary: y\n  steps:\n  - seed: {at: 0x1000, bytes: '00'}\n",
            "overlaps the agent",
        ),
        (
            "scenarios:\n- name: x\n  summary: y\n  steps:\n  - call: {opcode: 0x10000000000000000}\n",
            "bad.yaml:5",
        ),
    ],
)
def test_a_bad_scenario_file_is_refused_with_its_line(
    rig: Rig, tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = rig("run", path)
    assert done.code == 4
    assert complaint in done.err


def test_a_qemu_that_dies_at_once_is_an_error_with_its_last_words(
    rig: Rig, qemu: Path, tmp_path: Path
) -> None:
    path = tmp_path / "dies.yaml"
    path.write_text(
        "scenarios:\n- name: dies\n  summary: none\n  machine: {arguments: ['-device', 'no-such-device']}\n"
        "  steps:\n  - call: {opcode: 0xf001}\n"
    )
    done = rig("run", path, "--qemu", qemu)
    assert done.code == 3
    assert "no-such-device" in done.out
