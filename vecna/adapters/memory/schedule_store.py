"""What is kept of schedules."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict, deque
from typing import Final

from vecna.adapters.memory.agenda import Agenda
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord

#: How long a removal is remembered.
_MEMORY_OF_REMOVALS: Final = dt.timedelta(days=1)


class ScheduleStore:
    """What is kept of schedules; under the lock of the queues."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.due: Agenda[str] = Agenda()  # those that are not paused
        self.removed: OrderedDict[str, dt.datetime] = OrderedDict()
        self.outbox: deque[tuple[Message, dt.datetime]] = deque()  # what was fired, since when

    def read(self, code: str) -> ScheduleRecord | None:
        """The schedule under a code."""
        record = self.records.get(code)
        return None if record is None else ScheduleRecord.from_json(record)

    def write(self, record: ScheduleRecord) -> ScheduleRecord:
        """Store a schedule in place of what stands under its code."""
        self.records[record.code] = record.to_json()
        if record.paused:
            self.due.discard(record.code)
        else:
            self.due.put(record.code, record.next_fire_at)
        return record

    def remove(self, code: str, now: dt.datetime) -> bool:
        """Remove a schedule, and remember it."""
        self.removed[code] = now
        self.removed.move_to_end(code)
        while now - next(iter(self.removed.values())) > _MEMORY_OF_REMOVALS:
            self.removed.popitem(last=False)
        self.due.discard(code)
        return self.records.pop(code, None) is not None
