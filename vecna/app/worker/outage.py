"""When the broker is away: who waits how long, and one log line for the whole of it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final

from vecna import log
from vecna.domain.errors import BrokerUnavailable
from vecna.ports.clock import Clock

#: Seconds.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


class Outage:
    """Who of a worker's threads cannot reach the broker or backend. For any thread.

    Args:
        worker: its name, for the log.
        clock: time.
        chance: for jitter.
        lost: called with the first error of each outage.
    """

    def __init__(self, worker: str, clock: Clock, chance: random.Random, lost: Callable[[Exception], None]) -> None:
        self._worker = worker
        self._clock = clock
        self._chance = chance
        self._lost = lost
        self._lock = threading.Lock()
        self._failing: dict[str, int] = {}  # by source: how often in a row
        self._missing: set[str] = set()  # sources whose next success ends the outage
        self._since: float | None = None  # when the broker went away; None while it is there
        #: How often someone who had failed has reached the broker again: then a pause may be cut short.
        self.recoveries = 0
        self._events: list[threading.Event] = []

    def wakes(self, event: threading.Event) -> None:
        """Have `event` set when someone reaches the broker again: whoever waits out a pause on it may try at once."""
        self._events.append(event)

    def is_failing(self, source: str) -> bool:
        """Whether this one's last call has failed."""
        return source in self._failing

    def failed(self, source: str, exc: Exception, *, idle: bool = False) -> float:
        """Take note of a failed call.

        Args:
            source: who has made it.
            exc: what it raised. Anything else than BrokerUnavailable is a fault, and logged with its traceback.
            idle: it may be long before this one knows that the outage is over; others say so.

        Returns:
            Seconds to wait before the next try.
        """
        away = isinstance(exc, BrokerUnavailable)
        with self._lock:
            again = self._failing.get(source, 0)
            self._failing[source] = again + 1
            if away and not idle:
                self._missing.add(source)
            first = away and self._since is None
            if first:
                self._since = self._clock.monotonic()
        if first:
            log.warning(f"worker {self._worker} cannot reach the broker, and goes on trying: {exc}")
            self._lost(exc)
        elif not away and not again:
            log.error(f"worker {self._worker}: {source} has failed with an unexpected error", exc_info=exc)
        pause = min(FIRST_PAUSE * 2.0 ** min(again, 30), LONGEST_PAUSE)
        return pause * (0.5 + self._chance.random() / 2)

    def ok(self, source: str) -> None:
        """Take note of a call that has worked."""
        if source not in self._failing:  # the usual case costs one look
            return
        with self._lock:
            if self._failing.pop(source, None) is None:
                return
            self.recoveries += 1
            self._missing.discard(source)
            since = None if self._missing else self._since
            if since is not None:
                self._since = None
        for event in self._events:
            event.set()
        if since is not None:
            seconds = self._clock.monotonic() - since
            log.info(f"worker {self._worker} reaches the broker again after {seconds:.1f} s")
