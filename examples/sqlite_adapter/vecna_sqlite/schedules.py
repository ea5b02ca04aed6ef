"""Schedules: one row each, with when it is due; and when which code was removed."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from vecna import InvalidSignature
from vecna.ports import Clock, DueSchedules, FireCall, Fired, ScheduleRecord, Schedules, check_id, rules
from vecna_sqlite.database import Database, instant, later, us
from vecna_sqlite.queue import Step, one_step

_DAY: Final = dt.timedelta(days=1)
_MOST_REMOVALS: Final = 100_000
#: Removals that lie further ahead are from before the clock was set back, and count for nothing.
_AHEAD: Final = dt.timedelta(minutes=1)


class SqliteSchedules(Schedules):
    """The part of `SqliteBroker` that keeps schedules."""

    _database: Database
    _clock: Clock

    def put_schedule(self, record: ScheduleRecord, began_at: dt.datetime | None = None) -> ScheduleRecord | None:
        check_id(record.code, "code")
        rules.check_ids([record.last_uuid] if record.last_uuid else (), "task id")
        with self._database.writing() as sql:
            _forget_removals(sql, self._clock.now())
            removed = sql.execute("SELECT at, version FROM removals WHERE code = ?", (record.code,)).fetchone()
            at, version = (instant(removed["at"]), removed["version"]) if removed else (None, 0)
            stands = rules.registered(_read(sql, record.code), record, began_at, at, version)
            return None if stands is None else _write(sql, stands)

    def get_schedules(self, codes: Sequence[str]) -> list[ScheduleRecord | None]:
        rules.check_ids(codes, "code")
        with self._database.reading() as sql:
            return [_read(sql, code) for code in codes]

    def list_schedules(self, *, offset: int = 0, limit: int = 500) -> list[ScheduleRecord]:
        with self._database.reading() as sql:
            records = _readable(sql.execute("SELECT record FROM schedules"))
        return sorted(records, key=lambda each: (each.paused, each.next_fire_at, each.code))[offset : offset + limit]

    def due_schedules(self, limit: int = 100) -> DueSchedules:
        now = self._clock.now()
        with self._database.reading() as sql:
            due = "SELECT record, due FROM schedules WHERE due <= ? ORDER BY due, code LIMIT ?"
            rows = sql.execute(due, (us(now), limit + 1)).fetchall()
            (further,) = sql.execute("SELECT min(due) FROM schedules WHERE due > ?", (us(now),)).fetchone()
            moment = rows[limit]["due"] if len(rows) > limit else further
            if not limit:
                now = max(now, _after_removals(sql, now))
        return DueSchedules(tuple(_readable(rows[:limit])), now, None if moment is None else instant(moment))

    def fire(self, calls: Sequence[FireCall]) -> list[Fired]:
        for call in calls:
            check_id(call.code, "code")
            rules.check_ids([call.uuid] if call.uuid else (), "task id")
            rules.check_messages(call.messages)
        with one_step(self._database, self._clock) as step:
            return [_fire(step, call) for call in calls]

    def pause_schedule(self, code: str, *, paused: bool, following: dt.datetime | None = None) -> ScheduleRecord | None:
        check_id(code, "code")
        with self._database.writing() as sql:
            record = _read(sql, code)
            return None if record is None else _write(sql, rules.paused_as(record, paused, following))

    def remove_schedule(self, code: str) -> bool:
        check_id(code, "code")
        with self._database.writing() as sql:
            return _remove(sql, code, self._clock.now())

    def relay_schedules(self, limit: int = 500) -> int:
        """One transaction reaches all queues: what is fired is there with it."""
        return 0


def _fire(step: Step, call: FireCall) -> Fired:
    record = _read(step.sql, call.code)
    answer, stands = rules.fired(record, call, step.now)
    if answer is Fired.FIRED and stands is not record:
        if stands is None:
            _remove(step.sql, call.code, step.now)
        else:
            _write(step.sql, stands)
        for message in call.messages:
            step[message.queue].accept(message)
    return answer


def _read(sql: sqlite3.Connection, code: str) -> ScheduleRecord | None:
    row = sql.execute("SELECT record FROM schedules WHERE code = ?", (code,)).fetchone()
    return None if row is None else ScheduleRecord.from_json(row["record"])


def _readable(rows: Iterable[sqlite3.Row]) -> list[ScheduleRecord]:
    records = []
    for row in rows:
        try:
            records.append(ScheduleRecord.from_json(row["record"]))
        except InvalidSignature:  # it is not to hold up the others
            continue
    return records


def _write(sql: sqlite3.Connection, record: ScheduleRecord) -> ScheduleRecord:
    due = None if record.paused else us(record.next_fire_at)
    sql.execute("INSERT OR REPLACE INTO schedules VALUES (?, ?, ?)", (record.code, record.to_json(), due))
    return record


def _remove(sql: sqlite3.Connection, code: str, now: dt.datetime) -> bool:
    _forget_removals(sql, now)
    stands = _read(sql, code)
    before = sql.execute("SELECT version FROM removals WHERE code = ?", (code,)).fetchone()
    version = stands.version if stands else before["version"] if before else 0
    removal = (code, us(_after_removals(sql, now)), version)
    sql.execute("INSERT OR REPLACE INTO removals VALUES (?, ?, ?)", removal)
    return sql.execute("DELETE FROM schedules WHERE code = ?", (code,)).rowcount > 0


def _after_removals(sql: sqlite3.Connection, now: dt.datetime) -> dt.datetime:
    """`now`, or if need be later: an instant after all removals so far, even if the clock stands still."""
    (newest,) = sql.execute("SELECT max(at) FROM removals WHERE at <= ?", (later(now, _AHEAD),)).fetchone()
    return now if newest is None else max(now, instant(newest + 1))


def _forget_removals(sql: sqlite3.Connection, now: dt.datetime) -> None:
    span = (later(now, -_DAY), later(now, _AHEAD))
    sql.execute("DELETE FROM removals WHERE at < ? OR at > ?", span)
    oldest = "SELECT at FROM removals ORDER BY at DESC LIMIT 1 OFFSET ?"
    sql.execute(f"DELETE FROM removals WHERE at <= ({oldest})", (_MOST_REMOVALS,))
