"""Sweeping: what workers that died have left half done, in own queues and in one other at a time.

It rides on no task and no message: a queue without workers, or with nothing in it that calls for one, is looked at too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from vecna.app.delivery import Deliveries
from vecna.app.delivery_values import Item, Wiring
from vecna.app.faults import try_each
from vecna.app.sweeping import sweep_callbacks, sweep_records, sweep_senders
from vecna.app.worker.outage import Outage

#: Sweeps come with every third heartbeat, more or less: workers that were started together do not stay together.
_BEATS: Final = 3
#: Of one sweep: messages of another queue, records.
_MOST: Final = 100
_SOURCE: Final = "sweeping"


class Sweeper:
    """Looks after what lies about. Runs in one thread.

    Args:
        wiring: of the server.
        worker: its name.
        queues: its own queues.
        outage: whom to tell of calls that fail.
        over: told of tasks that were ended by a sweep.
    """

    def __init__(
        self,
        wiring: Wiring,
        worker: str,
        queues: Sequence[str],
        outage: Outage,
        over: Callable[[Sequence[Item]], None],
    ) -> None:
        self._wiring = wiring
        self._queues = queues
        self._outage = outage
        self._over = over
        # Its lease calls have numbers of their own.
        self._deliveries = Deliveries(wiring, worker)
        self._wake = threading.Event()
        self._stopping = False

    def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        while not self._stopping:
            pause = self._wiring.config.heartbeat * _BEATS * (0.5 + self._wiring.random.random())
            self._wiring.clock.wait(self._wake, pause)
            if self._stopping:
                return
            try:
                self.sweep()
                self._outage.ok(_SOURCE)
            except Exception as exc:  # noqa: BLE001  # whatever a port raises: it comes by again
                self._outage.failed(_SOURCE, exc, idle=True)

    def sweep(self) -> None:
        """One sweep. What one part of it raises keeps it from no other.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached, or a part of them; the rest is the next sweep's.
        """
        try_each(part for part in self._parts() if not self._stopping)

    def _parts(self) -> Iterator[Callable[[], object]]:
        broker, wiring = self._wiring.broker, self._wiring
        known: list[str] = []
        for queue in self._queues:
            yield partial(broker.relay, queue)
        yield lambda: known.extend(broker.queues())
        if known:
            queue = wiring.random.choice(known)
            if queue not in self._queues:
                yield partial(broker.relay, queue)
            yield partial(self._end, queue)
        yield partial(sweep_records, wiring)
        yield partial(sweep_callbacks, wiring)
        yield partial(sweep_senders, wiring, known)

    def _end(self, queue: str) -> None:
        """Have move on what is due or has run out, and what was cancelled or died recorded as ended."""
        deliveries = self._deliveries
        try:
            _, ended = deliveries.admit(deliveries.lease(queue, _MOST, verdicts_only=True))
            try:
                deliveries.finish(ended)
            finally:
                self._over([item for item in ended if item.over])  # nobody else will: they are settled
        finally:
            deliveries.let_go(deliveries.items())  # after an outage: their leases run out
