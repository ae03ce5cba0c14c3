"""get-time-of-day and set-time-of-day (LoPAR 7.3.2): the partition's clock against the host's.

The model keeps no running clock: it knows how far the guest's clock may be from the host's and judges a
reading by the host's time just before and after the call.  Times are seconds since 1970-01-01 00:00:00 UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from math import inf, isfinite, ulp

from rig.frozen import frozen
from rig.model.environment import Environment
from rig.model.expectation import Breach, ExpectedEvent, Permitted, Relation, Satisfies, Unspecified
from rig.model.hypercall import Argument, Kind, State
from rig.model.rtas.service import (
    BUSY,
    EXTENDED_DELAY,
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    UNSPECIFIED,
    Reply,
    Request,
    Service,
    only_block,
    put_off,
)
from rig.program import Outcome
from rig.target import GuestMemory

GET_SHAPE = "R1-7.3.2.2-1"
GET_TIME = "R1-7.3.2.2-2"
SET_SHAPE = "R1-7.3.2.3-1"
SET_TIME = "R1-7.3.2.3-2"
SET_RANGE = "R1-7.3.2.3-3"
CALENDAR = "R1-7.3.2.1-1"

#: seconds by which a clock may be coarse (LoPAR R1-2.9-7)
RESOLUTION = 1.0

#: Years that a platform must accept.  LoPAR leaves the range to it (SET_RANGE); a clock that cannot show
#: the years of a signed 32-bit time would not tell every Linux guest the time.
SUPPORTED = range(1970, 2038)

#: names and limits of month, day, hour, minute, second, nanosecond (LoPAR R1-7.3.2.1-1, Table of
#: get-time-of-day)
LIMITS = (
    ("month", 1, 12),
    ("day", 1, 31),
    ("hour", 0, 23),
    ("minute", 0, 59),
    ("second", 0, 59),
    ("nanosecond", 0, 999_999_999),
)
FIELDS = ("year", *(name for name, _, _ in LIMITS))

#: QEMU gives the low 32 bits of the whole time in nanoseconds.  When they happen to be below a second, they
#: cannot be told from a coarse clock's: a scenario that shows this sets the clock to where they are not.
NANOSECOND_UNREDUCED = Breach(
    "rtas.nanosecond-unreduced",
    "the nanosecond is that of the whole time, modulo 2^32, and not that within the second",
    CALENDAR,
)
#: QEMU counts nanoseconds in 64 bits: 292 years before and after 1970.
DATE_LOST = Breach(
    "rtas.date-lost", "a date was accepted that the clock cannot show: it shows another", SET_RANGE
)
CELL = 1 << 32
NANO = 1_000_000_000

#: days in 400 years, after which the calendar repeats
CYCLE = 146_097
EPOCH = date(1970, 1, 1).toordinal()


def in_limits(fields: Sequence[int]) -> bool:
    """Whether each of month, day, … nanosecond is within its own limits; they may still be no date."""
    return all(low <= value <= high for value, (_, low, high) in zip(fields[1:], LIMITS, strict=True))


def seconds_of(fields: Sequence[int]) -> float | None:
    """The time that year, month, day, hour, minute, second, nanosecond name; ``None`` when there is no
    such date.

    Years beyond those of :mod:`datetime` count too: the call's year is a cell of 32 bits.
    """
    year, month, day, hour, minute, second, nanosecond = fields
    if not in_limits(fields):
        return None
    cycles, year = divmod(year, 400)
    try:
        days = date(2000 + year, month, day).toordinal() - EPOCH
    except ValueError:
        return None
    days += (cycles - 5) * CYCLE
    return ((days * 24 + hour) * 60 + minute) * 60 + second + nanosecond / 1e9


def fields_of(seconds: float) -> tuple[int, ...]:
    """The seven fields of a time; the inverse of :func:`seconds_of` to a microsecond."""
    whole, rest = divmod(seconds, 86_400)
    cycles, days = divmod(int(whole) + EPOCH - date(2000, 1, 1).toordinal(), CYCLE)
    when = datetime(2000, 1, 1) + timedelta(days=days, seconds=rest)
    return (
        when.year + 400 * cycles,
        when.month,
        when.day,
        when.hour,
        when.minute,
        when.second,
        when.microsecond * 1000,
    )


@frozen
class Reckoning:
    """What is known of the guest's clock.

    Guest time minus host time lies in ``slow``..``fast``; guest time is not before ``floor``.  A clock
    that is not ``steady`` stands while the machine does, and never runs faster than the host.
    """

    slow: float = 0.0
    fast: float = 0.0
    floor: float = -inf
    steady: bool = True

    def bounds(self, host: tuple[float, float]) -> tuple[float, float]:
        """Between which times a reading may lie that was made between two host times."""
        low, high = max(self.floor, host[0] + self.slow), host[1] + self.fast
        # Years of ten digits leave a float less than a second's precision.
        return low - RESOLUTION - 4 * ulp(low), high + RESOLUTION + 4 * ulp(high)

    def at(self, guest: float, host: tuple[float, float], width: float = 0.0) -> Reckoning:
        """What is known of a clock that stood at ``guest``, or ``width`` later, between two host times."""
        low, high = host
        if self.steady:
            return Reckoning(guest - high, guest + width - low)
        return Reckoning(-inf, guest + width - low, guest, steady=False)

    def permits(self, shown: float, host: tuple[float, float]) -> bool:
        """Whether the clock may have shown the whole second ``shown`` between two host times."""
        low, high = self.bounds(host)
        return low < shown + 1 and shown <= high

    def after(self, shown: float, host: tuple[float, float]) -> Reckoning:
        """What is known after the whole second ``shown`` was read.

        One that was foreseen changes nothing for a steady clock, so that drift adds up until it shows.
        """
        if self.steady and isfinite(self.slow) and isfinite(self.fast) and self.permits(shown, host):
            return self
        return self.at(shown, host, width=1.0)

    def lost(self) -> Reckoning:
        """What is known when nothing is."""
        return replace(self, slow=-inf, fast=inf, floor=-inf)


def first_reckoning(environment: Environment) -> Reckoning:
    """What ``-rtc`` says: the host's UTC unless told otherwise."""
    words = environment.options.arguments
    settings: dict[str, str] = {}
    for option, value in pairwise(words):
        if option in ("-rtc", "--rtc"):
            settings.update(part.partition("=")[::2] for part in value.split(","))
    steady = settings.get("clock", "host") != "vm"
    base = settings.get("base", "utc")
    if base == "utc":
        return Reckoning(0.0 if steady else -inf, 0.0, steady=steady)
    if base == "localtime":
        return Reckoning(-inf, inf, steady=steady)
    start = datetime.fromisoformat(base).replace(tzinfo=UTC).timestamp()
    return Reckoning(-inf, inf, start, steady=steady)


