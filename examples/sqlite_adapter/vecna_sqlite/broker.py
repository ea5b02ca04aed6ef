"""A broker: one row for each message, which says where it stands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from vecna import Signature
from vecna import ports as p
from vecna.kit import DocumentPresence, Documents, DocumentSchedules, Kept, PollingWaiter, checked, ring, silence
from vecna.kit.rules import after, instant_of, microseconds
from vecna.ports import Answer, Canceling, SettleAs, Standing
from vecna_sqlite.database import Database, SqliteDocuments
from vecna_sqlite.queue import IN_LINE, IN_TIME, Queue, Step

T = TypeVar("T")
_PAGE: Final = 500
_NEXT: Final = """
    SELECT min(moment) FROM (SELECT min(until) AS moment FROM messages WHERE queue = ? AND until IS NOT NULL
    UNION ALL SELECT min(deadline) FROM leases WHERE queue = ?)
"""


@checked
class SqliteBroker(DocumentSchedules, DocumentPresence, p.Broker, p.Ringing):
    """Keeps messages and schedules, and knows of workers."""

    def __init__(self, database: Database, clock: p.Clock, dead_letter_limit: int = 10_000) -> None:
        self._store: Database = database
        self._clock, self._dead_letter_limit = clock, dead_letter_limit

    # -- Queueing ----------------------------------------------------------------------------------------------------

    def enqueue(self, messages: Sequence[p.Message]) -> list[bool]:
        with self._step() as step:
            return [step[message.queue].accept(message) for message in messages]

    def lease(
        self,
        queue: str,
        count: int,
        *,
        worker: str,
        call: int,
        duration: dt.timedelta,
        max_deliveries: int,
        verdicts_only: bool = False,
    ) -> p.Lease:
        with self._step() as step:
            at = step[queue]
            at.duration = duration // dt.timedelta(microseconds=1)
            at.touch()
            for kept in at.find("until <= ? ORDER BY until, place", microseconds(at.now)):
                kept.become_due()
                at.put(kept)
            at.end_leases(max_deliveries)
            taken = at.take(count, worker, call, duration, verdicts_only)
            ending, pending = [at.find("standing = ? LIMIT 1", each) for each in (Standing.ENDING, Standing.PENDING)]
            if count > 0 and not verdicts_only:
                silence(at.documents, queue)  # who takes what is there has heard the bell; what is left is news
            at.news = bool(ending or pending)
            (moment,) = at.sql.execute(_NEXT, (queue, queue)).fetchone()
            token = taken[0].token if taken else ""
            deliveries = tuple([kept.delivery() for kept in taken])
            next_due = None if moment is None else instant_of(moment)
            return p.Lease(queue, token, deliveries, at.now, next_due, bool(ending or (pending and not verdicts_only)))

    def extend(self, queue: str, tokens: Sequence[str], duration: dt.timedelta) -> list[p.Extension]:
        longer = "UPDATE leases SET deadline = max(deadline, ?), spared = 0 WHERE queue = ? AND token = ?"
        extensions = []
        with self._step() as step:
            at = step[queue]
            at.touch()
            for token in tokens:
                values = (microseconds(after(at.now, duration)), queue, token)
                alive = token.isascii() and at.sql.execute(longer, values).rowcount > 0
                canceled = [kept.uuid for kept in at.held(token) if kept.flagged] if alive else []
                extensions.append(p.Extension(token, alive, tuple(canceled)))
        return extensions

    def forfeit(self, queue: str, tokens: Sequence[str], *, max_deliveries: int) -> None:
        over = "UPDATE leases SET deadline = min(deadline, ?), spared = 0 WHERE queue = ? AND token = ?"
        with self._step() as step:
            at = step[queue]
            at.touch()
            for token in filter(str.isascii, tokens):
                at.sql.execute(over, (microseconds(at.now), queue, token))
            at.end_leases(max_deliveries)

    def settle(self, queue: str, settlements: Sequence[p.Settlement]) -> list[Answer]:
        answers, back = [], []
        with self._step() as step:
            at = step[queue]
            at.touch()
            for settlement in settlements:
                kept = at.get(settlement.uuid)
                answers.append(Answer.GONE if kept is None else kept.settle(settlement, at.now))
                if kept is None or answers[-1] is not Answer.OK:
                    continue
                at.put(kept, head=settlement.settle is SettleAs.RETURN)
                if settlement.settle is SettleAs.RETURN:
                    back.append(kept)
                if settlement.settle in {SettleAs.DONE, SettleAs.DEAD}:
                    for message in settlement.follow_ups:
                        step[message.queue].accept(message)
            for kept in reversed(back):  # the last first, so that they stand in the order given
                at.put(kept, head=True)
            for kept in at.find("standing = 'dead' ORDER BY place DESC LIMIT -1 OFFSET ?", self._dead_letter_limit):
                kept.standing = None
                at.put(kept)
            at.drop_empty_leases()
        return answers

    def relay(self, queue: str, limit: int = 500) -> int:
        return 0  # one transaction reaches all queues: what a settlement causes is there with it

    def waiter(self) -> p.Waiter:
        return PollingWaiter(self._store.another(), self._clock)

    def ring(self, queue: str) -> None:
        with self._store.step() as documents:
            ring(documents, queue)

    @contextmanager
    def _step(self) -> Iterator[Step]:
        with self._store.step() as documents:
            step = Step(documents, self._clock.now())
            yield step
            step.save()

    def enqueue_inside(self, documents: Documents, messages: Sequence[p.Message]) -> None:
        assert isinstance(documents, SqliteDocuments)
        step = Step(documents, self._clock.now())
        for message in messages:
            step[message.queue].accept(message)
        step.save()

    # -- Inspection --------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        with self._store.step(reading=True) as documents:
            return [name for (name,) in documents.sql.execute("SELECT name FROM queues WHERE known ORDER BY name")]

    def counts(self, queue: str) -> p.QueueCounts:
        with self._store.step(reading=True) as documents:
            counts = "SELECT standing, count(*) FROM messages WHERE queue = ? GROUP BY standing"
            return p.QueueCounts(**dict(map(tuple, documents.sql.execute(counts, (queue,)))))

    def get_pending_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        return Kept.readable(self._page(queue, IN_LINE, limit, offset))

    def get_delayed_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        return Kept.readable(self._page(queue, IN_TIME, limit, offset))

    def get_dead_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[p.DeadLetter]:
        return [kept.dead_letter() for kept in self._page(queue, "standing = 'dead' ORDER BY place", limit, offset)]

    def _page(self, queue: str, where: str, limit: int | None, offset: int) -> list[Kept]:
        page = f"{where} LIMIT ? OFFSET ?"
        return self._look(queue, lambda at: at.find(page, -1 if limit is None else limit, offset))

    def _look(self, queue: str, look: Callable[[Queue], T]) -> T:
        with self._store.step(reading=True) as documents:
            return look(Queue(documents, queue, self._clock.now()))

    def locate(self, uuids: Sequence[str], queues: Sequence[str] | None = None) -> list[p.Place | None]:
        found: list[p.Place | None] = []
        names = self.queues() if queues is None else queues
        with self._store.step(reading=True) as documents:
            places = [Queue(documents, name, self._clock.now()) for name in names]
            for uuid in uuids:
                kept = next((kept for at in places if (kept := at.get(uuid)) is not None), None)
                found.append(None if kept is None else kept.place())
        return found

    # -- Cancelling and staging --------------------------------------------------------------------------------------

    def cancel(self, queue: str, uuids: Sequence[str]) -> list[Canceling]:
        with self._step() as step:
            return [_cancel(step[queue], step[queue].get(uuid)) for uuid in uuids]

    def purge(self, queue: str, limit: int = 500) -> p.Purge:
        with self._step() as step:
            at = step[queue]
            waiting: list[Kept] = []
            for where in (IN_LINE, IN_TIME, "standing = 'held' ORDER BY enqueued_at, place"):
                waiting += at.find(f"{where} LIMIT ?", max(0, limit - len(waiting)))
            for kept in waiting:
                kept.purge()
                at.put(kept)
            left = "SELECT count(*) FROM messages WHERE queue = ? AND standing IN ('pending', 'delayed', 'held')"
            return p.Purge(len(waiting), at.sql.execute(left, (queue,)).fetchone()[0])

    def drop_dead(self, queue: str, uuids: Sequence[str]) -> list[bool]:
        drop = "DELETE FROM messages WHERE queue = ? AND uuid = ? AND standing = 'dead'"
        with self._store.step() as documents:
            return [documents.sql.execute(drop, (queue, uuid)).rowcount > 0 for uuid in uuids]

    def cancel_code(self, queue: str, code: str, cursor: str = "") -> p.CodeCancel:
        sharing = "code = ? AND code <> '' AND uuid > ? ORDER BY uuid LIMIT ?"
        with self._step() as step:
            page = step[queue].find(sharing, code, cursor, _PAGE)
            answers = [(kept.uuid, _cancel(step[queue], kept)) for kept in page]
        found = [tuple([uuid for uuid, answer in answers if answer is each]) for each in Canceling]
        return p.CodeCancel(found[0], found[1], page[-1].uuid if len(page) == _PAGE else "")

    def stage(self, hold: str, messages: Sequence[p.Message]) -> list[bool]:
        with self._step() as step:
            return [step[message.queue].accept(message, hold) for message in messages]

    def unstage(self, queue: str, hold: str, *, canceled: bool = False, limit: int = 500) -> int:
        held = "hold = ? AND hold <> ''"
        with self._step() as step:
            for kept in step[queue].find(f"{held} ORDER BY place LIMIT ?", hold, max(0, limit)):
                kept.let_go(step[queue].now, canceled=canceled)
                step[queue].put(kept)
            return len(step[queue].find(held, hold))

    def staged(self, queue: str, age: dt.timedelta, limit: int = 100) -> list[str]:
        old = "SELECT hold FROM messages WHERE queue = ? AND hold <> '' GROUP BY hold HAVING min(enqueued_at) <= ?"
        with self._store.step(reading=True) as documents:
            values = (queue, microseconds(self._clock.now() - age), max(0, limit))
            return [
                hold
                for (hold,) in documents.sql.execute(f"{old} ORDER BY min(enqueued_at), min(place) LIMIT ?", values)
            ]

    def close(self) -> None:
        self._store.close()


def _cancel(at: Queue, kept: Kept | None) -> Canceling:
    if kept is None:
        return Canceling.UNKNOWN
    was, answer = kept.standing, kept.cancel()
    if kept.standing is not was:
        at.put(kept)
    elif kept.flagged:
        at.sql.execute("UPDATE messages SET flagged = 1 WHERE uuid = ? AND queue = ?", (kept.uuid, at.name))
    return answer
