"""``rig ab`` on the real QEMU and on programs that start it otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Rig

SCENARIOS = """\
scenarios:
  - name: copy
    summary: the same on both
    steps:
      - seed: {at: 0x1000000, bytes: 00 11 22 33 44 55 66 77}
      - memop: {destination: 0x1000100, source: 0x1000000, esize: 3, count: 1}
  - name: date
    summary: the date
    steps:
      - rtas: {service: get-time-of-day, nret: 8}
  - name: xics
    summary: what one of them does not have
    requires: {services: ["ibm,get-xive"]}
    steps:
      - rtas: {service: "ibm,get-xive", args: [0x1000], nret: 3}
"""


@pytest.fixture
def scenarios(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIOS)
    return path


def start(folder: Path, qemu: Path, text: str) -> Path:
    path = folder / "qemu-system-ppc64"
    path.write_text(f"#!/bin/sh\n{text}\n".replace("QEMU", str(qemu)))
    path.chmod(0o755)
    return path


def test_a_build_is_like_itself(rig: Rig, qemu: Path) -> None:
    done = rig("ab", "memop/limits/count-*", "logical/unknown", "--qemu", qemu, "--qemu", qemu, "--jobs", 2)
    assert done.code == 0, done.out
    assert " alike, 0 differ" in done.out


def test_the_model_says_who_is_wrong(rig: Rig, qemu: Path, scenarios: Path, tmp_path: Path) -> None:
    wrong = start(tmp_path, qemu, 'exec QEMU "$@" -rtc base=2001-01-01')
    file = tmp_path / "ab.json"
    done = rig("ab", scenarios, "--qemu", qemu, "--qemu", wrong, "--json", file)
    assert done.code == 1, done.out
    assert "mine/date\n  step 0 get-time-of-day: page 0x900000" in done.out
    assert "A is right, B is wrong" in done.out or "both are wrong" in done.out
    by_name = {one["scenario"]: one for one in json.loads(file.read_text())["results"]}
    assert by_name["mine/copy"]["differences"] == []
    (date, *_) = by_name["mine/date"]["differences"]
    assert date["right"] in ("first", "neither"), "the nanosecond is wrong on both"
    assert not date["known"]
    again = rig("ab", scenarios, "--qemu", wrong, "--qemu", qemu, "--json", file)
    assert again.code == 1
    (date, *_) = next(
        one["differences"]
        for one in json.loads(file.read_text())["results"]
        if one["scenario"] == "mine/date"
    )
    assert date["right"] in ("second", "neither")


def test_a_build_of_which_two_views_disagree_is_wrong(rig: Rig, qemu: Path, tmp_path: Path) -> None:
    other = start(tmp_path, qemu, 'exec QEMU "$@" -name x')
    script = tmp_path / "views.py"
    script.write_text(
        "from rig.scenario.script import Disagreement, scenario\n"
        '@scenario(name="of-one", summary="two views of one build disagree")\n'
        "def of_one(stage):\n"
        "    yield ()\n"
        f"    if str(stage.build.path) == {str(other)!r}:\n"
        '        raise Disagreement("agreement.test", "two views differ")\n'
    )
    done = rig("ab", script, "--qemu", qemu, "--qemu", other)
    assert done.code == 1, done.out
    assert "A is right, B is wrong: step 0: agreement: two views differ" in done.out


def test_what_one_build_does_not_have_is_skipped(
    rig: Rig, qemu: Path, scenarios: Path, tmp_path: Path
) -> None:
    other = start(tmp_path, qemu, 'exec QEMU "$@" -machine ic-mode=xive')
    done = rig("ab", scenarios, "--qemu", qemu, "--qemu", other)
    assert f"skipped 1: {other} has no ibm,get-xive" in done.out
    assert " 1 skipped, 0 errors" in done.out


def test_a_build_that_does_not_start_is_an_error(
    rig: Rig, qemu: Path, scenarios: Path, tmp_path: Path
) -> None:
    broken = start(tmp_path, qemu, 'case "$*" in *-chardev*) echo no room >&2; exit 1;; esac; exec QEMU "$@"')
    done = rig("ab", scenarios, "--qemu", qemu, "--qemu", broken)
    assert done.code == 3
    assert "no room" in done.out
    assert "3 errors" in done.out


def test_nothing_to_compare(rig: Rig, qemu: Path, tmp_path: Path) -> None:
    never = tmp_path / "never.yaml"
    never.write_text(
        "scenarios:\n"
        "  - {name: a, summary: b, requires: {versions: '>=99'}, steps: [{host: {command: stop}}]}\n"
    )
    assert rig("ab", never, "--qemu", qemu, "--qemu", qemu).code == 5


def test_a_scenario_that_cannot_be_played_is_no_likeness(rig: Rig, qemu: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "scenarios:\n- name: wrong\n  summary: seeds what is no RAM\n"
        "  steps:\n  - seed: {at: $ram.end, bytes: '00'}\n"
    )
    done = rig("ab", path, "--qemu", qemu, "--qemu", qemu)
    assert done.code == 3
    assert "cannot be seeded: it is not all RAM" in done.out + done.err


@pytest.mark.parametrize("count", [0, 1, 3])
def test_two_builds_are_needed(rig: Rig, qemu: Path, count: int) -> None:
    done = rig("ab", "memop/limits", *["--qemu", qemu] * count)
    assert done.code == 4
    assert "give two builds" in done.err


def test_a_place_that_is_gone_at_the_end(
    rig: Rig, qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setattr("rig.ab.session.run", lambda *_: folder.rmdir())
    done = rig("ab", "memop/limits", "--qemu", qemu, "--qemu", qemu, "--json", folder / "ab.json")
    assert done.code == 4
    assert f"cannot write {folder}/ab.json" in done.err
