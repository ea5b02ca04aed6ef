"""One step of the broker: the queues that it touches, and how a message gets from one place to another."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from vecna.ports import Clock, Message, Standing, Verdict, rules
from vecna_sqlite.database import Database, us

_FIELDS: Final = ("known", "head", "tail", "leases", "touched", "duration", "rung")


class Queue:
    """A queue inside one step. Its counters are read at the beginning and written at the end.

    Attributes:
        leases: how many there were so far; the head of their tokens.
        rung: whether its bell is rung: there is something that one of those who wait has not heard of.
    """

    def __init__(self, sql: sqlite3.Connection, name: str, now: dt.datetime) -> None:
        self.sql, self.name, self.now = sql, name, now
        row = sql.execute(f"SELECT {', '.join(_FIELDS)} FROM queues WHERE name = ?", (name,)).fetchone()
        self.known, self.head, self.tail, self.leases, self.touched, self.duration, self.rung = row or (0,) * 7

    def save(self) -> None:
        """Write the counters."""
        values = [getattr(self, field) for field in _FIELDS]
        self.sql.execute("INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (self.name, *values))

    def rows(self, where: str, *values: object, columns: str = "*") -> list[Any]:
        """Messages of this queue."""
        found = self.sql.execute(f"SELECT {columns} FROM messages WHERE queue = ? AND {where}", (self.name, *values))
        return found.fetchall()

    def get(self, uuid: str) -> Any:
        """A message; None if it is not here."""
        return next(iter(self.rows("uuid = ?", uuid)), None)

    def change(self, uuid: str, **columns: object) -> None:
        """Write columns of a message."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self.sql.execute(f"UPDATE messages SET {names} WHERE uuid = ? AND queue = ?", (*columns.values(), uuid, self.name))

    def accept(self, message: Message, hold: str = "") -> bool:
        """Take a message in, unless its id is here; held back under a name, if one is given."""
        self.known = 1
        due = rules.due_at(message, self.now)
        row = (self.name, message.uuid, message.body, message.priority, message.code, us(self.now), due and us(due))
        insert = "INSERT OR IGNORE INTO messages (queue, uuid, body, priority, code, enqueued, due) VALUES (?,?,?,?,?,?,?)"
        if not self.sql.execute(insert, row).rowcount:
            return False
        if hold:
            self.move(message.uuid, Standing.HELD, hold=hold)
        else:
            self.wait_until(message.uuid, due and us(due))
        return True

    def move(self, uuid: str, standing: Standing, *, head: bool = False, **columns: object) -> None:
        """Behind all that stand there, or before them."""
        if head:
            self.head -= 1
        else:
            self.tail += 1
        if standing in {Standing.PENDING, Standing.ENDING}:
            self.rung = 1
        place = self.head if head else self.tail
        self.change(uuid, **{"standing": standing, "place": place, "until": None, "hold": "", "token": "", **columns})

    def wait_until(self, uuid: str, until: int | None, **columns: object) -> None:
        """Delayed until then; at once pending if that has come."""
        if until is None or until <= us(self.now):
            self.move(uuid, Standing.PENDING, **columns)
            return
        (earliest,) = self.rows("until IS NOT NULL", columns="min(until)")[0]
        if earliest is None or until < earliest:
            self.rung = 1
        self.move(uuid, Standing.DELAYED, **{"until": until, **columns})

    def go_on(self, row: Mapping[str, Any], verdict: Verdict | None, *, head: bool = True, **columns: object) -> None:
        """To be run again, or to be ended."""
        if verdict is None:
            self.move(row["uuid"], Standing.PENDING, head=head, **columns)
        else:
            self.move(row["uuid"], Standing.ENDING, head=head, verdict=verdict, flagged=0, **columns)

    def touch(self) -> None:
        """Note a sign of life. After an outage, spare once the leases that ran out or are about to."""
        last, self.touched = self.touched, us(self.now)
        if last and self.touched - last > self.duration / 2:
            until = self.touched + self.duration
            spare = "UPDATE leases SET deadline = ?, spared = 1 WHERE queue = ? AND NOT spared AND deadline < ?"
            self.sql.execute(spare, (until, self.name, until))

    def drop_leases(self, tokens: set[str]) -> None:
        """Forget those of these leases that hold nothing any more."""
        for token in tokens:
            if not self.rows("token = ? AND token <> '' LIMIT 1", token):
                self.sql.execute("DELETE FROM leases WHERE queue = ? AND token = ?", (self.name, token))


class Step(dict[str, Queue]):
    """The queues of one step, by name, each read when it is first asked for."""

    def __init__(self, sql: sqlite3.Connection, now: dt.datetime) -> None:
        super().__init__()
        self.sql, self.now = sql, now

    def __missing__(self, name: str) -> Queue:
        queue = self[name] = Queue(self.sql, name, self.now)
        return queue


@contextmanager
def one_step(database: Database, clock: Clock) -> Iterator[Step]:
    """All that is done inside, or nothing of it."""
    with database.writing() as sql:
        step = Step(sql, clock.now())
        yield step
        for queue in step.values():
            queue.save()
