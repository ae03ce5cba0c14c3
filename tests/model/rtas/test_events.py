"""check-exception and event-scan: logs of a pretended platform, right and wrong in one place each."""

from __future__ import annotations

import struct

import pytest

from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.rtas.eventlog import extended_fault
from rig.program import Host, Outcome

CHECK, SCAN = 0x200E, 0x200F
LOG = 0x5000
EPOW_MASK, HOT_PLUG_MASK, ALL = 0x4000_0000, 0x1000_0000, 0xFFFF_FFFF
EPOW, HOT_PLUG = 64, 229

PH = b"PH" + struct.pack(">HHHQQ", 48, 0, 0, 0x2026_1123_0057_0100, 0) + b"H\0\0\3" + bytes(20)
UH = b"UH" + struct.pack(">HHH", 24, 0, 0) + bytes(16)
EP = b"EP" + struct.pack(">HBBH", 20, 2, 0, 0) + bytes([3, 1, 1, 0]) + bytes(8)
HP = b"HP" + struct.pack(">HBBH", 16, 1, 0, 0) + bytes([5, 1, 2, 0]) + struct.pack(">I", 0x4000_0010)
PREAMBLE = bytes([0x86, 0, 0x8E]) + bytes(9) + b"IBM\0"


def log(kind: int = EPOW, section: bytes = EP, summary: int = 0x0624_0000, parts: bytes = b"") -> bytes:
    """A log with sections PH, UH and one more."""
    extended = parts or PREAMBLE + PH + UH + section
    return struct.pack(">II", summary | kind, len(extended)) + extended


@pytest.fixture
def model(reconfigurable) -> Model:
    return Model(reconfigurable())


@pytest.fixture
def asked(judge, prepare, cells):
    """The checks that a call breaks that leaves ``data`` in its buffer."""

    def check(
        model: Model,
        status: int,
        data: bytes = b"",
        mask: int = ALL,
        critical: int = 0,
        length: int = 2048,
        scan: bool = False,
    ) -> list[str]:
        args = (mask, critical, LOG, length) if scan else (0x500, 0x1000, mask, critical, LOG, length)

        def build(memory: Memory) -> int:
            memory.write(0x100C + 4 * len(args), cells(status))
            memory.write(LOG, data)
            return H_SUCCESS

        return judge(model, prepare(model, SCAN if scan else CHECK, args), build)[1]

    return check


def carry_out(model: Model, command: str, **arguments: object) -> None:
    case = model.expect_host(Host(command, arguments)).cases[0]
    model.settle(case, Outcome(answer={"return": {}}))


@pytest.fixture
def warned(model: Model) -> Model:
    """A machine that was asked to shut down."""
    carry_out(model, "system_powerdown")
    return model


@pytest.fixture
def plugged(model: Model) -> Model:
    """A machine with a new card in slot 2."""
    carry_out(model, "device_add", driver="e1000", id="new", bus="pci.0", addr="2")
    return model


def test_nothing_has_happened(model: Model, asked) -> None:
    assert asked(model, 1) == []
    assert asked(model, 1, scan=True) == []
    assert asked(model, 0, log()) == ["status"]
    assert asked(model, -1) == ["status"]


def test_an_event_is_told_once(warned: Model, asked) -> None:
    assert asked(warned, 1) == ["events.not-told"]
    assert asked(warned, 0, log()) == []
    assert asked(warned, 0, log()) == ["status"]
    assert asked(warned, 1) == []


def test_an_event_waits_for_its_class(warned: Model, asked) -> None:
    assert asked(warned, 0, log(), mask=HOT_PLUG_MASK) == ["status"]
    assert asked(warned, 1, mask=HOT_PLUG_MASK) == []
    assert asked(warned, 0, log(), mask=EPOW_MASK) == []


def test_event_scan_may_tell_or_leave_it(warned: Model, asked) -> None:
    assert asked(warned, 1, scan=True) == []
    assert asked(warned, 0, log(), scan=True) == []
    assert asked(warned, 1) == []


def test_equal_events_may_become_one(warned: Model, asked) -> None:
    carry_out(warned, "system_powerdown")
    assert asked(warned, 0, log()) == []
    assert asked(warned, 1) == []
    assert asked(warned, 0, log()) == []


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (log(summary=0x0524_0000), ["events.header"]),
        (log(summary=0x0604_0000), ["events.header"]),
        (log(summary=0x0627_0000), ["events.header"]),
        (log(kind=1), ["events.header"]),
        (log(summary=0x0634_0000), ["events.disposition"]),
        (log(HOT_PLUG, HP), ["events.content"]),
        (log(section=EP.replace(b"\3\1\1", b"\5\1\1")), ["events.content"]),
        (log(section=HP), ["events.extended"]),
        (log(parts=PREAMBLE + UH + PH + EP), ["events.extended"]),
        (log(parts=PREAMBLE + PH + UH), ["events.extended"]),
        (log(parts=PREAMBLE + PH + UH + EP[:-1]), ["events.extended"]),
    ],
)
def test_what_is_wrong_in_a_log_is_found(warned: Model, asked, data: bytes, broken: list[str]) -> None:
    assert asked(warned, 0, data) == broken


