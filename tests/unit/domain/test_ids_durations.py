"""Ids, names, durations and instants: what is let in, and in which one form."""

import datetime as dt
import enum
import math
import uuid
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.domain.strategies import HUGE, Word, kind, zones
from vecna.domain.durations import LONGEST, to_duration, to_instant
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.ids import are_ids, check_id, new_id
from vecna.domain.shown import quoted, shown


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize("good", ["a", "7", "A.b_c:d@e/f-g", "a" * 200, str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))])
def test_an_id_of_the_allowed_characters_is_returned(good):
    assert check_id(good, "task id") == good


@pytest.mark.parametrize(
    "bad",
    ["", "a" * 201, "a\n", "\na", "a b", "a\x00", "-a", "_a", ".a", "a{b}", "ä", "a\u0301", "\ud800", "a*", "a\\", "٣"],
)
def test_any_other_text_is_no_id(bad):
    with pytest.raises(InvalidArgument, match=r"queue name .* is not allowed"):
        check_id(bad, "queue name")


@given(st.lists(st.text("aZ_\n{ä", max_size=3) | st.sampled_from(["a" * 200, "a" * 201])))
@example([])
@example(["a\nb"])
@example(["a", "b\n"])
@example(["\na", "b"])
def test_many_are_ids_if_each_is(texts):
    def is_id(text: str) -> bool:
        try:
            return check_id(text, "id") == text
        except InvalidArgument:
            return False

    assert are_ids(texts) == all(map(is_id, texts))


@pytest.mark.parametrize("bad", [None, 1, True, 1.5, b"a", ["a"], HUGE, object(), uuid.UUID(int=1)], ids=kind)
def test_what_is_no_text_is_no_id(bad):
    with pytest.raises(InvalidSignature, match=r"code .* is not allowed"):
        check_id(bad, "code", InvalidSignature)


def test_an_id_loses_its_own_class():
    for value, plain in ((Word("abc"), "abc"), (Colour.RED, "red")):
        checked = check_id(value, "code")

        assert type(checked) is str
        assert checked == plain


def test_the_error_shows_the_beginning_of_a_long_id():
    with pytest.raises(InvalidArgument) as caught:
        check_id("x" * 100_000 + "!", "code")

    assert "xxx" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_new_ids_are_random_version_4_uuids():
    ids = [new_id() for _ in range(1000)]

    assert len(set(ids)) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
        check_id(text, "task id")
    # Every other digit takes every value: nothing is fixed that should be random.
    for place in set(range(36)) - {8, 13, 14, 18, 19, 23}:
        assert len({text[place] for text in ids}) == 16


@given(st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.none(), st.lists(st.integers())))
def test_errors_can_speak_of_anything_shortly(value):
    assert len(shown(value)) < 60
    assert len(quoted(value)) < 1000
    assert quoted(value).isprintable()


@pytest.mark.parametrize(
    "value", [HUGE, -HUGE, Word("secret"), [[]], object(), float("nan"), "secret", b"secret"], ids=kind
)
def test_an_error_never_runs_or_shows_what_it_speaks_of(value):
    assert "secret" not in shown(value)
    assert quoted(Word("name")) == "'name'"


# -- durations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), (1, 1), (0.5, 0.5), (dt.timedelta(minutes=1), 60), (LONGEST, 99_000 * 86_400), (1e-6, 1e-6), (-0.0, 0)],
)
def test_a_duration_is_a_timedelta_or_seconds(value, seconds):
    assert to_duration(value, "delay") == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "bad",
    [
        -1,
        -1e-6,
        dt.timedelta(microseconds=-1),
        LONGEST + dt.timedelta(microseconds=1),
        dt.timedelta.max,
        dt.timedelta.min,
        math.nan,
        math.inf,
        -math.inf,
        10**400,
        HUGE,
        -HUGE,
        1e308,
        True,
        "1",
        b"1",
        None,
        [1],
        1j,
    ],
    ids=kind,
)
def test_anything_else_is_no_duration(bad):
    with pytest.raises(InvalidSignature, match=r"^delay "):
        to_duration(bad, "delay", InvalidSignature)


class Span(dt.timedelta):
    """As pandas has one."""


@given(st.timedeltas(min_value=dt.timedelta(0), max_value=LONGEST))
def test_microseconds_survive_as_seconds_in_a_double(duration):
    assert to_duration(duration.total_seconds(), "delay") == duration


def test_a_duration_loses_its_own_class():
    assert type(to_duration(Span(seconds=1), "delay")) is dt.timedelta


# -- instants ------------------------------------------------------------------------------------------------------

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


class Moment(dt.datetime):
    """As pandas and pendulum have one."""


class Broken(dt.tzinfo):
    def utcoffset(self, _):
        return dt.timedelta(days=2)

    def dst(self, _):
        return None

    def tzname(self, _):
        return "broken"


def test_an_instant_is_turned_to_utc():
    instant = to_instant(dt.datetime(2026, 7, 1, 14, tzinfo=ZoneInfo("Europe/Berlin")), "eta")

    assert instant == dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    assert instant.tzinfo is dt.UTC


@given(st.datetimes(timezones=zones))
def test_any_aware_instant_is_kept_or_refused_as_out_of_range(instant):
    try:
        assert to_instant(instant, "eta") == instant.astimezone(dt.UTC)
    except InvalidArgument:
        assert instant.year in (1, 9999)


def test_the_second_pass_of_an_hour_that_comes_twice_is_told_apart():
    first = dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    assert to_instant(first.replace(fold=1), "eta") - to_instant(first, "eta") == dt.timedelta(hours=1)


def test_an_instant_loses_its_own_class():
    for zone in (dt.UTC, ZoneInfo("UTC"), dt.timezone(dt.timedelta(hours=-3))):
        instant = to_instant(Moment(2026, 1, 31, 12, 0, 0, 5, tzinfo=zone), "eta")

        assert type(instant) is dt.datetime
        assert instant == dt.datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=zone)


@pytest.mark.parametrize(
    "bad",
    [
        NOON.replace(tzinfo=None),
        NOON.replace(tzinfo=Broken()),
        dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))),
        dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1))),
        NOON.date(),
        NOON.isoformat(),
        NOON.timestamp(),
        True,
        None,
    ],
    ids=kind,
)
def test_anything_else_is_no_instant(bad):
    with pytest.raises(InvalidSignature, match=r"^eta "):
        to_instant(bad, "eta", InvalidSignature)
