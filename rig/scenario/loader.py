"""Find scenarios: by id, folder, pattern or file name.

Only files that can hold a chosen scenario are parsed; how is :mod:`rig.scenario.file`'s business.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rig.resources import scenario_root
from rig.scenario import contexts
from rig.scenario.errors import BadScenario
from rig.scenario.file import distinct, load_file, stem
from rig.scenario.script import Scenario

SUFFIXES = (".yaml", ".py")
_MAGIC = re.compile(r"[*?\[]")


def files(root: Path) -> list[Path]:
    """Every scenario file below ``root``, sorted; names that begin with ``_`` or ``.`` are none."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix in SUFFIXES
        and not any(part.startswith(("_", ".")) for part in path.relative_to(root).parts)
    )


def load_all(root: Path) -> tuple[Scenario, ...]:
    """Every scenario below ``root``; raises :class:`BadScenario` for the first file that is not right."""
    return load_files(files(root), root)


def load_files(paths: Iterable[Path], root: Path) -> tuple[Scenario, ...]:
    """The scenarios of several files; raises :class:`BadScenario` also for an id given twice."""
    return distinct([scenario for path in paths for scenario in load_file(path, root)])


def select(patterns: Sequence[str] = (), root: Path | None = None) -> tuple[Scenario, ...]:
    """The scenarios that any of ``patterns`` selects, each once, in the order of the patterns.

    A pattern is an id (``memop/limits/count-over``), a folder or file of ids (``memop``, ``memop/limits``), a
    shell pattern over ids (``*/limits/*``), or the path of a scenario file anywhere.  With ``@`` and a
    context's name at its end, or alone, it selects those scenarios in that context
    (:mod:`rig.scenario.contexts`).  No pattern selects all, with what each context always has.
    ``root`` is the folder searched, by default that of the shipped scenarios.  Raises :class:`BadScenario`
    for a pattern that selects nothing, naming near ids.
    """
    root = scenario_root() if root is None else root
    if not patterns:
        everything = load_all(root)
        return (*everything, *contexts.always(everything))
    chosen: dict[str, Scenario] = {}
    for pattern in patterns:
        found = _matching(pattern, root)
        if not found:
            raise BadScenario(_unknown(pattern, root))
        distinct([*chosen.values(), *(one for one in found if not _same(one, chosen.get(one.name)))])
        chosen |= {scenario.name: scenario for scenario in found}
    return tuple(chosen.values())


def _same(one: Scenario, other: Scenario | None) -> bool:
    """Whether two patterns have selected one scenario."""
    return other is not None and (one.source, one.line) == (other.source, other.line)


def _matching(pattern: str, root: Path) -> list[Scenario]:
    path = Path(pattern)
    plain, mark, name = pattern.rpartition(contexts.MARK)
    if mark and not path.is_file():
        context = contexts.context(name)
        found = _matching(plain, root) if plain else load_all(root)
        return [varied for scenario in found if (varied := context.apply(scenario)) is not None]
    if path.suffix in SUFFIXES and path.is_file():
        return list(load_file(path))
    pattern = pattern.rstrip("/")
    fixed = _MAGIC.split(pattern)[0]
    candidates = [file for file in files(root) if _related(stem(file, root), fixed, fixed != pattern)]
    return [
        scenario
        for scenario in load_files(candidates, root)
        if scenario.name == pattern
        or scenario.name.startswith(pattern + "/")
        or fnmatch.fnmatchcase(scenario.name, pattern)
    ]


def _related(stem: str, fixed: str, magic: bool) -> bool:
    """Whether a file can hold ids that begin with ``fixed`` (and end there unless ``magic``)."""
    if fixed.startswith(stem + "/") or stem == fixed or stem.startswith(fixed + "/"):
        return True
    return magic and (stem.startswith(fixed) or fixed.startswith(stem))


def _unknown(pattern: str, root: Path) -> str:
    if Path(pattern).suffix in SUFFIXES:
        return f"no scenario file {pattern}"
    ids = [scenario.name for scenario in load_all(root)]
    folders = {name.rpartition("/")[0] for name in ids}
    near = difflib.get_close_matches(pattern, [*ids, *folders, *{x.partition("/")[0] for x in ids}], n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "see `rig list`"
    return f"no scenario is called or matched by {pattern!r}; {hint}"


__all__ = ["SUFFIXES", "BadScenario", "files", "load_all", "load_file", "load_files", "select"]
