"""Looking after schedules: every worker does, and fires what is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from vecna.app.delivery_values import Wiring
from vecna.app.firing import Firer
from vecna.app.worker.outage import Outage

#: Seconds after which a worker looks for schedules that others have stored, unless it would hear of them; in between
#: it waits for the next due time. Also the least between two looks that nothing but a ring calls for.
_LOOK: Final = 1.0
#: How much later than the doorbell it looks by itself, and seconds after which it does in any case.
_BEHIND: Final = 1.2
_LONGEST: Final = 30.0
#: Seconds from a ring to the look: nearly always a task has come, and should not have to wait for this.
_AFTER: Final = 0.1
_SOURCE: Final = "firing schedules"
_STORING: Final = "storing its schedules"


class Served(Wiring, Protocol):
    """What a worker needs of its server."""

    def storing_periodic_tasks(self) -> Callable[[], None]:
        """What stores the schedules that are declared with the tasks, to be called until it works.

        One that cannot be stored is logged; one that is removed after the first call is not stored by later ones.
        """


class Scheduling:
    """Stores the schedules that are declared with the tasks, then fires whatever is due. Runs in one thread.

    Of what others store it learns when the doorbell rings. While nobody waits there, a ring may be lost with the next
    lease: then it looks once a second, and once more after that.

    Args:
        wiring: of the server.
        outage: whom to tell of calls that fail.
    """

    def __init__(self, wiring: Served, outage: Outage) -> None:
        self._wiring = wiring
        self._outage = outage
        self._firer = Firer(wiring)
        self._wake = threading.Event()
        self._listening = False
        self._rung = False
        self._stopping = False
        outage.wakes(self._wake)

    # -- from any thread ---------------------------------------------------------------------------------------------

    def ring(self) -> None:
        """There may be something new; nobody waits at the doorbell, until `listen` says so."""
        self._listening = False
        if not self._rung:  # one is enough until the next look
            self._rung = True
            self._wake.set()

    def listen(self, listening: bool) -> None:  # the one thing it is about
        """Take note of whether somebody waits at the doorbell, who will ring."""
        if self._listening and not listening:
            self.ring()
        self._listening = listening

    def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._wake.set()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        """What its thread runs."""
        stored = False
        store = self._wiring.storing_periodic_tasks()
        while not self._stopping:
            source = _SOURCE if stored else _STORING
            mark = self._outage.recoveries
            self._rung = False
            longest = self._longest()  # before the look: what is stored after it will ring, or else be looked for soon
            failed = False
            try:
                if not stored:
                    store()
                    stored = True
                    pause = 0.0
                else:
                    pause = self._fire(longest) if self._wiring.config.schedules else _LOOK
            except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
                pause, failed = self._until_due(self._outage.failed(source, exc, idle=True)), True
            else:
                self._outage.ok(source)
            self._rest(pause, mark, pause if failed else _LOOK)

    def _longest(self) -> float:
        """Seconds until the next look, whatever is planned."""
        if not self._listening:
            return _LOOK
        config = self._wiring.config
        return max(_LOOK, min(_BEHIND * config.poll_interval, config.lease / 4, _LONGEST))

    def _fire(self, longest: float) -> float:
        """Fire what is due; seconds until the next look."""
        until = self._firer.step()
        return longest if until is None else min(until.total_seconds(), longest)

    def _until_due(self, pause: float) -> float:
        """A pause after a fault, shorter if one that the fault does not hinder is due before."""
        due_at = self._firer.due_at
        return pause if due_at is None else min(pause, max(due_at - self._wiring.clock.monotonic(), 0.0))

    def _rest(self, pause: float, mark: int, least: float) -> None:
        """Wait until the next look. A ring shortens it to no less than `least` seconds, an outage's end ends it."""
        clock = self._wiring.clock
        begin = clock.monotonic()
        end = begin + pause
        while not self._stopping and clock.wait(self._wake, end - clock.monotonic()):
            self._wake.clear()
            if self._stopping or self._outage.recoveries != mark:
                return
            end = min(end, max(begin + least, clock.monotonic() + _AFTER))
