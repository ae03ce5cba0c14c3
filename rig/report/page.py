"""index.html: a run in one file that needs nothing else, besides the evidence it links to."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.check.deviations import load
from rig.report.files import interrupted, write_whole
from rig.report.matrix import rows
from rig.report.ranges import ranges, version
from rig.report.result import Result, summary
from rig.report.template import page as template

#: the worst first
FAILURES = ("error", "mismatch", "fixed")


def write(
    folder: Path,
    report: Mapping[str, object],
    results: Sequence[Result],
    command: str,
) -> Path:
    """Write ``index.html`` into ``folder`` from report.json's contents; where it is.

    Pictures (PNG) in the evidence are shown with their failure.
    """
    builds = report["builds"]
    assert isinstance(builds, Sequence)
    failures = sorted(
        (result for result in results if result.verdict in FAILURES),
        key=lambda result: FAILURES.index(result.verdict),
    )
    page = template(Path(__file__).parent).render(
        report=report,
        command=command,
        interrupted=interrupted,
        builds=builds,
        summaries=[summary(one for one in results if one.build == index) for index in range(len(builds))],
        rows=list(rows(results, len(builds))),
        failures=[(result, _files(folder, result), _pictures(folder, result)) for result in failures],
        ranges=list(ranges(results, [version(str(build["version"])) for build in builds], load())),
    )
    path = folder / "index.html"
    write_whole(path, page)
    return path


def _files(folder: Path, result: Result) -> list[str]:
    """What lies in the evidence of a failure, relative to the report."""
    if not result.evidence:
        return []
    return [
        path.relative_to(folder).as_posix()
        for path in sorted((folder / result.evidence).glob("*"))
        if path.is_file()
    ]


def _pictures(folder: Path, result: Result) -> list[str]:
    """Its pictures as data: URLs."""
    return [
        "data:image/png;base64," + base64.b64encode((folder / name).read_bytes()).decode()
        for name in _files(folder, result)
        if name.endswith(".png")
    ]
