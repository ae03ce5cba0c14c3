"""The tests' own safety net catches what it is there to catch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A test directory with our conftest and a ``qemu-sleep`` to leave behind."""
    pytester.makeconftest(CONFTEST.read_text().replace("GRACE = 5.0", "GRACE = 0.2"))
    shutil.copy(str(shutil.which("sleep")), pytester.path / "qemu-sleep")
    return pytester


def run(inner: pytest.Pytester, source: str) -> pytest.RunResult:
    inner.makepyfile(f"import subprocess\nimport pytest\n{source}")
    return inner.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "default")


def test_a_process_left_behind_fails_its_test_and_is_ended(inner: pytest.Pytester) -> None:
    result = run(
        inner,
        """
def test_leaks():
    subprocess.Popen(["./qemu-sleep", "600"])

def test_after():
    pass
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*the test left processes behind: * qemu-sleep*"])


def test_a_process_of_a_wider_fixture_may_stay(inner: pytest.Pytester) -> None:
    result = run(
        inner,
        """
@pytest.fixture(scope="module")
def shared():
    with subprocess.Popen(["./qemu-sleep", "600"]) as process:
        yield process
        process.kill()

def test_one(shared):
    assert shared.poll() is None

def test_two(shared):
    assert shared.poll() is None
""",
    )
    result.assert_outcomes(passed=2)


def test_a_missing_qemu_fails_rather_than_skips(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QEMU_TEST_QEMU_BINARY", "/nonexistent/qemu-system-ppc64")
    result = run(inner, "def test_it(qemu):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*/nonexistent/qemu-system-ppc64 is no executable*"])


def test_the_short_directory_is_private_and_empty(short_tmp: Path) -> None:
    assert short_tmp.stat().st_mode & 0o777 == 0o700
    assert len(str(short_tmp)) < 40
    assert not list(short_tmp.iterdir())
