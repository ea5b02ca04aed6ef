"""What a spec may say, what it says when it may not, intervals, bounds, and the stated rule by example."""

import copy
import datetime as dt
import pickle
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecna.domain.errors import InvalidArgument, InvalidSpec
from vecna.domain.spec import Spec, parse_spec

BERLIN = ZoneInfo("Europe/Berlin")
ANCHOR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAIVE = ANCHOR.replace(tzinfo=None)
TICK = dt.timedelta(microseconds=1)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)


def first_of(spec: str | dt.timedelta, after: dt.datetime = ANCHOR, timezone: str = "UTC") -> dt.datetime | None:
    return parse_spec(spec, timezone).next_after(after, ANCHOR)


# ------------------------------------------------------------------------------------------------ the stated rule


def on_the_day(spec: str, year: int, month: int, day: int) -> list[str]:
    """The occurrences of a day in Berlin as the clock shows them, `A` for summer time and `B` for winter time."""
    start = dt.datetime(year, month, day, tzinfo=BERLIN)
    end = (start + dt.timedelta(days=1)).astimezone(dt.UTC)
    due = parse_spec(spec, "Europe/Berlin").between(start - TICK, end - TICK, ANCHOR, limit=2000)
    return [f"{at.astimezone(BERLIN):%H:%M}{'A' if at.astimezone(BERLIN).dst() else 'B'}" for at in due]


# The clock goes from 01:59 to 03:00.
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("30 2 * * *", "03:00A"),
        ("0 2,3 * * *", "03:00A"),
        ("0,30 2 * * *", "03:00A"),
        ("30 1-3 * * *", "01:30B 03:00A 03:30A"),
        ("* 2 * * *", "03:00A"),
        ("0 3 * * *", "03:00A"),
        ("30 3 * * *", "03:30A"),
        ("30 */2 * * *", " ".join(f"{hour:02}:30{'A' if hour > 2 else 'B'}" for hour in range(0, 24, 2) if hour != 2)),
    ],
)
def test_times_that_do_not_exist_are_one_run_at_the_end_of_the_gap(spec, expected):
    assert on_the_day(spec, 2026, 3, 29) == expected.split()


# The clock shows 02:00 to 02:59 twice.
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("30 2 * * *", "02:30A"),
        ("0 2,3 * * *", "02:00A 03:00B"),
        ("0,30 2 * * *", "02:00A 02:30A"),
        ("30 1-3 * * *", "01:30A 02:30A 03:30B"),
        ("30 2/22 * * *", "02:30A 02:30B"),
    ],
)
def test_times_that_come_twice_run_the_first_time_unless_the_hour_is_a_step(spec, expected):
    assert on_the_day(spec, 2026, 10, 25) == expected.split()


@pytest.mark.parametrize(("day", "hours"), [((3, 29), 23), ((10, 25), 25), ((10, 26), 24)])
def test_an_hour_of_star_follows_real_time(day, hours):
    for spec, per_hour in [("0 * * * *", 1), ("*/15 * * * *", 4), ("* ? * * *", 60), ("*/15 */1 * * *", 4)]:
        start = dt.datetime(2026, day[0], day[1], tzinfo=BERLIN).astimezone(dt.UTC)
        due = parse_spec(spec, "Europe/Berlin").between(
            start - TICK, start + dt.timedelta(hours=hours) - TICK, ANCHOR, limit=2000
        )
        interval = dt.timedelta(hours=1) / per_hour
        assert list(due) == [start + n * interval for n in range(hours * per_hour)], spec


def test_midnight_that_does_not_exist_runs_at_one_o_clock():
    assert first_of("@daily", utc(2018, 11, 3, 3), "America/Sao_Paulo") == utc(2018, 11, 4, 3)
    assert first_of("@daily", utc(2018, 11, 4, 3), "America/Sao_Paulo") == utc(2018, 11, 5, 2)


def test_a_day_that_does_not_exist_is_one_run_at_its_end():
    assert first_of("0,30 6-9 30 12 *", utc(2011, 12, 1), "Pacific/Apia") == utc(2011, 12, 30, 10)
    assert first_of("0,30 6-9 30 12 *", utc(2011, 12, 30, 10), "Pacific/Apia") == utc(2012, 12, 29, 16)
    assert first_of("0 * 30 12 *", utc(2011, 12, 1), "Pacific/Apia") == utc(2012, 12, 29, 10), "real time skips it"


