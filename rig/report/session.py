"""One run's output: files as results come, progress for a person, a summary at the end."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, TextIO

import click

from rig.report.files import append, build_json, report_json, tap, write_json, write_junit
from rig.report.result import Result, summary
from rig.versions import dotted

if TYPE_CHECKING:
    from rig.check.judge import Judged
    from rig.machine.build import Build
    from rig.scenario.script import Scenario

#: columns of the matrix in a log
WIDE = 200


class Session:
    """Where one run writes; a context manager.  ``evidence`` is the folder for failures."""

    def __init__(
        self,
        folder: Path | None,
        json_file: Path | None,
        junit_file: Path | None,
        results: TextIO | None,
        trace: BinaryIO | None,
    ) -> None:
        self.folder = folder
        self.evidence = folder / "evidence" if folder else None
        self._json = [path for path in (folder / "report.json" if folder else None, json_file) if path]
        self._junit = [path for path in (folder / "junit.xml" if folder else None, junit_file) if path]
        self._results = results
        self._trace = trace
        self._open = [stream for stream in (results, trace) if stream]

    @classmethod
    def open(
        cls, folder: Path | None, json_file: Path | None, junit_file: Path | None, trace_file: Path | None
    ) -> Session:
        """Open every file now, so that a place that cannot be written is refused before QEMU starts.

        Raises :class:`OSError`.
        """
        with ExitStack() as stack:
            results = None
            if folder is not None:
                (folder / "evidence").mkdir(parents=True, exist_ok=True)
                results = stack.enter_context((folder / "results.jsonl").open("w"))
            # unbuffered: workers inherit it, and what each writes at once stays together
            trace = stack.enter_context(trace_file.open("wb", buffering=0)) if trace_file else None
            for path in (json_file, junit_file):
                if path is not None:
                    path.open("a").close()
            session = cls(folder, json_file, junit_file, results, trace)
            stack.pop_all()
        return session

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._open:
            stream.close()

    def add(self, result: Result) -> None:
        """Keep one result on disk at once."""
        if self._results is not None:
            append(self._results, result)

    @property
    def observe(self) -> Callable[[Scenario, Build, Judged], None] | None:
        """What writes the trace; ``None`` when no trace was asked for."""
        return None if self._trace is None else self._observe

    def _observe(self, scenario: Scenario, build: Build, judged: Judged) -> None:
        from rig.report.trace import line

        assert self._trace is not None
        self._trace.write(f"{line(scenario.name, judged)}\n".encode())

    def finish(
        self,
        builds: Sequence[Build],
        results: Sequence[Result],
        seed: int,
        machine: str,
        cpu: str,
        command: str,
        unplayed: int = 0,
    ) -> None:
        """Write report.json, JUnit and, into the report folder, index.html; as of an interrupted run when
        scenarios are ``unplayed``.
        """
        if not self._json and not self._junit:
            return
        from rig.model.dispatch import installed
        from rig.model.rtas.families import SERVICES
        from rig.report.coverage import coverage

        described = [build_json(build, machine, cpu) for build in builds]
        covered = coverage(results, SERVICES, {hypercall.name for hypercall in installed()})
        report = report_json(described, results, seed, covered, unplayed)
        for path in self._json:
            write_json(path, report)
        for path in self._junit:
            write_junit(path, described, results, seed, command, unplayed)
        if self.folder is not None:
            from rig.report import page

            page.write(self.folder, report, results, command)

    @contextmanager
    def progress(self, total: int, quiet: bool) -> Iterator[Callable[[Result], None]]:
        """A progress bar where a person looks at standard error; nothing elsewhere."""
        if quiet or not sys.stderr.isatty() or os.environ.get("CI"):
            yield lambda result: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        # drawn as results come: no thread that workers would be forked beside
        with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
            task = bar.add_task("", total=total)
            yield lambda result: bar.update(task, advance=1, description=result.scenario, refresh=True)


def print_tap(results: Sequence[Result], builds: Sequence[Build], unplayed: int = 0) -> None:
    """TAP on standard output."""
    for text in tap(results, [build.version_text for build in builds], unplayed):
        print(text)


def print_summary(results: Sequence[Result], builds: Sequence[Build], report: Path | None) -> None:
    """What a person wants to know: what did not conform, why, and the counts."""
    from rig.check.deviations import load
    from rig.report.ranges import ranges

    played = {result.scenario for result in results}
    every = ranges(results, [build.version for build in builds], load())
    known = [row for row in every if row.deviation.scenario in played and not row.deviation.intermittent]
    for index, build in enumerate(builds):
        mine = [result for result in results if result.build == index]
        click.echo(f"{click.style(f'QEMU {build.version_text}', bold=True)} {build.path}")
        for result in mine:
            if result.verdict in ("mismatch", "fixed", "error"):
                click.echo(f"  {click.style(result.verdict, fg='red')} {result.scenario}")
                for text in result.reason.splitlines():
                    click.echo(f"      {text}")
                if result.evidence and report:
                    folder = report / result.evidence
                    click.echo(f"      evidence: {folder}")
                    click.echo(f"      replay:   rig replay {folder / 'program.yaml'} --qemu {build.path}")
        deviations = Counter(one for result in mine for one in result.deviations)
        for name, count in sorted(deviations.items()):
            click.echo(f"  {click.style('deviation', fg='yellow')} {name} ({_scenarios(count)})")
        for row in known:
            if why := row.cells[index].unverified:
                click.echo(f"  {click.style('not looked for', fg='cyan')} {row.deviation.id}: {why}")
        skipped = Counter(result.reason for result in mine if result.verdict == "skipped")
        for reason, count in sorted(skipped.items()):
            click.echo(f"  {click.style('skipped', fg='cyan')} {_scenarios(count)}: {reason}")
        words = ", ".join(f"{count} {verdict}" for verdict, count in summary(mine).items() if count)
        click.echo(f"  {words or 'nothing ran'}; {sum(result.calls for result in mine)} calls")
    if len(builds) > 1:
        from rich.console import Console

        from rig.report.matrix import table

        versions = [dotted(build.version) for build in builds]
        # where nobody looks at a terminal there is no width to keep to
        Console(width=None if sys.stdout.isatty() else WIDE).print(table(results, versions))
    if report is not None:
        click.echo(f"report: {report / 'index.html'}")


def _scenarios(count: int) -> str:
    return f"{count} scenario{'s' if count > 1 else ''}"
