"""Waiting for work."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from vecna.adapters.memory.bell import Bell
from vecna.adapters.memory.queue import Queues
from vecna.domain.ids import check_id
from vecna.ports.broker import Waiter
from vecna.ports.clock import Clock


class MemoryWaiter(Waiter):
    """Waits at the bells of its queues."""

    def __init__(self, store: Queues, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._woken = threading.Event()
        self._closed = False
        self._bells: list[Bell] = []  # at which it waits now

    def wait(self, queues: Sequence[str], timeout: float) -> None:
        """See `vecna.ports.Waiter`."""
        for queue in queues:
            check_id(queue, "queue name")
        with self._store.lock:
            if not self._woken.is_set() and self._answer(queues):
                return
            self._bells = [self._store.queue(name).bell for name in queues]
            for bell in self._bells:
                bell.waiting[self] = None
        try:
            self._clock.wait(self._woken, timeout)
        finally:
            with self._store.lock:
                self._leave()
                if not self._closed:
                    self._woken.clear()

    def _answer(self, queues: Sequence[str]) -> bool:
        """Whether one of the bells was rung before; then it is silent now."""
        for name in queues:
            bell = self._store.queue(name).bell
            if bell.rung:
                bell.rung = False
                return True
        return False

    def awake(self) -> None:
        """End the wait; under the store's lock, so that no second bell wakes the one that is awake."""
        self._leave()
        self._woken.set()

    def _leave(self) -> None:
        for bell in self._bells:
            bell.waiting.pop(self, None)
        self._bells = []

    def wake(self) -> None:
        """See `vecna.ports.Waiter`."""
        with self._store.lock:
            self.awake()

    def close(self) -> None:
        """See `vecna.ports.Waiter`; a wait after it returns at once."""
        with self._store.lock:
            self._closed = True
            self.awake()