def test_a_gap_that_ends_within_a_minute():
    # Liberia went from 44:30 minutes behind to none, at midnight.
    assert first_of("10 0 * * *", utc(1972, 1, 6, 12), "Africa/Monrovia") == utc(1972, 1, 7, 0, 44, 30)
    assert first_of("10 0 * * *", utc(1972, 1, 7, 0, 44, 30), "Africa/Monrovia") == utc(1972, 1, 8, 0, 10)
    assert first_of("* * * * *", utc(1972, 1, 7, 0, 44, 10), "Africa/Monrovia") == utc(1972, 1, 7, 0, 45)


# ---------------------------------------------------------------------------------------------------- five fields


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("0 6 * * ?", "0 6 * * *"),
        ("  0\t6  *  *\n?", "0 6 * * *"),
        ("? ?/2 * * *", "* */2 * * *"),
        ("00 06 * JAN-mar Fri", "0 6 * 1-3 5"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * fri-sun", "0 0 * * 5-7"),
        ("0 0 * * 7-2", "0 0 * * 0-2"),
        ("30,0 9-9 * * *", "0,30 9 * * *"),
        ("5,* * * * *", "* * * * *"),
        ("5/10 * * * *", "5-59/10 * * * *"),
        ("0 0 */1 * 1", "0 0 */1 * 1"),
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@every 90m", "@every 1h30m"),
        (" @EVERY   1h30m0s ", "@every 1h30m"),
        ("@every 1.5h", "@every 1h30m"),
        ("@every 1500ms", "@every 1.5s"),
        ("@every .5h90s", "@every 31m30s"),
        ("@every 1m1.s", "@every 1m1s"),
        ("@every 25h0.005s", "@every 25h0.005s"),
        (dt.timedelta(minutes=90), "@every 1h30m"),
        (dt.timedelta(seconds=1), "@every 1s"),
        (dt.timedelta(days=2), "@every 48h"),
    ],
)
def test_the_text_is_canonical(spec, text):
    read = parse_spec(spec, "Europe/Berlin")
    assert read.text == text
    assert read.timezone == "Europe/Berlin"
    assert parse_spec(text, "Europe/Berlin") == read


