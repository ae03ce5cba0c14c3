"""What both kinds of scenario compile to, and the decorator that makes one from a Python function.

A Python scenario is a generator: it yields a step, or a sequence of steps, and is sent back the outcome, or
the sequence of outcomes.  The judging is the model's, as for YAML; a script only decides what to do next.
It reports something itself only where two views of the same machine disagree (:class:`Disagreement`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from rig.frozen import frozen
from rig.model.environment import Environment
from rig.picture import Picture
from rig.program import H_RTAS, MachineOptions, Requirement, Step
from rig.scenario import names
from rig.target import GuestMemory


class Registers(Protocol):
    """A debugger, as far as scenarios need it."""

    def registers(self, names: Iterable[str]) -> Mapping[str, int]:
        """Registers of the stopped CPU by gdb's names, unsigned; ``vs0``..``vs63`` have 128 bits."""


class Stage(Protocol):
    """Where a scenario is played: the machine as a script may see it."""

    @property
    def environment(self) -> Environment:
        """Memory map, device tree, options."""

    @property
    def memory(self) -> GuestMemory:
        """RAM as it stands after the last step."""

    @property
    def memories(self) -> Mapping[str, GuestMemory]:
        """Every path by which this machine's RAM can be reached, by name; empty for a model."""

    @property
    def debugger(self) -> Registers:
        """The debugger; only scenarios that list it in ``needs`` may ask for it."""

    def screen(self, name: str) -> Picture:
        """What is on the screen; the picture is kept for the report as ``name``.  Needs ``screen``."""


#: yields a step or a sequence of steps; is sent an outcome or a list of outcomes accordingly
Playing = Generator[Step | Sequence[Step], Any, None]
Play = Callable[[Stage], Playing]

#: what a scenario needs besides the :class:`rig.target.Target` interface; a model has none of it
Need = Literal["debugger", "memories", "screen"]


class Disagreement(Exception):
    """Two views of the same machine differ; a violation, not an error.

    ``check`` is a stable name that deviations can match (``agreement.memory``), ``text`` says what differs.
    """

    def __init__(self, check: str, text: str) -> None:
        super().__init__(f"{check}: {text}")
        self.check = check
        self.text = text


@frozen
class Scenario:
    """One scenario, ready to be played; ``name`` is its id, such as ``memop/limits/count-over``.

    ``source`` and ``line`` say where it is written.  ``steps`` gives a YAML program's steps, references
    unresolved; it is ``None`` for a script, whose steps depend on what it sees.
    """

    name: str
    summary: str
    play: Play
    machine: MachineOptions = MachineOptions()
    requires: Requirement = Requirement()
    #: ids of LoPAR requirements that the scenario holds a build to
    requirements: tuple[str, ...] = ()
    source: str = ""
    line: int = 0
    needs: frozenset[Need] = frozenset()
    #: names or opcodes of the hypercalls, and names of the RTAS services, that the scenario issues
    issues: Callable[[], frozenset[str | int]] = frozenset
    steps: Callable[[], Iterator[Step]] | None = None

    def calls(self, name: str) -> bool:
        """Whether the scenario issues the hypercall or the RTAS service called ``name``."""
        opcode, issues = names.opcode(name), self.issues()
        if opcode == H_RTAS and any(isinstance(one, str) and names.opcode(one) is None for one in issues):
            return True
        return name in issues or opcode in issues


def scenario(
    *,
    name: str,
    summary: str,
    machine: MachineOptions = MachineOptions(),
    requires: Requirement = Requirement(),
    requirements: tuple[str, ...] = (),
    needs: frozenset[Need] = frozenset(),
    issues: frozenset[str | int] = frozenset(),
) -> Callable[[Play], Scenario]:
    """Make a scenario of a generator function; in a scenario file the id becomes ``FILE/name``."""

    def make(play: Play) -> Scenario:
        source = inspect.getsourcefile(play) or ""
        line = inspect.unwrap(play).__code__.co_firstlineno
        return Scenario(
            name, summary, play, machine, requires, requirements, source, line, needs, lambda: issues
        )

    return make
