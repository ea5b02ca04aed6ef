"""What is to be done at a moment."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

Act = Callable[[], None]


class Timers:
    """Acts by their moment on the monotonic clock. For any thread; one calls `take_due`.

    Args:
        sooner: called when a moment was added that comes before all others.
    """

    def __init__(self, sooner: Act) -> None:
        self._sooner = sooner
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, Act]] = []
        self._numbers = itertools.count()

    def at(self, moment: float, act: Act) -> None:
        """Have something done at a moment."""
        with self._lock:
            first = not self._heap or moment < self._heap[0][0]
            heapq.heappush(self._heap, (moment, next(self._numbers), act))
        if first:
            self._sooner()

    def next(self) -> float | None:
        """The earliest moment."""
        with self._lock:
            return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[Act]:
        """Take out what is due, in order."""
        due: list[Act] = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
        return due
