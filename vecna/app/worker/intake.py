"""Taking work: no more than can start soon, from the queues in turn, woken and by timers of its own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from vecna.app.config import Config
from vecna.app.delivery import Deliveries
from vecna.app.delivery_values import Batch, Item
from vecna.app.worker.capacity import Capacity
from vecna.app.worker.flusher import RECORDING, Flusher
from vecna.app.worker.outage import Outage
from vecna.app.worker.pace import SOON, Pace
from vecna.app.worker.slots import Slots
from vecna.domain.errors import BrokerUnavailable
from vecna.ports.clock import Clock

#: Seconds after which what has not started goes back to the queue.
PATIENCE: Final = 0.050
#: Seconds until a pre-consume handler that has refused is asked again.
REFUSED: Final = 0.5
#: How much later than the doorbell the intake looks by itself.
_BEHIND: Final = 1.2
#: Seconds: timers are no finer, so that a moment that rounds down does not spin.
_TICK: Final = 0.0005
#: Seconds after which a call that has failed counts as one that had to wait for it.
_SLOW: Final = 0.5
_SOURCE: Final = "taking work"


@attrs.define(eq=False)
class _Queue:
    """What is known of one queue between two lease calls.

    Attributes:
        name: its name.
        ready: there may be something to take.
        due: by the monotonic clock, when there will be.
        look: when to look without having been woken.
        again: not to be asked before.
        passed: not before, by a worker without room, of what is due.
        away: not to be asked before either, unless someone reaches the broker again: it could not be asked.
        mark: how often someone had by then.
    """

    name: str
    ready: bool = True
    due: float | None = None
    look: float = 0.0
    again: float = 0.0
    passed: float = 0.0
    away: float = 0.0
    mark: int = 0

    def is_due(self, now: float) -> bool:
        """Whether something has become due that a worker without room has to tell others of."""
        return self.due is not None and max(self.due, self.passed) <= now


class Intake:
    """Leases and admits, in one thread. `ring`, `freed`, `close` and `stop` from any.

    Args:
        deliveries: the steps.
        queues: names of those that are served.
        config: settings.
        clock: time.
        slots: where work is handed over.
        pace: how much is enough.
        flusher: where goes what is not run.
        outage: whom to tell of calls that fail.
        may_take: asked before work is taken.
        listen: called with whether new work is to be listened for.
        on_closed: called in the loop when `closed` has become true.
        starting: called in the loop with what is about to be handed over, of one lease; must not wait.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        queues: Sequence[str],
        config: Config,
        clock: Clock,
        *,
        slots: Slots,
        pace: Pace,
        flusher: Flusher,
        outage: Outage,
        may_take: Callable[[], bool],
        listen: Callable[[bool], None],
        on_closed: Callable[[], None],
        starting: Callable[[Sequence[Item]], None] | None = None,
    ) -> None:
        self._deliveries = deliveries
        self._queues = [_Queue(name) for name in queues]
        self._config = config
        self._clock = clock
        self._slots = slots
        self._capacity = Capacity(deliveries, slots, pace, clock)
        self._flusher = flusher
        self._outage = outage
        self._may_take = may_take
        self._listen = listen
        self._on_closed = on_closed
        self._starting = starting
        self._wake = threading.Event()
        self._rung = False
        self._open = True
        self._stopping = False
        #: Nothing more is taken, and what had not started was handed back.
        self.closed = False
        self._first = 0  # whose turn it is
        self._pause_until = 0.0
        self._pause_mark = 0
        self._unadmitted: Batch | None = None
        outage.wakes(self._wake)

    # -- from any thread ---------------------------------------------------------------------------------------------

    def ring(self) -> None:
        """There may be new work."""
        self._rung = True
        self._wake.set()

    def freed(self) -> None:
        """Something has ended: there may be room."""
        self._wake.set()

    def close(self) -> None:
        """Take no more, and hand back what has not started; `closed` is true when that is done.

        When this returns, nothing more starts, but for what a thread has taken, or the event loop was given, already.
        """
        self._open = False
        self._slots.close()
        self._wake.set()

    def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self.close()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        """What its thread runs."""
        while not self._stopping:
            self._wake.clear()
            self._watch_the_waiting(self._clock.monotonic())
            if self._open:
                if self._round():
                    continue
            elif not self.closed:
                self._hand_back()
            self._clock.wait(self._wake, self._until())

    def _hand_back(self) -> None:
        self._flusher.extend(self._deliveries.give_back(self._slots.take_late(math.inf)))
        if self._unadmitted is not None:
            self._flusher.extend(self._deliveries.return_all(self._unadmitted))
            self._unadmitted = None
        self.closed = True
        self._on_closed()

    def _until(self) -> float | None:
        """Seconds until there is something to do. Begins or ends the listening for new work on the way."""
        now = self._clock.monotonic()
        moments: list[float] = []
        if (oldest := self._slots.oldest()) is not None:
            moments.append(oldest + (SOON if now < oldest + SOON else PATIENCE))
        note = self._flusher.next_note()
        if note is not None and note > now:
            moments.append(note)
        elif note is not None:  # it became due during this round, and nobody else tells the flusher
            self._flusher.wake()
        listening = False
        if self._open and self._is_paused(now):
            moments.append(self._pause_until)
        elif self._open and not self._outage.is_failing(RECORDING):  # else whoever records wakes this
            self._capacity.measure()
            for queue in self._queues:
                if queue.name in self._flusher.away:
                    continue  # whoever settles it wakes this
                if self._capacity.room(queue.name) > 0:
                    moment = queue.look if queue.due is None else min(queue.look, queue.due)
                    moment = max(now if queue.ready else moment, queue.again)
                    moments.append(max(moment, queue.away) if self._is_away(queue, now) else moment)
                    listening = True
                    continue
                if queue.ready and self._slots.next_free is not None:
                    moments.append(max(self._slots.next_free, queue.again))
                if queue.due is not None:  # another worker may have room
                    moments.append(max(queue.due, queue.passed, queue.again, queue.away))
        self._listen(listening)
        return max(min(moments) - now, _TICK) if moments else None

    def _is_paused(self, now: float) -> bool:
        """Whether a pause is not over; one for an outage is, as soon as anyone has reached the broker again."""
        return now < self._pause_until and self._outage.recoveries == self._pause_mark

    def _is_away(self, queue: _Queue, now: float) -> bool:
        """Whether a queue that could not be asked is to be left alone."""
        return now < queue.away and self._outage.recoveries == queue.mark

    def _pause(self, seconds: float) -> None:
        self._pause_until = self._clock.monotonic() + seconds
        self._pause_mark = self._outage.recoveries

    def _watch_the_waiting(self, now: float) -> None:
        """Give back what waits for too long, and see that nothing waits without need."""
        oldest = self._slots.oldest()
        if oldest is not None and oldest + SOON <= now:
            late = self._slots.take_late(now - PATIENCE)
            if late:
                self._flusher.extend(self._deliveries.give_back(late))
                for queue in self._queues:
                    queue.ready = True
            self._slots.poke()
        note = self._flusher.next_note()
        if note is not None and note <= now:
            self._flusher.wake()

    # -- a round over the queues -------------------------------------------------------------------------------------

    def _round(self) -> bool:
        """Lease from each queue that may have something; whether to go on with the next round at once."""
        now = self._clock.monotonic()
        if self._is_paused(now) or self._outage.is_failing(RECORDING):
            return False
        rung, self._rung = self._rung, False
        if self._unadmitted is not None and not self._admit(self._unadmitted):
            self._rung = self._rung or rung
            return False
        ready = self._ready(now, rung=rung)
        if not ready:
            return False
        self._capacity.measure()
        full = [queue for queue in ready if self._capacity.room(queue.name) <= 0]
        is_full = len(full) == len(ready)
        self._pass_on(full if is_full and rung else [queue for queue in full if queue.is_due(now)])
        if is_full or self._unadmitted is not None:
            return False
        if not self._may_take():
            self._pause(REFUSED)
            return False
        took = False
        for index, queue in enumerate(ready):
            if not self._open:
                break
            count = math.ceil(self._capacity.room(queue.name) / (len(ready) - index))
            if count > 0:
                batch = self._lease(queue, count)
                if batch is None:
                    # One queue may be out of reach for itself: its node is down, or its keys are damaged.
                    self._first = (self._queues.index(queue) + 1) % len(self._queues)
                    if self._clock.monotonic() - now > _SLOW:
                        break  # it took a time limit to find out; look what else there is to do first
                    continue
                if batch.items:
                    took = True
                    self._first = (self._queues.index(queue) + 1) % len(self._queues)
                    if not self._admit(batch):
                        return False
        return took

    def _ready(self, now: float, *, rung: bool) -> list[_Queue]:
        """Queues to ask, beginning with the one after that which gave something last."""
        for queue in self._queues:
            if rung or (queue.due is not None and queue.due <= now) or queue.look <= now:
                queue.ready = True
        turn = [*self._queues[self._first :], *self._queues[: self._first]]
        away = self._flusher.away
        return [
            queue
            for queue in turn
            if queue.ready and queue.again <= now and queue.name not in away and not self._is_away(queue, now)
        ]

    def _pass_on(self, queues: Sequence[_Queue]) -> None:
        """Work came, or became due, that there is no room for: let the broker wake another worker."""
        for queue in queues:
            batch = self._lease(queue, 0)
            queue.passed = self._clock.monotonic() + PATIENCE
            # A call before that got no answer was repeated by this one: then it is answered with what that has got.
            if batch is not None and batch.items and not self._admit(batch):
                return

    def _lease(self, queue: _Queue, count: int) -> Batch | None:
        """One lease call; None if the broker cannot be reached."""
        source = f"{_SOURCE} from queue {queue.name}"
        try:
            batch = self._deliveries.lease(queue.name, count)
        except BrokerUnavailable as exc:
            queue.mark = self._outage.recoveries
            queue.away = self._clock.monotonic() + self._outage.failed(source, exc)
            return None
        except Exception as exc:  # noqa: BLE001  # whatever is wrong with one queue must not stop the others
            queue.again = self._clock.monotonic() + self._outage.failed(source, exc)
            return Batch((), self._clock.now())
        now = self._clock.monotonic()
        self._outage.ok(source)
        queue.ready = batch.more
        queue.due = None if batch.next_due is None else max(batch.next_due, now + _TICK)
        # A queue that nobody has looked at for half a lease is taken for one whose broker was away.
        # Later than the doorbell, which rings after `poll_interval` in any case, so that one look is not made twice.
        queue.look = now + min(_BEHIND * self._config.poll_interval, self._config.lease / 4)
        return batch

    def _admit(self, batch: Batch) -> bool:
        """Hand over what is to be run; False if the backend cannot be reached, and the batch is kept for later."""
        if not self._open:
            self._flusher.extend(self._deliveries.return_all(batch))
            return False
        try:
            runnable, ended = self._deliveries.admit(batch)
        except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
            self._unadmitted = batch
            self._pause(self._outage.failed(_SOURCE, exc))
            return False
        self._unadmitted = None
        self._outage.ok(_SOURCE)
        self._flusher.extend(ended)
        if runnable:
            now = self._clock.monotonic()
            queue = runnable[0].delivery.queue
            fitting, excess = self._capacity.fit(queue, runnable)
            for item in fitting:
                item.since = now  # from here on it could run
            if self._starting is not None:
                self._starting(fitting)
            self._flusher.expect(fitting)
            self._slots.put(fitting)
            if excess:
                self._flusher.extend(self._deliveries.give_back(excess))
                for known in self._queues:
                    if known.name == queue:
                        # It would be handed out again at once: something has to end first, or time to pass.
                        known.again = now + PATIENCE
        return True
