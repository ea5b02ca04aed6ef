"""What is to be done at a moment."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

import attrs

Act = Callable[[], None]


@attrs.define(order=True)
class Entry:
    """Something to be done; the earlier comes first, of two at the same moment the one that was added first."""

    moment: float
    number: int
    act: Act | None = attrs.field(order=False)


class Timers:
    """Acts by their moment on the monotonic clock. For any thread; one calls `take_due`.

    Args:
        sooner: called when a moment was added that comes before all others.
    """

    def __init__(self, sooner: Act) -> None:
        self._sooner = sooner
        self._lock = threading.Lock()
        self._heap: list[Entry] = []
        self._dropped = 0  # entries in the heap that will not act
        self._numbers = itertools.count()

    def __len__(self) -> int:
        with self._lock:
            return len(self._heap)

    def at(self, moment: float, act: Act) -> Entry:
        """Have something done at a moment. `drop` what this returns, if it need not be done any more."""
        entry = Entry(moment, next(self._numbers), act)
        with self._lock:
            first = not self._heap or moment < self._heap[0].moment
            heapq.heappush(self._heap, entry)
        if first:
            self._sooner()
        return entry

    def drop(self, entry: Entry) -> None:
        """Do not do this any more. What was done already, or dropped, is left alone."""
        with self._lock:
            if entry.act is None:
                return
            entry.act = None
            self._dropped += 1
            if self._dropped > 100 and self._dropped > len(self._heap) / 2:
                # Else tasks that end long before their limit would pile up here until it comes.
                self._heap = [kept for kept in self._heap if kept.act is not None]
                heapq.heapify(self._heap)
                self._dropped = 0

    def next(self) -> float | None:
        """The earliest moment."""
        with self._lock:
            return self._heap[0].moment if self._heap else None

    def take_due(self, now: float) -> list[Act]:
        """Take out what is due, in order."""
        due: list[Act] = []
        with self._lock:
            while self._heap and self._heap[0].moment <= now:
                entry = heapq.heappop(self._heap)
                if entry.act is None:
                    self._dropped -= 1
                else:
                    due.append(entry.act)
                    entry.act = None
        return due