FIVE = "exactly five: minute, hour, day of month, month, day of week"


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("", ["0 fields", FIVE]),
        ("0 6 * *", ["4 fields", FIVE]),
        ("0 0 6 * * ?", ["6 fields", FIVE, "no field for seconds", "@every 10s"]),
        ("0 0 6 * * ? 2026", ["7 fields", FIVE]),
        ("CRON_TZ=Asia/Tokyo 0 6 * * *", ["6 fields", "argument `timezone`"]),
        ("@reboot", ["one field", "@daily", "@every"]),
        ("60 * * * *", ["minute '60'", "0 to 59"]),
        ("0 24 * * *", ["hour '24'", "0 to 23"]),
        ("0 0 0 * *", ["day of month '0'", "1 to 31"]),
        ("0 0 32 * *", ["day of month '32'", "1 to 31"]),
        ("0 0 * 13 *", ["month '13'", "1 to 12"]),
        ("0 0 * 0 *", ["month '0'", "1 to 12"]),
        ("0 0 * * 8", ["day of week '8'", "0 to 7"]),
        ("0 1-24 * * *", ["hour '1-24'", "0 to 23"]),
        ("0 9,99999999999999999999 * * *", ["hour '99999999999999999999' cannot be read"]),
        ("-1 * * * *", ["minute '-1' cannot be read", "numbers 0 to 59"]),
        ("1.5 * * * *", ["minute '1.5' cannot be read"]),
        ("1-2-3 * * * *", ["minute '1-2-3' cannot be read"]),
        ("٣ * * * *", ["minute '٣' cannot be read"]),
        ("*/0 * * * *", ["minute '*/0'", "step", "1 to 60"]),
        ("*/90 * * * *", ["minute '*/90'", "step", "1 to 60", "@every"]),
        ("*/ * * * *", ["minute '*/' cannot be read"]),
        ("0 22-2 * * *", ["hour range '22-2' runs backwards", "22-23,0-2"]),
        ("0 0 * * fri-mon", ["day of week range 'fri-mon' runs backwards", "5-6,0-1"]),
        ("1,,2 * * * *", ["minute '1,,2'", "empty item"]),
        ("1, * * * *", ["minute '1,'", "empty item"]),
        ("0 0 * foo *", ["month 'foo' cannot be read", "jan, feb"]),
        ("0 0 * * monday", ["day of week 'monday' cannot be read", "sun, mon"]),
        ("mon * * * *", ["minute 'mon' cannot be read"]),
        ("0 0 L * *", ["day of month 'L'", "L, W, #, H and R are not supported"]),
        ("0 0 15W * *", ["day of month '15W'", "not supported"]),
        ("0 0 LW * *", ["day of month 'LW'", "not supported"]),
        ("0 0 * * 5L", ["day of week '5L'", "not supported"]),
        ("0 0 * * fri#2", ["day of week 'fri#2'", "not supported"]),
        ("H * * * *", ["minute 'H'", "not supported"]),
        ("H(0-5)/2 * * * *", ["minute 'H(0-5)/2'", "not supported"]),
        ("0 R * * *", ["hour 'R'", "not supported"]),
        ("0 0 31 2 *", ["never comes", "'31'", "'2'"]),
        ("0 0 30,31 feb ?", ["never comes", "'30,31'", "'feb'"]),
        ("0 0 31 2,4,6,9,11 *", ["never comes"]),
        ("@every", ["'' is not a duration", "@every 1h30m"]),
        ("@every 1d", ["'1d' is not a duration", "h, m, s or ms"]),
        ("@every 1h 30m", ["' 30m' is not a duration"]),
        ("@every -1h", ["'-1h' is not a duration"]),
        ("@every 10", ["'10' is not a duration"]),
        ("@every .s", ["'.s' is not a duration"]),
        ("@every 999ms", ["at least one second"]),
        ("@every 0s", ["at least one second"]),
        ("@every 1.0005s", ["whole number of milliseconds"]),
        ("@every 999999999999h", ["too long an interval"]),
        (dt.timedelta(milliseconds=999), ["at least one second"]),
        (dt.timedelta(days=-1), ["at least one second"]),
        (dt.timedelta(seconds=1, microseconds=1), ["whole number of milliseconds"]),
        (dt.timedelta.max, ["too long an interval"]),
        ("0," * 600 + "0 * * * *", ["1209 characters", "1000 is the limit"]),
        (3600, ["string", "timedelta", "not int"]),
        (None, ["not NoneType"]),
    ],
)
def test_an_invalid_spec_is_refused_saying_what_is_wrong_and_where(spec, wrong):
    with pytest.raises(InvalidSpec) as error:
        parse_spec(spec)
    for words in wrong:
        assert words in str(error.value)
    if isinstance(spec, str) and len(spec) < 100:
        assert repr(spec) in str(error.value)


@given(st.text("0123456789*?/-,LWH#@ everymonsjafb.\t", max_size=30) | st.text(max_size=20))
def test_any_text_is_either_a_spec_or_an_invalid_one(text):
    try:
        read = parse_spec(text)
    except InvalidSpec:
        return
    assert parse_spec(read.text) == read
    assert read.next_after(ANCHOR, ANCHOR) is not None


@pytest.mark.parametrize(
    "name", ["", "America", "Europe/Berlim", "/etc/passwd", "../UTC", "UTC\0", "x" * 5000, "\udcff", None, 3]
)
def test_an_unknown_time_zone_is_named(name):
    with pytest.raises(InvalidSpec, match="zone") as error:
        parse_spec("@daily", name)
    assert "Europe/Berlin" in str(error.value)
    assert len(str(error.value)) < 200
    if name and name.__class__ is str and name.isprintable() and len(name) < 80:
        assert name in str(error.value)


