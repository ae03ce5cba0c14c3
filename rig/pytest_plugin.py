"""Scenarios as pytest items: ``pytest scenarios --qemu=PATH``, beside a project's other tests.

Files are collected only below the shipped scenarios or a folder that holds a file named ``rig-scenarios``,
so that other test runs in which this plugin is installed are left alone.  The judging is :mod:`rig.runner`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Nothing else of the rig is imported before a scenario is collected: every pytest run loads this module.
if TYPE_CHECKING:
    from _pytest._code.code import ExceptionInfo, TerminalRepr

    from rig.machine.build import Build
    from rig.pool import Pool
    from rig.scenario.script import Scenario

#: a file of this name, of any content, makes a folder one of scenarios
MARKER = "rig-scenarios"


class ScenarioFailed(Exception):
    """A scenario whose verdict is not a pass; the message is all that pytest shows."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--qemu``, as often as there are builds to judge."""
    parser.getgroup("spapr-rig").addoption(
        "--qemu",
        action="append",
        default=[],
        metavar="PATH",
        help="a qemu-system-ppc64 to judge scenarios on; may be given several times",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what the scenarios of this run share."""
    config.stash[_SHARED] = Shared(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the machines."""
    shared = config.stash.get(_SHARED, None)
    if shared is not None:
        shared.close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A scenario file, when it lies where scenarios are."""
    if file_path.suffix not in (".yaml", ".py") or file_path.name.startswith(("_", ".")):
        return None
    root = _root(file_path.parent)
    if root is None:
        return None
    collector: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
    collector.root = root
    return collector


@cache
def _root(folder: Path) -> Path | None:
    """The folder of scenarios that ``folder`` belongs to."""
    from rig.resources import MissingResource, scenario_root

    if (folder / MARKER).is_file():
        return folder
    try:
        if folder == scenario_root():
            return folder
    except MissingResource:  # `pytest` on something else must not suffer from an incomplete rig
        return None
    return None if folder == folder.parent else _root(folder.parent)


class Shared:
    """The builds and machines that all scenarios of a run use."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._builds: list[Build] | None = None
        self._pool: Pool | None = None

    @property
    def builds(self) -> list[Build]:
        """The builds of ``--qemu``, probed once; raises :class:`InvalidInput` for what is no build."""
        from rig.commands.common import find_builds

        if self._builds is None:
            self._builds = find_builds(self._config.getoption("--qemu"))
        return self._builds

    @property
    def pool(self) -> Pool:
        """Machines, kept from one scenario to the next."""
        from rig.pool import Pool

        if self._pool is None:
            self._pool = Pool().__enter__()
        return self._pool

    def close(self) -> None:
        """End every machine."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)


_SHARED = pytest.StashKey[Shared]()


class ScenarioFile(pytest.File):
    """One scenario file."""

    root: Path

    def collect(self) -> Iterator[pytest.Item]:
        """Each scenario on each build."""
        from rig.commands.common import InvalidInput
        from rig.scenario.loader import BadScenario, load_file
        from rig.versions import dotted

        try:
            scenarios = load_file(self.path, self.root)
            builds = self.config.stash[_SHARED].builds
        except (BadScenario, InvalidInput) as error:
            raise self.CollectError(str(error)) from error
        for scenario in scenarios:
            for index, build in enumerate(builds):
                name = f"{scenario.name.rpartition('/')[2]}[{index}-{dotted(build.version)}]"
                yield ScenarioItem.from_parent(self, name=name, scenario=scenario, build=index)


class ScenarioItem(pytest.Item):
    """One scenario on one build."""

    def __init__(self, *, scenario: Scenario, build: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario
        self.build = build

    def runtest(self) -> None:
        """Judge the scenario; known deviations pass and are noted as properties."""
        from rig.runner import Runner, Settings, unmet

        shared = self.config.stash[_SHARED]
        reason = unmet(self.scenario, shared.builds[self.build], shared.builds)
        if reason:
            pytest.skip(reason)
        result = Runner(shared.builds, Settings()).judge(self.scenario, self.build, shared.pool)
        if result.verdict == "skipped":
            pytest.skip(result.reason)
        self.user_properties += [("deviation", deviation) for deviation in result.deviations]
        if result.verdict not in ("conforms", "deviates"):
            raise ScenarioFailed(f"{result.verdict}: {result.reason}")

    def repr_failure(self, excinfo: ExceptionInfo[BaseException], style: Any = None) -> str | TerminalRepr:
        """The verdict's reason, without a traceback of the rig."""
        if isinstance(excinfo.value, ScenarioFailed):
            return f"{self.scenario.source}:{self.scenario.line}: {self.scenario.name}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the scenario is written."""
        return self.path, self.scenario.line - 1, self.scenario.name
