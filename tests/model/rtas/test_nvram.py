"""nvram-fetch and nvram-store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.model.environment import Node
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model
from rig.model.rtas.nvram import Contents, size_of

FETCH, STORE = 0x2012, 0x2013
RETS = 0x1000 + 12 + 12
BUFFER = 0x4000
RAM_END = 0x10000
SIZE = 8192


@pytest.fixture
def machine(environment, cells):
    """Makes machines with 8 KiB of NVRAM."""

    def make(arguments: tuple[str, ...] = (), size: int = SIZE) -> Model:
        nvram = Node("nvram@71000001", {"device_type": b"nvram\0", "#bytes": cells(size)})
        rtas = Node("rtas", {"nvram-fetch": cells(FETCH), "nvram-store": cells(STORE)})
        vdevice = Node("vdevice", children={"nvram@71000001": nvram})
        tree = Node("", children={"rtas": rtas, "vdevice": vdevice})
        return Model(replace(environment(arguments=arguments), tree=tree))

    return make


@pytest.fixture
def play(judge, prepare, cells):
    """The checks that a call breaks which leaves a status, a count, and some bytes."""

    def one(
        model: Model,
        token: int,
        args: tuple[int, int, int],
        status: int,
        num: int,
        data: bytes = b"",
        at: int | None = None,
    ) -> list[str]:
        def build(memory) -> int:
            memory.write(RETS, cells(status, num))
            memory.write(args[1] if at is None else at, data)
            return H_SUCCESS

        return judge(model, prepare(model, token, args, 2), build)[1]

    return one


def put(play, model: Model, index: int, data: bytes) -> None:
    """Store bytes as a good build does."""
    model.memory.write(BUFFER, data)
    assert play(model, STORE, (index, BUFFER, len(data)), 0, len(data)) == []


def test_what_was_stored_is_fetched(machine, play) -> None:
    model = machine()
    put(play, model, 100, b"abcdef")
    assert play(model, FETCH, (100, 0x5001, 6), 0, 6, b"abcdef") == []
    assert play(model, FETCH, (102, 0x5000, 2), 0, 2, b"cd") == []
    assert play(model, FETCH, (100, 0x5001, 6), 0, 6, b"abcdeg") == ["memory"]
    assert play(model, FETCH, (100, 0x6001, 6), 0, 6) == ["memory"]


def test_what_was_never_stored_may_be_anything_but_must_stay(machine, play) -> None:
    model = machine()
    put(play, model, 4, b"\1\2")
    assert play(model, FETCH, (0, BUFFER, 8), 0, 8, b"wxyz\1\2!?") == []
    assert play(model, FETCH, (3, BUFFER, 1), 0, 1, b"z") == []
    assert play(model, FETCH, (3, BUFFER, 1), 0, 1, b"Z") == ["memory"]


def test_nothing_beyond_the_length_is_written(machine, play) -> None:
    assert play(machine(), FETCH, (0, BUFFER, 4), 0, 4, b"abcde") == ["memory"]
    assert play(machine(), STORE, (0, BUFFER, 4), 0, 4, b"a") == ["memory"]


@pytest.mark.parametrize("token", [FETCH, STORE])
def test_every_byte_must_be_counted(machine, play, token: int) -> None:
    assert play(machine(), token, (0, BUFFER, 4), 0, 5) == ["rets"]
    assert play(machine(), token, (0, BUFFER, 4), 0, 3) == ["rtas.nvram-short"]
    assert play(machine(), token, (0, BUFFER, 4), -1, 4) == ["status"]
    assert play(machine(), token, (0, BUFFER, 4), -3, 4) == ["status"]


def test_the_bytes_of_a_short_copy_are_looked_at(machine, play) -> None:
    model = machine()
    put(play, model, 0, b"abcd")
    assert play(model, FETCH, (0, 0x5000, 4), 0, 2, b"ab") == ["rtas.nvram-short"]
    assert play(model, FETCH, (0, 0x6000, 4), 0, 2, b"aX") == ["rtas.nvram-short", "rtas.nvram-contents"]


@pytest.mark.parametrize("token", [FETCH, STORE])
@pytest.mark.parametrize(
    ("index", "length"), [(SIZE, 1), (SIZE - 1, 2), (0, SIZE + 1), (0xFFFF_FFFF, 1), (1, 0xFFFF_FFFF)]
)
def test_out_of_range_is_a_parameter_error(machine, play, token: int, index: int, length: int) -> None:
    model = machine()
    call = (index, BUFFER, length)
    assert play(model, token, call, -3, 0) == []
    assert play(model, token, call, -1, 0) == ["status"]


def test_out_of_range_may_also_read_as_zero(machine, play) -> None:
    model = machine()
    model.memory.write(BUFFER, b"\xff" * 8)
    assert play(model, FETCH, (SIZE - 4, BUFFER, 8), 0, 8, b"abcd\0\0\0\0") == []
    assert play(model, FETCH, (SIZE - 4, BUFFER, 8), 0, 8, b"abcd\0\0\0\1") == ["memory"]
    assert play(model, STORE, (SIZE - 4, BUFFER, 8), 0, 8) == []


@pytest.mark.parametrize("index", [0, SIZE, SIZE + 1])
def test_nothing_at_all_may_be_asked_for(machine, play, index: int) -> None:
    for token in (FETCH, STORE):
        assert play(machine(), token, (index, BUFFER, 0), 0, 0) == []
        assert play(machine(), token, (index, BUFFER, 0), -3, 0) == []


@pytest.mark.parametrize("address", [RAM_END - 2, RAM_END, 0xFFFF_FFFF])
@pytest.mark.parametrize("token", [FETCH, STORE])
def test_a_buffer_outside_memory_must_be_refused(machine, play, token: int, address: int) -> None:
    args = (0, address, 4)
    assert play(machine(), token, args, -3, 0, at=BUFFER) == []
    assert play(machine(), token, args, 0, 4, at=BUFFER) == ["rtas.buffer-outside-memory"]
    assert play(machine(), token, args, 0, 4, b"?", at=BUFFER) == ["rtas.buffer-outside-memory", "memory"]


def test_a_failed_store_leaves_anything(machine, play) -> None:
    model = machine()
    put(play, model, SIZE - 2, b"ab")
    assert play(model, STORE, (SIZE - 1, BUFFER, 2), -3, 0) == []
    assert play(model, FETCH, (SIZE - 2, 0x5000, 2), 0, 2, b"a!") == []
    assert play(model, FETCH, (SIZE - 2, 0x5000, 2), 0, 2, b"!!") == ["memory"]


def test_a_drive_that_fails_must_be_told_of(machine, play) -> None:
    model = machine(("-drive", "if=pflash,file.driver=blkdebug,file.inject-error.0.event=pwritev"))
    assert play(model, STORE, (0, BUFFER, 2), -1, 0) == []
    assert play(model, STORE, (0, BUFFER, 2), 0, 2) == ["rtas.nvram-failure-hidden"]
    assert play(model, STORE, (0, BUFFER, 2), -3, 0) != []


def test_contents_outlive_a_reset(machine, play) -> None:
    model = machine()
    put(play, model, 0, b"ab")
    model.reset(model.state.environment)
    assert play(model, FETCH, (0, 0x5000, 2), 0, 2, b"ax") == ["memory"]


def test_contents_outlive_a_restart_with_a_drive(machine, play) -> None:
    for arguments, checks in (((), []), (("-drive", "if=pflash,file=nvram.img"), ["memory"])):
        model = machine(arguments)
        put(play, model, 0, b"ab")
        model.restart(model.state.environment)
        assert play(model, FETCH, (0, 0x5000, 2), 0, 2, b"ax") == checks


def test_the_size_is_that_of_the_device_tree(machine, environment) -> None:
    assert size_of(machine(size=131072).state.environment) == 131072
    assert size_of(environment()) == 0
    assert machine().state.of(Contents).size == SIZE


def test_another_shape_may_run_or_not(machine, judge, prepare, cells) -> None:
    model = machine()
    call = prepare(model, FETCH, (0, BUFFER, 4), 1)
    assert judge(model, call, lambda memory: (memory.write(RETS, cells(-3)), H_SUCCESS)[1])[1] == []
    call = prepare(model, FETCH, (0, BUFFER, 4), 1)
    broken = judge(model, call, lambda memory: (memory.write(RETS, cells(0, 4)), H_SUCCESS)[1])[1]
    assert broken == ["rtas.writes-past-nret"]
