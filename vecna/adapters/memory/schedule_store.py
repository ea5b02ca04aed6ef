"""What is kept of schedules."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict, deque
from typing import Final

from vecna.adapters.memory.agenda import Agenda
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord
from vecna.kit.rules import registered

#: How long a removal is remembered, and how many at most: no call that is under way is that old.
_MEMORY_OF_REMOVALS: Final = dt.timedelta(days=1)
_MOST_REMOVALS: Final = 100_000
#: Removals that lie further ahead are from before the clock was set back, and count for nothing.
_AHEAD: Final = dt.timedelta(minutes=1)
_TICK: Final = dt.timedelta(microseconds=1)


class ScheduleStore:
    """What is kept of schedules; under the lock of the queues."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.due: Agenda[str] = Agenda()  # those that are not paused
        self.removed: OrderedDict[str, tuple[dt.datetime, int]] = OrderedDict()  # when, and the version; oldest first
        self.outbox: deque[tuple[Message, dt.datetime]] = deque()  # what was fired, since when

    def read(self, code: str) -> ScheduleRecord | None:
        """The schedule under a code."""
        record = self.records.get(code)
        return None if record is None else ScheduleRecord.from_json(record)

    def put(self, record: ScheduleRecord, began_at: dt.datetime | None, now: dt.datetime) -> ScheduleRecord | None:
        """Store a schedule as `Schedules.put_schedule` says."""
        self._drop_removals_ahead(now)
        removed_at, version = self.removed.get(record.code, (None, 0))
        stands = registered(self.read(record.code), record, began_at, removed_at, version)
        return None if stands is None else self.write(stands)

    def write(self, record: ScheduleRecord) -> ScheduleRecord:
        """Store a schedule in place of what stands under its code."""
        self.records[record.code] = record.to_json()
        if record.paused:
            self.due.discard(record.code)
        else:
            self.due.put(record.code, record.next_fire_at)
        return record

    def after_removals(self, now: dt.datetime) -> dt.datetime:
        """`now`, or if need be later: an instant after all removals so far, even if the clock stands still."""
        self._drop_removals_ahead(now)
        if not self.removed:
            return now
        newest, _ = self.removed[next(reversed(self.removed))]
        return max(now, newest + _TICK)

    def remove(self, code: str, now: dt.datetime) -> bool:
        """Remove a schedule, and remember it."""
        self._drop_removals_ahead(now)
        stands = self.read(code)
        _, version = self.removed.get(code, (None, 0))
        now = self.after_removals(now)
        self.removed[code] = (now, version if stands is None else stands.version)
        self.removed.move_to_end(code)
        oldest, _ = next(iter(self.removed.values()))
        while now - oldest > _MEMORY_OF_REMOVALS or len(self.removed) > _MOST_REMOVALS:
            self.removed.popitem(last=False)
            oldest, _ = next(iter(self.removed.values()))
        self.due.discard(code)
        return self.records.pop(code, None) is not None

    def _drop_removals_ahead(self, now: dt.datetime) -> None:
        while self.removed and self.removed[next(reversed(self.removed))][0] - now > _AHEAD:
            self.removed.popitem()
