"""System parameters."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from rig.model.environment import Node
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model
from rig.model.rtas import splpar
from rig.model.rtas.sysparm import Parameters, reserved

GET, SET = 0x2008, 0x2009
BUFFER = 0x4000
RAM_END = 0x10000
GOOD = b"MaxEntCap=100,DesMem=512,DesProcs=1,MaxPlatProcs=1,HostThrs=4\0"
IDENTITY = "00112233-4455-6677-8899-aabbccddeeff"


def parameter(data: bytes, length: int | None = None) -> bytes:
    """A parameter as it lies in a buffer."""
    return (len(data) if length is None else length).to_bytes(2, "big") + data


@pytest.fixture
def machine(environment, cells):
    """Makes machines that offer shared processors, or not."""

    def make(arguments: tuple[str, ...] = (), functions: bytes = b"hcall-pft\0hcall-splpar\0") -> Model:
        tokens = {"ibm,get-system-parameter": cells(GET), "ibm,set-system-parameter": cells(SET)}
        rtas = Node("rtas", {**tokens, "ibm,hypertas-functions": functions})
        return Model(replace(environment(arguments=arguments), tree=Node("", children={"rtas": rtas})))

    return make


@pytest.fixture
def get(judge, prepare, cells):
    """The checks that a get breaks which leaves a status and some bytes."""

    def one(
        model: Model, token: int, length: int, status: int, data: bytes = b"", address: int = BUFFER
    ) -> list[str]:
        def build(memory) -> int:
            memory.write(0x1018, cells(status))
            memory.write(min(address, RAM_END), data[: max(0, RAM_END - address)])
            return H_SUCCESS

        return judge(model, prepare(model, GET, (token, address, length)), build)[1]

    return one


@pytest.fixture
def put(judge, prepare, cells):
    """The checks that a set breaks which leaves a status."""

    def one(model: Model, token: int, data: bytes, status: int, address: int = BUFFER) -> list[str]:
        if address + len(data) <= RAM_END:
            model.memory.write(address, data)

        def build(memory) -> int:
            memory.write(0x1014, cells(status))
            return H_SUCCESS

        return judge(model, prepare(model, SET, (token, address)), build)[1]

    return one


# ---- the characteristics ----


def test_the_characteristics_are_read_whole_or_in_part(machine, get) -> None:
    model = machine()
    assert get(model, 20, 4002, 0, parameter(GOOD)) == []
    assert get(model, 20, 12, 0, parameter(GOOD[:10], len(GOOD))) == []
    assert get(model, 20, 12, 0, parameter(GOOD[:10])) == []  # the length of what was returned
    assert get(model, 20, 12, 0, parameter(GOOD[1:11], len(GOOD))) == ["rtas.splpar-characteristics"]
    assert get(model, 20, 12, 0, parameter(GOOD[:10], len(GOOD) - 1)) == ["rtas.splpar-characteristics"]
    assert get(model, 20, 4002, 0, parameter(GOOD.replace(b"512", b"513"))) == ["rtas.splpar-characteristics"]


def test_no_more_than_the_buffer_is_written(machine, get) -> None:
    assert get(machine(), 20, 12, 0, parameter(GOOD[:11], len(GOOD))) == ["memory"]
    assert get(machine(), 20, 0xFFFF_FFFF, 0, parameter(GOOD) + bytes(3937) + b"?") == []
    assert get(machine(), 20, 0xFFFF_FFFF, 0, parameter(GOOD) + bytes(3938) + b"?") == ["memory"]


def test_the_characteristics_must_be_there_with_shared_processors(machine, get) -> None:
    assert get(machine(), 20, 4002, -3) == ["status"]
    assert get(machine(), 20, 4002, -9002) == []
    assert get(machine(functions=b"hcall-pft\0"), 20, 4002, -3) == []


@pytest.mark.parametrize(
    "data",
    [
        GOOD[:-1],
        b"",
        b"\0",
        GOOD + b"\0",
        b"MaxEntCap\0",
        b"MaxEntCap=\0",
        b"=1\0",
        b"MaxEntCap=0x10\0",
        b"MaxEntCap=-1\0",
        b"MaxEntCap=\xb2\0",
        b"DesMem=1,,DesProcs=1\0",
        b"DesMem=1,DesMem=2\0",
        b"MaxEntCap=0\0",
        b"MaxPlatProcs=0\0",
        b"BoundThrds=2\0",
        b"CapInc=101\0",
        b"DesVarCapWt=256\0",
        b"MinEntCap=20,DesEntCap=10\0",
        b"DesEntCap=20,MaxEntCap=10\0",
        b"MinMem=2,DesMem=1\0",
        b"MinProcs=2,DesProcs=1\0",
        b"MaxEntCap=101,MaxPlatProcs=1\0",
    ],
)
def test_bad_characteristics_are_rejected(machine, get, data: bytes) -> None:
    assert splpar.wrong(data)
    assert get(machine(), 20, 4002, 0, parameter(data)) == ["rtas.splpar-characteristics"]


@pytest.mark.parametrize("data", [GOOD, b"Unheard=4294967296\0", b"DedDonMode=1,MinMem=0\0"])
def test_good_characteristics_are_accepted(data: bytes) -> None:
    assert splpar.wrong(data) is None


# ---- the run mode ----


def test_the_run_mode_is_one_byte(machine, get) -> None:
    for mode in range(4):
        assert get(machine(), 42, 3, 0, parameter(bytes([mode]))) == []
    assert get(machine(), 42, 3, 0, parameter(b"\4")) == ["rets"]
    assert get(machine(), 42, 3, 0, parameter(b"\0", 2)) == ["rets"]
    assert get(machine(), 42, 2, 0, parameter(b"", 1)) == []
    assert get(machine(), 42, 2, 0, parameter(b"\1")) == ["memory"]
    assert get(machine(), 42, 3, -3) == []


def test_the_run_mode_stays_until_it_is_set(machine, get, put) -> None:
    model = machine()
    assert get(model, 42, 3, 0, parameter(b"\1")) == []
    assert put(model, 42, parameter(b"\0"), -9002) == []
    assert get(model, 42, 3, 0, parameter(b"\0")) == ["rets"]
    assert put(model, 42, parameter(b"\0"), 0) == []
    assert get(model, 42, 3, 0, parameter(b"\0")) == []
    assert get(model, 42, 3, 0, parameter(b"\1")) == ["rets"]


def test_immediate_is_for_once(machine, get, put) -> None:
    model = machine()
    assert put(model, 42, parameter(b"\2"), 0) == []
    assert get(model, 42, 3, 0, parameter(b"\2")) == []
    assert get(model, 42, 3, 0, parameter(b"\0")) == []


# ---- which are there ----


def test_reserved_numbers() -> None:
    assert [token for token in range(60) if reserved(token)] == [48, 49, 51, 59]
    assert reserved(0xFFFF_FFFF)


@pytest.mark.parametrize("token", [48, 59, 0x114, 0xFFFF_FFFF])
def test_a_reserved_parameter_is_not_there(machine, get, put, token: int) -> None:
    assert get(machine(), token, 64, -3) == []
    assert get(machine(), token, 64, -9002) == ["status"]
    assert get(machine(), token, 64, -9999) == ["status"]
    assert put(machine(), token, parameter(b"\0"), -3) == []
    assert put(machine(), token, parameter(b"\0"), 0) == ["status"]


def test_the_uuid_is_a_known_breach(machine, get) -> None:
    assert get(machine(), 48, 64, 0, parameter(b"")) == ["rtas.reserved-parameter"]
    model = machine(("-uuid", IDENTITY))
    assert model.state.of(Parameters).uuid == UUID(IDENTITY).bytes
    assert get(model, 48, 64, 0, parameter(UUID(IDENTITY).bytes)) == ["rtas.reserved-parameter"]
    assert get(model, 48, 6, 0, parameter(UUID(IDENTITY).bytes)[:6]) == ["rtas.reserved-parameter"]
    assert get(model, 48, 64, 0, b"?", address=RAM_END - 1) == ["rtas.reserved-parameter"]
    wrong = UUID(int=1).bytes
    assert get(model, 48, 64, 0, parameter(wrong)) == ["rtas.reserved-parameter", "memory"]


def test_other_parameters_may_be_there(machine, get, put) -> None:
    for status in (0, -3, -9002):
        assert get(machine(), 37, 64, status) == []
        assert put(machine(), 16, parameter(b"\0"), status) == []
    assert get(machine(), 37, 64, -9999) == ["status"]


# ---- buffers ----


def test_no_buffer_asks_whether_it_is_there(machine, get) -> None:
    assert get(machine(), 20, 0, 0) == []
    assert get(machine(), 48, 0, -3) == []
    assert get(machine(), 48, 0, 0) == ["status"]
    assert get(machine(), 20, 0, -9999) == ["rtas.parameter-length-zero"]
    assert get(machine(), 20, 0, 0, b"?") == ["memory"]
    assert get(machine(), 20, 1, -9999) == []
    assert get(machine(), 20, 1, 0, b"?") == []


@pytest.mark.parametrize("token", [20, 42])
@pytest.mark.parametrize("address", [RAM_END - 1, RAM_END, 0xFFFF_FFFF])
def test_a_buffer_outside_memory_must_be_refused(machine, get, token: int, address: int) -> None:
    assert get(machine(), token, 64, -3, address=address) == []
    assert get(machine(), token, 64, -1, address=address) == ["status"]
    assert get(machine(), token, 64, 0, address=address) == ["rtas.buffer-outside-memory"]


def test_what_may_only_be_read_is_not_authorised(machine, put) -> None:
    assert put(machine(), 20, parameter(GOOD), -9002) == []
    assert put(machine(), 20, parameter(b""), -9002) == []
    for wrong in (0, -1, -3, -9999):
        assert put(machine(), 20, parameter(GOOD), wrong) == ["status"]


def test_data_that_do_not_fit_are_bad(machine, put) -> None:
    model = machine()
    assert put(model, 42, parameter(b"\3"), -9999) == []
    assert put(model, 42, parameter(b"\3"), 0) == ["status"]
    assert put(model, 42, parameter(b"\0", 1025), -9999) == []
    assert put(model, 42, parameter(b"\0", 1025), 0) == ["status"]
    assert put(model, 42, parameter(b""), 0) == []
    assert put(model, 42, parameter(b""), -9999) == ["status"]
    assert put(model, 42, b"", -3, address=RAM_END) == []
    assert put(model, 42, b"", 0, address=RAM_END) == ["status"]
