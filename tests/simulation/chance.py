"""Chance and time of a history: both move only by what one seed says."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from typing import TypeVar

from vecna.ports.clock import Clock

T = TypeVar("T")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_MASK = (1 << 64) - 1


class Chance:
    """Numbers that follow from (seed, step) alone, so that a step left out changes no other one's. Splitmix64.

    Python's own generator takes longer to be seeded than a step takes to run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed * 0x9E3779B97F4A7C15 & _MASK
        self._state = self._seed

    def begin(self, step: int) -> None:
        """From here on the numbers are this step's."""
        self._state = (self._seed ^ (step + 1) * 0xD1342543DE82EF95) & _MASK

    def bits(self) -> int:
        """64 of them."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        return state ^ state >> 31

    def random(self) -> float:
        """From 0 to below 1."""
        return (self.bits() >> 11) / (1 << 53)

    def below(self, number: int) -> int:
        """From 0 to below `number`."""
        return (self.bits() >> 11) % number

    def choice(self, values: Sequence[T]) -> T:
        """One of them."""
        return values[(self.bits() >> 11) % len(values)]

    def one_in(self, number: int) -> bool:
        """True once in so many times."""
        return (self.bits() >> 11) % number == 0


class SimClock(Clock):
    """Stands still until it is moved. As `ManualClock`, without its locks: a history has one thread."""

    def __init__(self) -> None:
        self._now = START
        self._elapsed = 0.0

    @property
    def virtual(self) -> bool:
        return True

    def now(self) -> dt.datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds
        self._now += dt.timedelta(seconds=seconds)

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        raise AssertionError("nothing waits in a simulation")
