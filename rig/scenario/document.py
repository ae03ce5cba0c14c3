"""One YAML file: its data, where each part of it stands, and the scenarios that it describes.

Errors of YAML, of the schema and of expansion all become :class:`BadScenario` with file, line and column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import yaml

from rig.frozen import frozen
from rig.program import Call, Ref, Rtas, Seed, Step, Together
from rig.scenario import build, stamps
from rig.scenario.errors import BadScenario
from rig.scenario.expand import BadTemplate, combinations, template
from rig.scenario.reference import FromStep, parse
from rig.scenario.reserved import refusal

# libyaml where PyYAML was built with it: ten times faster
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Location = tuple[str | int, ...]
Data = Mapping[str, Any]


@frozen
class Entry:
    """One scenario with its matrix expanded: plain data, the line it begins at, its steps as written."""

    data: Data
    line: int
    where: Location
    written: int


class _Repeated(Sequence[Any]):
    """Steps as a matrix repeats them; raises :class:`BadTemplate` when they are first looked at."""

    def __init__(self, steps: list[Any], combined: Sequence[Mapping[str, Any]]) -> None:
        self._steps = steps
        self._combined = combined

    @cached_property
    def _all(self) -> list[Any]:
        repeat = template(self._steps)
        return [
            step
            for names in self._combined
            for step in cast(list[Any], repeat(names) if repeat else self._steps)
        ]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]


@frozen
class Document:
    """A parsed file.  ``root`` is the tree of YAML nodes that ``data`` was made of."""

    path: Path
    root: yaml.Node
    data: object
    stamp: str

    @classmethod
    def read(cls, path: Path) -> Document:
        """Parse the file; raises :class:`BadScenario` when it is not YAML or cannot be read."""
        try:
            content = path.read_bytes()
            text = content.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise BadScenario(f"{path}: cannot be read: {error}") from error
        try:
            loader = _Loader(text)
            try:
                root = loader.get_single_node()
                if root is None:
                    raise BadScenario(f"{path}:1:1: the file is empty; it needs scenarios: [...]")
                _refuse_duplicates(root, path)
                return cls(path, root, loader.construct_document(root), stamps.digest(content))
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"
            what = " ".join(part for part in (error.context, error.problem) if part)
            raise BadScenario(f"{path}{where}: this is no YAML: {what}") from error
        except BadScenario:
            raise
        except (yaml.YAMLError, ValueError) as error:  # a date that is none, a number of 5,000 digits
            raise BadScenario(f"{path}: this is no YAML: {error}") from error
        except RecursionError:
            raise BadScenario(f"{path}: this is no tree: an alias leads to what it is a part of") from None

    def entries(self) -> list[Entry]:
        """The scenarios, expanded and checked; raises :class:`BadScenario`."""
        if stamps.known(self.stamp):
            return list(self._entries(cast(Data, self.data)["scenarios"], later=True))
        # Takes most of the time of loading a file: see the module.
        from rig.scenario.schema import Scenario, Top

        self._validate(Top.model_validate, self.data, ())
        entries = list(self._entries(cast(Data, self.data)["scenarios"]))
        for entry in entries:
            self._validate(Scenario.model_validate, entry.data, entry.where, entry.written)
            self._check_steps(entry)
        stamps.remember(self.stamp)
        return entries

    def _entries(self, scenarios: Sequence[Data], *, later: bool = False) -> Iterator[Entry]:
        """The scenarios; with ``later``, the steps of a matrix are made when they are first looked at."""
        for position, raw in enumerate(scenarios):
            where: Location = ("scenarios", position)
            line = self._mark(where)[0]
            steps = raw.get("steps")
            written = len(steps) if isinstance(steps, list) else 0
            for data in self._expanded(raw, where, later=later):
                yield Entry(data, line, where, written)

    def _expanded(self, raw: Data, where: Location, *, later: bool) -> Iterator[Data]:
        """One scenario as written to those it stands for."""
        steps, matrix = raw.get("steps"), raw.get("matrix")
        if not isinstance(matrix, dict) or not matrix or not isinstance(steps, list):
            yield raw
            return
        rest = {key: value for key, value in raw.items() if key != "matrix"}
        at = where
        try:
            at = (*where, "matrix")
            combined = list(combinations(matrix))
            at = where
            if raw.get("expand") == "scenarios":
                evaluate = template(rest)
                for names in combined:
                    yield cast(Data, evaluate(names)) if evaluate else rest
                return
            at = (*where, "steps")
            repeated: Sequence[Any] = _Repeated(steps, combined)
            if not later:
                repeated = list(repeated)
        except BadTemplate as error:
            raise BadScenario(self._at((*at, *error.path), str(error))) from error
        yield {**rest, "steps": repeated}

    def _validate(
        self, validate: Callable[[object], object], data: object, where: Location, written: int = 0
    ) -> None:
        from pydantic import ValidationError

        try:
            validate(data)
        except ValidationError as error:
            messages: dict[str, None] = {}
            for problem in error.errors(include_url=False, include_context=False):
                location = (*where, *_as_written(problem["loc"], written))
                message = self._message(location, problem["type"], problem["msg"], problem["input"])
                messages[message] = None
            raise BadScenario("\n".join(messages)) from error

    def _message(self, location: Location, kind: str, text: str, given: object) -> str:
        text = text.removeprefix("Value error, ")
        if kind == "extra_forbidden":
            text = f"unknown key {location[-1]!r}"
            if given is None:  # {service: ibm,os-term} is YAML for two keys
                text += '; a name with a comma needs quotes within braces, such as "ibm,os-term"'
        elif kind == "missing":
            location, text = location[:-1], f"{location[-1]!r} is missing"
        return self._at(location, text, key=kind == "extra_forbidden")

    def _at(self, location: Location, text: str, key: bool = False) -> str:
        line, column, known = self._mark(location, key)
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in known).lstrip(".")
        return f"{self.path}:{line}:{column}: {where + ': ' if where else ''}{text}"

    def _mark(self, location: Location, key: bool = False) -> tuple[int, int, Location]:
        """Line and column, from 1, of the innermost part of ``location`` that the file has, and that part."""
        node = self.root
        mark = node.start_mark
        known: list[str | int] = []
        for part in location:
            found = _child(node, part)
            if found is None:
                continue  # pydantic also names the branch of a union that it tried
            name, node = found
            mark = name.start_mark if key else node.start_mark
            known.append(part)
        return mark.line + 1, mark.column + 1, tuple(known)

    def _check_steps(self, entry: Entry) -> None:
        """What the schema cannot show: references to steps before, memory of the agent, problem state."""
        translated = entry.data.get("machine", {}).get("translation", "off") != "off"
        defined: set[str] = set()
        for part in ("before", "steps"):
            for position, data in enumerate(entry.data.get(part, ())):
                index = position % entry.written if part == "steps" else position
                step = build.step(data)
                problem = _problem(step, defined, translated)
                if problem is not None:
                    raise BadScenario(self._at((*entry.where, part, index), problem))
                defined.add(step.name)


def _as_written(location: Sequence[str | int], written: int) -> Location:
    """A location in an expanded scenario as the file has it: repeated steps are written once."""
    match location:
        case ["steps", int(index), *rest] if written:
            return ("steps", index % written, *rest)
    return tuple(location)


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node below ``node`` that ``part`` names, with the node of its key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _refuse_duplicates(node: yaml.Node, path: Path) -> None:
    """A mapping with the same key twice: YAML forbids it, PyYAML keeps the last without a word."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, path)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line, column = key.start_mark.line + 1, key.start_mark.column + 1
                    raise BadScenario(f"{path}:{line}:{column}: key {key.value!r} is there twice")
                seen.add(key.value)
            _refuse_duplicates(value, path)


def _problem(step: Step, defined: set[str], translated: bool) -> str | None:
    if isinstance(step, Together):  # nothing can refer to its parts
        return next(filter(None, (_problem(part, defined, translated) for part in step.parts)), None)
    if isinstance(step, Call | Rtas) and step.problem and not translated:
        return "problem state needs translation: hash or radix in machine:"
    for ref in _refs(step):
        reference = parse(ref)
        if isinstance(reference, FromStep) and reference.step not in defined:
            return f"{ref} refers to a step {reference.step!r} that is not before it"
    match step:
        case Seed(int(address), data, cells, width):
            return refusal(address, len(cells) * width or len(data))
        case Rtas(args=args, block=int(block)):
            return refusal(block, 4 * (3 + len(args)))
    return None


def _refs(step: Step) -> Iterator[Ref]:
    for one in fields(step):
        value = getattr(step, one.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Ref):
                yield item
