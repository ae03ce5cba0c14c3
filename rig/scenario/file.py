"""Load one scenario file, YAML or Python, into scenarios that can be played.

What a YAML file may hold is :mod:`rig.scenario.schema`'s business, finding files
:mod:`rig.scenario.loader`'s.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

from rig.program import Step
from rig.resources import scenario_root
from rig.scenario import build
from rig.scenario.document import Document, Entry
from rig.scenario.errors import BadScenario
from rig.scenario.script import Play, Playing, Scenario, Stage

#: steps that a YAML program hands over at once
CHUNK = 256


def stem(path: Path, root: Path) -> str:
    """What the ids of a file's scenarios begin with: its path below ``root`` without suffix."""
    return path.relative_to(root).with_suffix("").as_posix()


def load_file(path: Path, root: Path | None = None) -> tuple[Scenario, ...]:
    """The scenarios of one file in their order; raises :class:`BadScenario` for a file that is not right.

    Ids are relative to ``root``, by default that of the shipped scenarios; for a file elsewhere they begin
    with its own name.
    """
    if path.is_dir():
        raise BadScenario(f"{path} is a folder; name one file")
    if root is None:
        resolved = path.resolve()
        root = scenario_root()
        path, root = (resolved, root) if resolved.is_relative_to(root) else (path, path.parent)
    prefix = stem(path, root)
    return distinct(_script(path, prefix) if path.suffix == ".py" else _yaml(path, prefix))


def distinct(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """``scenarios`` as they are; raises :class:`BadScenario` for an id that two of them have."""
    seen: dict[str, Scenario] = {}
    for scenario in scenarios:
        first = seen.setdefault(scenario.name, scenario)
        if first is not scenario:
            raise BadScenario(
                f"{scenario.source}:{scenario.line}: there is already a scenario {scenario.name}, "
                f"at {first.source}:{first.line}"
            )
    return tuple(scenarios)


def _script(path: Path, prefix: str) -> list[Scenario]:
    module = _module(path)
    found = [
        replace(value, name=f"{prefix}/{value.name}", source=str(path))
        for value in vars(module).values()
        if isinstance(value, Scenario)
    ]
    if not found:
        raise BadScenario(
            f"{path}: defines no scenario; decorate a generator with rig.scenario.script.scenario"
        )
    return found


def _module(path: Path) -> ModuleType:
    name = f"_rig_scenario_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadScenario(f"{path}: cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickling look their module up by name while it is being executed
    sys.modules[name] = module
    # a shipped scenario may lie where nothing can be written
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = _line_in(error, path)
        raise BadScenario(f"{path}:{line}: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = written
    return module


def _line_in(error: BaseException, path: Path) -> int:
    """The last line of ``path`` that ``error`` passed through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    line = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _yaml(path: Path, prefix: str) -> list[Scenario]:
    return [_scenario(entry, prefix, path) for entry in Document.read(path).entries()]


def _scenario(entry: Entry, prefix: str, path: Path) -> Scenario:
    data = entry.data

    def steps() -> Iterator[Step]:
        for step in (*data.get("before", ()), *data["steps"]):
            try:
                yield build.step(step)
            except ValueError as error:  # a call of a package that was uninstalled since the file was checked
                raise BadScenario(f"{path}:{entry.line}: {error}") from error

    @cache
    def issues() -> frozenset[str | int]:
        return frozenset(filter(None, map(build.issued, (*data.get("before", ()), *data["steps"]))))

    return Scenario(
        f"{prefix}/{data['name']}",
        data["summary"],
        _player(steps),
        build.machine(data.get("machine", {})),
        build.requirement(data.get("requires", {})),
        tuple(data.get("requirements", ())),
        str(path),
        entry.line,
        issues=issues,
        steps=steps,
    )


def _player(steps: Callable[[], Iterator[Step]]) -> Play:
    """Hands a program's steps over in order, whatever comes of them."""

    def play(stage: Stage) -> Playing:
        chunk: list[Step] = []
        for step in steps():
            chunk.append(step)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    return play
