"""A broker on Redis: each change of a queue is one script."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vecna.adapters.redis import keys, scripts, wire
from vecna.adapters.redis.connections import IMPATIENT, Connections
from vecna.adapters.redis.outbox import carry
from vecna.adapters.redis.presence import RedisPresence
from vecna.adapters.redis.schedules import RedisSchedules
from vecna.adapters.redis.staging import CHUNK, CHUNK_BYTES, chunks
from vecna.adapters.redis.waiter import RedisWaiter
from vecna.domain.ids import check_id
from vecna.domain.making import maker
from vecna.domain.message import Message
from vecna.kit.rules import check_ids, check_messages
from vecna.ports.async_queueing import AsyncQueueing
from vecna.ports.broker import Broker, Waiter
from vecna.ports.ringing import Ringing
from vecna.ports.values import Answer, Canceling, Delivery, Extension, Lease, Purge, SettleAs, Settlement

#: Most bytes of records that one lease or page answers with.
REPLY_BYTES: Final = 8 * 1024 * 1024
#: Dead letters that are removed in one step: each is looked for in the list of all.
_DROPPED: Final = 50

_ANSWERS: Final = {"o": Answer.OK, "a": Answer.ALREADY, "l": Answer.LOST, "g": Answer.GONE, "f": Answer.FLAGGED}
_CANCELINGS: Final = {"c": Canceling.CANCELED, "r": Canceling.RUNNING, "u": Canceling.UNKNOWN}
_delivery: Final = maker(Delivery)
_KINDS: Final = {SettleAs.DONE: "D", SettleAs.RETRY: "R", SettleAs.RETURN: "B", SettleAs.DEAD: "X"}


class RedisBroker(RedisSchedules, RedisPresence, Broker, AsyncQueueing, Ringing):
    """Keeps messages in Redis.

    Args:
        connections: to the server or cluster.
        namespace: what the names of all keys begin with.
        dead_letter_limit: how many dead letters a queue keeps; the oldest go first.
    """

    def __init__(self, connections: Connections, namespace: str = "vecna", *, dead_letter_limit: int = 10_000) -> None:
        super().__init__(connections, namespace)
        self._dead_letter_limit = dead_letter_limit

    # -- Queueing ----------------------------------------------------------------------------------------------------

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.Queueing`."""
        return self._accept(scripts.ENQUEUE, messages)

    async def enqueue_async(self, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.AsyncQueueing`."""
        return await self._accept_async(scripts.ENQUEUE, messages)

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
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        check_id(worker, "worker name")
        reply = self._run(
            scripts.LEASE,
            queue,
            wire.now_argument(self._connections.clock),
            max(0, min(count, CHUNK)),
            worker,
            call,
            wire.milliseconds(duration),
            max_deliveries,
            "1" if verdicts_only else "0",
            REPLY_BYTES,
            patience=IMPATIENT,
        )
        token, now, next_due, left = reply[0].decode(), reply[1], reply[2], reply[3]
        deliveries = []
        for at in range(4, len(reply), 3):
            enqueued, due, body = wire.record(reply[at + 1], reply[at])
            crashes, verdict, attempts = wire.behind(reply[at + 2])
            uuid = reply[at].decode()
            deliveries.append(_delivery(uuid, queue, body, token, attempts, crashes, enqueued, due, verdict))
        return Lease(
            queue,
            token,
            tuple(deliveries),
            wire.exact(now),
            None if next_due is None else wire.instant(next_due),
            bool(left if not verdicts_only else left & 2),
        )

    def extend(self, queue: str, tokens: Sequence[str], duration: dt.timedelta) -> list[Extension]:
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        extensions = []
        now, lasting = wire.now_argument(self._connections.clock), wire.milliseconds(duration)
        for start in range(0, max(len(tokens), 1), CHUNK):
            chunk = tokens[start : start + CHUNK]
            answers = self._run(scripts.EXTEND, queue, now, lasting, *map(wire.token, chunk), patience=IMPATIENT)
            for token, answer in zip(chunk, answers, strict=True):
                alive = isinstance(answer, list)
                extensions.append(Extension(token, alive, tuple([uuid.decode() for uuid in answer]) if alive else ()))
        return extensions

    def forfeit(self, queue: str, tokens: Sequence[str], *, max_deliveries: int) -> None:
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        now = wire.now_argument(self._connections.clock)
        for start in range(0, len(tokens), CHUNK):
            chunk = tokens[start : start + CHUNK]
            self._run(scripts.FORFEIT, queue, now, max_deliveries, *map(wire.token, chunk), patience=IMPATIENT)

    def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[Answer]:
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        check_ids([settlement.uuid for settlement in settlements], "task id")
        for settlement in settlements:
            if settlement.follow_ups:
                check_messages(settlement.follow_ups)
        answers: list[Answer] = [Answer.GONE] * len(settlements)
        for chunk in _settle_chunks(settlements):
            args: list[Any] = [wire.now_argument(self._connections.clock), self._dead_letter_limit]
            for position in chunk:
                _add_settlement(args, queue, settlements[position])
            found = self._run(scripts.SETTLE, queue, *args, patience=IMPATIENT).decode()
            for position, letter in zip(chunk, found, strict=True):
                answers[position] = _ANSWERS[letter]
        return answers

    def relay(self, queue: str, limit: int = 500) -> int:
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        key = keys.queue(self._namespace, queue)
        return carry(self._connections, key, queue, self._with_registry, limit)

    # -- Wakeup ------------------------------------------------------------------------------------------------------

    def waiter(self) -> Waiter:
        """See `vecna.ports.Wakeup`."""
        return RedisWaiter(self._connections, lambda queue: keys.wake(self._namespace, queue))

    def ring(self, queue: str) -> None:
        """See `vecna.ports.Ringing`. Tried once, and again at once if the connection was stale."""
        check_id(queue, "queue name")
        self._run(scripts.RING, queue, wire.now_argument(self._connections.clock), patience=0)

    # -- Cancelling --------------------------------------------------------------------------------------------------

    def cancel(self, queue: str, uuids: Sequence[str]) -> list[Canceling]:
        """See `vecna.ports.Cancelling`."""
        check_id(queue, "queue name")
        check_ids(uuids, "task id")
        found: list[Canceling] = []
        now = wire.now_argument(self._connections.clock)
        while len(found) < len(uuids):
            # Fewer are done than asked for when their bodies are large.
            answers = self._run(scripts.CANCEL, queue, now, CHUNK_BYTES, *uuids[len(found) : len(found) + CHUNK])
            found += [_CANCELINGS[letter] for letter in answers.decode()]
        return found

    def purge(self, queue: str, limit: int = 500) -> Purge:
        """See `vecna.ports.Cancelling`."""
        check_id(queue, "queue name")
        now, most = wire.now_argument(self._connections.clock), max(0, min(limit, CHUNK))
        return Purge(*self._run(scripts.PURGE, queue, now, most, CHUNK_BYTES))

    def drop_dead(self, queue: str, uuids: Sequence[str]) -> list[bool]:
        """See `vecna.ports.Cancelling`."""
        check_id(queue, "queue name")
        check_ids(uuids, "task id")
        now = wire.now_argument(self._connections.clock)
        found: list[bool] = []
        for start in range(0, len(uuids), _DROPPED):
            answers = self._run(scripts.DROP_DEAD, queue, now, *uuids[start : start + _DROPPED])
            found += [answer == "1" for answer in answers.decode()]
        return found

    def close(self) -> None:
        """See `vecna.ports.Broker`. Waiters are closed by who has made them."""
        self._loops.close()
        self._connections.close()


def _settle_chunks(settlements: Sequence[Settlement]) -> Iterator[Sequence[int]]:
    """Positions of settlements that go in one call: not too many or too large.

    What is given back in several calls would end up in the wrong order, as each call puts its own at the head: so the
    last ones go first.
    """

    def size(position: int) -> int:
        return sum([len(message.body) for message in settlements[position].follow_ups])

    positions: Sequence[int] = range(len(settlements))
    if len(settlements) <= CHUNK and not any(settlement.follow_ups for settlement in settlements):
        if settlements:
            yield positions
        return
    whole = list(chunks(positions, size))
    if len(whole) > 1:
        returned = [at for at in positions if settlements[at].settle is SettleAs.RETURN]
        positions = [at for at in positions if settlements[at].settle is not SettleAs.RETURN]
        yield from chunks(positions, size)
        yield from reversed(list(chunks(returned, size)))
        return
    yield from whole


def _add_settlement(args: list[Any], queue: str, settlement: Settlement) -> None:
    """Append what the settle script wants to know of one settlement."""
    detail: str | bytes = ""
    if settlement.settle is SettleAs.DONE and not settlement.follow_ups:
        args += (settlement.uuid, b"D" + wire.token(settlement.token))  # nearly always
        return
    if settlement.settle is SettleAs.RETRY:
        behind = settlement.attempts
        delay = max(0, wire.milliseconds(settlement.delay))
        detail = f"{delay} {behind.retries} {behind.repeats} {behind.parks}"
    elif settlement.settle is SettleAs.DEAD:
        detail = settlement.reason.encode(errors="replace")
    kind, token = _KINDS[settlement.settle], b"F" + wire.token(settlement.token)
    args += (settlement.uuid, token, kind, detail, len(settlement.follow_ups))
    for message in settlement.follow_ups:
        target = "" if message.queue == queue else message.queue
        args += (target, message.uuid, wire.mark(message), message.body)
