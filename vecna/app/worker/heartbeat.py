"""The heartbeat: keeps leases, brings news of cancels and lost leases, and ends what runs for too long.

It runs in a thread that runs no task, so that a busy one cannot hold it up for longer than it holds the interpreter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from vecna import log
from vecna.app.config import Config
from vecna.app.delivery import Deliveries
from vecna.app.delivery_run import timed_out
from vecna.app.delivery_values import TIMEOUT, Item
from vecna.app.worker.outage import Outage
from vecna.app.worker.timers import Entry, Timers
from vecna.ports.clock import Clock

_SOURCE = "heartbeat"


class Heartbeat:
    """Extends leases and watches time limits.

    Args:
        deliveries: the steps.
        config: settings.
        clock: time.
        outage: whom to tell of calls that fail.
        cancel: cancels coroutines.
        ended: takes an item whose time limit has ended it.
        stuck: called when every slot is held by what ran over its time and does not stop.
        slots: how many there are.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        config: Config,
        clock: Clock,
        outage: Outage,
        *,
        cancel: Callable[[list[Item]], None],
        ended: Callable[[Item], None],
        stuck: Callable[[str], None],
        slots: int,
    ) -> None:
        self._deliveries = deliveries
        self._config = config
        self._clock = clock
        self._outage = outage
        self._cancel = cancel
        self._ended = ended
        self._stuck = stuck
        self._slots = slots
        self._wake = threading.Event()
        self._stopping = False
        self._limits: dict[Item, Entry] = {}
        self._abandoned: dict[Item, None] = {}
        self._all_abandoned_since: float | None = None
        #: Anything else that is to be done at a moment, e.g. the end of a worker's patience.
        self.timers = Timers(self._wake.set)
        outage.wakes(self._wake)

    def limit(self, item: Item) -> None:
        """Watch the time limit of an item that begins to run now."""
        timeout = item.signature.timeout
        if timeout is not None:
            moment = (item.started or 0.0) + timeout.total_seconds()
            self._limits[item] = self.timers.at(moment, partial(self._over_time, item))

    def came_back(self, item: Item) -> None:
        """Take note that a run with a time limit has ended."""
        limit = self._limits.pop(item, None)
        if limit is not None:
            self.timers.drop(limit)

    def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        beat_at = self._clock.monotonic() + self._config.heartbeat
        while not self._stopping:
            moment = self.timers.next()
            until = beat_at if moment is None else min(beat_at, moment)
            self._clock.wait(self._wake, until - self._clock.monotonic())
            self._wake.clear()
            now = self._clock.monotonic()
            for act in self.timers.take_due(now):
                act()
            if now >= beat_at or self._outage.is_failing(_SOURCE):
                beat_at = now + self._beat()
                self._look_for_a_way_out(now)

    def _beat(self) -> float:
        """One heartbeat; seconds until the next."""
        if not self._deliveries.held:
            self._outage.ok(_SOURCE)
            return self._config.heartbeat
        try:
            told = self._deliveries.extend()
        except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
            return min(self._outage.failed(_SOURCE, exc), self._config.heartbeat)
        self._outage.ok(_SOURCE)
        self._cancel(told)
        return self._config.heartbeat

    # -- time limits -------------------------------------------------------------------------------------------------

    def _over_time(self, item: Item) -> None:
        if item.outcome is not None or item.over or item.ended:
            return
        item.stop(TIMEOUT)
        if item.task is not None and item.task.is_async:
            self._cancel([item])
            # One that blocks the loop, or goes on all the same, is given up like a function.
            self.timers.at(self._clock.monotonic() + self._config.heartbeat, partial(self._abandon, item))
        else:
            self._abandon(item)

    def _abandon(self, item: Item) -> None:
        if item.over or item.ended or not item.complete(*timed_out(item), self._clock.now()):
            return
        self._abandoned[item] = None
        log.warning(
            f"task {item.name} {item.uuid} ran over its timeout and was told to stop, but cannot be made to: it counts "
            "as failed and keeps its slot until it ends",
            task_uuid=item.uuid,
            task=item.name,
        )
        self._ended(item)

    def _look_for_a_way_out(self, now: float) -> None:
        for item in [item for item in self._abandoned if item.ended]:
            del self._abandoned[item]
            log.info(f"task {item.name} {item.uuid} has ended at last; its slot is free", task_uuid=item.uuid)
        if len(self._abandoned) < self._slots:
            self._all_abandoned_since = None
        elif self._all_abandoned_since is None:
            self._all_abandoned_since = now
        elif now - self._all_abandoned_since >= self._config.heartbeat:
            self._stuck(
                f"all {self._slots} slots are held by tasks that ran over their timeout and do not stop: "
                + ", ".join([f"{item.name} {item.uuid}" for item in list(self._abandoned)[:5]])
            )
