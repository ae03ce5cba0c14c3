"""The stateful engine on a real QEMU: conforming programs, and each way of failing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest

from rig.campaign.programs import USUAL, Shares
from rig.campaign.stateful import Stateful
from rig.check.deviations import Deviation, load
from rig.machine.build import Build, probe
from rig.machine.machine import Machine
from rig.model.dispatch import BUILT_IN, Registry
from rig.model.expectation import Expectation
from rig.model.hypercall import Hypercall, returns
from rig.model.pci import SUBORDINATE_BUS, Function
from rig.program import LOAD, MOVE, SAVE, Call, Host, Outcome, Ref, Rtas, Step

CALLS = 150
QUIET = Shares(alone=0.0, hypercalls=0.0, odd_shape=0.0, odd_block=0.0, unknown=0.0, host=0.0, final=0.0)


@pytest.fixture(scope="module")
def known() -> tuple[Deviation, ...]:
    return load()


def test_programs_are_judged_and_nothing_is_found(build: Build) -> None:
    with closing(Stateful(build, 5)) as engine:
        reports = list(engine.run([(number, CALLS) for number in range(2)]))
    assert [one.batch for one in reports] == [0, 1]
    assert all(one.calls > 0 and not one.errors and not one.findings for one in reports)


def test_the_host_plugs_resets_and_takes_the_state_along(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"system_powerdown", "device_add", "device_del", "system_reset", SAVE, LOAD, MOVE}
    done: set[str] = set()
    host = Machine.host

    def act(machine: Machine, action: Host) -> Outcome:
        done.add(action.command)
        return host(machine, action)

    monkeypatch.setattr(Machine, "host", act)
    with closing(Stateful(build, 3, shares=replace(USUAL, host=0.08, final=0.0))) as engine:
        enough = takewhile(lambda _: not done >= wanted, range(50))
        reports = list(engine.run((number, CALLS) for number in enough))
    assert done == wanted
    assert all(one.calls > 0 and not one.errors and not one.mismatches for one in reports)


def test_a_batch_is_the_same_whatever_ran_before(build: Build) -> None:
    with closing(Stateful(build, 6, shares=QUIET)) as engine:
        *_, after = engine.run([(0, CALLS), (1, CALLS)])
    with closing(Stateful(build, 6, shares=QUIET)) as engine:
        (alone,) = engine.run([(1, CALLS)])
    # Whether a nanosecond shows that it is unreduced depends on the time.
    shown = "pci-config-hardware-error"
    assert after.deviations[shown]
    assert (after.calls, after.deviations[shown]) == (alone.calls, alone.deviations[shown])


def test_what_no_deviation_explains_is_found_once_and_made_small(build: Build) -> None:
    known = tuple(one for one in load() if one.id != "pci-config-hardware-error")
    only = frozenset({"ibm,read-pci-config", "get-time-of-day"})
    with closing(Stateful(build, 1, shares=QUIET, only=only, deviations=known, shrinking=20)) as engine:
        reports = list(engine.run([(0, CALLS), (1, CALLS)]))
    findings = [finding for report in reports for finding in report.findings]
    assert [one.signature for one in findings] == ["ibm,read-pci-config/rtas.pci-hardware-error"]
    assert findings[0].calls == 1
    assert sum(report.mismatches[findings[0].signature] for report in reports) > 1


def test_calls_that_refer_to_each_other_are_left_out_one_by_one(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that takes every bus beyond the subordinate number for absent; 80 calls do not matter."""
    unit = (0x0800_0000, 0x2000_0000)
    passes = Function.passes

    def wrong(self: Function, bus: int) -> bool:
        last = self.downstream(SUBORDINATE_BUS)
        return passes(self, bus) and (last is None or bus <= last)

    monkeypatch.setattr(Function, "passes", wrong)
    fetch = [Rtas("nvram-fetch", (0, 0x100_0000, 4), 2, name=f"n{number}") for number in range(40)]
    after = [Rtas("nvram-fetch", (Ref(f"${one.name}.rets[1]"), 0x100_0000, 4), 2) for one in fetch]
    narrow = Rtas("ibm,write-pci-config", (SUBORDINATE_BUS, *unit, 1, 0))
    read = Rtas("ibm,read-pci-config", (2 << 11 | 1 << 16, *unit, 2), 2)
    with closing(Stateful(build, 1)) as engine:
        monkeypatch.setattr(engine, "_program", lambda *_: iter([(*fetch, narrow, *after, read)]))
        (report,) = engine.run([(0, 82)])
    (finding,) = report.findings
    assert finding.signature == "ibm,read-pci-config/rets"
    assert [step.service for step in finding.steps] == [narrow.service, read.service]


