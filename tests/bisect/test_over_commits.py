"""``rig bisect --source`` on repositories whose commits start a real QEMU."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from rig.bisect.commits import Binaries, Recipe

from .conftest import BINARY, WORKS, XIVE, Repository, Rig, command, environment

BUILD = ("--build", "sh make.sh")


def bisect(
    rig: Rig, repository: Repository, scenario: Path, *words: object, good: str = "", bad: str = "main"
) -> subprocess.CompletedProcess[str]:
    """Search between the first commit and the last for where the scenario is skipped."""
    good = good or next(iter(repository.commits))
    ends = ("--good", repository.commits.get(good, good), "--bad", repository.commits.get(bad, bad))
    return rig("bisect", scenario, "--source", repository.path, *ends, "--expect", "skipped", *BUILD, *words)


def test_names_the_first_bad_commit_among_some_that_cannot_be_tested(
    rig: Rig, repository: Repository, scenario: Path, tmp_path: Path
) -> None:
    counter = tmp_path / "built"
    count = f"echo >> {shlex.quote(str(counter))}; "
    for number in range(4):
        repository.commit(f"good {number}", build=count + WORKS)
    repository.commit("does not build", build="echo no such header; exit 2")
    repository.commit("leaves no binary", build="true")
    repository.commit(
        "does not launch", start="echo cannot open shared object >&2; exit 127", build=count + WORKS
    )
    repository.commit("good 4", build=count + WORKS)
    for number in range(4):
        repository.commit(f"bad {number}", machine=XIVE, build=count + WORKS)
    before = repository.state()

    done = bisect(rig, repository, scenario, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["candidates"] == [repository.commits["bad 0"]]
    assert found["good"] == repository.commits["good 4"]
    assert found["bad"]["scenario"] == "interrupts/xics"
    answers = {entry["name"]: entry["answer"] for entry in found["entries"]}
    hard = [repository.commits[name] for name in ("does not build", "leaves no binary", "does not launch")]
    assert {answers[name] for name in hard if name in answers} == {"untestable"}
    assert "bad 0" in done.stdout
    assert repository.state() == before

    (line,) = [line for line in done.stdout.splitlines() if "reproducer:" in line]
    again = rig(*shlex.split(line.partition("rig ")[2]))
    assert again.returncode == 5, "the reproducer shows it again: skipped"

    built = counter.read_text()
    assert bisect(rig, repository, scenario).returncode == 0
    assert counter.read_text() == built, "what was built once is not built again"


def test_a_build_that_hangs_is_skipped_and_the_answer_left_open(
    rig: Rig, repository: Repository, scenario: Path
) -> None:
    repository.commit("good")
    repository.commit("hangs", build="sleep 600")
    repository.commit("bad", machine=XIVE)
    done = bisect(rig, repository, scenario, "--build-timeout", 5)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the build command did not end within 5 s" in done.stdout
    assert "hangs (cannot be tested)" in done.stdout
    assert "bad (seen to be bad)" in done.stdout


def test_a_build_of_which_qemu_hangs_is_skipped(rig: Rig, repository: Repository, scenario: Path) -> None:
    repository.commit("good")
    repository.commit("good too")
    repository.commit("hangs", start="exec sleep 600")
    repository.commit("also good")
    repository.commit("bad", machine=XIVE)
    done = bisect(rig, repository, scenario)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the first bad commit is" in done.stdout
    assert "did not answer -" in done.stdout
    assert "Nobody: bad\n" in done.stdout


def test_an_unstable_verdict_is_skipped(
    rig: Rig, repository: Repository, scenario: Path, tmp_path: Path
) -> None:
    """Every second machine of it has what the scenario asks for."""
    repository.commit("good")
    mark = shlex.quote(str(tmp_path / "mark"))
    flip = f'case "$*" in *-chardev*) rm {mark} 2>/dev/null || {{ touch {mark}; set -- "$@" {XIVE}; }};; esac'
    repository.commit("unstable", start=f'{flip}\nexec {repository.qemu} "$@"')
    repository.commit("bad", machine=XIVE)
    done = bisect(rig, repository, scenario, "--repeat", 2)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "untestable: unstable: " in done.stdout


def test_the_commit_where_something_appears_is_found_by_what_is_gone(
    rig: Rig, repository: Repository, scenario: Path
) -> None:
    repository.commit("without", machine=XIVE)
    repository.commit("with")
    repository.commit("with too")
    ends = ("--good", repository.commits["without"], "--bad", "main")
    done = rig("bisect", scenario, "--source", repository.path, *ends, "--gone", "skipped", *BUILD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nobody: with\n" in done.stdout
    assert "skipped does not show: 1 conforms" in done.stdout


def test_a_thousand_cached_commits_need_eleven_steps_and_no_build(
    rig: Rig, repository: Repository, scenario: Path, own_cache: Path, tmp_path: Path
) -> None:
    stream = "".join(
        f"commit refs/heads/main\ncommitter N <n@localhost> {1700000000 + number} +0000\n"
        f"data <<END\nnumber {number}\nEND\n"
        for number in range(1001)
    )
    subprocess.run(
        ["git", "-C", repository.path, "fast-import", "--quiet"], input=stream, text=True, check=True
    )
    repository.git("checkout", "--quiet", "main")
    names = repository.git("rev-list", "--reverse", "main").splitlines()
    first = 389
    cache = Binaries(own_cache, Recipe("sh make.sh"))
    starts = {False: tmp_path / "good", True: tmp_path / "bad"}
    for bad, start in starts.items():
        start.write_text(f'#!/bin/sh\nexec {repository.qemu} "$@" {XIVE if bad else ""}\n')
        start.chmod(0o755)
    for number, name in enumerate(names):
        binary = cache.folder / name / "bin" / Path(BINARY).name
        binary.parent.mkdir(parents=True)
        os.link(starts[number >= first], binary)
    done = bisect(rig, repository, scenario, "--json", tmp_path / "found.json", good=names[0])
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["candidates"] == [names[first]]
    assert len(found["entries"]) - 2 <= 10, "both ends are one step, taken at once"


def test_interrupting_it_leaves_nothing_behind(
    repository: Repository, scenario: Path, own_cache: Path, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    repository.commit("good")
    repository.commit("takes long", build=f"exec sleep 600 > {shlex.quote(str(alive))}")
    repository.commit("bad", machine=XIVE)
    before = repository.state()
    ends = ("--good", repository.commits["good"], "--bad", "main")
    words = command("bisect", scenario, "--source", repository.path, *ends, "--expect", "skipped", *BUILD)
    rig = subprocess.Popen(words, env=environment(), cwd=tmp_path, start_new_session=True)
    try:
        with alive.open("rb") as building:  # opened as soon as the build has begun
            rig.send_signal(signal.SIGINT)
            assert rig.wait(60) == 2
            assert building.read() == b"", "the build has been ended"
    finally:
        rig.kill()
        rig.wait()
    assert repository.state() == before
    assert not list(own_cache.glob("work-*"))


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("two", "three", "given as good, is bad: interrupts/xics skipped"),
        ("zero", "one", "given as bad, is good: skipped does not show"),
        (
            "zero",
            "no binary",
            "given as bad, cannot be built: the build command left no build/qemu-system-ppc64",
        ),
        ("no launch", "three", "given as good, cannot be tested: "),
        ("three", "zero", "exchange them"),
        ("one", "one", "are the same commit"),
        ("v1.2.3", "three", "has no commit 'v1.2.3'"),
    ],
)
def test_wrong_ends(
    rig: Rig, repository: Repository, scenario: Path, own_cache: Path, good: str, bad: str, words: str
) -> None:
    repository.commit("zero")
    repository.commit("one")
    repository.commit("no launch", start="exit 1")
    repository.commit("two", machine=XIVE)
    repository.commit("three", machine=XIVE)
    repository.commit("no binary", build="true")
    before = repository.state()
    done = bisect(rig, repository, scenario, good=good, bad=bad)
    assert done.returncode == 4, done.stdout + done.stderr
    assert words in done.stderr
    assert repository.state() == before
    assert not list(own_cache.glob("work-*"))


def test_a_dirty_tree_is_refused(rig: Rig, repository: Repository, scenario: Path) -> None:
    repository.commit("good")
    repository.commit("bad", machine=XIVE)
    (repository.path / "start").write_text("not committed")
    done = bisect(rig, repository, scenario)
    assert done.returncode == 4
    assert "commit or stash them first" in done.stderr
    assert (repository.path / "start").read_text() == "not committed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--builds", "a,b", "--source", "."], "give either --builds, or --source"),
        ([], "give either --builds, or --source"),
        (["--source", ".", "--good", "HEAD"], "--source needs --good, --bad and --build"),
        (["--builds", "/bin/true"], "at least two builds"),
        (["--builds", "/bin/true,/bin/true"], "names a build twice"),
        (["--builds", "debian:sid,debian:potato"], "no build is called 'debian:sid'"),
        (["--builds", "/bin/true,/bin/false", "--expect", "skiped"], "nothing that a scenario can show"),
        (
            ["--builds", "/bin/true,/bin/false", "--expect", "skipped", "--gone", "fixed"],
            "either --expect or",
        ),
    ],
)
def test_wrong_usage(rig: Rig, scenario: Path, words: list[str], said: str) -> None:
    done = rig("bisect", scenario, *words)
    assert done.returncode == 4
    assert said in done.stderr


def test_a_host_that_breaks_on_the_way_stops_the_bisection(
    rig: Rig, repository: Repository, scenario: Path, tmp_path: Path
) -> None:
    """Whichever commit is built between the ends, there is no gdb afterwards: it must not be blamed."""
    gdb = tmp_path / "gdb"
    gdb.symlink_to(shutil.which("gdb-multiarch") or shutil.which("gdb") or "/usr/bin/gdb")
    repository.commit("good")
    for name in ("good, and the host breaks", "the same again"):
        repository.commit(name, build=f"{WORKS}; rm -f {shlex.quote(str(gdb))}")
    repository.commit("bad", machine=XIVE)
    before = repository.state()
    empty = tmp_path / "bin"
    empty.mkdir()
    for program in ("git", "sh", "setpriv", "install", "mkdir", "rm", "cat", "env", "sleep"):
        (empty / program).symlink_to(shutil.which(program) or f"/usr/bin/{program}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RIG_GDB", str(gdb))
        patch.setenv("PATH", str(empty))
        done = bisect(rig, repository, scenario)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "no gdb was found" in done.stderr
    assert "the first bad commit" not in done.stdout
    assert repository.state() == before
