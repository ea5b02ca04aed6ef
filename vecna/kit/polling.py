"""Waiting on a store of documents that tells nobody anything: a look every few milliseconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from vecna.kit.checks import checked
from vecna.kit.documents import LAST, Documents, DocumentStore
from vecna.ports.backend import Listener
from vecna.ports.broker import Waiter
from vecna.ports.clock import Clock

T = TypeVar("T")

#: Seconds between two looks: half of it is what a wake-up takes on average.
GLANCE: Final = 0.003
#: How many ends are kept for those who listen; who lags further behind looks by itself.
_ENDS: Final = 100_000


def ring(documents: Documents, queue: str) -> None:
    """Ring the bell of a queue: whoever waits for it next, or does already, wakes. In the step that brings work."""
    documents.put("bell", queue)


def silence(documents: Documents, queue: str) -> bool:
    """Silence the bell of a queue; whether it was rung. Who leases has heard it, unless it asks for nothing."""
    return documents.drop("bell", queue)


def tell(documents: Documents, uuid: str) -> None:
    """Tell those who listen that a task, group or chain has ended. In the step that records it."""
    number = _newest(documents) + 1
    documents.put("ended", str(number), uuid.encode(), number)
    documents.put("newest", "ended", str(number).encode())
    documents.drop("ended", str(number - _ENDS))


def _newest(documents: Documents) -> int:
    newest = documents.get("newest", "ended")
    return 0 if newest is None else int(newest.value)


class _Look:
    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
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
        if self._closed:
            self._store.close()  # a look that was under way may have opened it again
        else:
            self._woken.clear()
        return None

    def wake(self) -> None:
        """End the wait that is under way, or else the next one."""
        self._woken.set()

    def close(self) -> None:
        """End a wait under way, and close the store."""
        self._closed = True
        self._woken.set()
        self._store.close()


@checked
class PollingWaiter(_Look, Waiter):
    """Waits for the bells of its queues: who finds one rung silences it, and so is the only one that it wakes.

    Args:
        store: over a connection of its own (`another`).
        clock: time.
    """

    def wait(self, queues: Sequence[str], timeout: float) -> None:
        """See `vecna.ports.Waiter`."""
        self._look(lambda: self._take_bell(queues), timeout)

    def _take_bell(self, queues: Sequence[str]) -> bool:
        with self._store.step(reading=True) as documents:
            rung = [queue for queue in queues if documents.get("bell", queue) is not None]
        if not rung:
            return False
        with self._store.step() as documents:
            return any(silence(documents, queue) for queue in rung)


@checked
class PollingListener(_Look, Listener):
    """Reads on in the list of what has ended from where it has read to.

    Args:
        store: over a connection of its own (`another`).
        clock: time.
    """

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        super().__init__(store, clock)
        self._guard = threading.Lock()
        self._watched: set[str] = set()
        self._read_to: int | None = None

    def watch(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.Listener`."""
        with self._guard:
            if self._read_to is None and not self._closed:
                with self._store.step(reading=True) as documents:
                    self._read_to = _newest(documents)
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
            if self._read_to is None:
                return []
            with self._store.step(reading=True) as documents:
                ended = documents.scan("ended", self._read_to, LAST, LAST)
            if ended:
                self._read_to = int(ended[-1].key)
            heard = dict.fromkeys([end.value.decode() for end in ended])
            return [uuid for uuid in heard if uuid in self._watched]