# --------------------------------------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("spec", "days"),
    [
        # In June 2026 the first is a Monday. Both restricted: either.
        ("0 0 13 6 fri", [5, 12, 13, 19, 26]),
        ("0 0 */10 6 0", [1, 7, 11, 14, 21, 28]),
        ("0 0 1 6 */3", [1, 3, 6, 7, 10, 13, 14, 17, 20, 21, 24, 27, 28]),
        ("0 0 */1 6 1", list(range(1, 31))),
        ("0 0 1-31 6 */2", list(range(1, 31))),
        ("0 0 1 6 0-6", list(range(1, 31))),
        ("0 0 31 6 mon", [1, 8, 15, 22, 29]),
        # One restricted: that one.
        ("0 0 ? 6 1", [1, 8, 15, 22, 29]),
        ("0 0 8-9 6 *", [8, 9]),
        # A range of one is not the whole field.
        ("0 0 5-5 6 *", [5]),
        ("0 0 ? 6 tue-tue", [2, 9, 16, 23, 30]),
        ("0 0 28/2 6 *", [28, 30]),
        ("0 0 * 6 sat-sun", [6, 7, 13, 14, 20, 21, 27, 28]),
        ("0 0 * 6 5/1", [5, 6, 12, 13, 19, 20, 26, 27]),
    ],
)
def test_days(spec, days):
    due = parse_spec(spec).between(utc(2026, 5, 31, 23, 59), utc(2026, 6, 30, 23, 59), ANCHOR, limit=100)
    assert [at.day for at in due] == days


def test_the_29th_of_february_is_waited_for_over_1900_and_2100():
    assert first_of("0 0 29 2 *", utc(2024, 2, 29)) == utc(2028, 2, 29)
    assert first_of("0 0 29 feb ?", utc(2096, 2, 29)) == utc(2104, 2, 29)


def test_the_next_is_strictly_later():
    assert first_of("0 6 * * *", utc(2026, 1, 1, 6)) == utc(2026, 1, 2, 6)
    assert first_of("0 6 * * *", utc(2026, 1, 1, 6) - TICK) == utc(2026, 1, 1, 6)
    assert first_of("* * * * *", utc(9000, 1, 1, 6, 1) - TICK) == utc(9000, 1, 1, 6, 1)


def test_any_aware_instant_is_taken_and_the_answer_is_in_utc():
    due = first_of("0 6 * * *", dt.datetime(2026, 7, 1, 7, 59, tzinfo=BERLIN))
    assert due == utc(2026, 7, 1, 6)
    assert due.tzinfo is dt.UTC


def test_a_naive_instant_is_refused():
    every, daily = parse_spec("@every 1m"), parse_spec("@daily")
    for call in (
        lambda: daily.next_after(NAIVE, ANCHOR),
        lambda: every.next_after(ANCHOR, NAIVE),
        lambda: daily.between(ANCHOR, NAIVE, ANCHOR, limit=1),
    ):
        with pytest.raises(InvalidArgument, match="time zone"):
            call()


# ----------------------------------------------------------------------------------------------------- intervals


def test_an_interval_counts_from_its_anchor_whatever_the_zone():
    anchor = utc(2026, 3, 28, 23, 17, 5)
    for zone in ("UTC", "Europe/Berlin"):
        spec = parse_spec("@every 2h", zone)
        assert spec.period == dt.timedelta(hours=2)
        assert list(spec.between(anchor, anchor + dt.timedelta(hours=7), anchor, limit=9)) == [
            anchor + n * dt.timedelta(hours=2) for n in (1, 2, 3)
        ]
        assert spec.next_after(anchor + dt.timedelta(hours=4) - TICK, anchor) == anchor + dt.timedelta(hours=4)
        assert spec.next_after(anchor - dt.timedelta(days=9), anchor) == anchor + dt.timedelta(hours=2)


def test_five_fields_have_no_period():
    assert parse_spec("*/5 * * * *").period is None


def test_occurrences_of_an_interval_are_whole_milliseconds():
    """Due times are stored so; what lies between two milliseconds would be due again after rounding down."""
    anchor = utc(2026, 1, 1).replace(microsecond=123_999)
    due = parse_spec("@every 1s").next_after(anchor, anchor)
    assert due == utc(2026, 1, 1, 0, 0, 1).replace(microsecond=123_000)


instants = st.timedeltas(dt.timedelta(0), dt.timedelta(days=365 * 100)).map(lambda age: utc(2000, 1, 1) + age)