class Clock:
    """The partition's clock; it outlives a reset (LoPAR R1-2.9-7: non-volatile, runs continuously)."""

    def __init__(self, environment: Environment) -> None:
        self.reckoning = first_reckoning(environment)
        #: whether it was set to a year that it need not support and has not been read since
        self.doubtful = False
        #: whether the guest has set it
        self.altered = False

    def reset(self, environment: Environment) -> None:
        """Nothing: the clock runs on."""


@frozen
class Reading:
    """What get-time-of-day returned: the seconds it shows, if there is such a date, and the nanosecond."""

    fields: tuple[int, ...]
    shown: float | None
    nanosecond: int

    @property
    def unreduced(self) -> bool:
        """Whether the nanosecond may be that of the whole time, modulo 2^32."""
        if self.shown is None:
            return False
        rest = (self.nanosecond - int(self.shown) * NANO) % CELL
        # Before 1970 the seconds may have been rounded towards it.
        return rest < NANO or (self.shown <= 0 and rest > CELL - NANO)

    def __str__(self) -> str:
        return "{}-{:02}-{:02} {:02}:{:02}:{:02}".format(*self.fields)


def _read(memory: GuestMemory, rets: int) -> Reading:
    return _decoded(memory.read(rets + 4, 4 * len(FIELDS)))


@lru_cache(maxsize=8)  # each relation looks at it
def _decoded(data: bytes) -> Reading:
    *fields, nanosecond = (int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))
    return Reading(tuple(fields), seconds_of((*fields, 0)), nanosecond)


def _outputs(state: State) -> tuple[Permitted, ...]:
    """The permitted fields; canonical is the middle of what a model target's clock may show."""
    low, high = state.of(Clock).reckoning.bounds((state.now, state.now))
    return _around((low + high) / 2 if isfinite(low + high) else max(low + RESOLUTION, 0.0))


@lru_cache(maxsize=8)
def _around(middle: float) -> tuple[Permitted, ...]:
    year, *rest = fields_of(middle)

    def within(low: int, high: int, canonical: int) -> Satisfies:
        return Satisfies(lambda value: low <= value <= high, f"{low}..{high}", canonical)

    limited = (within(low, high, value) for value, (_, low, high) in zip(rest, LIMITS, strict=True))
    return Unspecified(year), *limited


