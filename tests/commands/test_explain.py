"""``rig explain``: the contract, the scenarios and the deviations of a call."""

from __future__ import annotations

import pytest

from .conftest import Rig


def section(text: str, title: str) -> list[str]:
    """The lines of one section of the output."""
    lines = text.split(f"\n{title}:\n", 1)[1].split("\n\n")[0].splitlines()
    return [line.strip() for line in lines]


def test_a_service_is_explained(rig: Rig) -> None:
    done = rig("explain", "get-time-of-day")
    assert done.code == 0, done.err
    for words in ("0/8 cells", "LoPAR 7.3.2.2", "R1-7.3.2.2-1", "nanosecond", "-2     QEMU is never busy"):
        assert words in done.out
    assert {"rtas/clock/get", "rtas/shape/time-0"} <= set(section(done.out, "Scenarios"))
    deviations = section(done.out, "Deviations")
    assert any(line.startswith("clock-nanosecond-unreduced (semantic") for line in deviations)
    assert not any(line.startswith(("memop-", "fwnmi-")) for line in deviations)


def test_deviations_of_what_no_call_causes_belong_to_the_calls_of_their_scenario(rig: Rig) -> None:
    out = rig("explain", "ibm,nmi-register").out
    assert "rtas/fwnmi/inject" in section(out, "Scenarios")
    assert any(line.startswith("fwnmi-wakes-stopped-cpu") for line in section(out, "Deviations"))


@pytest.mark.parametrize("name", ["H_LOGICAL_MEMOP", "h_logical_memop", "0xf001", "61441"])
def test_a_hypercall_is_explained_by_name_and_by_number(rig: Rig, name: str) -> None:
    out = rig("explain", name).out
    assert out.startswith("H_LOGICAL_MEMOP (0xf001)")
    assert "memop/limits/count-at-limit" in section(out, "Scenarios")
    assert any(line.startswith("memop-xor-inverts") for line in section(out, "Deviations"))


def test_every_scenario_that_calls_a_service_calls_h_rtas(rig: Rig) -> None:
    scenarios = section(rig("explain", "H_RTAS").out, "Scenarios")
    assert {"rtas/clock/get", "rtas/fwnmi/inject"} <= set(scenarios)
    assert not any(name.startswith("memop/limits") for name in scenarios)


def test_an_unknown_name_is_refused_with_near_ones(rig: Rig) -> None:
    done = rig("explain", "get-time-of-dya")
    assert done.code == 4
    assert "get-time-of-day" in done.err
