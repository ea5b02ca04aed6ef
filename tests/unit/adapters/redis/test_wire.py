import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecna.adapters.clock import ManualClock, SystemClock
from vecna.adapters.redis import wire
from vecna.domain.decide import Attempts
from vecna.domain.message import Message
from vecna.ports.values import Verdict

INSTANTS = st.datetimes(timezones=st.just(dt.UTC))
DURATIONS = st.timedeltas(dt.timedelta(0), dt.timedelta(days=366_000))


@given(INSTANTS)
def test_an_instant_is_rounded_up_by_less_than_a_millisecond(value):
    back = wire.instant(wire.instant_ms(value))
    assert dt.timedelta(0) <= back - value < dt.timedelta(milliseconds=1) or back == dt.datetime.max.replace(
        tzinfo=dt.UTC
    )


@given(DURATIONS)
def test_a_duration_is_rounded_up_by_less_than_a_millisecond(value):
    assert dt.timedelta(0) <= dt.timedelta(milliseconds=wire.milliseconds(value)) - value < dt.timedelta(milliseconds=1)


def test_what_lies_beyond_the_last_instant_is_the_last():
    assert wire.instant(10**18).year == 9999


def test_now_is_the_servers_own_unless_the_clock_is_virtual():
    assert wire.now_argument(SystemClock()) == 0
    clock = ManualClock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    clock.advance(dt.timedelta(microseconds=1))
    assert wire.now_argument(clock) == 1_767_225_600_000_001


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "0"),
        ({"priority": 9}, "9"),
        ({"due": wire.EPOCH + dt.timedelta(seconds=1)}, "0@1000"),
        ({"due": wire.EPOCH - dt.timedelta(seconds=1)}, "0@-1000"),
        ({"delay": dt.timedelta(seconds=1)}, "0+1000"),
        ({"delay": -dt.timedelta(seconds=1)}, "0+0"),
        ({"due": wire.EPOCH, "delay": dt.timedelta(microseconds=1), "priority": 3}, "3@0+1"),
    ],
)
def test_a_mark_says_where_a_message_goes(fields, expected):
    assert wire.mark(Message("a", "q", b"", **fields)) == expected


@given(st.binary(max_size=50))
def test_a_record_is_read_whatever_its_body_is(body):
    kept = b"," + body if body.startswith(b",") else body
    enqueued, due, found = wire.record(b"5 1000 2000 " + kept, b"a")
    assert (enqueued, due, found) == (wire.instant(1000), wire.instant(2000), body)
    assert wire.record(b"5 1000 - " + kept, b"a")[1:] == (None, body)


def test_a_body_that_is_kept_without_its_id_is_read_with_it():
    assert wire.record(b'5 1000 - ,"Name":"x"}', b"a")[2] == b'{"UUID":"a","Name":"x"}'
    assert wire.record(b'5 1000 - {"UUID":"a","Name":"x"}', b"a")[2] == b'{"UUID":"a","Name":"x"}'  # of before


@given(st.binary(max_size=50))
def test_what_is_no_record_is_given_back_whole(stored):
    _, _, body = wire.record(stored, b"a")
    assert stored.endswith(body) or body == b'{"UUID":"a"' + stored.split(b" ", 3)[3]


def test_what_is_behind_a_message():
    assert wire.behind(b"") == (0, None, Attempts())
    assert wire.behind(b"2 - 1 3 0 R 7:w:1") == (2, None, Attempts(1, 3, 0))
    assert wire.behind(b"0 canceled ") == (0, Verdict.CANCELED, Attempts())


def test_a_token_that_was_not_made_here_matches_none():
    assert wire.token("12:w:1") == b"12:w:1"
    assert b"?" in wire.token("a\udc80")
