"""Due times against an enumeration that is too simple to be wrong: walk every minute and look at the clock.

The enumeration shares nothing with the code under test but the time-zone data: it reads fields by asking "does this
value match?", and learns of a change of the clocks only by seeing the clock jump.
"""

import datetime as dt
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecna.domain.spec import parse_spec

pytestmark = pytest.mark.slow  # left out by `make unit`

MINUTE = dt.timedelta(minutes=1)
ANCHOR = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)  # five fields do not depend on it


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)


# ------------------------------------------------------------------------------------------- what the clock shows


class Walk(NamedTuple):
    """Minutes of real time count from `start`, those of the wall clock from 1 January of the year 1."""

    start: dt.datetime
    end: dt.datetime
    look_every: int
    days: dict[int, list[tuple[int, int, bool]]]  # by date on the wall: real minute, shown, has been shown before
    jumps: list[tuple[int, range]]  # real minute, what the clock should have shown since the one before, and never will


@lru_cache(maxsize=64)
def walk(zone: str, start: dt.datetime, days: int, look_every: int = 1) -> Walk:
    """What the clock shows from `start` on. It is looked at every `look_every` minutes, and just runs on in between."""
    tz = ZoneInfo(zone)
    walked = Walk(start, start + dt.timedelta(days=days), look_every, {}, [])
    highest = None
    for at in range(0, days * 1440, look_every):
        local = (start + at * MINUTE).astimezone(tz)
        wall = local.toordinal() * 1440 + local.hour * 60 + local.minute
        highest = wall - 1 if highest is None else highest
        if wall > highest + 1:
            walked.jumps.append((at, range(highest + 1, wall)))
        walked.days.setdefault(wall // 1440, []).append((at, wall, wall <= highest))
        highest = max(highest, wall + look_every - 1)
    return walked


# ---------------------------------------------------------------------------------------------------- the fields

NAMES = {
    name: str(number)
    for first, names in ((0, "sun mon tue wed thu fri sat"), (1, "jan feb mar apr may jun jul aug sep oct nov dec"))
    for number, name in enumerate(names.split(), first)
}


def matches(field: str, value: int, low: int, high: int) -> bool:
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        if first in {"*", "?"}:
            first, last = str(low), str(high)
        elif not last:
            last = str(high) if step else first
        if int(first) <= value <= int(last) and (value - int(first)) % int(step or 1) == 0:
            return True
    return False


def matcher(spec: str) -> tuple[set[int], Callable[[int], bool]]:
    """The minutes of the day that a spec names, and whether it names a date."""
    spec = spec.lower()
    for name, number in NAMES.items():
        spec = spec.replace(name, number)
    minute, hour, day, month, weekday = spec.split()
    minutes = {m for m in range(1440) if matches(hour, m // 60, 0, 23) and matches(minute, m % 60, 0, 59)}

    @cache
    def on(ordinal: int) -> bool:
        date = dt.date.fromordinal(ordinal)
        sunday_first = date.isoweekday() % 7
        by_month = matches(month, date.month, 1, 12)
        by_day = matches(day, date.day, 1, 31)
        by_weekday = matches(weekday, sunday_first, 0, 6) or (sunday_first == 0 and matches(weekday, 7, 0, 6))
        if day not in {"*", "?"} and weekday not in {"*", "?"}:
            return by_month and (by_day or by_weekday)
        return by_month and by_day and by_weekday

    return minutes, on


def enumerated(spec: str, walked: Walk) -> list[dt.datetime]:
    """The rule, word by word."""
    minutes, on = matcher(spec)
    hour = spec.split()[1]
    follows_real_time = hour in {"*", "?"} or ("/" in hour and "," not in hour)
    due = set()
    for date, shown in walked.days.items():
        if on(date):
            due |= {
                at + n
                for at, wall, again in shown
                if follows_real_time or not again
                for n in range(walked.look_every)
                if (wall + n) % 1440 in minutes
            }
    if not follows_real_time:
        for at, skipped in walked.jumps:
            if any(wall % 1440 in minutes and on(wall // 1440) for wall in skipped):
                due.add(at)
    return [walked.start + at * MINUTE for at in sorted(due)]


def computed(spec: str, zone: str, start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
    """What vecna says is due from `start` on and before `end`."""
    tick = dt.timedelta(microseconds=1)
    return list(parse_spec(spec, zone).between(start - tick, end - tick, ANCHOR, limit=1_000_000))


# -------------------------------------------------------------------------------------------------- whole years

A_YEAR = [
    "30 2,3 * * ?",
    "0 0 * * *",
    "0 */12 * * *",
    "59 23 31 * *",
    "15 3 1,15 * mon",
    "0 0 */2 * 1",
    "45 1 29 2 *",
    "5 2/3 25-31 3,oct fri-7",
    "20 4 * 2-11/3 SAT,SUN",
]


@pytest.mark.parametrize(
    ("zone", "year"),
    [
        ("UTC", 2026),
        ("Asia/Kolkata", 2026),
        ("Europe/Berlin", 2026),
        ("America/New_York", 2026),
        ("Australia/Lord_Howe", 2026),
        ("Africa/Casablanca", 2026),
    ],
)
def test_a_whole_year_is_as_enumerated_minute_by_minute(zone, year):
    # Whole zones change at whole quarters of an hour; the tests of single days look at every minute.
    walked = walk.__wrapped__(zone, utc(year, 1, 1), 365, look_every=15)
    for spec in A_YEAR:
        assert computed(spec, zone, walked.start, walked.end) == enumerated(spec, walked), spec


# -------------------------------------------------------------------------------------------- the days of change

#: The zone and the instant at which its clocks change.
CHANGES = [
    ("Europe/Berlin", utc(2026, 3, 29, 1)),
    ("Europe/Berlin", utc(2026, 10, 25, 1)),
    ("America/New_York", utc(2026, 3, 8, 7)),
    ("America/New_York", utc(2026, 11, 1, 6)),
    ("America/Sao_Paulo", utc(2018, 2, 18, 2)),  # midnight comes twice: the day before ends again
    ("America/Sao_Paulo", utc(2018, 11, 4, 3)),  # there is no midnight
    ("Australia/Lord_Howe", utc(2026, 4, 4, 15)),  # half an hour
    ("Australia/Lord_Howe", utc(2026, 10, 3, 15, 30)),
    ("Asia/Kolkata", utc(2026, 3, 29, 1)),  # nothing changes
    ("Pacific/Apia", utc(2011, 12, 30, 10)),  # there is no 30 December
    ("Africa/Casablanca", utc(2026, 2, 15, 2)),  # the month of fasting: back, and on again
    ("Africa/Casablanca", utc(2026, 3, 22, 2)),
    ("America/St_Johns", utc(2010, 3, 14, 3, 31)),  # at a minute past midnight
    ("America/St_Johns", utc(2010, 11, 7, 2, 31)),  # so that Sunday begins, then Saturday ends again
    ("Pacific/Kwajalein", utc(1969, 9, 30, 13)),  # across the date line: a day comes twice
    ("UTC", utc(2026, 3, 29, 1)),
]

#: With a time that the clock shows twice or never in each of these zones.
SPECS = [
    "* * * * *",
    "*/15 * * * *",
    "0 * * * *",
    "30 ? * * *",
    "0 */2 * * *",
    "10 1-23/2 * * *",
    "30 0-23 * * *",
    "* 0-2 * * *",
    "*/10 23,0,1,2,3 * * *",
    "0 2,3 * * *",
    "0,30 2 * * *",
    "30 1-3 * * *",
    "0 0 * * *",
    "59 23 * * *",
    "15,45 */6,2 * * *",
    "30 2 * 3,10 sun",
    "0 12 30 12 *",
    "*/20 2/24 * * *",
    "1 0 4 11 1",
]


def around(zone: str, change: dt.datetime) -> Walk:
    return walk(zone, change.replace(minute=0) - dt.timedelta(hours=30), 3)


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_a_day_of_change_is_as_enumerated_minute_by_minute(zone, change):
    walked = around(zone, change)
    for spec in SPECS:
        if spec.startswith("* "):  # enough of these in the hours around the change
            start, end = change - dt.timedelta(hours=2), change + dt.timedelta(hours=2)
        else:
            start, end = walked.start, walked.end
        expected = [due for due in enumerated(spec, walked) if start <= due < end]
        assert computed(spec, zone, start, end) == expected, spec


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_the_next_one_from_any_time_near_a_change(zone, change):
    """Not only from one occurrence to the next: a worker may look at any time, or may have been away."""
    walked = around(zone, change)
    for spec in (*SPECS[1:6], "0 3 * * *", "0 0 * * *", "30 2 * * *"):
        expected = enumerated(spec, walked)
        read = parse_spec(spec, zone)
        for minutes in range(-150, 150, 20):
            instant = change + minutes * MINUTE
            later = [due for due in expected if due > instant]
            if later:
                assert read.next_after(instant, ANCHOR) == later[0], (spec, instant)


def test_the_changes_are_where_the_list_says():
    """Else the tests above would compare ordinary days."""
    for zone, change in CHANGES:
        tz = ZoneInfo(zone)
        before, after = (at.astimezone(tz).utcoffset() for at in (change - MINUTE, change))
        assert (before != after) == (zone not in {"UTC", "Asia/Kolkata"}), (zone, change)


# ------------------------------------------------------------------------------------------------------ any spec


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(sorted)
    step = st.integers(1, high - low + 1)
    item = st.one_of(
        st.just("*"),
        value.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        step.map(lambda n: f"*/{n}"),
        st.tuples(pair, step).map(lambda t: f"{t[0][0]}-{t[0][1]}/{t[1]}"),
        st.tuples(value, step).map(lambda t: f"{t[0]}/{t[1]}"),
    )
    return st.one_of(st.just("*"), item, st.lists(value.map(str), min_size=2, max_size=4).map(",".join))


def comes(spec: str) -> bool:
    _, on = matcher(spec)
    return any(on(dt.date(2024, 1, 1).toordinal() + day) for day in range(366))


specs = st.tuples(fields(0, 59), fields(0, 23) | fields(0, 3), fields(1, 31), fields(1, 12), fields(0, 6)).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(spec=specs, where=st.sampled_from(CHANGES), minute=st.integers(0, 48 * 60), second=st.floats(0, 59.9))
def test_any_spec_from_any_instant(spec, where, minute, second):
    zone, change = where
    walked = around(zone, change)
    if not comes(spec):
        return
    instant = walked.start + minute * MINUTE + dt.timedelta(seconds=second)
    expected = [due for due in enumerated(spec, walked) if due > instant][:12]
    read = parse_spec(spec, zone)
    due = list(read.between(instant, walked.end - MINUTE, ANCHOR, limit=12))
    assert due == expected
    assert parse_spec(read.text, zone) == read
    assert enumerated(read.text, walked) == enumerated(spec, walked), "the canonical text means the same"


@settings(max_examples=40, deadline=None)
@given(spec=specs, age=st.timedeltas(dt.timedelta(0), dt.timedelta(days=365 * 130)))
def test_the_next_one_is_later_and_comes_within_eight_years_and_is_what_the_fields_say(spec, age):
    if not comes(spec):
        return
    start = utc(1960, 1, 1) + age
    london = ZoneInfo("Europe/London")
    due = parse_spec(spec, "Europe/London").next_after(start, ANCHOR)
    assert due is not None
    minutes, on = matcher(spec)
    assert start < due < start + dt.timedelta(days=8 * 366)
    wall = due.astimezone(london)
    if wall.utcoffset() == (due - dt.timedelta(hours=25)).astimezone(london).utcoffset():  # not at the end of a gap
        assert on(wall.toordinal())
        assert wall.hour * 60 + wall.minute in minutes
