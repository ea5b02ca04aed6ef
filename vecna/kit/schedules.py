"""Schedules on a store of documents."""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from vecna.domain.errors import InvalidSignature
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord
from vecna.kit.documents import LAST, Document, Documents, DocumentStore
from vecna.kit.rules import fired, instant_of, microseconds, paused_as, read_schedules, registered
from vecna.ports.clock import Clock
from vecna.ports.schedules import DueSchedules, FireCall, Fired, Schedules

#: How long a removal is remembered: no call that is under way is that old.
_DAY: Final = dt.timedelta(days=1)
#: Removals that lie further ahead are from before the clock was set back, and count for nothing.
_AHEAD: Final = dt.timedelta(minutes=1)


class DocumentSchedules(Schedules):
    """The part of a broker that keeps schedules, where messages are kept in the same store as the documents.

    One that cannot be read keeps no other from being fired. It stays until it is removed or sent again; a newer version
    of vecna may know what it means.

    The broker sets `_store` and `_clock`, and enqueues.
    """

    _store: DocumentStore
    _clock: Clock

    @abstractmethod
    def enqueue_inside(self, documents: Documents, messages: Sequence[Message]) -> None:
        """Accept messages, of any queue, in the step that is under way."""

    def put_schedule(self, record: ScheduleRecord, began_at: dt.datetime | None = None) -> ScheduleRecord | None:
        """See `vecna.ports.Schedules`."""
        with self._store.step() as documents:
            self._forget_removals(documents)
            removed = documents.get("removed", record.code)
            removed_at = None if removed is None or removed.at is None else instant_of(removed.at)
            before, version = self._stands(documents, record.code)
            stands = registered(before, record, began_at, removed_at, version)
            return None if stands is None else _write(documents, stands)

    def get_schedules(self, codes: Sequence[str]) -> list[ScheduleRecord | None]:
        """See `vecna.ports.Schedules`."""
        with self._store.step(reading=True) as documents:
            return [_read(documents, code) for code in codes]

    def list_schedules(self, *, offset: int = 0, limit: int = 500) -> list[ScheduleRecord]:
        """See `vecna.ports.Schedules`."""
        with self._store.step(reading=True) as documents:
            records = read_schedules([each.value for each in documents.under("schedule", "")])
        records.sort(key=lambda each: (each.paused, each.next_fire_at, each.code))
        return records[offset : offset + limit]

    def due_schedules(self, limit: int = 100) -> DueSchedules:
        """See `vecna.ports.Schedules`."""
        now = self._clock.now()
        with self._store.step(reading=True) as documents:
            due = _due(documents, now, limit + 1)
            further = [each for each, _ in due[limit:]] or documents.scan("schedule", microseconds(now), LAST, 1)
            told = now if limit else self._after_removals(documents)
        next_due = None if not further else instant_of(further[0].at or 0)
        return DueSchedules(tuple([record for _, record in due[:limit]]), told, next_due)

    def fire(self, calls: Sequence[FireCall]) -> list[Fired]:
        """See `vecna.ports.Schedules`."""
        with self._store.step() as documents:
            return [self._fire(documents, call) for call in calls]

    def _fire(self, documents: Documents, call: FireCall) -> Fired:
        record, _ = self._stands(documents, call.code)
        answer, stands = fired(record, call, self._clock.now())
        if answer is Fired.FIRED and stands is not record:
            if stands is None:
                self._remove(documents, call.code)
            else:
                _write(documents, stands)
            self.enqueue_inside(documents, call.messages)
        return answer

    def pause_schedule(self, code: str, *, paused: bool, following: dt.datetime | None = None) -> ScheduleRecord | None:
        """See `vecna.ports.Schedules`."""
        with self._store.step() as documents:
            record = _read(documents, code)
            return None if record is None else _write(documents, paused_as(record, paused, following))

    def remove_schedule(self, code: str) -> bool:
        """See `vecna.ports.Schedules`."""
        with self._store.step() as documents:
            return self._remove(documents, code)

    def relay_schedules(self, limit: int = 500) -> int:
        """See `vecna.ports.Schedules`. Nothing waits: the step that fires enqueues."""
        return 0

    def _remove(self, documents: Documents, code: str) -> bool:
        self._forget_removals(documents)
        _, version = self._stands(documents, code)
        at = microseconds(self._after_removals(documents))
        documents.put("removed", code, str(version).encode(), at)
        documents.put("newest", "removed", str(at).encode())
        return documents.drop("schedule", code)

    def _stands(self, documents: Documents, code: str) -> tuple[ScheduleRecord | None, int]:
        """What stands under a code, None also if it cannot be read; and the highest version there was under it."""
        least = 0
        try:
            if (stands := _read(documents, code)) is not None:
                return stands, stands.version
        except InvalidSignature:
            # Whatever its version was, this is above it: a firing of it must not hit what comes after.
            least = microseconds(self._clock.now())
        removed = documents.get("removed", code)
        return None, max(least, 0 if removed is None else int(removed.value))

    def _after_removals(self, documents: Documents) -> dt.datetime:
        """Now, or if need be later: an instant after all removals so far, even if the clock stands still."""
        now, newest = self._clock.now(), documents.get("newest", "removed")
        if newest is None or int(newest.value) > microseconds(now + _AHEAD):
            return now
        return max(now, instant_of(int(newest.value) + 1))

    def _forget_removals(self, documents: Documents) -> None:
        now = self._clock.now()
        old = documents.scan("removed", -LAST, microseconds(now - _DAY), LAST)
        for removal in [*old, *documents.scan("removed", microseconds(now + _AHEAD), LAST, LAST)]:
            documents.drop("removed", removal.key)


def _due(documents: Documents, now: dt.datetime, count: int) -> list[tuple[Document, ScheduleRecord]]:
    """The first that are due and can be read: others would stand before them for ever."""
    most = count
    while True:
        found = documents.scan("schedule", -LAST, microseconds(now), most)
        readable = [(each, record) for each in found for record in read_schedules([each.value])]
        if len(readable) >= count or len(found) < most:
            return readable[:count]
        most = count + 2 * (len(found) - len(readable))


def _read(documents: Documents, code: str) -> ScheduleRecord | None:
    record = documents.get("schedule", code)
    try:
        return None if record is None else ScheduleRecord.from_json(record.value)
    except InvalidSignature as exc:
        raise InvalidSignature(f"schedule {code}: {exc}; send it again, or cancel it") from None


def _write(documents: Documents, record: ScheduleRecord) -> ScheduleRecord:
    at = None if record.paused else microseconds(record.next_fire_at)
    documents.put("schedule", record.code, record.to_json(), at)
    return record
