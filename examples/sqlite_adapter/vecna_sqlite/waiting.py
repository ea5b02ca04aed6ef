"""Hearing of what other processes have written: a look at the file every few milliseconds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from vecna.ports import Clock, Listener, Waiter, rules
from vecna_sqlite.database import Database

T = TypeVar("T")

#: Seconds between two looks: half of it is what a wake-up takes, and each look costs some microseconds.
_GLANCE: Final = 0.003


class Watch:
    """Looks at what changes, until there is something, or it is woken."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database.another()
        self._clock = clock
        self._woken = threading.Event()
        self._closed = False

    def look(self, find: Callable[[], list[T]], timeout: float) -> list[T]:
        """What is found first; nothing after the timeout, or when woken."""
        end, seen = self._clock.monotonic() + timeout, None
        while not self._closed:
            version = self._database.version()
            if version != seen and (found := find()):
                return found
            seen = version
            left = end - self._clock.monotonic()
            if self._clock.wait(self._woken, min(left, _GLANCE)) or left <= 0:
                break
        if not self._closed:
            self._woken.clear()
        return []

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._closed = True
        self._woken.set()
        self._database.close()


class SqliteWaiter(Watch, Waiter):
    """Waits for the bells of its queues: who finds one rung silences it, and so is the only one that it wakes."""

    def wait(self, queues: Sequence[str], timeout: float) -> None:
        rules.check_ids(queues, "queue name")
        names = json.dumps(list(queues))
        among = "rung AND name IN (SELECT value FROM json_each(?))"

        def find() -> list[str]:
            with self._database.reading() as sql:
                if not sql.execute(f"SELECT 1 FROM queues WHERE {among}", (names,)).fetchone():
                    return []
            with self._database.writing() as sql:
                rung = [name for (name,) in sql.execute(f"SELECT name FROM queues WHERE {among} LIMIT 1", (names,))]
                sql.executemany("UPDATE queues SET rung = 0 WHERE name = ?", [(name,) for name in rung])
                return rung

        self.look(find, timeout)


class SqliteListener(Watch, Listener):
    """Reads on in the list of ends from where it has read to."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._guard = threading.Lock()
        self._watched: set[str] = set()
        self._read_to: int | None = None

    def watch(self, uuids: Sequence[str]) -> None:
        rules.check_ids(uuids, "task id")
        with self._guard:
            if self._read_to is None and not self._closed:
                with self._database.reading() as sql:
                    (self._read_to,) = sql.execute("SELECT coalesce(max(number), 0) FROM ends").fetchone()
            self._watched.update(uuids)

    def unwatch(self, uuids: Sequence[str]) -> None:
        with self._guard:
            self._watched.difference_update(uuids)

    def poll(self, timeout: float) -> list[str]:
        return self.look(self._find, timeout)

    def _find(self) -> list[str]:
        with self._guard:
            if self._read_to is None:
                return []
            with self._database.reading() as sql:
                rows = sql.execute("SELECT number, uuid FROM ends WHERE number > ?", (self._read_to,)).fetchall()
            self._read_to = rows[-1]["number"] if rows else self._read_to
            return list(dict.fromkeys([row["uuid"] for row in rows if row["uuid"] in self._watched]))
