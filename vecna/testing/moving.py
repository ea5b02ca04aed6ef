"""The clock of the harness, and `datetime.now()` that goes along with it."""

from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import Callable
from typing import Any, Final, Protocol

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import ConfigError

_LIBRARIES: Final = ("time-machine", "freezegun")
_MODULES: Final = {"time-machine": "time_machine", "freezegun": "freezegun"}


def _nothing() -> None:
    pass


class VirtualClock(ManualClock):
    """A clock that stands still until it is moved. It costs next to nothing to read.

    Args:
        now: where it starts; an aware datetime. 2026-01-01 in UTC when left out.

    Raises:
        InvalidArgument: `now` is naive.
    """

    def __init__(self, now: dt.datetime | None = None) -> None:
        super().__init__(now)
        self._now = super().now()
        self._seconds = 0.0
        #: Called before and after each move, by whoever makes it.
        self.moving: Callable[[], None] = _nothing
        self.moved: Callable[[], None] = _nothing

    def now(self) -> dt.datetime:
        """The start and all advances since."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that it was advanced by, in all."""
        return self._seconds

    def advance(self, duration: dt.timedelta | float) -> dt.datetime:
        """Move on, without running anything. What runs just now notices: its time limit, its lease.

        Args:
            duration: a timedelta, or seconds; not negative.

        Returns:
            The new time.

        Raises:
            InvalidArgument: negative, or no duration.
        """
        self.moving()
        self._now = super().advance(duration)
        self._seconds = super().monotonic()
        self.moved()
        return self._now


class Traveller(Protocol):
    """Moves what the rest of the process takes for the time."""

    def move_to(self, now: dt.datetime) -> None:
        """It is `now`."""

    def stop(self) -> None:
        """Let it be as late as it is."""


def traveller(how: bool | str, now: dt.datetime) -> Traveller:
    """Begin to hold `datetime.now()`, `time.time()` and the like at the clock of the harness.

    Args:
        how: "time-machine", "freezegun", or True for the one that is installed.
        now: where to begin.

    Raises:
        ConfigError: another name, or it is not installed.
    """
    known = ", ".join(map(repr, _LIBRARIES))
    if how is not True and how not in _LIBRARIES:
        raise ConfigError(f"travel takes True, False or one of {known}, not {how!r}")
    wanted = _LIBRARIES if how is True else (str(how),)
    found = next((name for name in wanted if importlib.util.find_spec(_MODULES[name])), None)
    if found is None:
        raise ConfigError(f"travel needs {' or '.join(wanted)}, which is not installed: pip install {wanted[0]}")
    return _TimeMachine(now) if found == "time-machine" else _Freezegun(now)


class _TimeMachine:
    def __init__(self, now: dt.datetime) -> None:
        import time_machine

        self._travel = time_machine.travel(now, tick=False)
        self._coordinates = self._travel.start()

    def move_to(self, now: dt.datetime) -> None:
        self._coordinates.move_to(now, tick=False)

    def stop(self) -> None:
        self._travel.stop()


class _Freezegun:
    def __init__(self, now: dt.datetime) -> None:
        import freezegun

        # Event loops go by the monotonic clock: they would stand still with it.
        self._travel: Any = freezegun.freeze_time(now, real_asyncio=True)
        self._frozen = self._travel.start()

    def move_to(self, now: dt.datetime) -> None:
        self._frozen.move_to(now)

    def stop(self) -> None:
        self._travel.stop()
