"""What a run keeps although something else fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.machine.build import Build, probe
from rig.machine.errors import MachineError
from rig.machine.machine import Machine
from rig.pool import Pool
from rig.program import Call, MachineOptions, Ref
from rig.report import evidence
from rig.runner import Runner, Settings
from rig.scenario.script import Scenario

OPTIONS = MachineOptions(memory=256)


@pytest.fixture
def build(qemu: Path) -> Build:
    return probe(qemu)


def scenario(*steps: Call) -> Scenario:
    def play(_: object):
        yield list(steps)

    return Scenario("test", "", play, OPTIONS)


def test_a_verdict_is_not_lost_when_its_evidence_cannot_be_written(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(evidence, "write", fail)
    with Pool() as pool:
        unresolved = scenario(Call(0xF001, (Ref("$no.r3"),)))
        result = Runner([build], Settings(evidence=tmp_path)).judge(unresolved, 0, pool)
    assert (result.verdict, result.evidence) == ("error", "")
    words, kept = result.reason.splitlines()
    assert "no step named 'no' was executed before" in words
    assert kept == "its evidence could not be written: no space left"


def test_a_machine_that_cannot_be_reset_is_not_used_again(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset = Machine.reset

    def fail(_: Machine) -> None:
        monkeypatch.setattr(Machine, "reset", reset)
        raise MachineError("it does not answer")

    runner = Runner([build], Settings())
    with Pool() as pool:
        calls = scenario(Call(0xF777))
        assert runner.judge(calls, 0, pool).verdict == "conforms"
        monkeypatch.setattr(Machine, "reset", fail)
        assert [runner.judge(calls, 0, pool).verdict for _ in range(2)] == ["error", "conforms"]


def test_a_call_that_was_told_to_write_over_the_agent_is_the_programs_mistake(build: Build) -> None:
    runner = Runner([build], Settings())
    with Pool() as pool:
        result = runner.judge(scenario(Call(0xF001, (0, 0x100_0000, 3, 0x1000, 0), timeout=2.0)), 0, pool)
        assert runner.judge(scenario(Call(0xF777)), 0, pool).verdict == "conforms"
    assert result.verdict == "error"
    assert "H_LOGICAL_MEMOP was told to write over the agent, which is gone: 0x0..0x8000" in result.reason


def test_a_call_that_the_model_does_not_describe_is_judged_only_when_refused(build: Build) -> None:
    runner = Runner([build], Settings())
    with Pool() as pool:
        present = runner.judge(scenario(Call(0x54)), 0, pool)  # H_GET_TERM_CHAR
        absent = runner.judge(scenario(Call(0x5FC)), 0, pool)
    assert present.verdict == "error"
    assert "this build has a hypercall 0x54 that the model does not describe" in present.reason
    assert absent.verdict == "conforms"
