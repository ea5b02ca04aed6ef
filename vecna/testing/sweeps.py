"""When the harness sweeps: production workers do every half minute; here only when something may lie about."""

from __future__ import annotations

import datetime as dt
from typing import Final

from vecna.app.relaying import carry_all
from vecna.app.sweeping import sweep_records, sweep_senders
from vecna.testing.stores import View
from vecna.testing.wiring import Wiring

#: Heartbeats between two sweeps of a production worker, more or less.
_BEATS: Final = 3
#: What lies about for long, e.g. the ends of a workflow that waits a year for its last step, is looked at seldom.
_LONGEST: Final = dt.timedelta(hours=6)
_NO_TIME: Final = dt.timedelta(0)


class Sweeps:
    """Knows when a sweep is due, and sweeps.

    Args:
        wiring: of the worker.
        view: to look whether there is something.
    """

    def __init__(self, wiring: Wiring, view: View) -> None:
        self._wiring = wiring
        self._view = view
        self._at: dt.datetime | None = None
        self._pause = self._first
        self._orphans = False

    @property
    def _first(self) -> dt.timedelta:
        return dt.timedelta(seconds=_BEATS * self._wiring.config.heartbeat)

    def note(self) -> None:
        """All that was due is done: will there be something to sweep?"""
        if self._at is None and self._lies_about():
            self.expect()

    def expect(self) -> None:
        """Something may have been left half done."""
        self._pause = self._first
        self._at = self._wiring.clock.now() + self._pause

    def died(self) -> None:
        """A worker has died: until its leases have run out, others look as often as production workers do."""
        self._orphans = True
        self.expect()

    def next(self) -> dt.datetime | None:
        """When to look next."""
        if self._orphans:
            # A queue that nobody looks at for half a lease is taken for one whose broker was away.
            return self._wiring.clock.now() + dt.timedelta(seconds=self._wiring.config.lease / 4)
        return self._at

    def is_due(self) -> bool:
        """Whether it is time."""
        return self._at is not None and self._at <= self._wiring.clock.now()

    def sweep(self) -> None:
        """One sweep.

        Raises:
            BrokerUnavailable: a reply was lost; call again.
        """
        broker = self._wiring.broker
        queues = self._view.broker.queues()
        for queue in queues:
            carry_all(lambda queue=queue: broker.relay(queue))  # type: ignore[misc]  # bound at once
        carry_all(broker.relay_schedules)
        sweep_records(self._wiring)
        sweep_senders(self._wiring, queues)
        self._orphans = self._orphans and any(self._view.broker.counts(queue).leased for queue in queues)
        if self._lies_about() or self._orphans:
            self._pause = self._first if self._orphans else min(2 * self._pause, _LONGEST)
            self._at = self._wiring.clock.now() + self._pause
        else:
            self._at = None

    def _lies_about(self) -> bool:
        broker, backend = self._view.broker, self._view.backend
        if backend.unreleased(_NO_TIME, 1) or backend.uncommitted(_NO_TIME, 1):
            return True
        return any(broker.staged(queue, _NO_TIME, 1) for queue in broker.queues())
