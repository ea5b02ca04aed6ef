"""What the clocks do beyond the laws of the port."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vecna.adapters.clock import START, ManualClock, SystemClock
from vecna.domain.errors import InvalidArgument

PATIENCE = 20.0


def test_the_machines_clock_tells_the_machines_time():
    clock = SystemClock()

    assert not clock.virtual
    assert clock.now().year >= 2025


def test_a_manual_clock_stands_still_until_it_is_moved():
    clock = ManualClock()
    assert clock.virtual
    assert (clock.now(), clock.monotonic()) == (START, 0.0)

    assert clock.advance(1.5) == START + dt.timedelta(seconds=1.5)
    assert clock.advance(dt.timedelta(days=1)) == clock.now() == START + dt.timedelta(days=1, seconds=1.5)
    assert clock.monotonic() == 86_401.5


def test_a_manual_clock_starts_where_it_is_told_to():
    instant = dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))

    clock = ManualClock(instant)

    assert clock.now() == instant
    assert clock.now().utcoffset() == dt.timedelta(0)
    assert repr(clock) == "<ManualClock 2024-02-29T10:00:00+00:00>"


def test_a_naive_start_is_refused():
    with pytest.raises(InvalidArgument, match="no time zone"):
        ManualClock(dt.datetime(2024, 1, 1))  # noqa: DTZ001  # the mistake


@pytest.mark.parametrize("duration", [-1, -0.001, dt.timedelta(seconds=-1), float("nan"), "1", None])
def test_a_clock_does_not_go_back(duration):
    clock = ManualClock()

    with pytest.raises(InvalidArgument, match="advance"):
        clock.advance(duration)

    assert clock.now() == START


def test_a_wait_ends_when_the_clock_was_moved_far_enough():
    clock = ManualClock()

    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(clock.wait, threading.Event(), 10)
        while not future.done():
            clock.advance(1)

        assert future.result() is False
    assert clock.monotonic() >= 10


def test_a_wait_goes_on_while_the_clock_has_not_come_far_enough():
    clock = ManualClock()
    clock.advance(0.1)
    event = threading.Event()

    with ThreadPoolExecutor(2) as threads:
        short, long = threads.submit(clock.wait, event, 5), threads.submit(clock.wait, event, 1_000)
        while not short.done():
            clock.advance(0.1)
        assert short.result() is False
        assert not long.done()

        event.set()
        assert long.result(PATIENCE) is True


def test_a_wait_ends_in_spite_of_rounding():
    """0.1 + 0.2 is more than 0.3."""
    clock = ManualClock()
    clock.advance(0.1)
    done = threading.Event()

    def wait():
        clock.wait(threading.Event(), 0.2)
        done.set()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(wait)
        for _ in range(20_000):
            if done.is_set():
                break
            clock.advance(0.1)
            clock.advance(0.1)
        assert done.wait(PATIENCE)
