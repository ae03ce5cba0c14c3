"""get-time-of-day and set-time-of-day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.rtas.clock import Clock, Reckoning, fields_of, first_reckoning, seconds_of
from rig.program import Event

GET, SET = 0x2001, 0x2002
RETS_OF_GET, RETS_OF_SET = 0x100C, 0x1028
HOST = (1_700_000_000.0, 1_700_000_000.2)
#: a second then, in which the low 32 bits of the nanoseconds since 1970 are above a second
SECOND = 1_700_000_001.0


@pytest.fixture
def play(judge, prepare, cells):
    """Read or set the clock of a pretended build; the checks that it breaks."""

    def read(model: Model, shown: float | tuple[int, ...], host: tuple[float, float] = HOST) -> list[str]:
        fields = fields_of(shown) if isinstance(shown, float) else shown

        def build(memory: Memory) -> int:
            memory.write(RETS_OF_GET, cells(0, *fields))
            return H_SUCCESS

        return judge(model, prepare(model, GET, nret=8), build, clock=host)[1]

    def write(
        model: Model,
        fields: tuple[int, ...],
        status: int = 0,
        host: tuple[float, float] = HOST,
        events: tuple[Event, ...] = (),
    ) -> list[str]:
        def build(memory: Memory) -> int:
            memory.write(RETS_OF_SET, cells(status))
            return H_SUCCESS

        return judge(model, prepare(model, SET, fields), build, clock=host, events=events)[1]

    class Play:
        get = staticmethod(read)
        set = staticmethod(write)

    return Play


# ---- the calendar ----


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59)))
def test_the_calendar_is_that_of_the_standard_library(when: datetime) -> None:
    when = when.replace(microsecond=0)
    fields = (when.year, when.month, when.day, when.hour, when.minute, when.second, 0)
    seconds = (when.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    assert seconds_of(fields) == seconds
    assert fields_of(seconds) == fields


@pytest.mark.parametrize("year", [0, 10_000, 12_000, 0xFFFF_FFFF])
def test_any_year_of_a_cell_counts(year: int) -> None:
    fields = (year, 2, 28, 0, 0, 0, 0)
    seconds = seconds_of(fields)
    assert seconds is not None
    assert fields_of(seconds)[:3] == (year, 2, 28)


@pytest.mark.parametrize(
    "fields",
    [
        (2023, 2, 29, 0, 0, 0, 0),
        (1900, 2, 29, 0, 0, 0, 0),
        (2023, 4, 31, 0, 0, 0, 0),
        (2023, 0, 1, 0, 0, 0, 0),
        (2023, 13, 1, 0, 0, 0, 0),
        (2023, 1, 0, 0, 0, 0, 0),
        (2023, 1, 1, 24, 0, 0, 0),
        (2023, 1, 1, 0, 60, 0, 0),
        (2023, 1, 1, 0, 0, 60, 0),
        (2023, 1, 1, 0, 0, 0, 1_000_000_000),
    ],
)
def test_what_is_no_date_has_no_time(fields: tuple[int, ...]) -> None:
    assert seconds_of(fields) is None


@pytest.mark.parametrize("year", [2000, 2024, 2400])
def test_leap_years_have_a_29th_of_february(year: int) -> None:
    assert seconds_of((year, 2, 29, 0, 0, 0, 0)) is not None


# ---- reading ----


@pytest.mark.parametrize("late", [-1.5, -1.0, 0.0, 0.2, 1.9])
def test_the_clock_shows_the_hosts_utc_to_a_second(model: Model, play, late: float) -> None:
    assert play.get(model, HOST[0] + late) == []


@pytest.mark.parametrize("late", [-3.0, 3.0, 3600.0, -3600.0])
def test_another_time_is_rejected_once_and_then_followed(model: Model, play, late: float) -> None:
    assert play.get(model, HOST[0] + late) == ["rtas.time-of-day"]
    later = (HOST[0] + 100, HOST[1] + 100)
    assert play.get(model, later[0] + late, later) == []
    assert play.get(model, later[0], later) == ["rtas.time-of-day"]


def test_drift_adds_up_until_it_is_seen(model: Model, play) -> None:
    reports = [
        play.get(model, HOST[0] + 1.05 * step, (HOST[0] + step, HOST[1] + step)) for step in range(0, 60, 10)
    ]
    assert reports[:3] == [[], [], []]
    assert ["rtas.time-of-day"] in reports


def test_nanoseconds_of_the_whole_time_are_a_breach_of_their_own(model: Model, play) -> None:
    date = fields_of(SECOND)[:-1]
    whole = int(SECOND) * 10**9 % 2**32
    assert whole > 999_999_999
    assert play.get(model, (*date, 999_999_999)) == []
    assert play.get(model, (*date, whole)) == ["rtas.nanosecond-unreduced"]
    assert play.get(model, (*date, (whole + 999_999_999) % 2**32)) == ["rtas.nanosecond-unreduced"]
    wrong = fields_of(SECOND + 3600)[:-1]
    whole = (int(SECOND) + 3600) * 10**9 % 2**32
    assert whole > 999_999_999
    assert play.get(model, (*wrong, whole)) == ["rtas.nanosecond-unreduced", "rtas.time-of-day"]


@pytest.mark.parametrize("ahead", [-1, 10**9])
def test_other_nanoseconds_are_not_explained(model: Model, play, ahead: int) -> None:
    whole = int(SECOND) * 10**9
    assert play.get(model, (*fields_of(SECOND)[:-1], (whole + ahead) % 2**32)) == [
        "rtas.nanosecond-unreduced",
        "rtas.time-of-day",
    ]


def test_before_1970_the_second_may_be_rounded_towards_it(model: Model, play) -> None:
    date = (1969, 7, 20, 20, 17, 40)
    assert play.set(model, (*date, 0)) == []
    seconds = seconds_of((*date, 0))
    assert seconds is not None
    whole = int(seconds) * 10**9 - 1
    assert play.get(model, (*date, whole % 2**32)) == ["rtas.nanosecond-unreduced"]


# ---- setting ----


def test_what_was_set_is_read(model: Model, play) -> None:
    assert play.set(model, (2001, 2, 3, 4, 5, 6, 0)) == []
    later = (HOST[0] + 10, HOST[1] + 10)
    assert play.get(model, (2001, 2, 3, 4, 5, 16, 0), later) == []
    assert play.get(model, later[0], later) == ["rtas.time-of-day"]


def test_setting_may_emit_the_event(model: Model, play) -> None:
    event = Event("RTC_CHANGE", {"offset": 1})
    assert play.set(model, (2001, 2, 3, 4, 5, 6, 0), events=(event,)) == []


@pytest.mark.parametrize("year", [1970, 2000, 2037])
def test_a_usual_date_must_be_accepted(model: Model, play, year: int) -> None:
    assert play.set(model, (year, 1, 1, 0, 0, 0, 0), -3) == ["status"]


@pytest.mark.parametrize("year", [0, 1900, 1969, 2038, 2100, 2300, 10_000, 0xFFFF_FFFF])
def test_a_date_outside_the_platforms_range_is_refused_or_kept(environment, play, year: int) -> None:
    fields = (year, 12, 31, 23, 59, 59, 0)
    model = Model(environment())
    assert play.set(model, fields, -3) == []
    assert play.get(model, HOST[0]) == []
    assert play.set(model, fields) == []
    assert play.get(model, fields) == []
    assert play.get(model, HOST[0]) == ["rtas.time-of-day"]
    assert play.set(model, fields) == []
    assert play.get(model, HOST[0]) == ["rtas.date-lost"]
    assert play.get(model, HOST[0]) == []  # reported once


def test_a_lost_date_is_still_a_date(model: Model, play) -> None:
    assert play.set(model, (2300, 1, 1, 0, 0, 0, 0)) == []
    assert play.get(model, (2023, 2, 30, 0, 0, 0, 0)) == ["rtas.time-of-day"]


def test_a_usual_date_is_not_lost(model: Model, play) -> None:
    assert play.set(model, (2300, 1, 1, 0, 0, 0, 0)) == []
    assert play.set(model, (2030, 1, 1, 0, 0, 0, 0)) == []
    assert play.get(model, HOST[0]) == ["rtas.time-of-day"]


@pytest.mark.parametrize("status", [0, -3])
def test_the_status_of_what_is_no_date_is_open(model: Model, play, prepare, status: int) -> None:
    fields = (2023, 2, 30, 0, 0, 0, 0)
    assert model.expect(prepare(model, SET, fields)).facts == {"no-such-date"}
    assert play.set(model, fields, status) == []
    # the clock is lost only if the call succeeded
    assert play.get(model, 5.0) == ([] if status == 0 else ["rtas.time-of-day"])
    assert play.get(model, 5.0) == []


def test_what_is_no_date_is_not_lost_in_an_unusual_year_either(model: Model, play) -> None:
    assert play.set(model, (2300, 2, 30, 0, 0, 0, 0)) == []
    whole = int(SECOND) * 10**9
    shown = (*fields_of(SECOND)[:-1], (whole - 1) % 2**32)
    assert play.get(model, shown) == ["rtas.nanosecond-unreduced", "rtas.time-of-day"]


@pytest.mark.parametrize("status", [-1, -2, 1, -9999])
def test_other_statuses_are_rejected(model: Model, play, status: int) -> None:
    assert play.set(model, (2001, 2, 3, 4, 5, 6, 0), status) == ["status"]


def test_a_delayed_set_changes_nothing(model: Model, play) -> None:
    assert play.set(model, (2001, 2, 3, 4, 5, 6, 0), 9905) == []
    assert play.get(model, HOST[0]) == []


def test_the_clock_outlives_a_reset(environment, play) -> None:
    model = Model(environment())
    play.set(model, (2001, 2, 3, 4, 5, 6, 0))
    model.reset(environment())
    assert play.get(model, (2001, 2, 3, 4, 5, 6, 0)) == []


def test_a_restart_sets_it_as_the_command_line_says(environment, play) -> None:
    model = Model(environment())
    play.set(model, (2001, 2, 3, 4, 5, 6, 0))
    model.restart(environment())
    assert play.get(model, HOST[0]) == []


# ---- -rtc ----


def test_rtc_base_is_where_the_clock_starts(environment, play) -> None:
    options = ("-rtc", "base=2000-01-01T00:00:00")
    model = Model(environment(arguments=options))
    assert play.get(model, (1999, 12, 31, 23, 59, 57, 0)) == ["rtas.time-of-day"]
    model = Model(environment(arguments=options))
    assert play.get(model, (2000, 1, 1, 0, 0, 30, 0)) == []
    later = (HOST[0] + 60, HOST[1] + 60)
    assert play.get(model, (2000, 1, 1, 0, 1, 30, 0), later) == []
    assert play.get(model, (2000, 1, 1, 0, 0, 30, 0), later) == ["rtas.time-of-day"]


def test_a_virtual_clock_may_stand_but_not_run_ahead_or_back(environment, play) -> None:
    model = Model(environment(arguments=("-display", "none", "-rtc", "base=2000-01-01,clock=vm")))
    assert play.get(model, (2000, 1, 1, 0, 0, 30, 0)) == []
    later = (HOST[0] + 60, HOST[1] + 60)
    assert play.get(model, (2000, 1, 1, 0, 0, 30, 0), later) == []
    assert play.get(model, (2000, 1, 1, 0, 0, 20, 0), later) == ["rtas.time-of-day"]
    assert play.get(model, (2000, 1, 1, 0, 2, 0, 0), later) == ["rtas.time-of-day"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("base=utc", Reckoning()),
        ("clock=vm", Reckoning(-inf, 0.0, steady=False)),
        ("base=localtime", Reckoning(-inf, inf)),
        ("base=1970-01-01T00:01:00,clock=rt", Reckoning(-inf, inf, 60.0)),
        ("base=1970-01-02,clock=vm,driftfix=slew", Reckoning(-inf, inf, 86_400.0, steady=False)),
    ],
)
def test_the_option_is_read(environment, value: str, expected: Reckoning) -> None:
    assert first_reckoning(environment(arguments=("-rtc", value))) == expected


def test_a_clock_that_is_lost_permits_anything() -> None:
    assert Reckoning().lost().bounds(HOST) == (-inf, inf)
    assert Reckoning(steady=False).lost().steady is False


def test_the_state_is_one_a_machine(environment) -> None:
    first, second = Model(environment()), Model(environment())
    assert first.state.of(Clock) is first.state.of(Clock)
    assert first.state.of(Clock) is not second.state.of(Clock)
