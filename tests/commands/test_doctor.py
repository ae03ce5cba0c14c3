"""``rig doctor``, ``rig list`` and ``rig explain``: what a person asks before running anything."""

from __future__ import annotations

import json

import pytest

from .conftest import Rig


def test_a_complete_host_is_found_complete(rig: Rig) -> None:
    done = rig("doctor")
    assert done.code == 0, done.out
    assert "missing" not in done.out


def test_what_is_missing_is_named_with_its_remedy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("QEMU_TEST_QEMU_BINARY", raising=False)
    monkeypatch.delenv("QEMU", raising=False)
    done = rig("doctor")
    assert done.code == 3
    assert "apt install qemu-system-ppc" in done.out
    assert "apt install gdb-multiarch" in done.out


def test_scenarios_are_listed_with_what_they_need(rig: Rig) -> None:
    done = rig("list", "memop", "--json")
    entries = json.loads(done.out)
    assert len(entries) > 50
    assert all(entry["name"].startswith("memop/") and entry["summary"] for entry in entries)


def test_the_schema_for_editors_is_a_json_schema(rig: Rig) -> None:
    schema = json.loads(rig("list", "--schema").out)
    assert "scenarios" in schema["properties"]


@pytest.mark.parametrize("name", ["H_LOGICAL_MEMOP", "0xf001", "get-time-of-day"])
def test_a_contract_is_explained_with_scenarios_and_deviations(rig: Rig, name: str) -> None:
    done = rig("explain", name)
    assert done.code == 0
    assert "Source:" in done.out
    assert "Scenarios:\n  " in done.out
    assert "Deviations:\n  " in done.out


def test_an_unknown_name_is_refused_with_near_ones(rig: Rig) -> None:
    done = rig("explain", "get-time-of-dya")
    assert done.code == 4
    assert "did you mean get-time-of-day" in done.err
