"""Scenarios as pytest items, on the real QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

COPY = """\
scenarios:
  - name: copy
    summary: eight bytes
    steps:
      - seed: {at: 0x1000000, bytes: 00 11 22 33 44 55 66 77}
      - memop: {destination: 0x1000100, source: 0x1000000, esize: 3, count: 1}
  - name: elsewhere
    summary: never
    requires: {versions: ">=99"}
    steps:
      - host: {command: stop}
"""
DISAGREES = """\
from rig.program import Host
from rig.scenario.script import Disagreement, scenario


@scenario(name="always", summary="disagrees")
def always(stage):
    yield Host("query-status")
    raise Disagreement("agreement.test", "two views differ")
"""


@pytest.fixture(autouse=True)
def only_this_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else that is installed takes part."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def run(pytester: pytest.Pytester, qemu: Path, *args: str) -> pytest.RunResult:
    """Run pytest with the plugin on what lies in the current folder."""
    return pytester.runpytest_subprocess("-p", "rig.pytest_plugin", f"--qemu={qemu}", "-rs", "-v", *args)


def test_runs_scenarios(pytester: pytest.Pytester, qemu: Path) -> None:
    folder = pytester.mkdir("checks")
    (folder / "rig-scenarios").touch()
    (folder / "mine.yaml").write_text(COPY)
    (folder / "views.py").write_text(DISAGREES)
    result = run(pytester, qemu)
    result.assert_outcomes(passed=1, skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*needs QEMU >=99*"])
    result.stdout.fnmatch_lines(["*views.py:5: views/always", "mismatch: *two views differ*"])


def test_bad_file_is_a_collection_error(pytester: pytest.Pytester, qemu: Path) -> None:
    Path("rig-scenarios").touch()
    Path("bad.yaml").write_text("scenarios: 3\n")
    result = run(pytester, qemu)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*bad.yaml:1:12: *valid list*"])


def test_not_a_build(pytester: pytest.Pytester) -> None:
    Path("rig-scenarios").touch()
    Path("mine.yaml").write_text(COPY)
    result = run(pytester, Path("/bin/true"))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*/bin/true is not a QEMU*"])


def test_other_runs_are_left_alone(pytester: pytest.Pytester) -> None:
    Path("data.yaml").write_text("not: a scenario\n")
    pytester.makepyfile(test_it="def test_it(): pass")
    run(pytester, Path("/nonexistent")).assert_outcomes(passed=1)
