"""Sweeping: what workers that died have left half done, in own queues and in one other at a time.

It rides on no task and no message: a queue without workers, or with nothing in it that calls for one, is looked at too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from vecna.app.delivery import Deliveries
from vecna.app.delivery_values import Item, Wiring
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
        """One sweep.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached; the rest is the next sweep's.
        """
        broker = self._wiring.broker
        for queue in self._queues:
            broker.relay(queue)
        known = broker.queues()
        if known:
            queue = self._wiring.random.choice(known)
            if queue not in self._queues:
                broker.relay(queue)
            # What is due or has run out moves on, and what was cancelled or died is recorded as ended.
            try:
                _, ended = self._deliveries.admit(self._deliveries.lease(queue, _MOST, verdicts_only=True))
                self._deliveries.finish(ended)
                self._over(ended)
            finally:
                self._deliveries.let_go(self._deliveries.items())  # after an outage: their leases run out
        sweep_records(self._wiring)
        sweep_callbacks(self._wiring)
        sweep_senders(self._wiring, known)