def _get(request: Request) -> tuple[Reply, ...]:
    clock = request.state.of(Clock)
    reckoning = clock.reckoning

    def is_date(_: Outcome, memory: GuestMemory) -> str | None:
        reading = _read(memory, request.rets)  # a field beyond its own limits is reported cell by cell
        is_none = reading.shown is None and in_limits((*reading.fields, 0))
        return f"there is no {reading}" if is_none else None

    def is_time(outcome: Outcome, memory: GuestMemory) -> str | None:
        reading = _read(memory, request.rets)
        if reading.shown is None or reckoning.permits(reading.shown, outcome.clock):
            return None
        low, high = reckoning.bounds(outcome.clock)
        return (
            f"the clock shows {reading} ({reading.shown:.0f}), "
            f"expected {low:.3f}..{high:.3f} seconds since 1970"
        )

    def is_unreduced(_: Outcome, memory: GuestMemory) -> str | None:
        return None if _read(memory, request.rets).unreduced else "the nanosecond means nothing"

    def adopt(outcome: Outcome) -> None:
        clock.doubtful = False
        shown = _read(request.state.memory, request.rets).shown
        if shown is not None:
            clock.reckoning = reckoning.after(shown, outcome.clock)

    date = Relation("rtas.time-of-day", is_date, CALENDAR)
    time = Relation("rtas.time-of-day", is_time, GET_TIME)
    outputs = _outputs(request.state)
    effect = adopt if request.exact else None
    read = Reply(SUCCESS, outputs, CALENDAR, relations=(date, time), effect=effect)
    other = (*outputs[:-1], UNSPECIFIED)
    unreduced = Reply(
        SUCCESS,
        other,
        CALENDAR,
        relations=(date, time, Relation("rtas.time-of-day", is_unreduced, CALENDAR)),
        effect=effect,
        breach=NANOSECOND_UNREDUCED,
    )
    lost = (replace(read, outputs=other, relations=(date,), breach=DATE_LOST),) if clock.doubtful else ()
    return (read, unreduced, *lost, *put_off(GET_SHAPE, BUSY, *EXTENDED_DELAY))


def _set(request: Request) -> tuple[Reply, ...]:
    clock = request.state.of(Clock)
    fields = request.args[: len(FIELDS)]
    time = seconds_of(fields)

    def adopt(outcome: Outcome) -> None:
        request.state.late.add("RTC_CHANGE")
        clock.altered = True
        known = clock.reckoning
        clock.reckoning = known.lost() if time is None else known.at(time, outcome.clock)
        clock.doubtful = time is not None and fields[0] not in SUPPORTED

    done = Reply(
        SUCCESS,
        rule=SET_TIME,
        # QEMU's own event, at most one a second; its offset depends on -rtc
        events=(ExpectedEvent("RTC_CHANGE", required=False),),
        effect=adopt,
    )
    refused = Reply(PARAMETER_ERROR, rule=SET_RANGE)
    later = put_off(SET_SHAPE, *EXTENDED_DELAY)
    if time is None:
        # The caller breaks CALENDAR; LoPAR is silent on the status, and 7.2.7 names -3 as the right one.
        return (refused, done, *later)
    return (done, *later) if fields[0] in SUPPORTED else (done, refused, *later)


def _set_facts(request: Request) -> frozenset[str]:
    facts = set()
    if seconds_of(request.args[: len(FIELDS)]) is None:
        facts.add("no-such-date")
    if request.args[0] not in SUPPORTED:
        facts.add("year-unusual")
    return frozenset(facts)


SERVICES: tuple[Service, ...] = (
    Service(
        "get-time-of-day",
        (),
        FIELDS,
        ((0, 8),),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY, *EXTENDED_DELAY}),
        "Reads the partition's clock in UTC.",
        "LoPAR 7.3.2.2",
        (GET_SHAPE, GET_TIME, CALENDAR),
        _get,
        buffers=only_block,
    ),
    Service(
        "set-time-of-day",
        tuple(Argument(name, Kind(name)) for name in FIELDS),
        (),
        ((7, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR, *EXTENDED_DELAY}),
        "Sets the partition's clock, in UTC; -3 for a date outside the range that the platform supports.",
        "LoPAR 7.3.2.3",
        (SET_SHAPE, SET_TIME, SET_RANGE, CALENDAR),
        _set,
        _set_facts,
    ),
)

__all__ = ["SERVICES", "Clock", "Reckoning", "fields_of", "first_reckoning", "seconds_of"]