def test_a_critical_call_gets_no_extended_log(warned: Model, asked) -> None:
    assert asked(warned, 0, log(), critical=1) == ["events.critical"]
    carry_out(warned, "system_powerdown")
    assert asked(warned, 0, struct.pack(">II", 0x0620_0040, 0), critical=1) == []


@pytest.mark.parametrize("length", [0, 4, 8, 100, 115])
def test_a_log_is_not_longer_than_its_buffer(warned: Model, asked, length: int) -> None:
    short = struct.pack(">II", 0x0620_0040, 0)[:length]
    assert asked(warned, 0, short, length=length) == []
    carry_out(warned, "system_powerdown")
    assert asked(warned, 0, log(), length=length) == ["events.past-length"]


@pytest.mark.parametrize(("mask", "more"), [(ALL, []), (EPOW_MASK, ["events.wrong-class"])])
def test_a_log_past_its_buffer_is_found_although_it_changes_nothing_there(
    plugged: Model, asked, mask: int, more: list[str]
) -> None:
    data = log(HOT_PLUG, HP)
    plugged.memory.write(LOG, data)
    assert asked(plugged, 0, data, mask=mask, length=len(data) - 4) == [*more, "events.past-length"]


def test_a_section_is_whole_or_left_out(warned: Model, asked) -> None:
    assert asked(warned, 0, log(parts=PREAMBLE + PH + UH)[:96], length=96) == ["events.extended"]
    carry_out(warned, "system_powerdown")
    assert asked(warned, 0, log()[:100], length=100) == ["events.whole-sections"]


def test_nothing_past_the_longest_log_is_written(warned: Model, asked) -> None:
    data = log().ljust(2048, b"\0") + b"!"
    assert asked(warned, 0, data, length=4096) == ["memory"]


def test_what_is_plugged_is_told(plugged: Model, asked) -> None:
    assert asked(plugged, 0, log(HOT_PLUG, HP)) == []
    assert asked(plugged, 1) == []


def test_who_did_not_ask_for_hot_plug_events_need_not_be_told(plugged: Model, asked) -> None:
    assert asked(plugged, 1, mask=HOT_PLUG_MASK) == []
    assert asked(plugged, 0, log(HOT_PLUG, HP), mask=HOT_PLUG_MASK) == []


def test_a_hot_plug_event_is_no_power_warning(plugged: Model, asked) -> None:
    assert asked(plugged, 0, log(HOT_PLUG, HP), mask=EPOW_MASK) == ["events.wrong-class"]
    assert asked(plugged, 1) == []


def test_what_is_wrong_in_two_ways_is_told_as_both(plugged: Model, asked) -> None:
    """Also while a warning waits, of which the log is not."""
    carry_out(plugged, "system_powerdown")
    told = asked(plugged, 0, log(HOT_PLUG, HP), mask=EPOW_MASK, length=16)
    assert told == ["events.wrong-class", "events.past-length"]
    assert asked(plugged, 0, log(), mask=EPOW_MASK) == []
    assert asked(plugged, 1) == []


def test_of_events_that_nobody_saw_told_none_need_be_told_again(plugged: Model, asked) -> None:
    carry_out(plugged, "system_powerdown")
    assert asked(plugged, 0, length=0) == []
    assert asked(plugged, 1) == []
    assert asked(plugged, 0, log()) == []


def test_of_equal_warnings_the_other_may_still_be_told(warned: Model, asked) -> None:
    carry_out(warned, "system_powerdown")
    assert asked(warned, 0, length=0) == []
    assert asked(warned, 0, log()) == []
    assert asked(warned, 0, log()) == ["status"]


@pytest.mark.parametrize("at", [8, 9, 10, 12, 15])
def test_another_card_is_another_event(plugged: Model, asked, at: int) -> None:
    other = HP[:at] + bytes([HP[at] ^ 1]) + HP[at + 1 :]
    assert asked(plugged, 0, log(HOT_PLUG, other)) == ["events.content"]


@pytest.mark.parametrize(
    ("action", "name", "told"),
    [(1, 4, struct.pack(">II", 1, 0x4000_0010)), (1, 3, struct.pack(">I", 1)), (2, 2, b"\x40\0\0\x10")],
)
def test_a_card_has_several_names(plugged: Model, asked, action: int, name: int, told: bytes) -> None:
    if action == 2:
        assert asked(plugged, 0, log(HOT_PLUG, HP)) == []
        carry_out(plugged, "device_del", id="new")
    length = 12 + len(told)
    section = b"HP" + struct.pack(">HBBH", length, 1, 0, 0) + bytes([5, action, name, 0]) + told
    assert asked(plugged, 0, log(HOT_PLUG, section)) == []


def test_a_reset_forgets_events(warned: Model, asked, reconfigurable) -> None:
    warned.reset(reconfigurable())
    assert asked(warned, 1) == []


@pytest.mark.parametrize("when", ["2026133100000000", "2026110024000000", "202611300000a000"])
def test_a_date_is_one_of_the_calendar(when: str) -> None:
    stamped = PH[:8] + bytes.fromhex(when) + PH[16:]
    assert extended_fault(log(parts=PREAMBLE + stamped + UH + EP)) is not None
    unknown = PH[:8] + bytes(8) + PH[16:]
    assert extended_fault(log(parts=PREAMBLE + unknown + UH + EP)) is None
