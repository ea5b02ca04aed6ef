"""A backend: one row for each record, and a list of what has ended, for those who wait."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from typing import Final

from vecna import TaskState
from vecna.ports import Backend, Clock, Listener, rules
from vecna_sqlite.database import Database, later, us
from vecna_sqlite.plans import SqlitePlans
from vecna_sqlite.waiting import SqliteListener

_RECORD: Final = "SELECT record, ended FROM states WHERE uuid = ? AND (expires IS NULL OR expires > ?)"


class SqliteBackend(SqlitePlans, Backend):
    """Keeps states and plans."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put_states(self, states: Sequence[TaskState]) -> list[TaskState]:
        rules.check_ids([state.task_uuid for state in states], "task id")
        now = us(self._clock.now())
        with self._database.writing() as sql:
            sql.execute("DELETE FROM states WHERE expires <= ?", (now,))
            return [self._put(sql, state, now) for state in states]

    def _put(self, sql: sqlite3.Connection, state: TaskState, now: int) -> TaskState:
        recorded = _read(sql, state.task_uuid, now)
        if recorded is not None and not recorded.gives_way_to(state):
            return recorded
        row = (state.task_uuid, state.to_json(), now if state.is_completed else None)
        sql.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, NULL)", row)
        if state.is_completed:
            self._tell(sql, state.task_uuid)
        return state

    def get_state(self, uuid: str) -> TaskState | None:
        return self.get_states([uuid])[0]

    def get_states(self, uuids: Sequence[str]) -> list[TaskState | None]:
        rules.check_ids(uuids, "task id")
        now = us(self._clock.now())
        with self._database.reading() as sql:
            return [_read(sql, uuid, now) for uuid in uuids]

    def release(self, uuids: Sequence[str], keep: dt.timedelta) -> None:
        rules.check_ids(uuids, "task id")
        now = self._clock.now()
        with self._database.writing() as sql:
            start = "UPDATE states SET expires = ? WHERE uuid = ? AND ended IS NOT NULL AND expires IS NULL"
            sql.executemany(start, [(later(now, keep), uuid) for uuid in uuids])
            sql.execute("DELETE FROM states WHERE expires <= ?", (us(now),))

    def forget(self, uuids: Sequence[str]) -> None:
        rules.check_ids(uuids, "task id")
        with self._database.writing() as sql:
            sql.executemany("DELETE FROM states WHERE uuid = ?", [(uuid,) for uuid in uuids])

    def unreleased(self, age: dt.timedelta, limit: int) -> list[str]:
        found = "SELECT uuid FROM states WHERE ended <= ? AND expires IS NULL ORDER BY ended, rowid LIMIT ?"
        with self._database.reading() as sql:
            return [uuid for (uuid,) in sql.execute(found, (later(self._clock.now(), -age), max(0, limit)))]

    def listen(self) -> Listener:
        return SqliteListener(self._database, self._clock)

    def close(self) -> None:
        self._database.close()


def _read(sql: sqlite3.Connection, uuid: str, now: int) -> TaskState | None:
    row = sql.execute(_RECORD, (uuid, now)).fetchone()
    return None if row is None else rules.read_state(uuid, row["record"], final=row["ended"] is not None)
