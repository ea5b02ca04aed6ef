"""Looking after schedules: every worker does, and fires what is due."""

from __future__ import annotations

import threading
from typing import Final, Protocol

from vecna.app.delivery_values import Wiring
from vecna.app.firing import Firer
from vecna.app.worker.outage import Outage

#: Seconds after which a worker looks for schedules that others have stored; in between it waits for the next due time.
_LOOK: Final = 1.0
_SOURCE: Final = "firing schedules"
_STORING: Final = "storing its schedules"


class Served(Wiring, Protocol):
    """What a worker needs of its server."""

    def store_periodic_tasks(self) -> None:
        """Store the schedules that are declared with the tasks. One that cannot be stored is logged."""


class Scheduling:
    """Stores the schedules that are declared with the tasks, then fires whatever is due. Runs in one thread.

    Args:
        wiring: of the server.
        outage: whom to tell of calls that fail.
    """

    def __init__(self, wiring: Served, outage: Outage) -> None:
        self._wiring = wiring
        self._outage = outage
        self._firer = Firer(wiring)
        self._wake = threading.Event()
        self._stopping = False
        outage.wakes(self._wake)

    def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        stored = False
        while not self._stopping:
            source = _SOURCE if stored else _STORING
            self._wake.clear()
            try:
                if not stored:
                    self._wiring.store_periodic_tasks()
                    stored = True
                    pause = 0.0
                else:
                    pause = self._fire() if self._wiring.config.schedules else _LOOK
            except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
                pause = self._outage.failed(source, exc, idle=True)
            else:
                self._outage.ok(source)
            if not self._stopping:
                self._wiring.clock.wait(self._wake, pause)

    def _fire(self) -> float:
        """Fire what is due; seconds until the next look."""
        until = self._firer.step()
        return _LOOK if until is None else min(until.total_seconds(), _LOOK)
