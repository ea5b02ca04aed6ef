"""A lock: one row a name, which stays when it is free, with the fence of the last grant."""

from __future__ import annotations

import datetime as dt

from vecna.ports import Clock, Grant, Lock, check_id
from vecna_sqlite.database import Database, later, us


class SqliteLock(Lock):
    """Excludes the processes that share the file from each other."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> Grant | None:
        check_id(name, "lock name")
        check_id(owner, "lock owner")
        now = self._clock.now()
        with self._database.writing() as sql:
            row = sql.execute("SELECT owner, fence, expires FROM locks WHERE name = ?", (name,)).fetchone()
            is_held = row is not None and row["expires"] > us(now)
            if is_held and row["owner"] != owner:
                return None
            fence = row["fence"] if is_held else 1 + (row["fence"] if row else 0)
            sql.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?)", (name, owner, fence, later(now, ttl)))
            return Grant(name, owner, fence)

    def renew(self, grant: Grant, ttl: dt.timedelta) -> bool:
        return self._set(grant, later(self._clock.now(), ttl))

    def release(self, grant: Grant) -> bool:
        return self._set(grant, 0)

    def _set(self, grant: Grant, expires: int) -> bool:
        held = (grant.name, grant.owner, grant.fence, us(self._clock.now()))
        with self._database.writing() as sql:
            update = "UPDATE locks SET expires = ? WHERE name = ? AND owner = ? AND fence = ? AND expires > ?"
            return sql.execute(update, (expires, *held)).rowcount > 0

    def close(self) -> None:
        self._database.close()
