"""Small machines for the model, and a judge that holds a pretended build to its expectations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from rig.check.compare import Comparison
from rig.model.environment import Environment, Node, Region
from rig.model.expectation import Case
from rig.model.hypercall import MASK64
from rig.model.memory import Memory
from rig.model.model import Model, registers_of
from rig.program import Call, Ending, Event, MachineOptions, Outcome

RAM_END = 0x10000
WINDOW = Region(0x2000_8000_0000, 0x1000)
TOKENS = {
    "display-character": 0x2000,
    "get-time-of-day": 0x2001,
    "set-time-of-day": 0x2002,
    "ibm,never-heard-of": 0x20FF,
}


def cells(*values: int) -> bytes:
    """Big-endian cells of 32 bits."""
    return b"".join((value & 0xFFFF_FFFF).to_bytes(4, "big") for value in values)


def environment(
    ram: Sequence[tuple[int, int]] = ((0, RAM_END),),
    *,
    terminal: bool = True,
    arguments: tuple[str, ...] = (),
) -> Environment:
    """A machine of (start, length) regions, one PCI window, and the tokens above."""
    window = cells(0x0200_0000, 0, 0, WINDOW.start >> 32, WINDOW.start & 0xFFFF_FFFF, 0, WINDOW.length)
    tree = Node(
        "",
        children={
            "rtas": Node("rtas", {name: cells(token) for name, token in TOKENS.items()}),
            "pci@800000020000000": Node("pci@800000020000000", {"device_type": b"pci\0", "ranges": window}),
            "vdevice": Node("vdevice", children={"vty@71000000": Node("vty@71000000")} if terminal else {}),
        },
    )
    regions = tuple(Region(*region) for region in ram)
    options = MachineOptions(arguments=arguments)
    return Environment(regions, Region(0, 0), Region(0, 0), tree, options=options)


Build = Callable[[Memory], int | Mapping[str, int]]
Judge = Callable[..., tuple[Case, list[str]]]


def judge(
    model: Model,
    call: Call,
    build: Build,
    *,
    clock: tuple[float, float] = (0.0, 0.0),
    console: bytes = b"",
    events: tuple[Event, ...] = (),
    ending: Ending = "returned",
    exit_status: int | None = None,
) -> tuple[Case, list[str]]:
    """The case that fits a pretended build and the checks that it breaks.

    ``build`` is given the machine's memory, changes it and returns r3, signed, or all registers it changes.
    """
    observed = Memory(model.memory.ram)
    for address, length in list(model.memory.extents()):
        observed.write(address, model.memory.read(address, length))
    before = registers_of(call)
    expectation = model.expect(call)
    result = build(observed)
    changed = {"r3": result} if isinstance(result, int) else dict(result)
    after = {**before, **{name: value & MASK64 for name, value in changed.items()}}
    outcome = Outcome(ending, after, before, events, console, clock=clock, exit_status=exit_status)
    comparison = Comparison(model.memory, observed)
    case, violations = comparison.step(expectation, outcome, 0)
    violations += comparison.sweep([(0, expectation)])
    model.settle(case, outcome)
    return case, [violation.check for violation in violations]


@pytest.fixture(scope="session", name="environment")
def environment_fixture() -> Callable[..., Environment]:
    """Makes machines; session-scoped so that property tests may use it."""
    return environment


@pytest.fixture(scope="session", name="judge")
def judge_fixture() -> Judge:
    """Judges pretended builds."""
    return judge


@pytest.fixture
def model() -> Model:
    """A model of the smallest machine."""
    return Model(environment())
