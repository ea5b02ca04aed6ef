"""Schedules in this process: what the port means, on a dict and two agendas."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence

from vecna.adapters.memory.queue import Queues
from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.schedule import ScheduleRecord
from vecna.kit.rules import check_ids, check_messages, fired, paused_as
from vecna.ports.clock import Clock
from vecna.ports.schedules import DueSchedules, FireCall, Fired, Schedules


class MemorySchedules(Schedules):
    """The part of `MemoryBroker` that keeps schedules.

    Args:
        clock: time.
        store: of the broker.
    """

    def __init__(self, clock: Clock, store: Queues) -> None:
        self._schedule_clock = clock
        self._queues = store
        self._schedules = store.schedules

    def put_schedule(self, record: ScheduleRecord, began_at: dt.datetime | None = None) -> ScheduleRecord | None:
        """See `vecna.ports.Schedules`."""
        check_id(record.code, "code")
        if record.last_uuid:
            check_id(record.last_uuid, "task id")
        with self._queues.lock:
            return self._schedules.put(record, began_at, self._schedule_clock.now())

    def get_schedules(self, codes: Sequence[str]) -> list[ScheduleRecord | None]:
        """See `vecna.ports.Schedules`."""
        check_ids(codes, "code")
        with self._queues.lock:
            return [self._schedules.read(code) for code in codes]

    def list_schedules(self, *, offset: int = 0, limit: int = 500) -> list[ScheduleRecord]:
        """See `vecna.ports.Schedules`."""
        found: list[ScheduleRecord] = []
        with self._queues.lock:
            for record in self._schedules.records.values():
                try:
                    found.append(ScheduleRecord.from_json(record))
                except InvalidSignature:
                    continue
        found.sort(key=lambda each: (each.paused, each.next_fire_at, each.code))
        return found[offset : offset + limit]

    def due_schedules(self, limit: int = 100) -> DueSchedules:
        """See `vecna.ports.Schedules`."""
        kept = self._schedules
        with self._queues.lock:
            now = self._schedule_clock.now()
            codes = list(itertools.islice(kept.due.until(now), limit + 1))
            following = codes[limit] if len(codes) > limit else kept.due.after(now)
            records = [record for code in codes[:limit] if (record := kept.read(code)) is not None]
            next_due = None if following is None else kept.due[following]
            told = now if limit else kept.after_removals(now)
            return DueSchedules(tuple(records), told, next_due, bool(kept.outbox))

    def fire(self, calls: Sequence[FireCall]) -> list[Fired]:
        """See `vecna.ports.Schedules`."""
        for call in calls:
            check_id(call.code, "code")
            if call.uuid:
                check_id(call.uuid, "task id")
            check_messages(call.messages)
        with self._queues.lock:
            now = self._schedule_clock.now()
            return [self._fire(call, now) for call in calls]

    def _fire(self, call: FireCall, now: dt.datetime) -> Fired:
        kept = self._schedules
        record = kept.read(call.code)
        answer, stands = fired(record, call, now)
        if answer is not Fired.FIRED or stands is record:
            return answer
        if stands is None:
            kept.remove(call.code, now)
        else:
            kept.write(stands)
        kept.outbox.extend((message, now) for message in call.messages)
        return Fired.FIRED

    def pause_schedule(self, code: str, *, paused: bool, following: dt.datetime | None = None) -> ScheduleRecord | None:
        """See `vecna.ports.Schedules`."""
        check_id(code, "code")
        with self._queues.lock:
            record = self._schedules.read(code)
            if record is None:
                return None
            stands = paused_as(record, paused, following)
            return record if stands is record else self._schedules.write(stands)

    def remove_schedule(self, code: str) -> bool:
        """See `vecna.ports.Schedules`."""
        check_id(code, "code")
        with self._queues.lock:
            return self._schedules.remove(code, self._schedule_clock.now())

    def relay_schedules(self, limit: int = 500) -> int:
        """See `vecna.ports.Schedules`."""
        with self._queues.lock:
            now, outbox = self._schedule_clock.now(), self._schedules.outbox
            touched = {}
            for _ in range(min(limit, len(outbox))):
                message, since = outbox.popleft()
                queue = touched[message.queue] = self._queues.queue(message.queue)
                queue.accept(message, now, since)
            for queue in touched.values():
                queue.announce()
            return len(outbox)
