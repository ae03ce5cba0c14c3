"""power-off, system-reboot, ibm,os-term and ibm,suspend-me."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.rtas.power import Power
from rig.policy import Policy
from rig.program import Event, Host, Outcome

OFF, REBOOT, TERM, SUSPEND = 0x2003, 0x2004, 0x201F, 0x202A
SHUTDOWN = Event("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
NO_REBOOT = Event("SHUTDOWN", {"guest": True, "reason": "guest-reset"})
PANIC_OFF = Event("SHUTDOWN", {"guest": True, "reason": "guest-panic"})
RESET = Event("RESET", {"guest": True, "reason": "guest-reset"})
STOP = Event("STOP")


def panicked(action: str) -> Event:
    return Event("GUEST_PANICKED", {"action": action})


def nothing(_: Memory) -> dict[str, int]:
    return {}


def status(cells, at: int, value: int):
    def build(memory: Memory) -> int:
        memory.write(at, cells(value))
        return H_SUCCESS

    return build


# ---- the policy ----


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        ((), Policy("reset", "pause", "shutdown")),
        (("-no-reboot",), Policy("shutdown", "pause", "shutdown")),
        (("-action", "shutdown=poweroff"), Policy("reset", "poweroff", "shutdown")),
        (("-action", "shutdown=poweroff", "-no-shutdown"), Policy("reset", "pause", "shutdown")),
        (("--action", "reboot=shutdown,panic=none"), Policy("shutdown", "pause", "none")),
        (("-action", "watchdog=none,panic=none"), Policy("reset", "pause", "none")),
        (("-action", "panic"), Policy("reset", "pause", "shutdown")),
        (("-rtc", "base=utc"), Policy("reset", "pause", "shutdown")),
    ],
)
def test_the_last_word_on_each_event_counts(partition, words: tuple[str, ...], policy: Policy) -> None:
    assert Policy.of(partition(1, *words).options) == policy


def test_without_no_shutdown_a_machine_powers_off(partition) -> None:
    assert Policy.of(partition(no_shutdown=False).options).shutdown == "poweroff"


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        (Policy(), set()),
        (Policy(shutdown="pause"), {"shutdown", "guest-panicked"}),
        (Policy(panic="pause"), {"guest-panicked"}),
        (Policy(shutdown="pause", panic="exit-failure"), {"shutdown"}),
    ],
)
def test_the_policy_says_where_a_machine_stays(policy: Policy, states: set[str]) -> None:
    assert policy.standing == {"suspended"} | states


# ---- power-off and system-reboot ----


def test_power_off_shuts_down(partition, judge, prepare) -> None:
    model = Model(partition())
    call = prepare(model, OFF, (0, 0))
    assert judge(model, call, nothing, events=(SHUTDOWN, STOP), ending="shutdown")[1] == []
    assert judge(model, call, nothing, events=(STOP,), ending="shutdown")[1] == ["event"]
    assert judge(model, call, nothing, events=(NO_REBOOT,), ending="shutdown")[1] == ["event", "event"]
    assert judge(model, call, nothing, events=(RESET,), ending="reset")[1][0] == "ending"
    assert judge(model, call, nothing, ending="died")[1] == ["liveness"]


def test_power_off_does_not_return(partition, judge, prepare, cells) -> None:
    model = Model(partition())
    call = prepare(model, OFF, (0, 0))
    assert "ending" in judge(model, call, status(cells, 0x1014, 0))[1]


def test_a_mask_may_be_refused(partition, judge, prepare, cells) -> None:
    for mask in ((1, 0), (0, 1)):
        model = Model(partition())
        call = prepare(model, OFF, mask)
        assert judge(model, call, status(cells, 0x1014, -3))[1] == []
        assert judge(model, call, nothing, events=(SHUTDOWN,), ending="shutdown")[1] == []


def test_a_qemu_that_ends_must_end_well(partition, judge, prepare) -> None:
    model = Model(partition(no_shutdown=False))
    call = prepare(model, OFF, (0, 0))
    assert judge(model, call, nothing, events=(SHUTDOWN,), ending="died", exit_status=0)[1] == []
    for wrong in (1, -6, None):
        verdict = judge(model, call, nothing, events=(SHUTDOWN,), ending="died", exit_status=wrong)[1]
        assert verdict == ["exit-status"]
    assert judge(model, call, nothing, ending="died", exit_status=0)[1] == ["event"]


def test_reboot_resets(partition, judge, prepare) -> None:
    model = Model(partition())
    call = prepare(model, REBOOT)
    assert judge(model, call, nothing, events=(RESET,), ending="reset")[1] == []
    assert judge(model, call, nothing, ending="reset")[1] == ["event"]
    by_host = Event("RESET", {"guest": False, "reason": "host-qmp-system-reset"})
    assert judge(model, call, nothing, events=(by_host,), ending="reset")[1] == ["event", "event"]


def test_reboot_shuts_down_where_it_must_not_reboot(partition, judge, prepare) -> None:
    model = Model(partition(1, "-no-reboot"))
    call = prepare(model, REBOOT)
    assert judge(model, call, nothing, events=(NO_REBOOT,), ending="shutdown")[1] == []
    assert "ending" in judge(model, call, nothing, events=(RESET,), ending="reset")[1]


@pytest.mark.parametrize("shape", [(0, 1), (1, 1), (3, 1), (2, 2)])
def test_another_shape_may_be_refused_or_not(
    partition, judge, prepare, cells, shape: tuple[int, int]
) -> None:
    nargs, nret = shape
    for _ in range(2):
        model = Model(partition())
        call = prepare(model, OFF, (0,) * nargs, nret)
        assert judge(model, call, status(cells, 0x100C + 4 * nargs, -3))[1] == []


# ---- ibm,os-term ----


def test_os_term_must_return(partition, judge, prepare, cells) -> None:
    model = Model(partition())
    call = prepare(model, TERM, (0x2000,))
    assert judge(model, call, status(cells, 0x1010, 0), events=(panicked("pause"),))[1] == []
    stays = judge(model, call, nothing, events=(panicked("pause"), STOP), ending="panicked")
    assert stays[1] == ["os-term.does-not-return"]
    assert "event" in judge(model, call, nothing, ending="panicked")[1]


def test_os_term_need_not_return_without_the_property(partition, judge, prepare) -> None:
    model = Model(partition(extended=False))
    call = prepare(model, TERM, (0x2000,))
    assert judge(model, call, nothing, events=(panicked("pause"),), ending="panicked")[1] == []


def test_os_term_goes_on_under_panic_none(partition, judge, prepare, cells) -> None:
    model = Model(partition(1, "-action", "panic=none"))
    call = prepare(model, TERM, (0x2000,))
    done = status(cells, 0x1010, 0)
    assert judge(model, call, done, events=(panicked("run"),))[1] == []
    assert judge(model, call, done, events=(panicked("pause"),))[1] == ["event", "event"]
    assert judge(model, call, done)[1] == ["event"]
    assert "status" in judge(model, call, status(cells, 0x1010, -1), events=(panicked("run"),))[1]


@pytest.mark.parametrize(("panic", "code"), [("shutdown", 0), ("exit-failure", 1)])
def test_a_panic_that_ends_qemu_has_its_exit_status(partition, judge, prepare, panic: str, code: int) -> None:
    model = Model(partition(1, "-action", f"panic={panic}", extended=False, no_shutdown=False))
    call = prepare(model, TERM, (0x2000,))
    events = (panicked("poweroff"), PANIC_OFF)
    assert judge(model, call, nothing, events=events, ending="died", exit_status=code)[1] == []
    wrong = judge(model, call, nothing, events=events, ending="died", exit_status=1 - code)
    assert wrong[1] == ["exit-status"]
    assert "event" in judge(model, call, nothing, events=events[:1], ending="died", exit_status=code)[1]


def test_exit_failure_must_exit(partition, judge, prepare) -> None:
    model = Model(partition(1, "-action", "panic=exit-failure", extended=False))
    call = prepare(model, TERM, (0x2000,))
    events = (panicked("poweroff"), PANIC_OFF)
    assert judge(model, call, nothing, events=events, ending="died", exit_status=1)[1] == []
    stays = judge(model, call, nothing, events=events, ending="shutdown")
    assert stays[1] == ["power.exit-failure-stays"]


def test_before_6_0_a_panic_is_announced_twice(partition, judge, prepare) -> None:
    twice = (panicked("pause"), panicked("poweroff"), PANIC_OFF)
    for version, verdict in (((5, 2, 0), []), ((6, 0, 0), ["event"])):
        model = Model(replace(partition(extended=False, no_shutdown=False), version=version))
        call = prepare(model, TERM, (0x2000,))
        assert judge(model, call, nothing, events=twice, ending="died", exit_status=0)[1] == verdict


def test_a_message_outside_memory_may_be_refused(partition, judge, prepare, cells) -> None:
    model = Model(partition(1, "-action", "panic=none"))
    call = prepare(model, TERM, (0x10_0000,))
    assert "message-outside-memory" in model.expect(call).facts
    assert judge(model, call, status(cells, 0x1010, -3))[1] == []
    call = prepare(model, TERM, (0x2000,))
    assert judge(model, call, status(cells, 0x1010, -3))[1] != []


# ---- ibm,suspend-me ----


def test_suspend_me_suspends_and_returns_when_woken(partition, judge, prepare, cells) -> None:
    model = Model(partition())
    call = prepare(model, SUSPEND)
    assert judge(model, call, nothing, events=(Event("SUSPEND"), STOP), ending="suspended")[1] == []
    (woken,) = model.expect_host(Host("system_wakeup")).cases
    assert [(cell.address, cell.permitted.canonical) for cell in woken.cells] == [(0x100C, 0)]
    assert woken.registers["r3"].canonical == H_SUCCESS
    assert [event.name for event in woken.events] == ["WAKEUP"]
    model.settle(woken, Outcome())
    assert model.expect_host(Host("system_wakeup")).cases[0].cells == ()


def test_a_suspension_must_be_announced(partition, judge, prepare) -> None:
    model = Model(partition())
    assert judge(model, prepare(model, SUSPEND), nothing, ending="suspended")[1] == ["event"]


def test_a_reset_ends_a_suspension(partition, judge, prepare) -> None:
    model = Model(partition())
    judge(model, prepare(model, SUSPEND), nothing, events=(Event("SUSPEND"),), ending="suspended")
    assert model.state.of(Power).sleep is not None
    model.reset(partition())
    assert model.state.of(Power).sleep is None


def test_suspend_me_is_refused_while_another_cpu_runs(partition, judge, prepare, cells) -> None:
    model = Model(partition(2))
    judge(model, prepare(model, 0x2006, (1, 0x3000, 0x8100)), status(cells, 0x1018, 0))
    call = prepare(model, SUSPEND)
    assert judge(model, call, status(cells, 0x100C, -9005))[1] == []
    assert "ending" in judge(model, call, nothing, events=(Event("SUSPEND"),), ending="suspended")[1]
    assert judge(model, prepare(model, SUSPEND), status(cells, 0x100C, -9004))[1] == ["status"]


def test_a_machine_that_cannot_be_suspended_says_so(partition, judge, prepare, cells) -> None:
    model = Model(partition())
    assert judge(model, prepare(model, SUSPEND), status(cells, 0x100C, -9004))[1] == []
    assert judge(model, prepare(model, SUSPEND), status(cells, 0x100C, -1))[1] == ["status"]
