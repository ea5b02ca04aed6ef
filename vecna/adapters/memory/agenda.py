"""Keys in the order in which their time comes."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Agenda(Generic[K]):
    """Each key has one instant; the earliest comes first, and of equal ones the one of smaller `rank`.

    A heap whose outdated entries are skipped when they come up: O(log n) for each step.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[dt.datetime, int, K]] = []
        self._entries: dict[K, tuple[dt.datetime, int, K]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __getitem__(self, key: K) -> dt.datetime:
        return self._entries[key][0]

    def __iter__(self) -> Iterator[K]:
        """All keys, the earliest first. O(n log n)."""
        return iter([key for _, _, key in sorted(self._entries.values())])

    def put(self, key: K, when: dt.datetime, rank: int | None = None) -> None:
        """Give `key` this instant in place of any other; without a rank, who is put earlier comes earlier."""
        entry = (when, next(self._numbers) if rank is None else rank, key)
        self._entries[key] = entry
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, entry)

    def discard(self, key: K) -> None:
        """Forget `key`, if it is there."""
        self._entries.pop(key, None)

    def first(self) -> dt.datetime | None:
        """The earliest instant; None if there is no key."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if self._entries.get(entry[2]) is entry:
                return entry[0]
            heapq.heappop(heap)
        return None

    def until(self, now: dt.datetime) -> Iterator[K]:
        """The keys whose instant has come, the earliest first. O(k log k) for k of them."""
        while self._heap and self._entries.get(self._heap[0][2]) is not self._heap[0]:
            heapq.heappop(self._heap)
        # A heap's entries that are due stand together at its top.
        due, stack = [], [0]
        while stack:
            place = stack.pop()
            if place < len(self._heap) and self._heap[place][0] <= now:
                entry = self._heap[place]
                if self._entries.get(entry[2]) is entry:
                    due.append(entry)
                stack += (2 * place + 1, 2 * place + 2)
        return iter([key for _, _, key in sorted(due)])

    def after(self, now: dt.datetime) -> K | None:
        """The key with the earliest instant that has not come; None if there is none. O(k) for k that have come."""
        found: tuple[dt.datetime, int, K] | None = None
        stack = [0]
        while stack:
            place = stack.pop()
            if place >= len(self._heap):
                continue
            entry = self._heap[place]
            alive = self._entries.get(entry[2]) is entry
            if entry[0] > now and alive:
                found = entry if found is None or entry < found else found
            elif found is None or entry < found:
                stack += (2 * place + 1, 2 * place + 2)
        return None if found is None else found[2]

    def take_due(self, now: dt.datetime) -> Iterator[K]:
        """Take out, one by one, the keys whose instant has come."""
        while (when := self.first()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._entries[key]
            yield key
