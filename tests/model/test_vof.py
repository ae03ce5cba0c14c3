"""H_VOF_CLIENT in the model: what an array permits, and what it refuses."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from rig.model.environment import Environment, Node, Region
from rig.model.expectation import Expectation
from rig.model.hypercall import H_FUNCTION, H_PARAMETER, H_SUCCESS, unsigned
from rig.model.model import Model
from rig.model.vof import H_VOF_CLIENT
from rig.program import LOAD, Call, Host, MachineOptions, Outcome

ARRAY, STRINGS, BUFFER = 0x1000, 0x2000, 0x3000
MACHINE = Environment(
    (Region(0, 0x10000),),
    Region(0, 0x1000),
    Region(0, 0),
    Node("", {}, {"rtas": Node("rtas")}),
    (10, 0, 0),
    MachineOptions(options=("x-vof=on",)),
)


def expected(service: bytes, *cells: int, nret: int = 1, machine: Environment = MACHINE) -> Expectation:
    """What is permitted for a service with these arguments."""
    model = Model(machine)
    model.memory.write(STRINGS, service + b"\0/rtas\0/no\0")
    model.memory.write(ARRAY, struct.pack(f">{3 + len(cells)}I", STRINGS, len(cells), nret, *cells))
    return model.expect(Call(H_VOF_CLIENT, (ARRAY,)))


def statuses(expectation: Expectation) -> set[int]:
    return {case.registers["r3"].canonical for case in expectation.cases if "r3" in case.registers}


def test_without_this_firmware_there_is_no_such_call() -> None:
    machine = replace(MACHINE, options=MachineOptions())
    assert statuses(expected(b"peer", 0, machine=machine)) == {unsigned(H_FUNCTION)}


@pytest.mark.parametrize(("path", "found"), [(0, True), (6, False)])
def test_only_nodes_of_the_tree_are_found(path: int, found: bool) -> None:
    """The paths follow the service's name: /rtas and /no."""
    (case,) = expected(b"finddevice", STRINGS + len(b"finddevice") + 1 + path).cases
    assert case.cells[0].permitted.permits(0x1234) is found
    assert case.cells[0].permitted.permits(0xFFFF_FFFF) is not found


def test_a_property_goes_into_the_buffer_given_and_nowhere_else() -> None:
    (case,) = expected(b"getprop", 1, STRINGS, BUFFER, 16).cases
    assert [(scratch.address, scratch.length) for scratch in case.scratch] == [(BUFFER, 16)]
    assert [(cell.address, cell.width) for cell in case.cells] == [(ARRAY + 28, 4)]


@pytest.mark.parametrize("nret", [11, 0xFFFF_FFFF])
def test_an_array_that_is_not_whole_is_refused(nret: int) -> None:
    assert statuses(expected(b"peer", 0, nret=nret)) == {unsigned(H_PARAMETER)}


def test_a_service_that_ends_qemu_breaks_the_contract() -> None:
    method = STRINGS + len(b"call-method") + 1
    model = Model(MACHINE)
    model.memory.write(STRINGS, b"call-method\0instantiate-rtas\0")
    model.memory.write(ARRAY, struct.pack(">6I", STRINGS, 3, 2, method, 1, 0x8000))
    done, ends = model.expect(Call(H_VOF_CLIENT, (ARRAY,))).cases
    assert (done.breach, done.registers["r3"].canonical) == (None, H_SUCCESS)
    assert ends.ending == "died"
    assert ends.breach is not None


def test_what_was_saved_is_recalled_again_and_again() -> None:
    model = Model(MACHINE)
    with pytest.raises(ValueError, match="no state was saved"):
        model.recall()
    model.memory.write(BUFFER, b"saved")
    model.keep()
    for _ in range(2):
        model.memory.write(BUFFER, b"later")
        model.recall()
        assert model.memory.read(BUFFER, 5) == b"saved"
    assert model.state.altered


@pytest.mark.parametrize(("after", "broken"), [(0x3000, 0), (0x2000, 1), (0x3001, 1), (0x2001, 2)])
def test_a_machine_state_register_that_changes_on_the_way_is_seen(after: int, broken: int) -> None:
    model = Model(MACHINE)
    (case,) = model.expect_host(Host(LOAD)).cases
    outcome = Outcome(before={"msr": 0x3000}, registers={"msr": after})
    assert sum(rule.holds(outcome, model.memory) is not None for rule in case.relations) == broken
