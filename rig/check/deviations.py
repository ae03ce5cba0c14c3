"""Named deviations: known, cited differences between builds and the contract.

A deviation matches single violations, never a whole scenario, so a second, unknown violation beside
a known one is still a mismatch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from functools import cache
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from rig.check.violation import Violation
from rig.frozen import frozen
from rig.program import MOVE
from rig.versions import within

SEVERITIES = ("documentation", "semantic", "memory-safety", "availability")
_ENTRY_KEYS = {"id", "summary", "citation", "versions", "severity", "scenario", "match"}
_OPTIONAL_KEYS = {"intermittent"}
_MATCH_KEYS = {"check", "call", "facts", "without", "observed", "says", "arguments"}
_BOUND_KEYS = {"min", "max", "equals", "mask"}


class BadDeviations(ValueError):
    """The deviation file is wrong; the message names file, entry and what to change."""


@frozen
class Bound:
    """A condition on one argument: after ``mask``, inside ``min``..``max`` and, if given, ``equals``."""

    min: int = 0
    max: int = (1 << 64) - 1
    equals: int | None = None
    mask: int = (1 << 64) - 1

    def holds(self, value: int) -> bool:
        """Whether an unsigned argument satisfies the condition."""
        value &= self.mask
        return self.min <= value <= self.max and self.equals in (None, value)


@frozen
class Match:
    """Which violations a deviation explains; an empty field asks nothing.

    ``says`` is part of what QEMU said: its answer, or its last words.  For a sanitizer's report ``call`` is a
    function of QEMU's, or a file of its sources.
    """

    check: str
    call: tuple[str, ...] = ()
    facts: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    observed: tuple[int, ...] = ()
    says: str = ""
    arguments: Mapping[str, Bound] = field(default_factory=dict)

    def explains(self, violation: Violation) -> bool:
        """Whether the violation is the one described."""
        return (
            self.check == violation.check
            and (not self.call or violation.call in self.call)
            and self.foresees(violation.facts, violation.arguments)
            and (not self.observed or violation.value in self.observed)
            and any(self.says in text for text in (violation.text, violation.observed))
        )

    def foresees(self, facts: frozenset[str], arguments: Mapping[str, int]) -> bool:
        """Whether a call with these facts and arguments is of those described, before it is made."""
        return self.facts <= facts and not self.without & facts and self.reaches(arguments)

    def reaches(self, arguments: Mapping[str, int]) -> bool:
        """Whether a call with these arguments can be of those described."""
        return all(
            name in arguments and bound.holds(arguments[name]) for name, bound in self.arguments.items()
        )


@frozen
class Deviation:
    """One known difference: the QEMU ``versions`` in the range have it, ``scenario`` shows it.

    An ``intermittent`` one does not show each time: it depends on how threads of QEMU meet, or shows only
    where QEMU was built with a sanitizer.
    """

    id: str
    summary: str
    citation: str
    versions: str
    severity: str
    scenario: str
    match: tuple[Match, ...]
    intermittent: bool = False

    @property
    def when(self) -> str:
        """The versions, in words for a reader."""
        return f"QEMU {self.versions}{', not each time' if self.intermittent else ''}"

    def concerns(self, version: Sequence[int]) -> bool:
        """Whether a QEMU of ``version`` lies in the range."""
        return within(version, self.versions)

    def explains(self, violation: Violation) -> bool:
        """Whether one of the matches describes the violation."""
        return any(match.explains(violation) for match in self.match)


class Deviations:
    """The deviations that concern one build."""

    def __init__(self, known: Iterable[Deviation], version: Sequence[int]) -> None:
        self.known = tuple(deviation for deviation in known if deviation.concerns(version))
        self._by_check: dict[str, list[Deviation]] = {}
        for deviation in self.known:
            for check in {match.check for match in deviation.match}:
                self._by_check.setdefault(check, []).append(deviation)
        self._later: tuple[int, Deviations] | None = None
        self._receiver: Deviations | None = None

    def until(self, step: int, later: Deviations) -> Deviations:
        """These for the steps before ``step``, with which another build takes over: ``later``."""
        self._later = step, later
        return self

    def beside(self, receiver: Deviations) -> Deviations:
        """These, and for a move that was refused those of the build that was to take the machine over."""
        self._receiver = receiver
        return self

    def explain(self, violation: Violation) -> Deviation | None:
        """The deviation that explains a violation."""
        if self._later is not None and violation.step >= self._later[0]:
            return self._later[1].explain(violation)
        candidates = self._by_check.get(violation.check, ())
        found = next((deviation for deviation in candidates if deviation.explains(violation)), None)
        if found is None and self._receiver is not None and violation.call == MOVE:
            return self._receiver.explain(violation)
        return found

    def whatever(self) -> dict[tuple[str, str], Deviation]:
        """By call and check, those that explain every such violation, whatever the arguments and facts."""
        found: dict[tuple[str, str], Deviation] = {}
        for check, (first, *_) in self._by_check.items():
            for match in first.match:
                if match == Match(check, match.call):
                    found |= {(call, check): first for call in match.call}
        return found

    def lethal(self) -> dict[str, list[Match]]:
        """By call, the matches of those that end QEMU because of what is asked for."""
        found: dict[str, list[Match]] = {}
        for one in self.known:
            for match in one.match if one.severity == "availability" else ():
                for call in match.call if match.check == "liveness" and not match.says else ():
                    found.setdefault(call, []).append(match)
        return found

    def shown_by(self, scenario: str) -> tuple[Deviation, ...]:
        """The deviations that ``scenario`` shows each time, on whichever build plays a part in it."""
        builds = [self, self._later and self._later[1], self._receiver]
        known = {one.id: one for build in builds if build is not None for one in build.known}
        return tuple(one for one in known.values() if one.scenario == scenario and not one.intermittent)


@cache
def load(folder: Path = Path(__file__).with_name("known")) -> tuple[Deviation, ...]:
    """Read every deviation file of a folder; raises :class:`BadDeviations`."""
    deviations = [one for path in sorted(folder.glob("*.toml")) for one in _file(path)]
    ids = [deviation.id for deviation in deviations]
    twice = {one for one in ids if ids.count(one) > 1}
    if twice:
        raise BadDeviations(f"{folder}: ids used twice: {', '.join(sorted(twice))}")
    return tuple(deviations)


def _file(path: Path) -> list[Deviation]:
    try:
        entries = tomllib.loads(path.read_text())["deviation"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise BadDeviations(f"{path}: cannot read deviations: {error}") from error
    return [_entry(path, entry) for entry in entries]


def _entry(path: Path, entry: dict[str, object]) -> Deviation:
    where = f"{path}: deviation {entry.get('id', '?')}"
    if set(entry) - _OPTIONAL_KEYS != _ENTRY_KEYS:
        raise BadDeviations(
            f"{where}: keys must be {', '.join(sorted(_ENTRY_KEYS))}, not {', '.join(sorted(entry))}"
        )
    intermittent = entry.get("intermittent", False)
    if not isinstance(intermittent, bool):
        raise BadDeviations(f"{where}: intermittent is true or false")
    text = {key: str(entry[key]) for key in _ENTRY_KEYS - {"match"}}
    if text["severity"] not in SEVERITIES:
        raise BadDeviations(f"{where}: severity must be one of {', '.join(SEVERITIES)}")
    try:
        SpecifierSet(text["versions"])
    except InvalidSpecifier as error:
        raise BadDeviations(f"{where}: versions: {error}") from error
    matches = entry["match"]
    if not isinstance(matches, list) or not matches:
        raise BadDeviations(f"{where}: needs at least one [[deviation.match]]")
    return Deviation(match=tuple(_match(where, one) for one in matches), intermittent=intermittent, **text)


def _match(where: str, entry: dict[str, object]) -> Match:
    if not {"check"} <= set(entry) <= _MATCH_KEYS:
        raise BadDeviations(f"{where}: a match has `check` and may have {', '.join(sorted(_MATCH_KEYS))}")
    arguments = entry.get("arguments", {})
    assert isinstance(arguments, dict)
    for name, bound in arguments.items():
        if not set(bound) <= _BOUND_KEYS:
            raise BadDeviations(f"{where}: argument {name}: keys are {', '.join(sorted(_BOUND_KEYS))}")
    return Match(
        check=str(entry["check"]),
        call=_strings(entry.get("call", ())),
        facts=frozenset(_strings(entry.get("facts", ()))),
        without=frozenset(_strings(entry.get("without", ()))),
        observed=tuple(
            int(value, 0) if isinstance(value, str) else value for value in _list(entry.get("observed", ()))
        ),
        says=str(entry.get("says", "")),
        arguments={name: Bound(**bound) for name, bound in arguments.items()},
    )


def _list(value: object) -> Sequence[str | int]:
    return [value] if isinstance(value, str | int) else list(value) if isinstance(value, list | tuple) else []


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in _list(value))
