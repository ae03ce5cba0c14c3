"""The partition's clock as the host sees it: QEMU's own view of it, and the event that tells of a new time.

The virtual clock stands while the guest does, so that guest and host must name the same second.  Each
scenario has a machine of its own, because the clock keeps what was set.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from rig.program import Await, Host, MachineOptions, Outcome, Rtas, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

BLOCK = 0x90_0000
SERVICES: frozenset[str | int] = frozenset({"get-time-of-day", "set-time-of-day"})

#: month ends, leap years, and where 32-bit clocks turn
DATES: tuple[tuple[int, int, int, int, int, int], ...] = (
    (2002, 1, 31, 23, 59, 59),
    (2004, 2, 28, 23, 59, 59),
    (2004, 2, 29, 12, 0, 0),
    (2003, 3, 1, 0, 0, 0),
    (1999, 12, 31, 23, 59, 59),
    (1970, 1, 1, 0, 0, 0),
    (1969, 7, 20, 20, 17, 40),
    (2038, 1, 19, 3, 14, 8),
    (2100, 2, 28, 23, 59, 59),
)
#: seconds by which two readings of one moment may differ, each being rounded
ROUNDING = 1


def on(**rtc: str) -> MachineOptions:
    """A machine with these properties of ``-rtc``."""
    return MachineOptions(arguments=("-rtc", ",".join(f"{name}={value}" for name, value in rtc.items())))


def put(date: tuple[int, ...]) -> Rtas:
    """Set the clock to a date."""
    return Rtas("set-time-of-day", (*date, 0), block=BLOCK)


def host_reading() -> Generator[Step, Any, datetime]:
    """QEMU's ``rtc-time``, a ``struct tm``."""
    outcome: Outcome = yield Host("qom-get", {"path": "/machine", "property": "rtc-time"})
    tm = outcome.answer.get("return") if isinstance(outcome.answer, dict) else None
    if not isinstance(tm, dict):
        raise Disagreement("clock.host", f"QEMU shows no time: {outcome.answer}")
    year, month, day = tm["tm_year"] + 1900, tm["tm_mon"] + 1, tm["tm_mday"]
    return datetime(year, month, day, tm["tm_hour"], tm["tm_min"], tm["tm_sec"], tzinfo=UTC)


def same_second(stage: Stage) -> Generator[Step, Any, None]:
    """Let guest and host read the clock one after the other."""
    yield Rtas("get-time-of-day", nret=8, block=BLOCK)
    data = stage.memory.read(BLOCK + 16, 24)
    year, month, day, hour, minute, second = (
        int.from_bytes(data[at : at + 4], "big") for at in range(0, 24, 4)
    )
    guest = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    host = yield from host_reading()
    if not 0 <= (host - guest).total_seconds() <= ROUNDING:
        raise Disagreement("clock.host", f"the guest reads {guest}, QEMU's rtc-time is {host}")


def told_offset(date: tuple[int, ...]) -> Generator[Step, Any, float]:
    """Set the clock; the offset in seconds that RTC_CHANGE gives, which comes at most once a second."""
    done: Outcome = yield put(date)
    waited: Outcome = yield Await("RTC_CHANGE")
    for event in (*done.events, *waited.events):
        if event.name == "RTC_CHANGE":
            return float(str(event.data.get("offset")))
    raise Disagreement("clock.event", "no RTC_CHANGE tells of the new time")


@scenario(
    name="rtc-time",
    summary="the guest's time of day is the one that QEMU shows, whatever it was set to",
    machine=on(base="2002-01-01T00:00:00", clock="vm", driftfix="slew"),
    requirements=("R1-7.3.2.1-1", "R1-7.3.2.1-3", "R1-7.3.2.2-2", "R1-7.3.2.3-2"),
    issues=SERVICES,
)
def rtc_time(stage: Stage) -> Playing:
    """Read at the start and after every setting; a refused date leaves the clock as it is."""
    yield from same_second(stage)
    for date in DATES:
        yield put(date)
        yield from same_second(stage)
    yield Host("system_reset")
    yield from same_second(stage)


@scenario(
    name="event",
    summary="RTC_CHANGE gives the seconds from the clock as it would be to the clock as it was set",
    machine=on(base="2002-01-02T00:00:00", clock="host"),
    requirements=("R1-7.3.2.3-2",),
    issues=SERVICES,
)
def event(stage: Stage) -> Playing:
    """Forwards and then backwards, against QEMU's own reading just before."""
    start = yield from host_reading()
    for date in ((2005, 6, 7, 8, 9, 10), (2001, 2, 3, 4, 5, 6)):
        offset = yield from told_offset(date)
        expected = (datetime(*date, tzinfo=UTC) - start).total_seconds()
        # The clock went on since the start was read, by what the scenario takes at most.
        if not expected - 20 <= offset <= expected + ROUNDING:
            raise Disagreement("clock.event", f"RTC_CHANGE says {offset:.0f} s, expected {expected:.0f} s")


@scenario(
    name="event-virtual",
    summary="the offset of RTC_CHANGE counts from the virtual clock where the clock follows it",
    machine=on(base="2002-01-03T00:00:00", clock="vm"),
    requirements=("R1-7.3.2.3-2",),
    issues=SERVICES,
)
def event_virtual(stage: Stage) -> Playing:
    """Set until more of the host's seconds have gone by than the virtual clock may differ."""
    start = yield from host_reading()
    for day in (10, 11, 12, 13, 14):
        offset = yield from told_offset((2002, 2, day, 0, 0, 0))
        expected = (datetime(2002, 2, day, tzinfo=UTC) - start).total_seconds()
        if abs(offset - expected) > ROUNDING:
            raise Disagreement(
                "clock.event-virtual", f"RTC_CHANGE says {offset:.0f} s, expected {expected:.0f} s"
            )
