"""Clocks: the machine's, and one that moves when told to."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Final

from vecna.domain.durations import to_duration, to_instant
from vecna.ports.clock import Clock

#: Where a `ManualClock` starts unless told otherwise.
START: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: How often a wait on a `ManualClock` looks at the event (real seconds): threading cannot wait for two things at once.
_GLANCE: Final = 0.002


class SystemClock(Clock):
    """The machine's clock."""

    @property
    def virtual(self) -> bool:
        """False: its time passes by itself."""
        return False

    def now(self) -> dt.datetime:
        """The machine's time, in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds that the machine counts; unmoved when its time is set."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait for `event`, at most `timeout` seconds (None: no limit). Returns whether it is set."""
        if timeout is None:
            return event.wait()
        return event.wait(min(max(timeout, 0.0), threading.TIMEOUT_MAX))


class ManualClock(Clock):
    """A clock that stands still until `advance` moves it. For tests and simulations.

    Args:
        now: where it starts; an aware datetime. 2026-01-01 in UTC when left out.

    Raises:
        InvalidArgument: `now` is naive.
    """

    def __init__(self, now: dt.datetime | None = None) -> None:
        self._start = START if now is None else to_instant(now, "now")
        self._elapsed = dt.timedelta(0)
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<ManualClock {self.now().isoformat()}>"

    @property
    def virtual(self) -> bool:
        """True: its time moves only through `advance`."""
        return True

    def now(self) -> dt.datetime:
        """The start and all advances since."""
        with self._changed:
            return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds that it was advanced by, in all."""
        with self._changed:
            return self._elapsed.total_seconds()

    def advance(self, duration: dt.timedelta | float) -> dt.datetime:
        """Move on, and end the waits that run out on the way.

        Args:
            duration: a timedelta, or seconds; not negative.

        Returns:
            The new time.

        Raises:
            InvalidArgument: negative, or no duration.
        """
        step = to_duration(duration, "advance")
        with self._changed:
            self._elapsed += step
            self._changed.notify_all()
            return self._start + self._elapsed

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait until `event` is set, or the clock was advanced by `timeout` seconds. Returns whether it is set."""
        with self._changed:
            end = None if timeout is None else self._elapsed.total_seconds() + max(timeout, 0.0)
            # Half a microsecond is a datetime's own rounding: two waits of 0.1 end with advances of 0.2.
            while not event.is_set() and (end is None or self._elapsed.total_seconds() < end - 5e-7):
                self._changed.wait(_GLANCE)
            return event.is_set()