def test_a_wrong_model_of_a_call_of_another_package_is_found(build: Build) -> None:
    def expect(_: object, __: object) -> Expectation:
        return Expectation("H_WRONG", (returns(0),), footprint=())

    registry = Registry((*BUILT_IN, Hypercall(0xF777, "H_WRONG", (), "", "", expect)))
    shares = replace(QUIET, hypercalls=0.5)
    with closing(Stateful(build, 1, shares=shares, registry=registry, shrinking=20)) as engine:
        (report,) = engine.run([(0, CALLS)])
    (finding,) = (one for one in report.findings if one.signature == "H_WRONG/r3")
    assert finding.calls == 1
    assert [step for step in finding.steps if isinstance(step, Call | Rtas)] == [Call(0xF777)]


def test_a_qemu_that_dies_is_a_finding_and_the_campaign_goes_on(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Stateful(build, 1, shares=QUIET, shrinking=1)) as engine:
        programs = [iter([(Call(0xF777),)]), iter([(Call(0xF778),)])]
        fresh = engine._fresh

        def program(*_: object) -> Iterator[tuple[Step, ...]]:
            running = engine._pool._machines
            for chunk in programs.pop(0):
                if programs:
                    (machine, _) = next(iter(running.values()))
                    machine._live.live.process.popen.kill()
                    machine._live.live.process.popen.wait()
                yield chunk

        monkeypatch.setattr(engine, "_program", program)
        monkeypatch.setattr(engine, "_fresh", fresh)
        first, second = engine.run([(0, 1), (1, 1)])
    assert first.mismatches or first.errors
    assert second.calls == 1
    assert not second.errors


@pytest.mark.parametrize("block", [0x90_0000, 0x90_0004])
def test_a_program_ends_where_a_later_call_may_end_qemu_for_a_known_reason(build: Build, block: int) -> None:
    phb = (0, 0x0800_0000, 0x2000_0000)
    steps: tuple[Step, ...] = (
        Rtas("ibm,remove-pe-dma-window", (Ref("$fdt:/pci@800000020000000:ibm,dma-window[0]"),)),
        Rtas("ibm,create-pe-dma-window", (*phb, 16, 48), nret=4, block=block),
        Rtas("ibm,reset-pe-dma-window", phb),
    )
    with closing(Stateful(build, 1)) as engine:
        played = engine._play(lambda _: ((step,) for step in steps))
    assert tuple(played.executed) == steps[:2]


def test_a_qemu_that_grows_is_a_finding(build: Build) -> None:
    with closing(Stateful(build, 1, shares=QUIET, growth=-1 << 30)) as engine:
        (report,) = engine.run([(0, 20)])
    (finding,) = report.findings
    assert (finding.signature, finding.calls) == ("machine/growth", 20)
    assert "MiB of its own" in finding.summary


def test_a_sanitizers_report_is_a_finding(build: Build, tmp_path: Path) -> None:
    wrapper = tmp_path / "qemu"
    wrapper.write_text(f'#!/bin/sh\necho "x.c:1:2: runtime error: shift" >&2\nexec {build.path} "$@"\n')
    wrapper.chmod(0o755)
    with closing(Stateful(probe(wrapper), 1, shares=QUIET, shrinking=5)) as engine:
        (report,) = engine.run([(0, 20)])
    (finding,) = report.findings
    assert (finding.signature, finding.calls) == ("x.c/sanitizer", 1)
    assert "runtime error: shift" in finding.summary
