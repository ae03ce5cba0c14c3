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


PCI_TOKENS = {
    "read-pci-config": 0x2014,
    "write-pci-config": 0x2015,
    "ibm,read-pci-config": 0x2016,
    "ibm,write-pci-config": 0x2017,
    "ibm,query-interrupt-source-number": 0x2018,
    "ibm,change-msi": 0x2019,
}

#: properties whose names are not those of Python with hyphens
SPELLED = {
    "msi": "ibm,req#msi",
    "msi_x": "ibm,req#msi-x",
    "extended": "ibm,pci-config-space-type",
    "connector": "ibm,my-drc-index",
}


def pci_function(name: str, reg: Sequence[int], kind: int = 0x020000, **properties: int) -> Node:
    """A node of a PCI function: ``reg`` is its config_addr and then five cells for each base address."""
    values = {"vendor_id": 0x1AF4, "device_id": 0x1041, "revision_id": 1, "class_code": kind, **properties}
    shown = {SPELLED.get(key, key.replace("_", "-")): cells(value) for key, value in values.items()}
    return Node(name, {**shown, "reg": cells(reg[0], 0, 0, 0, 0, *reg[1:])})


@pytest.fixture(scope="session")
def slots() -> Callable[..., Environment]:
    """Makes a machine with a host bridge of unit id 0x800000020000000 and 16 message-signalled interrupts.

    01.0 has all kinds of base addresses, three MSI-X vectors and level-sensitive source 0x1200.  02.0 has
    extended space, one MSI and five MSI-X vectors.  03.0 is a bridge with a function at 01.0 of bus 1.  04.0
    and 04.1 are one device without interrupts.
    """

    def make() -> Environment:
        bases = (0x0200_0810, 0, 0, 0, 0x1000, 0x0100_0814, 0, 0, 0, 0x20, 0x0300_0818, 0, 0, 0, 0x4000)
        below = pci_function("ethernet@1", (0x1_0800,), interrupts=1)
        bridge = pci_function("pci@3", (0x1800,), 0x060400, interrupts=1, msi=1)
        children = {
            "ethernet@1": pci_function("ethernet@1", (0x800, *bases), interrupts=1, msi_x=3),
            "ethernet@2": pci_function(
                "ethernet@2",
                (0x1000,),
                interrupts=1,
                msi=1,
                msi_x=5,
                extended=1,
            ),
            "pci@3": Node("pci@3", bridge.properties, {"ethernet@1": below}),
            "scsi@4": pci_function("scsi@4", (0x2000,)),
            "scsi@4,1": pci_function("scsi@4,1", (0x2100,)),
        }
        properties = {
            "device_type": b"pci\0",
            "reg": cells(0x0800_0000, 0x2000_0000, 0, 0),
            "interrupt-map": cells(0x0800, 0, 0, 1, 0x1111, 0x1200, 1),
            "ibm,pe-total-#msi": cells(16),
        }
        tokens = {name: cells(token) for name, token in PCI_TOKENS.items()}
        tree = Node("", children={"rtas": Node("rtas", tokens), "pci": Node("pci", properties, children)})
        return Environment((Region(0, RAM_END),), Region(0, 0), Region(0, 0), tree)

    return make
