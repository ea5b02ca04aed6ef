"""Schedules on Redis: all of a namespace in one slot, each change one script."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vecna import log
from vecna.adapters.redis import keys, scripts, wire
from vecna.adapters.redis.connections import IMPATIENT, Connections
from vecna.adapters.redis.outbox import carry
from vecna.adapters.redis.schedule_record import Stored, head
from vecna.adapters.redis.scripts import Script
from vecna.adapters.redis.staging import CHUNK, CHUNK_BYTES, RedisStaging, chunks
from vecna.domain.errors import BrokerUnavailable, InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.schedule import ScheduleRecord
from vecna.kit.rules import check_messages, instant_of, microseconds
from vecna.ports.schedules import DueSchedules, FireCall, Fired, Schedules

_FIRED: Final = {"f": Fired.FIRED, "l": Fired.LOST, "s": Fired.STALE}
#: Most bytes of records that one call answers with.
_REPLY_BYTES: Final = 4 * 1024 * 1024
#: How often a schedule is written by others between our look and our write, before we give up.
_TRIES: Final = 100
#: Of so many schedules that cannot be read it is remembered that this was said.
_COMPLAINTS: Final = 1000
#: The name under which queues count what comes from schedules; no queue can have it.
_SOURCE: Final = "{schedules}"


class RedisSchedules(RedisStaging, Schedules):
    """The part of `RedisBroker` that keeps schedules.

    One that cannot be read is left out of pages and of what is due, with a line in the log: it must not keep others
    from being fired. It stays until it is removed or sent again; a newer version of vecna may know what it means.
    """

    def __init__(self, connections: Connections, namespace: str) -> None:
        super().__init__(connections, namespace)
        self._complaints: set[tuple[str, bytes | None, int]] = set()

    def put_schedule(self, record: ScheduleRecord, began_at: dt.datetime | None = None) -> ScheduleRecord | None:
        """See `vecna.ports.Schedules`.

        What is to stand is decided here, and written only if all is still as it was read.
        """
        check_id(record.code, "code")
        if record.last_uuid:
            check_id(record.last_uuid, "task id")
        began = None if began_at is None else microseconds(began_at)
        for _ in range(_TRIES):
            now = wire.now_argument(self._connections.clock)
            stored = self._get([record.code])[0]
            if began is not None and stored.is_removed_since(began):
                return None
            stands, new = stored.replaced_by(record)
            if new is stands:
                return new
            seen = "" if stored.record is None else hashlib.sha1(stored.record, usedforsecurity=False).hexdigest()
            args = (now, record.code, stored.head or "", seen, stored.removed_at or "", head(new), new.to_json())
            if self._on_schedules(scripts.SCHEDULE_PUT, *args, patience=None):
                return new
        raise BrokerUnavailable(
            f"schedule {record.code} was changed {_TRIES} times while it was being stored: send it again"
        )

    def get_schedules(self, codes: Sequence[str]) -> list[ScheduleRecord | None]:
        """See `vecna.ports.Schedules`."""
        for code in codes:
            check_id(code, "code")
        return [stored.read() for stored in self._get(codes)]

    def list_schedules(self, *, offset: int = 0, limit: int = 500) -> list[ScheduleRecord]:
        """See `vecna.ports.Schedules`.

        The offset counts unreadable ones too: behind one of them a page may begin with what the one before ended with.
        """
        found: list[ScheduleRecord] = []
        offset = max(0, offset)
        while len(found) < limit:
            args = (offset, min(limit - len(found), CHUNK), _REPLY_BYTES)
            reply = self._on_schedules(scripts.SCHEDULE_LIST, *args, patience=None)
            if not reply:
                break
            found += self._readable(reply)
            offset += len(reply) // 3
        return found

    def due_schedules(self, limit: int = 100) -> DueSchedules:
        """See `vecna.ports.Schedules`. One call of a script, unless something cannot be read."""
        records: list[ScheduleRecord] = []
        offset, limit = 0, max(0, limit)
        while True:
            args = (wire.now_argument(self._connections.clock), limit - len(records), offset, _REPLY_BYTES)
            reply = self._on_schedules(scripts.SCHEDULE_DUE, *args)
            now = instant_of(int(reply[0]))
            next_due = None if reply[1] is None else instant_of(int(float(reply[1])))
            read, count = list(self._readable(reply[3:])), (len(reply) - 3) // 3
            records += read
            offset += count
            if len(read) == count or next_due is None or next_due > now:
                return DueSchedules(tuple(records), now, next_due, bool(reply[2]))

    def fire(self, calls: Sequence[FireCall]) -> list[Fired]:
        """See `vecna.ports.Schedules`."""
        for call in calls:
            check_id(call.code, "code")
            if call.uuid:
                check_id(call.uuid, "task id")
            check_messages(call.messages)
        fired: list[Fired] = []
        now = wire.now_argument(self._connections.clock)
        for chunk in chunks(calls, lambda call: sum([len(message.body) for message in call.messages])):
            args: list[Any] = [now]
            for call in chunk:
                _add_firing(args, call)
            fired += [_FIRED[letter] for letter in self._on_schedules(scripts.SCHEDULE_FIRE, *args).decode()]
        return fired

    def pause_schedule(self, code: str, *, paused: bool, following: dt.datetime | None = None) -> ScheduleRecord | None:
        """See `vecna.ports.Schedules`."""
        check_id(code, "code")
        due = "" if following is None else microseconds(following)
        now = wire.now_argument(self._connections.clock)
        found = self._on_schedules(scripts.SCHEDULE_PAUSE, now, code, "1" if paused else "0", due, patience=None)
        return Stored(code, *found).read()

    def remove_schedule(self, code: str) -> bool:
        """See `vecna.ports.Schedules`."""
        check_id(code, "code")
        # Looked at before: if the reply to the removal is lost, the next try finds nothing any more.
        (stored,) = self._get([code])
        was_there = stored.head is not None or stored.record is not None
        now = wire.now_argument(self._connections.clock)
        removed = self._on_schedules(scripts.SCHEDULE_REMOVE, now, code, patience=None)
        return bool(removed) or was_there

    def relay_schedules(self, limit: int = 500) -> int:
        """See `vecna.ports.Schedules`."""
        return carry(self._connections, keys.schedules(self._namespace), _SOURCE, self._with_registry, limit)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _on_schedules(self, script: Script, *args: Any, patience: float | None = IMPATIENT) -> Any:
        return self._connections.run(script, (keys.schedules(self._namespace),), args, patience=patience)

    def _get(self, codes: Sequence[str]) -> list[Stored]:
        found: list[Stored] = []
        now = wire.now_argument(self._connections.clock)
        while len(found) < len(codes):
            asked = codes[len(found) : len(found) + CHUNK]
            reply = self._on_schedules(scripts.SCHEDULE_GET, now, CHUNK_BYTES, *asked, patience=None)
            for at, code in zip(range(0, len(reply), 4), asked, strict=False):
                found.append(Stored(code, reply[at], reply[at + 1], reply[at + 2], int(reply[at + 3] or 0)))
        return found

    def _readable(self, reply: Sequence[Any]) -> Iterator[ScheduleRecord]:
        """The schedules in an answer of code, head, record, ...; of others it is said once that they are left out."""
        for code, line, record in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
            stored = Stored(code.decode(errors="replace"), line, record)
            try:
                read = stored.read()
            except InvalidSignature as exc:
                self._complain(stored, exc)
            else:
                if read is not None:
                    yield read

    def _complain(self, stored: Stored, exc: InvalidSignature) -> None:
        complaint = (stored.code, stored.head, hash(stored.record))
        if complaint not in self._complaints:
            if len(self._complaints) >= _COMPLAINTS:
                self._complaints.clear()
            self._complaints.add(complaint)
            log.error(f"{exc}; until then it is left out", code=stored.code)


def _add_firing(args: list[Any], call: FireCall) -> None:
    """Append what the fire script wants to know of one firing."""
    args += (
        call.code,
        call.version,
        microseconds(call.due),
        "" if call.following is None else microseconds(call.following),
        "" if call.occurred_at is None else microseconds(call.occurred_at),
        call.uuid,
        call.skipped,
        "1" if call.may_be_past else "0",
        len(call.messages),
    )
    for message in call.messages:
        args += (message.queue, message.uuid, wire.mark(message), message.body)
