"""display-character."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.model.environment import Node
from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model

SHOW = 0x2000
RETS = 0x1010


def status(cells, value: int):
    def build(memory: Memory) -> int:
        memory.write(RETS, cells(value))
        return H_SUCCESS

    return build


@pytest.mark.parametrize("character", [0x41, 0x20, 0x7E, 0x0A, 0x0C, 0x0D, 0xFFFF_FF41])
def test_a_character_is_shown(model: Model, judge, prepare, cells, character: int) -> None:
    shown = bytes([character & 0xFF])
    call = prepare(model, SHOW, (character,))
    assert model.expect(call).footprint is None
    assert judge(model, call, status(cells, 0), console=shown)[1] == []
    for wrong in (b"", b"?", shown * 2):
        call = prepare(model, SHOW, (character,))
        assert judge(model, call, status(cells, 0), console=wrong)[1] == ["console"]


@pytest.mark.parametrize("character", [0x00, 0x07, 0x1B, 0x7F, 0x80, 0xFF])
def test_what_a_display_need_not_know_may_be_dropped(
    model: Model, judge, prepare, cells, character: int
) -> None:
    for shown in (bytes([character]), b""):
        call = prepare(model, SHOW, (character,))
        assert judge(model, call, status(cells, 0), console=shown)[1] == []


def test_busy_shows_nothing(model: Model, judge, prepare, cells) -> None:
    assert judge(model, prepare(model, SHOW, (0x41,)), status(cells, -2))[1] == []
    call = prepare(model, SHOW, (0x41,))
    assert judge(model, call, status(cells, -2), console=b"A")[1] != []


def test_there_is_no_parameter_error(model: Model, judge, prepare, cells) -> None:
    call = prepare(model, SHOW, (0x41,))
    assert judge(model, call, status(cells, -3), console=b"A")[1] == ["status"]


def test_without_a_terminal_it_is_a_hardware_error(environment, judge, prepare, cells) -> None:
    model = Model(environment(terminal=False))
    call = prepare(model, SHOW, (0x41,))
    assert model.expect(call).facts == {"no-terminal"}
    assert judge(model, call, status(cells, -1))[1] == []
    call = prepare(model, SHOW, (0x41,))
    assert judge(model, call, status(cells, 0))[1] == ["status"]
    model.reset(environment())
    assert model.expect(call).facts == set()


def test_of_several_terminals_one_and_the_same_shows_everything(environment, judge, prepare, cells) -> None:
    def several() -> Model:
        machine = environment()
        tree = replace(
            machine.tree,
            children={
                **machine.tree.children,
                "vdevice": Node("vdevice", children={name: Node(name) for name in ("vty@1", "vty@2")}),
            },
        )
        return Model(replace(machine, tree=tree))

    def shows(model: Model, character: int, shown: bytes) -> list[str]:
        return judge(model, prepare(model, SHOW, (character,)), status(cells, 0), console=shown)[1]

    here, elsewhere = several(), several()
    assert shows(here, 0xFF, b"") == []  # tells nothing
    assert shows(here, 0x41, b"A") == []
    assert shows(here, 0x42, b"") == ["console"]
    assert shows(here, 0x42, b"B") == []
    assert shows(elsewhere, 0x41, b"") == []
    assert shows(elsewhere, 0x42, b"B") == ["console"]


def test_a_character_that_is_lost_is_reported_each_time(model: Model, judge, prepare, cells) -> None:
    for _ in range(2):
        call = prepare(model, SHOW, (0x41,))
        assert judge(model, call, status(cells, 0), console=b"")[1] == ["console"]
