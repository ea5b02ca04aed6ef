"""Hearing of new work: one thread that waits at the broker, as long as there is a free slot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from vecna.app.config import Config
from vecna.app.worker.outage import Outage
from vecna.ports.broker import Waiter
from vecna.ports.clock import Clock
from vecna.ports.leaving import Leaving

_SOURCE = "waiting for work"


class Doorbell:
    """Waits while it is armed, and rings once for each return from waiting.

    Args:
        waiter: of the broker.
        queues: what to wait for.
        config: settings.
        clock: time.
        outage: whom to tell of calls that fail.
        ring: called when one of the queues may have work.
        missed: called when waiting has failed, and a wake-up may have gone with it.
    """

    def __init__(
        self,
        waiter: Waiter,
        queues: Sequence[str],
        config: Config,
        clock: Clock,
        outage: Outage,
        ring: Callable[[], None],
        *,
        missed: Callable[[], None] | None = None,
    ) -> None:
        self._waiter = waiter
        self._queues = queues
        self._config = config
        self._clock = clock
        self._outage = outage
        self._ring = ring
        self._missed = missed
        self._lingering = waiter if isinstance(waiter, Leaving) else None
        self._guard = threading.Lock()  # of what follows, which is changed together
        self._armed = threading.Event()  # or to leave, or to stop
        self._leaving = False
        self._waiting = False
        self._pause = threading.Event()
        self._stopping = False
        outage.wakes(self._pause)

    def arm(self) -> None:
        """Wait for work, until it rings."""
        with self._guard:
            self._leaving = False
            self._armed.set()

    def disarm(self) -> None:
        """Leave new work to other workers: there is no free slot."""
        with self._guard:
            waits = self._waiting and self._armed.is_set()
            self._clear()
            if not self._waiting and self._lingering is not None and self._lingering.lingers():
                self._leaving = True
                self._armed.set()
        if waits:
            self._waiter.wake()

    def _clear(self) -> None:
        """Under the guard."""
        self._leaving = False
        self._armed.clear()
        if self._stopping:  # what has just been cleared away was the end
            self._armed.set()

    def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._armed.set()
        self._pause.set()
        self._waiter.close()

    def loop(self) -> None:
        """What its thread runs."""
        while True:
            self._clock.wait(self._armed)
            if self._stopping:
                return
            self._pause.clear()  # what sets it from here on ends the next pause
            if self._stopping:
                return
            try:
                may_have_work = self._wait_or_leave()
            except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
                if self._stopping:
                    return
                if self._missed is not None:
                    self._missed()
                self._clock.wait(self._pause, self._outage.failed(_SOURCE, exc, idle=True))
                continue
            finally:
                self._waiting = False
            if self._stopping:
                return
            if may_have_work:
                self._ring()

    def _wait_or_leave(self) -> bool:
        """Do what it was told last; whether there may be work after it."""
        with self._guard:
            leaving = self._leaving
            self._waiting = self._armed.is_set() and not leaving
            if leaving:
                self._clear()
        if leaving:
            return self._lingering is not None and self._lingering.leave()
        if not self._waiting:  # disarmed before it began
            return False
        self._waiter.wait(self._queues, self._config.poll_interval)
        self._outage.ok(_SOURCE)
        with self._guard:
            self._waiting = False
            # Also when it was disarmed meanwhile: then a wake-up may have been meant for another worker.
            self._clear()
        return True
