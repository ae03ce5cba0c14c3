"""The files of a report folder, written as results come: results.jsonl, then report.json and JUnit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rig import __version__
from rig.report.result import Result, summary

if TYPE_CHECKING:
    from rig.machine.build import Build


def build_json(build: Build, machine: str, cpu: str) -> dict[str, object]:
    """The entry of a build in report.json."""
    return {
        "path": str(build.path),
        "version": build.version_text,
        "sha256": build.sha256,
        "machine": machine,
        "cpu": cpu,
    }


def report_json(
    builds: Sequence[Mapping[str, object]],
    results: Sequence[Result],
    seed: int,
    covered: Mapping[str, object],
    unplayed: int = 0,
) -> dict[str, object]:
    """report.json, schema 1; ``unplayed`` scenarios are missing because the run was interrupted."""
    return {
        "schema": 1,
        "rig": __version__,
        "seed": seed,
        "builds": list(builds),
        "results": [result.as_json() for result in results],
        "coverage": covered,
        "summary": summary(results),
        "unplayed": unplayed,
    }


def append(stream: TextIO, result: Result) -> None:
    """One line of results.jsonl, on disk before the next scenario runs."""
    stream.write(json.dumps(result.as_json()) + "\n")
    stream.flush()


def write_json(path: Path, report: Mapping[str, object]) -> None:
    """Write a report in one piece."""
    write_whole(path, json.dumps(report, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file in one piece: a reader sees the old one or the new one."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # a terminal, a pipe: nothing to replace
        path.write_text(text)
        return
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    partial.replace(path)


def write_junit(
    path: Path,
    builds: Sequence[Mapping[str, object]],
    results: Sequence[Result],
    seed: int,
    command: str,
    unplayed: int = 0,
) -> None:
    """JUnit: one suite a build, one case a scenario; deviations pass and are named in the output.

    A run that was interrupted has a suite more, with an error.
    """
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    document = JUnitXml("rig")
    for index, build in enumerate(builds):
        suite = TestSuite(f"{build['path']} {build['version']}")
        for key, value in {**build, "seed": seed, "command": command}.items():
            suite.add_property(key, str(value))
        cases = []
        for result in (one for one in results if one.build == index):
            folder, _, name = result.scenario.rpartition("/")
            case = TestCase(name, classname=folder.replace("/", "."), time=round(result.seconds, 4))
            if result.verdict in ("mismatch", "fixed"):
                case.result = [Failure(_printable(result.reason), result.verdict)]
            elif result.verdict == "error":
                case.result = [Error(_printable(result.reason), "error")]
            elif result.verdict == "skipped":
                case.result = [Skipped(result.reason)]
            elif result.deviations:
                case.system_out = "deviates: " + ", ".join(result.deviations)
            cases.append(case)
        suite.add_testcases(cases)  # at once: each addition counts the whole suite anew
        document.add_testsuite(suite)
    if unplayed:
        case = TestCase("interrupted", classname="rig")
        case.result = [Error(interrupted(unplayed), "interrupted")]
        suite = TestSuite("interrupted")
        suite.add_testcase(case)
        document.add_testsuite(suite)
    document.update_statistics()
    document.write(str(path), pretty=True)


def interrupted(unplayed: int) -> str:
    """What a report of a run that was not played to its end says."""
    return f"interrupted: {unplayed} scenario{'s' if unplayed > 1 else ''} not played"


def _printable(text: str) -> str:
    """Without what XML 1.0 cannot hold (section 2.2), such as a console's control characters."""
    return "".join(char if char.isprintable() or char in "\t\n" else "\ufffd" for char in text)


def tap(results: Sequence[Result], versions: Sequence[str], unplayed: int = 0) -> Iterable[str]:
    """TAP version 13 lines; with several builds the description names the version."""
    yield "TAP version 13"
    yield f"1..{len(results) + unplayed}"
    for number, result in enumerate(results, 1):
        name = result.scenario if len(versions) == 1 else f"{result.scenario} on {versions[result.build]}"
        word = "ok" if result.verdict in ("conforms", "deviates", "skipped") else "not ok"
        note = f" # SKIP {result.reason}" if result.verdict == "skipped" else ""
        yield f"{word} {number} - {name}{note}"
        if result.verdict in ("mismatch", "fixed", "error"):
            yield from (f"# {text}" for text in [result.verdict, *result.reason.splitlines()])
        elif result.deviations:
            yield f"# deviates: {', '.join(result.deviations)}"
    if unplayed:
        yield f"Bail out! {interrupted(unplayed)}"
