"""Group commit: what has ended while one flush was under way goes with the next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from vecna import log
from vecna.app.delivery import Deliveries
from vecna.app.delivery_values import Item, QueuesAway
from vecna.app.worker.outage import Outage
from vecna.domain.decide import NO_RESULT, Failed, Succeeded
from vecna.domain.errors import BrokerUnavailable
from vecna.ports.clock import Clock

#: Items and bytes of one flush.
MOST_ITEMS: Final = 500
MOST_BYTES: Final = 1024 * 1024
#: Seconds for which RECEIVED and STARTED are held back: most ends overtake them.
HELD_BACK: Final = 0.010
#: Seconds between two writings of progress alone.
BETWEEN_NOTES: Final = 0.050
#: How often something else than an outage may break a flush before the item that does it is let go of.
MOST_FAULTS: Final = 3
#: How an outage calls this. Who takes work takes none while it lasts: a full store refuses to record ends first.
RECORDING: Final = "recording"
#: Bytes of a record without results.
_SMALL: Final = 256
#: How an outage calls it when some queues cannot be settled, and others can.
_SETTLING: Final = "settling"
_encode = msgspec.json.Encoder().encode


class Flusher:
    """Finishes items, in batches, in one thread. `add`, `extend`, `expect` and `note` from any thread.

    Args:
        deliveries: the steps.
        outage: whom to tell of calls that fail.
        clock: time.
        flushed: called in the thread with the items that are over after each flush.
        ending: called in the thread with those of each flush before it; must not wait.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        outage: Outage,
        clock: Clock,
        flushed: Callable[[list[Item]], None],
        *,
        ending: Callable[[Iterable[Item]], None] | None = None,
    ) -> None:
        self._deliveries = deliveries
        self._outage = outage
        self._clock = clock
        self._flushed = flushed
        self._ending = ending
        self._ended: deque[Item] = deque()
        self._fresh: deque[Item] = deque()  # by the time since when they wait
        self._dirty: dict[Item, None] = {}
        self._noted_at = clock.monotonic() - BETWEEN_NOTES
        self._batch: dict[Item, None] = {}  # under way, or to be tried again
        self._faults: dict[Item, int] = {}
        self._aside: list[Item] = []  # of queues and workflows that cannot be reached, until they are tried again
        self._away: set[str] = set()  # queues that could not be reached since they were tried last
        self._again_at: float | None = None  # when that is; None if all can be settled
        self._again_mark = 0  # sooner, if someone reaches the broker again
        #: Queues of which ends could not be settled when it was tried last: nothing more is to be taken from them.
        self.away: frozenset[str] = frozenset()
        self._wake = threading.Event()
        self._asleep = False
        self._stopping = False
        self._giving_up = False
        outage.wakes(self._wake)

    def add(self, item: Item) -> None:
        """Finish an item."""
        self._ended.append(item)
        if self._asleep:
            self._wake.set()

    def extend(self, items: Iterable[Item]) -> None:
        """Finish items."""
        self._ended.extend(items)
        if self._asleep:
            self._wake.set()

    def expect(self, items: Iterable[Item]) -> None:
        """Say of items what becomes of them, if that takes longer than `HELD_BACK`."""
        self._fresh.extend(items)

    def note(self, item: Item) -> None:
        """Write the progress of an item soon."""
        if item not in self._dirty:
            self._dirty[item] = None
            if self._asleep:
                self._wake.set()

    def next_note(self) -> float | None:
        """When, by the monotonic clock, the next item has been held back long enough; `wake` it then."""
        try:
            return self._fresh[0].since + HELD_BACK
        except IndexError:
            return None

    def wake(self) -> None:
        """Look for what is to be done."""
        self._wake.set()

    def stop(self, *, give_up: bool = False) -> None:
        """End the loop when all is flushed; with `give_up` also if it cannot be."""
        self._stopping = True
        self._giving_up = self._giving_up or give_up
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        while True:
            self._wake.clear()  # what sets it from here on ends the next wait
            self._take_back()
            self._gather()
            noted = self._due_notes()
            if not self._batch and not noted and (self._again_at is not None or not self._deliveries.owes):
                if self._stopping and self._again_at is None:
                    return
                self._sleep()
                continue
            pause = self._flush(noted)
            if pause is None:
                continue
            if self._giving_up:
                return
            self._clock.wait(self._wake, pause)

    def _sleep(self) -> None:
        self._asleep = True
        moments = [self._noted_at + BETWEEN_NOTES] if self._dirty else []
        if self._again_at is not None:
            moments.append(self._again_at)
        timeout = min(moments) - self._clock.monotonic() if moments else None
        # What was added before the flag was up has set no event.
        if not self._ended and (self._again_at is not None or not self._stopping):
            self._clock.wait(self._wake, timeout)
        self._asleep = False

    def _take_back(self) -> None:
        """Have what was set aside tried again when it is time, when the broker is back, or for the last time."""
        if self._again_at is None:
            return
        is_time = self._clock.monotonic() >= self._again_at or self._outage.recoveries != self._again_mark
        if is_time or self._giving_up:
            self._again_at = None
            self._away.clear()
            aside, self._aside = self._aside, []
            # Behind what is new: of what fails again, not all that follows is tried.
            self._batch = dict.fromkeys([*self._batch, *[item for item in aside if not item.over]])

    def _set_aside(self, exc: QueuesAway) -> float:
        """Keep what cannot be settled now from holding up the rest; seconds until it is tried again."""
        pause = self._outage.failed(_SETTLING, exc)
        self._again_at, self._again_mark = self._clock.monotonic() + pause, self._outage.recoveries
        order = {uuid: place for place, uuid in enumerate(exc.workflows)}
        left = [item for item in self._batch if not item.over]
        self._aside += sorted(left, key=lambda item: order.get(item.uuid, -1))
        self._batch = {item: None for item in self._batch if item.over}
        self._away.update([item.delivery.queue for item in self._aside if item.delivery.queue in exc.queues])
        self.away = frozenset(self._away)
        return pause

    def _gather(self) -> None:
        size = sum(map(_size, self._batch)) if self._batch else 0
        try:
            while len(self._batch) < MOST_ITEMS and size < MOST_BYTES:
                item = self._ended.popleft()
                if not item.over:
                    self._batch[item] = None
                    size += _SMALL if item.outcome is NO_RESULT else _size(item)
        except IndexError:
            pass

    def _due_notes(self) -> list[Item]:
        """Items of which a state short of the end is to be written. What ends in this very flush is left out later."""
        now = self._clock.monotonic()
        due: dict[Item, None] = {}
        fresh, before = self._fresh, now - HELD_BACK
        while fresh and fresh[0].since <= before:
            item = fresh.popleft()
            if item.outcome is None and not item.over:
                due[item] = None
        if self._dirty and (due or self._batch or now >= self._noted_at + BETWEEN_NOTES):
            self._noted_at = now
            dirty, self._dirty = self._dirty, {}
            due.update(dirty)
        return list(due)

    def _flush(self, noted: list[Item]) -> float | None:
        """One flush; the pause before the next try if it has failed."""
        if self._ending is not None:
            self._ending(self._batch)
        try:
            self._finish(list(self._batch), noted)
            if self._again_at is None:
                self.away = frozenset()
                self._outage.ok(_SETTLING)
        except QueuesAway as exc:
            pause = self._set_aside(exc)
            if self._giving_up:
                return pause
        except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
            self._dirty.update(dict.fromkeys(noted))
            return self._outage.failed(RECORDING, exc)
        finally:
            over = [item for item in self._batch if item.over]
            for item in over:
                del self._batch[item]
                if self._faults:
                    self._faults.pop(item, None)
            self._flushed(over)
        self._outage.ok(RECORDING)
        return None

    def _finish(self, items: list[Item], noted: list[Item]) -> None:
        try:
            self._deliveries.finish(items, self._deliveries.notes(noted))
        except BrokerUnavailable:
            raise
        except Exception as exc:
            self._dirty.update(dict.fromkeys(noted))
            for item in items:
                try:
                    self._deliveries.finish([item])
                except BrokerUnavailable:
                    raise
                except Exception:  # noqa: BLE001  # whatever a port raises about this one
                    self._refuse(item, exc)
            if any(not item.over for item in items) or not items:
                raise

    def _refuse(self, item: Item, exc: Exception) -> None:
        """One bad item must not hold up the others: after some tries it is let go of, and its lease runs out."""
        self._faults[item] = self._faults.get(item, 0) + 1
        if self._faults[item] >= MOST_FAULTS:
            del self._faults[item]
            log.error(f"task {item.name} {item.uuid} cannot be finished; its lease will run out", exc_info=exc)
            self._deliveries.let_go([item])


def _size(item: Item) -> int:
    """About how many bytes the item adds to a flush."""
    match item.outcome:
        case Succeeded(results):
            return _SMALL + sum([_length(result.value) for result in results])
        case Failed():
            return _SMALL + len(item.outcome.traceback) + len(item.outcome.error)
        case _:
            return _SMALL


def _length(value: object) -> int:
    kind = type(value)
    if kind is str:
        return len(value)  # type: ignore[arg-type]  # kind is str
    return len(_encode(value)) if kind is list or kind is dict else 8
