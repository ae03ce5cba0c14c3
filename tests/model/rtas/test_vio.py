"""ibm,set-tce-bypass and quiesce."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.model.environment import Node
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model
from rig.model.rtas.vio import units

BYPASS, QUIESCE = 0x2010, 0x2011
SCSI, TERMINAL = 0x7100_0010, 0x7100_0000


@pytest.fixture
def model(environment, cells) -> Model:
    """A machine with a device that does DMA and one that does not."""
    scsi = Node("v-scsi@71000010", {"reg": cells(SCSI), "ibm,my-dma-window": cells(1, 0, 0, 0, 1)})
    vty = Node("vty@71000000", {"reg": cells(TERMINAL)})
    children = {
        "rtas": Node("rtas", {"ibm,set-tce-bypass": cells(BYPASS), "quiesce": cells(QUIESCE)}),
        "vdevice": Node("vdevice", children={scsi.name: scsi, vty.name: vty}),
    }
    return Model(replace(environment(), tree=Node("", children=children)))


@pytest.fixture
def play(model: Model, judge, prepare, cells):
    """The checks that a call breaks which leaves a status and a stray byte."""

    def one(token: int, args: tuple[int, ...], status: int, stray: bytes = b"") -> list[str]:
        def build(memory) -> int:
            memory.write(0x100C + 4 * len(args), cells(status))
            memory.write(0x4000, stray)
            return H_SUCCESS

        return judge(model, prepare(model, token, args), build)[1]

    return one


def test_units_with_dma(model: Model, environment) -> None:
    assert units(model.state.environment) == {SCSI}
    assert units(environment()) == set()


@pytest.mark.parametrize("enable", [0, 1, 0xFFFF_FFFF])
def test_bypass_of_a_device_that_does_dma(play, enable: int) -> None:
    assert play(BYPASS, (SCSI, enable), 0) == []
    assert play(BYPASS, (SCSI, enable), -3) == ["status"]
    assert play(BYPASS, (SCSI, enable), 0, b"?") == ["memory"]


@pytest.mark.parametrize("unit", [TERMINAL, 0, 0xFFFF_FFFF])
def test_bypass_elsewhere_may_be_refused(play, unit: int) -> None:
    assert play(BYPASS, (unit, 1), -3) == []
    assert play(BYPASS, (unit, 1), 0) == []
    assert play(BYPASS, (unit, 1), -1) == ["status"]


def test_quiesce_succeeds_and_touches_nothing(play) -> None:
    assert play(QUIESCE, (), 0) == []
    assert play(QUIESCE, (), -3) == ["status"]
    assert play(QUIESCE, (), 0, b"?") == ["memory"]
