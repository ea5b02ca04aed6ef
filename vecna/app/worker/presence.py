"""A worker says that it is there, and what it runs."""

from __future__ import annotations

import datetime as dt
import heapq
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from vecna.app.delivery_values import Item, Wiring
from vecna.app.worker.outage import Outage
from vecna.domain.ids import new_id
from vecna.domain.presence import RunningTask, WorkerRecord

#: Seconds between two times that it says so, unless heartbeats are further apart.
_PERIOD: Final = 5.0
#: It counts as there for so many periods after it was last heard.
_LASTS: Final = 3
#: Tasks that it names.
_NAMED: Final = 20
_SOURCE: Final = "saying that it is there"


class Presence:
    """Says so in one thread, of its own: a call to a broker that is away holds up nothing else.

    Args:
        wiring: of the server.
        name: of the worker.
        concurrency: how many tasks it runs at a time.
        queues: what it serves.
        items: what it holds, from any thread.
        outage: whom to tell of calls that fail.
    """

    def __init__(
        self,
        wiring: Wiring,
        name: str,
        concurrency: int,
        queues: Sequence[str],
        items: Callable[[], Iterable[Item]],
        outage: Outage,
    ) -> None:
        self._wiring = wiring
        self._items = items
        self._outage = outage
        self._wake = threading.Event()
        self._stopping = False
        started = wiring.clock.now()
        self._record = WorkerRecord(
            new_id(), name, tuple(queues), concurrency, started, socket.gethostname(), os.getpid()
        )

    def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        while not self._stopping:
            period = max(_PERIOD, self._wiring.config.heartbeat)
            self._say(_LASTS * period)
            self._wiring.clock.wait(self._wake, period)
        if not self._outage.is_failing(_SOURCE):  # else it is forgotten soon
            self._say(0)

    def _say(self, lasts: float) -> None:
        try:
            self._wiring.broker.note_worker(self._now(), dt.timedelta(seconds=lasts))
        except Exception as exc:  # noqa: BLE001  # whatever a port raises: it says so again
            self._outage.failed(_SOURCE, exc, idle=True)
        else:
            self._outage.ok(_SOURCE)

    def _now(self) -> WorkerRecord:
        held = list(self._items())
        running = [
            RunningTask(item.uuid, item.name, item.delivery.queue, item.started_at)
            for item in held
            if item.started_at is not None and not item.ended
        ]
        longest = heapq.nsmallest(_NAMED, running, key=lambda run: run.started_at)
        return attrs.evolve(self._record, held=len(held), running=tuple(longest))
