"""Waiting on a store that tells nobody anything: a look every few milliseconds."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from vecna.ports.backend import Listener
from vecna.ports.broker import Waiter
from vecna.ports.checks import checked
from vecna.ports.clock import Clock

T = TypeVar("T")

#: Seconds between two looks: half of it is what a wake-up takes on average.
GLANCE: Final = 0.003


class Watched(ABC):
    """What is looked at. Used by one thread at a time."""

    @abstractmethod
    def version(self) -> object:
        """Something cheap to read that is another whenever anybody else has written to the store."""

    @abstractmethod
    def take_bell(self, queues: Sequence[str]) -> bool:
        """Whether the bell of one of the queues was rung; then it is silent now, and nobody else finds it rung."""

    @abstractmethod
    def ends_after(self, number: int | None) -> tuple[int, list[str]]:
        """What has ended since `number` (None: nothing yet), and the number to go on from."""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened. May be repeated."""


class _Look:
    def __init__(self, watched: Watched, clock: Clock) -> None:
        self._store = watched
        self._clock = clock
        self._woken = threading.Event()
        self._closed = False

    def _look(self, find: Callable[[], T], timeout: float) -> T | None:
        """What is found first, if it is true; None after the timeout, or when woken."""
        end, seen = self._clock.monotonic() + timeout, None
        while not self._closed:
            version = self._store.version()  # read before: what is written during the look is looked at again
            if version != seen and (found := find()):
                return found
            seen = version
            left = end - self._clock.monotonic()
            if self._clock.wait(self._woken, min(left, GLANCE)) or left <= 0:
                break
        if not self._closed:
            self._woken.clear()
        return None

    def wake(self) -> None:
        """End the wait that is under way, or else the next one."""
        self._woken.set()

    def close(self) -> None:
        """End a wait under way and close what is looked at."""
        self._closed = True
        self._woken.set()
        self._store.close()


@checked
class PollingWaiter(_Look, Waiter):
    """Waits for bells. Each queue has one: a call that brings work rings it, in the same step.

    A lease call silences it, or rings it if it leaves behind what could be leased at once.

    Args:
        watched: the store, over a connection of its own.
        clock: time.
    """

    def wait(self, queues: Sequence[str], timeout: float) -> None:
        """See `vecna.ports.Waiter`."""
        self._look(lambda: self._store.take_bell(queues), timeout)


@checked
class PollingListener(_Look, Listener):
    """Reads on in a list of what has ended. Each end is added to it in the step that records it.

    Args:
        watched: the store, over a connection of its own.
        clock: time.
    """

    def __init__(self, watched: Watched, clock: Clock) -> None:
        super().__init__(watched, clock)
        self._guard = threading.Lock()
        self._watched: set[str] = set()
        self._number: int | None = None

    def watch(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.Listener`."""
        with self._guard:
            if self._number is None and not self._closed:
                self._number, _ = self._store.ends_after(None)
            self._watched.update(uuids)

    def unwatch(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.Listener`."""
        with self._guard:
            self._watched.difference_update(uuids)

    def poll(self, timeout: float) -> list[str]:
        """See `vecna.ports.Listener`."""
        return self._look(self._heard, timeout) or []

    def _heard(self) -> list[str]:
        with self._guard:
            if self._number is None:
                return []
            self._number, ended = self._store.ends_after(self._number)
            return [uuid for uuid in dict.fromkeys(ended) if uuid in self._watched]
