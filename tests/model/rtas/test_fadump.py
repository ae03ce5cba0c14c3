"""ibm,configure-kernel-dump, and what ibm,os-term leaves behind where a dump is registered."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace

import libfdt
import pytest

from rig.model.environment import Environment, Node, Region
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.rtas import dump
from rig.model.rtas.fadump import PROPERTY, Dump
from rig.program import Event

CONFIGURE, TERMINATE = 0x202D, 0x201F
STRUCTURE, SOURCE, TARGET, FDT = 0x4000, 0x5000, 0x6000, 0xC000
#: bytes that the platform says a CPU state needs: of one CPU with the two registers below
NEEDED = 0x20 + 4 * 16
RESET = Event("RESET", {"guest": True, "reason": "guest-reset"})
DATA = bytes(range(1, 65))

Asked = tuple[int, int, int, int, int]
PLAIN: Asked = (1, dump.REAL_MODE, SOURCE, len(DATA), TARGET)


def structure(*sections: Asked, version: int = 1, count: int | None = None, first: int = 40) -> bytes:
    """A structure as an operating system registers it: flags, type, source, length, destination."""
    header = (version, len(sections) if count is None else count, 0, first, 0, 0, 0, 0, 0)
    data = struct.pack(">IHHIIQQII", *header).ljust(first, b"\0")
    for flags, kind, source, length, target in sections:
        data += struct.pack(">IHHQQQQ", flags, kind, 0, source, length, 0, target)
    return data


def shown(
    *sections: tuple[Asked, int, int], status: int = dump.PERFORMED | dump.TRIGGERED, version: int = 1
) -> bytes:
    """The device tree after a dump; each section has its error flags and the bytes dumped."""
    data = bytearray(structure(*(asked for asked, _, _ in sections), version=version))
    data[6:8] = status.to_bytes(2, "big")
    for index, (_, errors, dumped) in enumerate(sections):
        at = dump.HEADER + index * dump.SECTION
        data[at + 6 : at + 8] = errors.to_bytes(2, "big")
        data[at + 24 : at + 32] = dumped.to_bytes(8, "big")
    return tree({PROPERTY: bytes(data)})


def tree(rtas: Mapping[str, bytes]) -> bytes:
    """A blob with these properties of ``/rtas``."""
    writer = libfdt.FdtSw()
    writer.finish_reservemap()
    with writer.add_node(""), writer.add_node("rtas"):
        for name, value in rtas.items():
            writer.property(name, value)
    data = bytes(writer.as_fdt().as_bytearray())
    return data[: int.from_bytes(data[4:8], "big")]


def cpu_state(*registers: tuple[str, int], cpus: int = 1, offset: int = 0x1C) -> bytes:
    """A register save area of one CPU that ran."""
    entries = (("CPUSTRT", 0), *registers, ("CPUEND", 0))
    data = dump.MAGIC + bytes(4) + offset.to_bytes(4, "big")
    data = data.ljust(offset, b"\0") + cpus.to_bytes(4, "big")
    return data + b"".join(
        name.encode().ljust(8, b"\0") + value.to_bytes(8, "big") for name, value in entries
    )


@pytest.fixture
def model(partition, cells) -> Model:
    environment: Environment = partition()
    rtas = environment.tree.children["rtas"]
    own = {
        "ibm,configure-kernel-dump": cells(CONFIGURE),
        "ibm,configure-kernel-dump-sizes": cells(1, 0, NEEDED, 2, 0, 0),
    }
    node = Node("rtas", {**rtas.properties, **own})
    whole = Node("", children={**environment.tree.children, "rtas": node})
    return Model(replace(environment, tree=whole, fdt=Region(FDT, 0x400)))


@pytest.fixture
def configure(judge, prepare, cells) -> Callable[..., list[str]]:
    """The checks that a status breaks, after a command with the structure at its place."""

    def call(model: Model, command: int, status: int, address: int = STRUCTURE, length: int = 0) -> list[str]:
        def build(memory: Memory) -> int:
            memory.write(0x1018, cells(status))
            return 0

        return judge(model, prepare(model, CONFIGURE, (command, address, length)), build)[1]

    return call


@pytest.fixture
def register(configure) -> Callable[..., list[str]]:
    """The checks that a status breaks when this structure is registered."""

    def call(model: Model, data: bytes, status: int = 0, length: int | None = None) -> list[str]:
        model.memory.write(STRUCTURE, data)
        return configure(model, 1, status, length=len(data) if length is None else length)

    return call


@pytest.fixture
def crash(judge, prepare) -> Callable[..., list[str]]:
    """The checks that a dump breaks which leaves these bytes by address."""

    def call(model: Model, left: Mapping[int, bytes], events: tuple[Event, ...] = (RESET,)) -> list[str]:
        def build(memory: Memory) -> dict[str, int]:
            for address, data in left.items():
                memory.write(address, data)
            return {}

        model.memory.write(SOURCE, DATA)
        model.memory.write(FDT, bytes(0x400))
        observe = prepare(model, TERMINATE, (0x2000,))
        broken: list[str] = judge(model, observe, build, events=events, ending="reset")[1]
        return [check for check in broken if check != "memory"] if FDT in left else broken

    return call


# ---- the call ----


def test_what_is_in_order_is_registered(model: Model, register) -> None:
    assert register(model, structure(PLAIN), -3) == ["status"]
    assert register(model, structure(PLAIN)) == []
    assert model.state.of(Dump).registered is not None
    assert model.state.altered


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (structure(PLAIN, version=2), None),
        (structure(PLAIN, count=11), None),
        (structure(*[PLAIN] * 11), None),
        (structure(PLAIN), 39),
        (structure(PLAIN), 0xC001),
        (structure(PLAIN), 0xFFFF_FFFF),
    ],
)
def test_what_is_no_structure_is_refused(model: Model, register, data: bytes, length: int | None) -> None:
    assert register(model, data, 0, length) == ["status"]
    assert register(model, data, -3, length) == []
    assert model.state.of(Dump).registered is None


@pytest.mark.parametrize(
    "data",
    [
        structure(),
        structure((0, *PLAIN[1:])),
        structure((1, 3, *PLAIN[2:])),
        structure(PLAIN, first=512),
        structure(PLAIN) + structure(PLAIN)[40:41],
    ],
)
@pytest.mark.parametrize("status", [0, -3])
def test_what_breaks_a_rule_may_be_refused(model: Model, register, data: bytes, status: int) -> None:
    assert register(model, data, status, length=min(len(data), 79)) == []


def test_only_one_is_registered(model: Model, register, configure) -> None:
    for status in (-8, -9):
        register(model, structure(PLAIN))
        assert register(model, structure(PLAIN), status) == []
    assert register(model, structure(PLAIN), 0) == ["status"]
    assert configure(model, 2, 0) == []
    assert register(model, structure(PLAIN), 0) == []


@pytest.mark.parametrize("command", [2, 3])
@pytest.mark.parametrize("status", [0, -3])
def test_what_is_not_there_may_be_removed_or_not(model: Model, configure, command: int, status: int) -> None:
    assert configure(model, command, status) == []


@pytest.mark.parametrize("command", [0, 4, 0xFFFF_FFFF])
def test_there_are_three_commands(model: Model, configure, command: int) -> None:
    assert configure(model, command, -3) == []
    assert configure(model, command, 0) == ["status"]


def test_a_dump_is_active_until_it_is_invalidated(model: Model, register, configure) -> None:
    environment = model.state.environment
    rtas = environment.tree.children["rtas"]
    told = Node("rtas", {**rtas.properties, PROPERTY: structure(PLAIN)})
    active = replace(environment, tree=Node("", children={**environment.tree.children, "rtas": told}))
    model.reset(active)
    assert register(model, structure(PLAIN), 0) == ["status"]
    model.reset(active)
    for status in (-9, -10):
        assert register(model, structure(PLAIN), status) == []
        assert configure(model, 2, status) == []
    assert configure(model, 3, 0) == []
    assert register(model, structure(PLAIN), 0) == []


@pytest.mark.parametrize("status", [0, -9])
def test_a_registration_may_outlive_a_reset(model: Model, register, status: int) -> None:
    register(model, structure(PLAIN))
    model.reset(model.state.environment)
    assert model.state.altered
    assert register(model, structure(PLAIN), status) == []
    assert register(model, structure(PLAIN), -9) == []


# ---- the dump ----


def test_memory_is_dumped_and_told_of(model: Model, register, crash) -> None:
    register(model, structure(PLAIN))
    assert crash(model, {TARGET: DATA, FDT: shown((PLAIN, 0, 64))}) == []
    assert model.state.of(Dump).registered is None


def test_memory_that_is_no_section_is_preserved(model: Model, register, crash) -> None:
    register(model, structure(PLAIN))
    model.memory.write(FDT, shown((PLAIN, 0, 64)))
    assert "memory" in crash(model, {TARGET: DATA, 0x7000: b"!"})


@pytest.mark.parametrize(
    ("left", "check"),
    [
        ({TARGET: DATA, FDT: tree({})}, "fadump.property"),
        ({TARGET: DATA, FDT: shown()}, "fadump.property"),
        ({TARGET: DATA, FDT: shown((PLAIN, 0, 64), version=2)}, "fadump.property"),
        ({TARGET: DATA, FDT: shown((PLAIN, 0, 64), status=dump.PERFORMED)}, "fadump.status"),
        ({TARGET: DATA, FDT: shown((PLAIN, 0, 64), status=0xE000)}, "fadump.error-flag"),
        ({TARGET: DATA, FDT: shown((PLAIN, 0, 63))}, "fadump.section-length"),
        ({FDT: shown((PLAIN, 0x8000, 0), status=0xE000)}, "fadump.section-ignored"),
    ],
)
def test_what_is_told_wrongly_is_rejected(
    model: Model, register, crash, left: Mapping[int, bytes], check: str
) -> None:
    register(model, structure(PLAIN))
    assert crash(model, left) == [check]


@pytest.mark.parametrize(
    ("asked", "good", "wrong"),
    [
        ((1, 3, SOURCE, 64, TARGET), 0x8000, 0),
        ((1, dump.REAL_MODE, 1 << 40, 64, TARGET), 0x4000, 0x0040),
        ((1, dump.REAL_MODE, 0xFFF0, 32, TARGET), 0x2000, 0x8000),
        ((1, dump.REAL_MODE, SOURCE, 64, 1 << 40), 0x1000, 0x0010),
        ((1, dump.CPU_STATE, 0, 64, 1 << 40), 0x0800, 0x4000),
    ],
)
def test_sections_that_cannot_be_dumped_are_marked(
    model: Model, register, crash, asked: Asked, good: int, wrong: int
) -> None:
    for errors, checks in ((good, []), (wrong, ["fadump.section-errors"])):
        register(model, structure(asked))
        status = 0xE000 if errors else 0xC000
        assert crash(model, {FDT: shown((asked, errors, 0), status=status)}) == checks


def test_an_error_is_told_in_the_header_too(model: Model, register, crash) -> None:
    asked = (1, 3, SOURCE, 64, TARGET)
    register(model, structure(asked))
    assert crash(model, {FDT: shown((asked, 0x8000, 0))}) == ["fadump.error-flag"]


def test_sections_are_dumped_in_order(model: Model, register, crash) -> None:
    second: Asked = (1, dump.REAL_MODE, TARGET + 8, 64, TARGET + 0x100)
    register(model, structure(PLAIN, second))
    told = shown((PLAIN, 0, 64), (second, 0, 64))
    assert crash(model, {TARGET: DATA, TARGET + 0x100: DATA[8:] + bytes(8), FDT: told}) == []


# ---- the CPU state ----

STATE: Asked = (1, dump.CPU_STATE, 0, NEEDED, TARGET)
GOOD = cpu_state(("GPR04", 0x1000), ("NIA", 0x3518))


@pytest.mark.parametrize(
    ("area", "checks"),
    [
        (GOOD, []),
        (cpu_state(("GPR04", 0x1000), offset=0x10), []),
        (cpu_state(("GPR04", 0x1004), ("NIA", 0)), ["fadump.cpu-registers"]),
        (GOOD[:-16] + bytes(16), ["fadump.cpu-state"]),
        (b"X" + GOOD[1:], ["fadump.cpu-state"]),
        (cpu_state(("GPR04", 0x1000), ("NIA", 0x3518), cpus=2), ["fadump.cpu-state"]),
        (
            cpu_state(("GPR04", 0x1000), ("NIA", 0x3518))[:-32] + GOOD[-16:] + b"left",
            ["fadump.cpu-state-length"],
        ),
    ],
)
def test_the_cpu_state_is_what_the_cpu_held(
    model: Model, register, crash, area: bytes, checks: list[str]
) -> None:
    register(model, structure(STATE))
    assert crash(model, {TARGET: area, FDT: shown((STATE, 0, len(area)))}) == checks


def test_a_cpu_state_ends_where_its_section_does(model: Model, register, crash) -> None:
    short: Asked = (1, dump.CPU_STATE, 0, 32, TARGET)
    told = shown((short, 0x0800, 32), status=0xE000)
    register(model, structure(short))
    assert crash(model, {TARGET: GOOD[:32], FDT: told}) == []
    register(model, structure(short))
    assert crash(model, {TARGET: GOOD, FDT: told}) == ["fadump.past-length"]
