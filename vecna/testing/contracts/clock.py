"""All that a clock promises."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vecna.ports.clock import Clock
from vecna.testing.contracts.law import Laws
from vecna.testing.contracts.values import PATIENCE


class ClockContract(Laws):
    """The laws of `vecna.ports.Clock`, each a test. Bind them with `make`."""

    def make(self) -> Clock:
        """The clock under test."""
        raise NotImplementedError("a contract suite is bound to a clock by its method make(self)")

    def pass_time(self, clock: Clock, seconds: float) -> None:
        """Let time pass on the clock: by its `advance` if it is virtual. Override it where that moves otherwise."""
        if clock.virtual:
            clock.advance(seconds)  # type: ignore[attr-defined]  # by what the docstring says
        else:
            clock.wait(threading.Event(), seconds)

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock under test."""
        return self.make()

    def test_now_is_an_instant_in_utc(self, clock: Clock) -> None:
        """A naive one would be read in the zone of whoever reads it."""
        assert clock.now().utcoffset() == dt.timedelta(0)
        assert isinstance(clock.virtual, bool)

    def test_time_passes(self, clock: Clock) -> None:
        """By as much on both scales."""
        now, reading = clock.now(), clock.monotonic()

        self.pass_time(clock, 0.05)

        assert clock.now() > now
        assert clock.monotonic() - reading >= 0.04

    def test_a_monotonic_reading_never_goes_back(self, clock: Clock) -> None:
        """Whoever measures with it must not get a negative duration."""
        readings = [clock.monotonic() for _ in range(1_000)]

        assert readings == sorted(readings)

    def test_a_set_event_ends_a_wait_before_it_begins(self, clock: Clock) -> None:
        """True: it is set."""
        event = threading.Event()
        event.set()

        assert clock.wait(event)
        assert clock.wait(event, 0)
        assert clock.wait(event, 1e9)

    @pytest.mark.parametrize("timeout", [0, 0.0, -1.0, -1e9])
    def test_no_timeout_is_no_wait(self, clock: Clock, timeout: float) -> None:
        """A deadline that has passed on the way is not an error."""
        assert clock.wait(threading.Event(), timeout) is False

    @pytest.mark.parametrize("timeout", [None, 3600.0, 1e9, 1e300, float("inf")])
    def test_an_event_ends_a_wait_at_once(self, clock: Clock, timeout: float | None) -> None:
        """Set by another thread, long before the time is over, however much of it was given."""
        event = threading.Event()

        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(clock.wait, event, timeout)
            event.set()

            assert future.result(PATIENCE) is True

    def test_a_wait_ends_when_its_time_is_over(self, clock: Clock) -> None:
        """False: the event is not set. The time is this clock's."""
        begin = clock.monotonic()

        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(clock.wait, threading.Event(), 0.05)
            while not future.done():
                self.pass_time(clock, 0.05)

            assert future.result() is False
        assert clock.monotonic() - begin >= 0.04

    def test_many_can_wait(self, clock: Clock) -> None:
        """Each for its own event."""
        events = [threading.Event() for _ in range(8)]

        with ThreadPoolExecutor(8) as threads:
            futures = [threads.submit(clock.wait, event, 3600.0) for event in events]
            for event, future in zip(reversed(events), reversed(futures), strict=True):
                event.set()
                assert future.result(PATIENCE) is True
