"""One step of the broker: the queues that it touches, and the lines in which messages stand there."""

from __future__ import annotations

import datetime as dt
from typing import Final

from vecna.kit import Kept, ring
from vecna.kit.rules import after, microseconds
from vecna.ports import Message, Standing
from vecna_sqlite.database import SqliteDocuments

_COUNTERS: Final = ("known", "head", "tail", "leases", "touched", "duration")
_PUT: Final = (
    f"INSERT OR REPLACE INTO messages ({', '.join(Kept.COLUMNS)}, place) VALUES ({'?, ' * len(Kept.COLUMNS)} ?)"
)
_DAY: Final = dt.timedelta(days=1)  # no duplicate of a lease call is that late
IN_LINE: Final = "standing = 'pending' ORDER BY priority DESC, place"
IN_TIME: Final = "until IS NOT NULL ORDER BY until, place"


class Queue:
    """A queue inside one step. Its counters are read at the beginning and written at the end.

    `head` and `tail` are the places of who came last to the head and to the tail of any line; `leases` says how many
    there were; `news` whether there is something that one of those who wait has not heard of.
    """

    def __init__(self, documents: SqliteDocuments, name: str, now: dt.datetime) -> None:
        self.documents, self.sql, self.name, self.now, self.news = documents, documents.sql, name, now, False
        row = self.sql.execute(f"SELECT {', '.join(_COUNTERS)} FROM queues WHERE name = ?", (name,)).fetchone()
        self.known, self.head, self.tail, self.leases, self.touched, self.duration = row or [0] * 6

    def save(self) -> None:
        values = [getattr(self, counter) for counter in _COUNTERS]
        self.sql.execute("INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?, ?, ?, ?)", (self.name, *values))
        if self.news:
            ring(self.documents, self.name)

    def find(self, where: str, *values: object) -> list[Kept]:
        found = f"SELECT {', '.join(Kept.COLUMNS)} FROM messages WHERE queue = ? AND {where}"
        return [Kept.from_row(row) for row in self.sql.execute(found, (self.name, *values)).fetchall()]

    def get(self, uuid: str) -> Kept | None:
        return next(iter(self.find("uuid = ?", uuid)), None)

    def put(self, kept: Kept, *, head: bool = False) -> None:
        """Write a message to the tail of where it now stands, or to the head."""
        key = (kept.uuid, self.name)
        if kept.standing is None:
            self.sql.execute("DELETE FROM messages WHERE uuid = ? AND queue = ?", key)
            return
        if kept.until is not None:
            earlier = "SELECT 1 FROM messages WHERE queue = ? AND until <= ?"
            values = (self.name, microseconds(kept.until))
            self.news = self.news or self.sql.execute(earlier, values).fetchone() is None
        self.news = self.news or kept.standing in {Standing.PENDING, Standing.ENDING}
        self.head, self.tail = self.head - head, self.tail + (not head)
        self.sql.execute(_PUT, (*kept.to_row(), self.head if head else self.tail))

    def accept(self, message: Message, hold: str = "") -> bool:
        """Take a message in, unless its id is here; held back under a name, if one is given."""
        self.known, is_new = True, self.get(message.uuid) is None
        if is_new:
            self.put(Kept.of(message, self.now, hold))
        return is_new

    def touch(self) -> None:
        """Note a sign of life. After an outage, spare once the leases that ran out or are about to."""
        last, self.touched = self.touched, microseconds(self.now)
        if last and self.touched - last > self.duration / 2:
            until = self.touched + self.duration
            spare = "UPDATE leases SET deadline = ?, spared = 1 WHERE queue = ? AND NOT spared AND deadline < ?"
            self.sql.execute(spare, (until, self.name, until))

    def end_leases(self, max_deliveries: int) -> None:
        """Give back what leases that ran out held: the last first, so that the first ends up at the head."""
        ended = "SELECT token, spared FROM leases WHERE queue = ? AND deadline <= ? ORDER BY deadline DESC, number DESC"
        for token, spared in self.sql.execute(ended, (self.name, microseconds(self.now))).fetchall():
            for kept in reversed(self.held(token)):
                kept.run_out(spared=bool(spared), max_deliveries=max_deliveries)
                self.put(kept, head=True)
        self.drop_empty_leases()

    def take(self, count: int, worker: str, call: int, duration: dt.timedelta, verdicts_only: bool) -> list[Kept]:
        """Lease messages to this call; if it is a repeated one, what it still holds."""
        newest = "SELECT number, token FROM calls WHERE queue = ? AND worker = ?"
        last = self.sql.execute(newest, (self.name, worker)).fetchone()
        if last is not None and call <= last["number"]:
            return self.held(last["token"]) if call == last["number"] else []
        taken = self.find("standing = 'ending' ORDER BY place LIMIT ?", max(0, count))
        if not verdicts_only:
            taken += self.find(f"{IN_LINE} LIMIT ?", max(0, count - len(taken)))
        token = ""
        if taken:
            self.leases += 1
            token = f"{self.leases}:{worker}:{call}"
            lease = (self.name, token, self.leases, microseconds(after(self.now, duration)))
            self.sql.execute("INSERT INTO leases VALUES (?, ?, ?, ?, 0)", lease)
        for kept in taken:
            kept.lease(token)
            self.put(kept)
        made = microseconds(self.now)
        self.sql.execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)", (self.name, worker, call, token, made))
        self.sql.execute("DELETE FROM calls WHERE queue = ? AND made < ?", (self.name, microseconds(self.now - _DAY)))
        return taken

    def held(self, token: str) -> list[Kept]:
        """What a lease holds, in the order in which it was delivered."""
        return self.find("token = ? AND token <> '' ORDER BY place", token)

    def drop_empty_leases(self) -> None:
        held = "SELECT 1 FROM messages WHERE queue = leases.queue AND token = leases.token AND token <> ''"
        self.sql.execute(f"DELETE FROM leases WHERE queue = ? AND NOT EXISTS ({held})", (self.name,))


class Step(dict[str, Queue]):
    """The queues of one step, by name, each read when it is first asked for."""

    def __init__(self, documents: SqliteDocuments, now: dt.datetime) -> None:
        super().__init__()
        self._documents, self._now = documents, now

    def __missing__(self, name: str) -> Queue:
        queue = self[name] = Queue(self._documents, name, self._now)
        return queue

    def save(self) -> None:
        for queue in self.values():
            queue.save()