@given(period=st.integers(1000, 10**10), anchor=instants, instant=instants)
def test_an_interval_keeps_its_rhythm(period, anchor, instant):
    step = dt.timedelta(milliseconds=period)
    spec = parse_spec(step)
    assert spec.period == step
    assert parse_spec(spec.text) == spec
    due = spec.next_after(instant, anchor)
    assert due is not None
    start = anchor.replace(microsecond=anchor.microsecond // 1000 * 1000)
    assert due > instant
    assert due >= start + step
    assert (due - start) % step == dt.timedelta(0)
    assert due - step <= max(instant, start)


# -------------------------------------------------------------------------------------------------------- bounds


def test_nothing_before_start_and_nothing_after_end():
    spec = parse_spec("0 6 * * *", start=utc(2026, 2, 1, 6), end=utc(2026, 2, 3, 6))
    assert list(spec.between(utc(2026, 1, 1), utc(2027, 1, 1), ANCHOR, limit=99)) == [
        utc(2026, 2, day, 6) for day in (1, 2, 3)
    ]
    assert spec.next_after(utc(2026, 2, 3, 6), ANCHOR) is None
    assert spec.next_after(utc(2026, 2, 3, 6) - TICK, ANCHOR) == utc(2026, 2, 3, 6)


def test_an_interval_with_a_start_keeps_counting_from_its_anchor():
    spec = parse_spec("@every 7h", start=ANCHOR + dt.timedelta(hours=10), end=ANCHOR + dt.timedelta(hours=21))
    assert list(spec.between(ANCHOR, utc(2027, 1, 1), ANCHOR, limit=99)) == [
        ANCHOR + dt.timedelta(hours=hours) for hours in (14, 21)
    ]


def test_bounds_are_kept_in_utc_and_compared():
    spec = parse_spec("@daily", start=dt.datetime(2026, 7, 1, 2, tzinfo=BERLIN))
    assert spec.start == utc(2026, 7, 1)
    assert spec.start.tzinfo is dt.UTC
    assert spec != parse_spec("@daily")
    assert spec == parse_spec("@daily", start=utc(2026, 7, 1))


@pytest.mark.parametrize(
    ("spec", "start", "end"),
    [
        ("@daily", utc(2026, 2, 2), utc(2026, 2, 1)),
        ("@every 1h", utc(2026, 2, 2), utc(2026, 2, 1)),
        ("0 0 1 1 *", utc(2026, 2, 1), utc(2026, 12, 1)),
    ],
)
def test_bounds_with_nothing_between_them_are_refused(spec, start, end):
    with pytest.raises(InvalidSpec, match="never comes between start 2026-02-0"):
        parse_spec(spec, start=start, end=end)


@pytest.mark.parametrize("bounds", [{"start": dt.date(2026, 1, 1)}, {"end": "tomorrow"}, {"end": NAIVE}])
def test_a_bound_that_is_no_aware_datetime_is_refused(bounds):
    with pytest.raises(InvalidSpec, match=next(iter(bounds))):
        parse_spec("@daily", **bounds)


def test_the_ends_of_the_calendar_are_bounds_like_any_other():
    first, last = dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)
    for text in ("@daily", "@every 8000h"):
        spec = parse_spec(text, "America/New_York", start=first, end=last)
        assert spec.next_after(ANCHOR, ANCHOR) is not None
        assert spec.next_after(last - dt.timedelta(days=1), ANCHOR) is None
        assert parse_spec(text, start=last).next_after(ANCHOR, ANCHOR) is None


def test_between_is_bounded():
    spec = parse_spec("* * * * *")
    some = spec.between(ANCHOR, utc(2027, 1, 1), ANCHOR, limit=3)
    assert some == tuple(ANCHOR + n * dt.timedelta(minutes=1) for n in (1, 2, 3))
    assert spec.between(some[-1], ANCHOR + dt.timedelta(minutes=5), ANCHOR, limit=3) == tuple(
        ANCHOR + n * dt.timedelta(minutes=1) for n in (4, 5)
    )
    assert spec.between(ANCHOR, ANCHOR - dt.timedelta(days=1), ANCHOR, limit=3) == ()
    with pytest.raises(InvalidArgument, match="limit is 0"):
        spec.between(ANCHOR, ANCHOR, ANCHOR, limit=0)


def test_a_spec_is_a_plain_value():
    spec = parse_spec("0 6 * * ?", "Europe/Berlin", end=utc(2030, 1, 1))
    assert spec == Spec(text="0 6 * * *", timezone="Europe/Berlin", end=utc(2030, 1, 1))
    assert len({spec, copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))}) == 1
    with pytest.raises(AttributeError):
        spec.text = "* * * * *"  # type: ignore[misc] # frozen: that is what is tested


def test_text_that_did_not_come_from_parse_spec_is_still_refused_clearly():
    with pytest.raises(InvalidSpec, match="minute '61' is out of range"):
        Spec(text="61 * * * *").next_after(ANCHOR, ANCHOR)
