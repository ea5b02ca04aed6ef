"""The life of a group's children: started, watched, started again when they die, stopped."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from vecna import log
from vecna.app.group.process import ChildProcess
from vecna.app.group.reports import ABORT, DRAIN
from vecna.ports.clock import Clock

#: Seconds until a child that has died is started again: doubled each time, with jitter.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 30.0
#: Seconds after which a child that dies has lived well: the next one need not wait.
STEADY: Final = 60.0
#: So many children in a row that never served are enough, if none does.
MOST_FAILED_STARTS: Final = 10
#: Seconds that children get to hand back before they are killed.
LAST_CALLS: Final = 10.0


@attrs.define
class _Seat:
    """A place in the group: one child after the other."""

    name: str
    child: ChildProcess | None = None
    deaths: int = 0  # in a row, of children that did not live long
    start_at: float = 0.0


class Supervisor:
    """Keeps a number of children alive, in one thread. `drain` and `abort` from any.

    Args:
        group: its name.
        names: of the children.
        start: starts a child of a name; is given what to call at its end.
        buried: told of each child that is dead; whether it may be blamed for what it held.
        clock: time.
        chance: for jitter.
        changed: called, from any thread, when `failure` or `ended` may have changed.
    """

    def __init__(
        self,
        group: str,
        names: Sequence[str],
        start: Callable[[str, Callable[[], None]], ChildProcess],
        buried: Callable[[ChildProcess, bool], None],
        clock: Clock,
        chance: random.Random,
        changed: Callable[[], None],
    ) -> None:
        self._group = group
        self._seats = [_Seat(name) for name in names]
        self._start_child = start
        self._buried = buried
        self._clock = clock
        self._chance = chance
        self._changed = changed
        self._wake = threading.Event()
        self._draining = False
        self._aborting = False
        self._limit: float | None = None
        self._ordered: set[tuple[ChildProcess, bytes]] = set()
        self._abort_at = self._kill_at = float("inf")
        self._failed_starts = 0
        self._has_served = False
        #: Why it cannot go on; "" as long as it can.
        self.failure = ""
        #: Children that had to be killed or have not ended well since it was told to stop.
        self.unfinished: list[str] = []
        #: Set when it was told to stop and no child is left.
        self.ended = threading.Event()

    def drain(self, limit: float | None = None) -> None:
        """Have all children finish what runs, and start no others; `abort` after `limit` seconds."""
        if not self._draining:
            self._limit, self._draining = limit, True
        self._wake.set()

    def abort(self) -> None:
        """Have all children hand back what runs; those that do not are killed after `LAST_CALLS` seconds."""
        self._draining = self._aborting = True
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        while not self.step():
            self._clock.wait(self._wake, self._until(self._clock.monotonic()))
        self.ended.set()
        self._changed()

    def step(self) -> bool:
        """Do what is to be done now; whether nothing ever will be again."""
        self._wake.clear()  # what sets it from here on ends the next wait
        now = self._clock.monotonic()
        self._give_orders(now)
        for seat in self._seats:
            if seat.child is not None and seat.child.status is not None:
                self._bury(seat, seat.child, now)
            if seat.child is None and not self._draining and seat.start_at <= now:
                self._start(seat, now)
        return self._draining and all(seat.child is None for seat in self._seats)

    def _until(self, now: float) -> float | None:
        moments = [self._kill_at, self._abort_at]
        if not self._draining:
            moments += [seat.start_at for seat in self._seats if seat.child is None]
        first = min(moments)
        return None if first == float("inf") else max(first - now, 0.0)

    # -- orders ------------------------------------------------------------------------------------------------------

    def _give_orders(self, now: float) -> None:
        if self._draining and self._limit is not None and self._abort_at == float("inf"):
            self._abort_at = now + self._limit
        if now >= self._abort_at:
            self._aborting, self._abort_at, self._limit = True, float("inf"), None
        if self._aborting and self._kill_at == float("inf"):
            self._kill_at = now + LAST_CALLS
        for child in [seat.child for seat in self._seats if seat.child is not None]:
            if self._draining:
                self._order(child, DRAIN)
            if self._aborting:
                self._order(child, ABORT)
                if now >= self._kill_at:
                    log.warning(
                        f"worker {child.name} does not hand back what it runs, and is killed", worker=child.name
                    )
                if now >= self._kill_at or not child.serves:  # one that does not serve yet holds nothing
                    child.kill()
        if now >= self._kill_at:
            self._kill_at = now + LAST_CALLS

    def _order(self, child: ChildProcess, order: bytes) -> None:
        if (child, order) not in self._ordered:
            self._ordered.add((child, order))
            child.order(order)

    # -- starts and ends ---------------------------------------------------------------------------------------------

    def _start(self, seat: _Seat, now: float) -> None:
        try:
            seat.child = self._start_child(seat.name, self._wake.set)
            log.info(f"worker {seat.name} is process {seat.child.pid}", worker=seat.name)
        except (OSError, RuntimeError) as exc:  # the latter: no more threads
            pause = self._pause(seat)
            seat.start_at = now + pause
            log.error(f"worker {seat.name} cannot be started; the next try is in {pause:.1f} s: {exc}")

    def _bury(self, seat: _Seat, child: ChildProcess, now: float) -> None:
        seat.child = None
        self._buried(child, not self._aborting)
        if self._draining:
            if child.status != 0 and child.serves:
                self.unfinished.append(f"{child.name} ({child.how})")
            return
        if child.serves:
            self._has_served, self._failed_starts = True, 0
            if now - child.started >= STEADY:
                seat.deaths = 0
        else:
            self._failed_starts += 1
        nobody = not any(each.child is not None and each.child.serves for each in self._seats)
        # With an exit code it has decided so itself, and would again: its module cannot be imported, for instance.
        hopeless = not self._has_served and child.status is not None and child.status > 0
        if not child.serves and nobody and (hopeless or self._failed_starts >= MOST_FAILED_STARTS):
            self.fail(f"its processes end before they serve ({child.how}); what they have said is above")
        pause = self._pause(seat)
        seat.start_at = now + pause
        if not self.failure:
            what = "has died" if child.serves else "has died before it served"
            log.error(
                f"worker {child.name} {what} ({child.how}); what it held goes to others, and it is started again in "
                f"{pause:.1f} s",
                worker=child.name,
            )

    def _pause(self, seat: _Seat) -> float:
        seat.deaths += 1
        pause = min(FIRST_PAUSE * 2.0 ** min(seat.deaths - 1, 30), LONGEST_PAUSE)
        return pause * (0.5 + self._chance.random() / 2)

    def fail(self, reason: str) -> None:
        """Stop: it cannot go on. From any thread."""
        self.failure = self.failure or reason
        self._draining = self._aborting = True
        self._wake.set()
        self._changed()
