"""A broker in this process: what the port means, on dicts, deques and heaps."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from vecna.adapters.memory.held import Held
from vecna.adapters.memory.presence import MemoryPresence
from vecna.adapters.memory.queue import Queue, Queues
from vecna.adapters.memory.schedules import MemorySchedules
from vecna.adapters.memory.staging import MemoryStaging
from vecna.adapters.memory.waiter import MemoryWaiter
from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.kit.rules import check_ids, check_messages
from vecna.ports.async_queueing import AsyncQueueing
from vecna.ports.broker import Broker, Waiter
from vecna.ports.clock import Clock
from vecna.ports.ringing import Ringing
from vecna.ports.values import (
    Answer,
    Canceling,
    DeadLetter,
    Extension,
    Lease,
    Place,
    Purge,
    QueueCounts,
    SettleAs,
    Settlement,
    Standing,
)

T = TypeVar("T")
#: Settlements that end a message, and so may cause others.
_ENDS = frozenset({SettleAs.DONE, SettleAs.DEAD})


class MemoryBroker(MemoryStaging, MemorySchedules, MemoryPresence, Broker, AsyncQueueing, Ringing):
    """Keeps messages in this process, and only as long as it lives.

    Args:
        clock: time.
        store: shared by all brokers that are given the same; one of its own when left out.
        dead_letter_limit: how many dead letters a queue keeps; the oldest go first.
    """

    def __init__(self, clock: Clock, store: Queues | None = None, *, dead_letter_limit: int = 10_000) -> None:
        MemoryStaging.__init__(self, clock, Queues() if store is None else store)
        MemorySchedules.__init__(self, clock, self._store)
        self._dead_letter_limit = dead_letter_limit

    # -- Queueing ----------------------------------------------------------------------------------------------------

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.Queueing`."""
        check_messages(messages)
        with self._lock:
            now = self._clock.now()
            return self._enqueue([(message, now) for message in messages], now)

    async def enqueue_async(self, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.AsyncQueueing`. The lock is never held for longer than a step in memory takes."""
        return self.enqueue(messages)

    def _enqueue(self, messages: Iterable[tuple[Message, dt.datetime]], now: dt.datetime) -> list[bool]:
        touched: dict[str, Queue] = {}
        answers = []
        for message, accepted in messages:
            queue = touched.get(message.queue)
            if queue is None:
                queue = touched[message.queue] = self._store.queue(message.queue)
            answers.append(queue.accept(message, now, accepted))
        for queue in touched.values():
            queue.announce()
        return answers

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
        with self._lock:
            found = self._store.queue(queue)
            lease = found.lease(
                count,
                worker=worker,
                call=call,
                duration=duration,
                max_deliveries=max_deliveries,
                verdicts_only=verdicts_only,
                now=self._clock.now(),
            )
            found.announce()
            return lease

    def extend(self, queue: str, tokens: Sequence[str], duration: dt.timedelta) -> list[Extension]:
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        with self._lock:
            found, now = self._store.queue(queue), self._clock.now()
            found.touch(now)
            return [found.extend(token, duration, now) for token in tokens]

    def forfeit(self, queue: str, tokens: Sequence[str], *, max_deliveries: int) -> None:
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        with self._lock:
            found, now = self._store.queue(queue), self._clock.now()
            found.touch(now)
            found.forfeit(tokens, now, max_deliveries)
            found.announce()

    def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[Answer]:
        """See `vecna.ports.Queueing`."""
        check_id(queue, "queue name")
        for settlement in settlements:
            check_id(settlement.uuid, "task id")
            check_messages(settlement.follow_ups)
        with self._lock:
            found, now = self._store.queue(queue), self._clock.now()
            found.touch(now)
            answers = [self._settle(found, settlement, now) for settlement in settlements]
            found.to_head(
                [
                    settlement.uuid
                    for settlement, answer in zip(settlements, answers, strict=True)
                    if settlement.settle is SettleAs.RETURN and answer is Answer.OK
                ]
            )
            found.announce()
            return answers

    def _settle(self, queue: Queue, settlement: Settlement, now: dt.datetime) -> Answer:
        answer = queue.check(settlement)
        if answer is Answer.OK:
            queue.settle(settlement, now, self._dead_letter_limit)
            if settlement.settle in _ENDS:
                for message in settlement.follow_ups:
                    if message.queue == queue.name:
                        queue.accept(message, now)
                    else:
                        queue.outbox.append((message, now))
        return answer

    def relay(self, queue: str, limit: int = 500) -> int:
        """See `vecna.ports.Queueing`.

        One lock holds all queues, so that a follow-up could arrive with its settlement; it waits for this call so that
        what is tested here meets the same order of things as on a store that is spread over machines.
        """
        check_id(queue, "queue name")
        with self._lock:
            outbox = self._store.queue(queue).outbox
            self._enqueue([outbox.popleft() for _ in range(min(limit, len(outbox)))], self._clock.now())
            return len(outbox)

    # -- Wakeup ------------------------------------------------------------------------------------------------------

    def waiter(self) -> Waiter:
        """See `vecna.ports.Wakeup`."""
        return MemoryWaiter(self._store, self._clock)

    def ring(self, queue: str) -> None:
        """See `vecna.ports.Ringing`."""
        check_id(queue, "queue name")
        with self._lock:
            self._store.queue(queue).bell.ring()

    # -- Inspection --------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        """See `vecna.ports.Inspection`."""
        with self._lock:
            return sorted(name for name, queue in self._store.by_name.items() if queue.known)

    def counts(self, queue: str) -> QueueCounts:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        with self._lock:
            found = self._store.queue(queue)
            return QueueCounts(
                pending=sum(map(len, found.pending)),
                delayed=len(found.delayed),
                leased=sum(len(lease.messages) for lease in found.leases.values()),
                ending=len(found.ending),
                dead=len(found.dead),
                held=sum(len(hold.messages) for hold in found.holds.values()),
            )

    def get_pending_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        with self._lock:
            lines = reversed(self._store.queue(queue).pending)
            page = _page(itertools.chain.from_iterable(line.values() for line in lines), limit, offset)
        return [signature for held in page if (signature := _read(held.message.body)) is not None]

    def get_delayed_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        with self._lock:
            found = self._store.queue(queue)
            page = [
                (found.messages[uuid].message.body, found.delayed[uuid]) for uuid in _page(found.delayed, limit, offset)
            ]
        return [signature.replace(eta=due) for body, due in page if (signature := _read(body)) is not None]

    def get_dead_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[DeadLetter]:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        with self._lock:
            return [
                DeadLetter(held.message.uuid, queue, held.reason, held.died_at or held.enqueued_at, held.message.body)
                for held in _page(self._store.queue(queue).dead.values(), limit, offset)
            ]

    def locate(self, uuids: Sequence[str], queues: Sequence[str] | None = None) -> list[Place | None]:
        """See `vecna.ports.Inspection`."""
        check_ids(uuids, "task id")
        check_ids(queues or (), "queue name")
        with self._lock:
            names = sorted(self._store.by_name) if queues is None else queues
            searched = [queue for name in names if (queue := self._store.by_name.get(name)) is not None]
            return [next((_place(queue, uuid) for queue in searched if uuid in queue.messages), None) for uuid in uuids]

    # -- Cancelling --------------------------------------------------------------------------------------------------

    def cancel(self, queue: str, uuids: Sequence[str]) -> list[Canceling]:
        """See `vecna.ports.Cancelling`."""
        check_id(queue, "queue name")
        check_ids(uuids, "task id")
        with self._lock:
            found = self._store.queue(queue)
            answers = [found.cancel(uuid) for uuid in uuids]
            found.announce()
            return answers

    def purge(self, queue: str, limit: int = 500) -> Purge:
        """See `vecna.ports.Cancelling`."""
        check_id(queue, "queue name")
        with self._lock:
            found = self._store.queue(queue)
            purge = found.purge(limit)
            found.announce()
            return purge

    def drop_dead(self, queue: str, uuids: Sequence[str]) -> list[bool]:
        """See `vecna.ports.Cancelling`."""
        check_id(queue, "queue name")
        check_ids(uuids, "task id")
        with self._lock:
            found = self._store.queue(queue)
            dropped = [found.dead.pop(uuid, None) for uuid in uuids]
            for held in dropped:
                if held is not None:
                    found.drop(held)
            return [held is not None for held in dropped]

    def close(self) -> None:
        """Nothing is open."""


def _page(items: Iterable[T], limit: int | None, offset: int) -> list[T]:
    return list(itertools.islice(items, offset, None if limit is None else offset + limit))


def _read(body: bytes) -> Signature | None:
    try:
        return Signature.from_json(body)
    except InvalidSignature:
        return None


def _place(queue: Queue, uuid: str) -> Place:
    held: Held = queue.messages[uuid]
    due_at = queue.delayed[uuid] if held.standing is Standing.DELAYED else None
    return Place(queue.name, held.standing, held.message.body, held.attempts, held.enqueued_at, due_at)
