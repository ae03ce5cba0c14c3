"""What the contract permits a step to leave behind.

An expectation is a set of *cases*: the ways in which the documents let a call end.  Each case names an
exact value, a permitted set, a range or *unspecified* for every register, memory cell and event it speaks
of; whatever it does not name must be preserved.  A case with a :class:`Breach` is an ending that the
documents forbid but that the model can describe to the byte, so that one difference is reported once and
the rest of the step is still judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Protocol

from rig.frozen import frozen
from rig.program import Ending, Outcome
from rig.target import GuestMemory


class Permitted(Protocol):
    """The values that the contract permits in one place."""

    def permits(self, value: int) -> bool:
        """Whether ``value`` conforms."""

    @property
    def canonical(self) -> int:
        """The value that a model target picks."""


@frozen
class Exactly:
    """One value."""

    value: int

    def permits(self, value: int) -> bool:
        return value == self.value

    @property
    def canonical(self) -> int:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:#x}"


@frozen
class OneOf:
    """Any value of a set; the first is canonical."""

    values: tuple[int, ...]

    def permits(self, value: int) -> bool:
        return value in self.values

    @property
    def canonical(self) -> int:
        return self.values[0]

    def __str__(self) -> str:
        return "one of " + ", ".join(f"{value:#x}" for value in self.values)


@frozen
class Between:
    """A closed range."""

    low: int
    high: int

    def permits(self, value: int) -> bool:
        return self.low <= value <= self.high

    @property
    def canonical(self) -> int:
        return self.low

    def __str__(self) -> str:
        return f"{self.low:#x}..{self.high:#x}"


@frozen
class Satisfies:
    """A value for which ``rule`` holds; ``text`` says the rule in words."""

    rule: Callable[[int], bool]
    text: str
    canonical: int = 0

    def permits(self, value: int) -> bool:
        return self.rule(value)

    def __str__(self) -> str:
        return self.text


@frozen
class Unspecified:
    """Any value: the documents are silent."""

    canonical: int = 0

    def permits(self, value: int) -> bool:
        return True

    def __str__(self) -> str:
        return "unspecified"


UNSPECIFIED = Unspecified()


@frozen
class Cell:
    """A big-endian cell of ``width`` bytes that the call may write.  ``what`` names it (``rets[1] year``)."""

    address: int
    width: int
    permitted: Permitted
    what: str
    #: requirement id or section that binds it
    rule: str = ""


@frozen
class Write:
    """Bytes that the call must leave at ``address``."""

    address: int
    data: bytes
    rule: str = ""


@frozen
class Scratch:
    """A range that the call may leave in any state."""

    address: int
    length: int
    rule: str = ""


@frozen
class ExpectedEvent:
    """A QMP event that the step must (or, when not ``required``, may) emit.

    ``data`` must be contained in the event's data; a :class:`Permitted` value is asked, others must be equal.
    """

    name: str
    data: Mapping[str, object] = field(default_factory=dict)
    required: bool = True


@frozen
class Relation:
    """A rule over several places at once, such as a date spread over seven cells.

    ``holds`` is given the outcome and the memory after the step, and returns what is wrong in words, or
    ``None``.
    """

    check: str
    holds: Callable[[Outcome, GuestMemory], str | None]
    rule: str = ""


@frozen
class Breach:
    """The rule that a build breaks by ending as the case describes.

    ``check`` is the stable name that deviations match, for example ``memop.outside-memory``.
    """

    check: str
    text: str
    rule: str


@frozen
class Case:
    """One way for a call to end.

    ``registers`` names those that change (always r3 for a call that returns); registers that the ABI
    lets a call destroy are unspecified, all others are preserved.  ``effect`` brings the model's state to
    where the build is, given what was observed.
    """

    name: str
    registers: Mapping[str, Permitted] = field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    writes: tuple[Write, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    relations: tuple[Relation, ...] = ()
    events: tuple[ExpectedEvent, ...] = ()
    console: bytes = b""
    ending: Ending = "returned"
    effect: Callable[[Outcome], None] | None = None
    breach: Breach | None = None
    rule: str = ""


@frozen
class Expectation:
    """All that the contract permits one step to leave behind.

    ``call`` is the hypercall's or service's name; ``arguments`` its named arguments; ``facts`` are stable
    words for the situation (``count-zero``, ``destination-unassigned``) that deviations match.
    ``footprint`` lists the (address, length) ranges of RAM that the call may read or write: calls whose
    footprints are disjoint may share a batch; ``None`` means that the call must run alone.
    """

    call: str
    cases: tuple[Case, ...]
    arguments: Mapping[str, int] = field(default_factory=dict)
    facts: frozenset[str] = frozenset()
    footprint: tuple[tuple[int, int], ...] | None = None
