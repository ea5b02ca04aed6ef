"""A broker: one row for each message, which says where it stands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from vecna import InvalidSignature, Signature
from vecna.ports import (
    Answer,
    Attempts,
    Broker,
    Canceling,
    Clock,
    CodeCancel,
    DeadLetter,
    Delivery,
    Extension,
    Lease,
    Message,
    Place,
    QueueCounts,
    SettleAs,
    Settlement,
    Standing,
    Verdict,
    Waiter,
    check_id,
    rules,
)
from vecna_sqlite.database import Database, instant, later, us
from vecna_sqlite.queue import Queue, Step, one_step
from vecna_sqlite.schedules import SqliteSchedules
from vecna_sqlite.waiting import SqliteWaiter

_DAY: Final = dt.timedelta(days=1)
_PAGE: Final = 500
_IN_LINE: Final = "standing = 'pending' ORDER BY priority DESC, place LIMIT ? OFFSET ?"


class SqliteBroker(SqliteSchedules, Broker):
    """Keeps messages and schedules."""

    def __init__(self, database: Database, clock: Clock, dead_letter_limit: int = 10_000) -> None:
        self._database = database
        self._clock = clock
        self._dead_letter_limit = dead_letter_limit

    # -- Queueing ----------------------------------------------------------------------------------------------------

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        rules.check_messages(messages)
        with one_step(self._database, self._clock) as step:
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
    ) -> Lease:
        check_id(queue, "queue name")
        check_id(worker, "worker name")
        with one_step(self._database, self._clock) as step:
            at = step[queue]
            at.duration = duration // dt.timedelta(microseconds=1)
            at.touch()
            for row in at.rows("until <= ? ORDER BY until, place", us(step.now)):
                at.move(row["uuid"], Standing.PENDING)
            _end_leases(at, max_deliveries)
            token = _take(at, max(0, count), worker, call, later(step.now, duration), verdicts_only)
            held = at.rows("token = ? AND token <> '' ORDER BY place", token)
            standing = [bool(at.rows("standing = ? LIMIT 1", each)) for each in (Standing.ENDING, Standing.PENDING)]
            at.rung = any(standing)  # who leases has heard the bell; what it leaves behind is news for the next
            soonest = "SELECT min(deadline) FROM leases WHERE queue = ?"
            moments = [at.rows("until IS NOT NULL", columns="min(until)")[0][0], *step.sql.execute(soonest, (queue,)).fetchone()]
            next_due = min([moment for moment in moments if moment is not None], default=None)
            return Lease(
                queue,
                token if held else "",
                tuple([_delivery(row) for row in held]),
                step.now,
                None if next_due is None else instant(next_due),
                standing[0] or (standing[1] and not verdicts_only),
            )

    def extend(self, queue: str, tokens: Sequence[str], duration: dt.timedelta) -> list[Extension]:
        check_id(queue, "queue name")
        longer = "UPDATE leases SET deadline = max(deadline, ?), spared = 0 WHERE queue = ? AND token = ?"
        extensions = []
        with one_step(self._database, self._clock) as step:
            step[queue].touch()
            for token in tokens:
                values = (later(step.now, duration), queue, token)
                alive = token.isascii() and step.sql.execute(longer, values).rowcount > 0
                flagged = step[queue].rows("token = ? AND flagged ORDER BY place", token) if alive else ()
                extensions.append(Extension(token, alive, tuple([row["uuid"] for row in flagged])))
        return extensions

    def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[Answer]:
        check_id(queue, "queue name")
        for settlement in settlements:
            check_id(settlement.uuid, "task id")
            rules.check_messages(settlement.follow_ups)
        with one_step(self._database, self._clock) as step:
            at = step[queue]
            at.touch()
            answers = [self._settle(step, at, settlement) for settlement in settlements]
            for settlement, answer in zip(reversed(settlements), reversed(answers), strict=True):
                if settlement.settle is SettleAs.RETURN and answer is Answer.OK:
                    at.head -= 1  # the last first, so that they stand in the order given
                    at.change(settlement.uuid, place=at.head)
            at.drop_leases({item.token for item, answer in zip(settlements, answers, strict=True) if answer is Answer.OK})
            return answers

    def _settle(self, step: Step, at: Queue, settlement: Settlement) -> Answer:
        row = at.get(settlement.uuid)
        if row is None:
            return Answer.GONE
        last = None if row["settled"] is None else tuple(row["settled"].split(" "))
        answer = rules.answer_to(settlement, token=row["token"], settled=last, flagged=bool(row["flagged"]))
        if answer is not Answer.OK:
            return answer
        verdict = rules.verdict_after_lease(_verdict(row), flagged=bool(row["flagged"]), settle=settlement.settle)
        settled = f"{settlement.token} {settlement.settle}"
        match settlement.settle:
            case SettleAs.DONE:
                step.sql.execute("DELETE FROM messages WHERE id = ?", (row["id"],))
            case SettleAs.DEAD:
                reason = settlement.reason.encode(errors="replace").decode()
                at.move(settlement.uuid, Standing.DEAD, reason=reason, died=us(step.now), settled=settled)
                dead = at.rows("standing = 'dead' ORDER BY place DESC LIMIT -1 OFFSET ?", self._dead_letter_limit)
                step.sql.executemany("DELETE FROM messages WHERE id = ?", [(row["id"],) for row in dead])
            case SettleAs.RETRY:
                counts = settlement.attempts
                kept = {"retries": counts.retries, "repeats": counts.repeats, "parks": counts.parks, "settled": settled}
                if verdict is None:
                    at.wait_until(settlement.uuid, later(step.now, settlement.delay), **kept)
                else:
                    at.go_on(row, verdict, head=False, **kept)
            case SettleAs.RETURN:
                at.go_on(row, verdict, settled=settled)
        if settlement.settle in {SettleAs.DONE, SettleAs.DEAD}:
            for message in settlement.follow_ups:
                step[message.queue].accept(message)
        return answer

    def relay(self, queue: str, limit: int = 500) -> int:
        """One transaction reaches all queues: what a settlement causes is there with it."""
        check_id(queue, "queue name")
        return 0

    def waiter(self) -> Waiter:
        return SqliteWaiter(self._database, self._clock)

    # -- Inspection --------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        with self._database.reading() as sql:
            return [name for (name,) in sql.execute("SELECT name FROM queues WHERE known ORDER BY name")]

    def counts(self, queue: str) -> QueueCounts:
        counts = self._rows(queue, "TRUE GROUP BY standing", columns="standing, count(*)")
        return QueueCounts(**dict(map(tuple, counts)))

    def get_pending_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        rows = self._rows(queue, _IN_LINE, -1 if limit is None else limit, offset)
        return [call for row in rows if (call := _read(row["body"])) is not None]

    def get_delayed_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        page = "until IS NOT NULL ORDER BY until, place LIMIT ? OFFSET ?"
        rows = self._rows(queue, page, -1 if limit is None else limit, offset)
        calls = [(row, _read(row["body"])) for row in rows]
        return [call.replace(eta=instant(row["until"])) for row, call in calls if call is not None]

    def get_dead_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[DeadLetter]:
        page = "standing = 'dead' ORDER BY place LIMIT ? OFFSET ?"
        rows = self._rows(queue, page, -1 if limit is None else limit, offset)
        return [DeadLetter(row["uuid"], queue, row["reason"], instant(row["died"]), row["body"]) for row in rows]

    def locate(self, uuids: Sequence[str], queues: Sequence[str] | None = None) -> list[Place | None]:
        rules.check_ids(uuids, "task id")
        rules.check_ids(queues or (), "queue name")
        found: list[Place | None] = []
        with self._database.reading() as sql:
            for uuid in uuids:
                rows = sql.execute("SELECT * FROM messages WHERE uuid = ? ORDER BY queue", (uuid,)).fetchall()
                if queues is not None:
                    rows = [row for name in queues for row in rows if row["queue"] == name]
                found.append(_place(rows[0]) if rows else None)
        return found

    def _rows(self, queue: str, where: str, *values: object, columns: str = "*") -> list[Any]:
        check_id(queue, "queue name")
        with self._database.reading() as sql:
            return Queue(sql, queue, self._clock.now()).rows(where, *values, columns=columns)

    # -- Cancelling --------------------------------------------------------------------------------------------------

    def cancel(self, queue: str, uuids: Sequence[str]) -> list[Canceling]:
        check_id(queue, "queue name")
        rules.check_ids(uuids, "task id")
        with one_step(self._database, self._clock) as step:
            return [_cancel(step[queue], step[queue].get(uuid)) for uuid in uuids]

    def cancel_code(self, queue: str, code: str, cursor: str = "") -> CodeCancel:
        check_id(queue, "queue name")
        check_id(code, "code")
        with one_step(self._database, self._clock) as step:
            page = step[queue].rows("code = ? AND code <> '' AND uuid > ? ORDER BY uuid LIMIT ?", code, cursor, _PAGE + 1)
            more, page = len(page) > _PAGE, page[:_PAGE]
            answers = {row["uuid"]: _cancel(step[queue], row) for row in page}
        found = [tuple([uuid for uuid, answer in answers.items() if answer is each]) for each in Canceling]
        return CodeCancel(found[0], found[1], page[-1]["uuid"] if more else "")

    # -- Staging -----------------------------------------------------------------------------------------------------

    def stage(self, hold: str, messages: Sequence[Message]) -> list[bool]:
        check_id(hold, "hold")
        rules.check_messages(messages)
        with one_step(self._database, self._clock) as step:
            return [step[message.queue].accept(message, hold) for message in messages]

    def unstage(self, queue: str, hold: str, *, canceled: bool = False, limit: int = 500) -> int:
        check_id(queue, "queue name")
        check_id(hold, "hold")
        with one_step(self._database, self._clock) as step:
            at = step[queue]
            for row in at.rows("hold = ? AND hold <> '' ORDER BY place LIMIT ?", hold, max(0, limit)):
                if canceled:
                    at.go_on(row, Verdict.CANCELED, head=False)
                else:
                    at.wait_until(row["uuid"], row["due"])
            return int(at.rows("hold = ? AND hold <> ''", hold, columns="count(*)")[0][0])

    def staged(self, queue: str, age: dt.timedelta, limit: int = 100) -> list[str]:
        old = "hold <> '' GROUP BY hold HAVING min(enqueued) <= ? ORDER BY min(enqueued), min(place) LIMIT ?"
        rows = self._rows(queue, old, later(self._clock.now(), -age), max(0, limit), columns="hold")
        return [hold for (hold,) in rows]

    def close(self) -> None:
        self._database.close()


def _end_leases(at: Queue, max_deliveries: int) -> None:
    """Give back what leases that ran out held: the last first, so that the first ends up at the head."""
    ended = "SELECT token, spared FROM leases WHERE queue = ? AND deadline <= ? ORDER BY deadline DESC, number DESC"
    for token, spared in at.sql.execute(ended, (at.name, us(at.now))).fetchall():
        for row in at.rows("token = ? AND token <> '' ORDER BY place DESC", token):
            forgiven = rules.is_forgiven(spared=bool(spared), forgiven=bool(row["forgiven"]), crashes=row["crashes"])
            crashes = row["crashes"] + (not forgiven)
            flagged, is_dead = bool(row["flagged"]), crashes >= max_deliveries
            verdict = rules.verdict_after_lease(_verdict(row), flagged=flagged, is_dead=is_dead)
            at.go_on(row, verdict, crashes=crashes, forgiven=row["forgiven"] or forgiven)
        at.drop_leases({token})


def _take(at: Queue, count: int, worker: str, call: int, deadline: int, verdicts_only: bool) -> str:
    """Lease messages to this call; the token of its lease, also if it is a repeated one."""
    newest = "SELECT number, token FROM calls WHERE queue = ? AND worker = ?"
    last = at.sql.execute(newest, (at.name, worker)).fetchone()
    if last is not None and call <= last["number"]:
        return str(last["token"]) if call == last["number"] else ""
    taken = at.rows("standing = 'ending' ORDER BY place LIMIT ?", count)
    if not verdicts_only:
        taken += at.rows(_IN_LINE, count - len(taken), 0)
    token = ""
    if taken:
        at.leases += 1
        token = f"{at.leases}:{worker}:{call}"
        at.sql.execute("INSERT INTO leases VALUES (?, ?, ?, ?, 0)", (at.name, token, at.leases, deadline))
        for place, row in enumerate(taken):
            at.change(row["uuid"], standing=Standing.LEASED, token=token, place=place)
    at.sql.execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)", (at.name, worker, call, token, us(at.now)))
    # No duplicate of a call is a day late.
    at.sql.execute("DELETE FROM calls WHERE queue = ? AND made < ?", (at.name, later(at.now, -_DAY)))
    return token


def _cancel(at: Queue, row: Any) -> Canceling:
    if row is None or row["standing"] == Standing.DEAD:
        return Canceling.UNKNOWN
    if row["verdict"] == Verdict.CANCELED:
        return Canceling.CANCELED
    if row["standing"] == Standing.LEASED:
        at.change(row["uuid"], flagged=1)
        return Canceling.RUNNING
    if row["standing"] != Standing.ENDING:
        at.go_on(row, Verdict.CANCELED, head=False)
    return Canceling.CANCELED


def _verdict(row: Any) -> Verdict | None:
    return None if row["verdict"] is None else Verdict(row["verdict"])


def _attempts(row: Any) -> Attempts:
    return Attempts(row["retries"], row["repeats"], row["parks"])


def _delivery(row: Any) -> Delivery:
    what = (row["uuid"], row["queue"], row["body"], row["token"], _attempts(row), row["crashes"])
    due = None if row["due"] is None else instant(row["due"])
    return Delivery(*what, instant(row["enqueued"]), due, _verdict(row))


def _place(row: Any) -> Place:
    until = None if row["until"] is None else instant(row["until"])
    what = (row["queue"], Standing(row["standing"]), row["body"], _attempts(row))
    return Place(*what, instant(row["enqueued"]), until)


def _read(body: bytes) -> Signature | None:
    try:
        return Signature.from_json(body)
    except InvalidSignature:
        return None
