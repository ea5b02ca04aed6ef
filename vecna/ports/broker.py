"""The broker: keeps messages until they are done, and hands each to one worker at a time."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence

from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.ports.presence import Presence
from vecna.ports.schedules import Schedules
from vecna.ports.staging import CodeCancelling, Staging
from vecna.ports.values import Answer, Canceling, DeadLetter, Extension, Lease, Place, Purge, QueueCounts, Settlement


class Queueing(ABC):
    """The way of a message: enqueue, lease, extend, settle.

    Every method is atomic per queue and may be called twice with the same arguments (a lost reply) without a second
    effect. A store that cannot be reached or refuses raises `BrokerUnavailable`; then all, some or none was done,
    and the same call may be repeated. Ids and queue names outside the rule raise `InvalidArgument` before anything is
    done. Batches may have any size; an adapter splits them.
    """

    @abstractmethod
    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """Accept messages.

        One whose id this queue holds already (waiting, leased, ending or dead) is not accepted again and changes
        nothing. A message with `due` or `delay` in the future waits and is not leased before. A queue becomes known
        (`Inspection.queues`) before its first message is stored. When this returns, the store has acknowledged all.
        Up to 500 for one queue, with bodies of 1 MiB in all, are accepted in one step: all of them or none.

        Returns:
            For each message whether it is new.
        """

    @abstractmethod
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
        """Take up to `count` messages for `duration`; `count` 0 only does the housekeeping.

        In this order, all in one step and by the store's clock: delayed messages that are due become pending; leases
        past their deadline end: their messages go to the head of their priority, each with one more crash, and one
        with `max_deliveries` crashes or more gets the verdict DEAD; then messages are taken: first those with a
        verdict, then by priority (9 first), within one the oldest first. Never is a message in two leases.

        An outage is not a crash: when no lease, extend or settle call has touched the queue for longer than half of
        `duration`, no lease ends for one `duration` after, so that living holders can extend, and what ends then of
        the leases that ran out before that is not counted, once for each message and only as its first crash: a task
        that kills the only worker looks like an outage each time. A lease is spared once, unless its holder extends
        it: else a queue that is looked at seldom would never get back what a dead worker held.

        Repeated with the same `worker` and `call`, and any `count`, it gives the same messages again, as far as they
        are still held under that lease. A `call` smaller than the worker's newest gives nothing: a late duplicate must
        not take messages that nobody waits for.

        Args:
            queue: where from.
            count: at most so many; an adapter may give fewer.
            worker: who asks: one running process, never reused after a restart.
            call: grows with each lease call of this worker on this queue.
            duration: how long the lease lasts unless extended.
            max_deliveries: the crash limit.
            verdicts_only: take only messages with a verdict.
        """

    @abstractmethod
    def extend(self, queue: str, tokens: Sequence[str], duration: dt.timedelta) -> list[Extension]:
        """Make leases last until `duration` from now; never shortens one.

        A lease past its deadline that no other call has ended yet is still alive. Each extension tells which of the
        lease's messages were cancelled meanwhile.
        """

    @abstractmethod
    def forfeit(self, queue: str, tokens: Sequence[str], *, max_deliveries: int) -> None:
        """End leases at once, as if they had run out: their holder is known to be dead.

        Their messages go to the head of their priority, each with one more crash, whatever an outage would have
        spared; one with `max_deliveries` crashes or more gets the verdict DEAD. A token that is not the live one is
        left alone, so that a repeated call changes nothing. Of very large leases some messages may come back with the
        next lease call.
        """

    @abstractmethod
    def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[Answer]:
        """End leases on messages, each as its settlement says, only while its token is the live one.

        A settlement and its follow-ups are one step: no crash leaves one without the other. Follow-ups for the same
        queue are there at once; those for other queues at the latest after `relay(queue)`, each exactly once. One
        whose id exists is not added again.

        A message that was cancelled while leased: RETRY and RETURN make it ENDING with the verdict CANCELED; DONE with
        follow-ups is refused (FLAGGED); DONE without, and DEAD, are as ever. RETURN changes neither attempts nor
        crashes; several returned in one call stand in the order given.
        """

    @abstractmethod
    def relay(self, queue: str, limit: int = 500) -> int:
        """Carry follow-ups that settlements in `queue` left for other queues over to them, at most `limit`.

        Whoever calls, however often, also at once: each follow-up arrives once. Where one step reaches all queues they
        may arrive with the settlement already; then nothing is ever waiting.

        Returns:
            How many are still waiting (0: all arrived).
        """


class Waiter(ABC):
    """Waits for work. One thread waits; any thread may call `wake` and `close`."""

    @abstractmethod
    def wait(self, queues: Sequence[str], timeout: float) -> None:
        """Return when one of the queues may have work, after `timeout` seconds, or when woken.

        A return is a hint: lease after each. An enqueue wakes one of the waiters that wait; when a lease call leaves
        pending messages behind, the next waiter is woken. A message with an earlier due time than all before wakes one
        too, so that it learns of it. A lease call that can take no pending message (`count` 0, or verdicts only) takes
        no wake-up from who waits next. A wake-up that dies with its waiter costs no more than the others' timeouts.

        Raises:
            BrokerUnavailable: the connection is lost; the next call connects again.
        """

    @abstractmethod
    def wake(self) -> None:
        """End the `wait` that is under way, or else the next one."""

    @abstractmethod
    def close(self) -> None:
        """End a `wait` under way and give the connection up. May be repeated."""


class Wakeup(ABC):
    """Waiting for work."""

    @abstractmethod
    def waiter(self) -> Waiter:
        """A new waiter; it opens its connection when first used."""


class Inspection(ABC):
    """Looking without changing. Pages are cut while others work: an entry may be seen twice or not at all."""

    @abstractmethod
    def queues(self) -> list[str]:
        """Names of all queues that ever held a message, sorted."""

    @abstractmethod
    def counts(self, queue: str) -> QueueCounts:
        """How many messages of a queue stand where."""

    @abstractmethod
    def get_pending_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        """Signatures that could be leased now: by priority, within one the oldest first. Unreadable ones are left out.

        Args:
            queue: where.
            limit: at most so many; None for all.
            offset: leave out so many at the head.
        """

    @abstractmethod
    def get_delayed_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        """Signatures that wait for their time (ETA, delay, retry, parked), the earliest first, that time as `eta`."""

    @abstractmethod
    def get_dead_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[DeadLetter]:
        """Dead letters, the oldest first."""

    @abstractmethod
    def locate(self, uuids: Sequence[str], queues: Sequence[str] | None = None) -> list[Place | None]:
        """Where each message stands, in these queues or (None) in all; None for one that is in none of them."""


class Cancelling(ABC):
    """Stopping what has not started, and clearing away what is dead."""

    @abstractmethod
    def cancel(self, queue: str, uuids: Sequence[str]) -> list[Canceling]:
        """Stop messages of one queue; one atomic step per id.

        What is pending or delayed never starts: it becomes ENDING with the verdict CANCELED, to be leased and recorded
        by any worker. What is leased is flagged: its worker learns of it with its next `extend`. Repeated: the same
        answer. The first verdict stands: a message that is ENDING for another reason answers CANCELED, since it will
        not start, and keeps its verdict. Dead letters are UNKNOWN here.

        Where it says CANCELED above, the answer is RUNNING for a message of which a lease ran out before: nobody knows
        whether who held it has begun it, and runs it still.
        """

    @abstractmethod
    def purge(self, queue: str, limit: int = 500) -> Purge:
        """Stop up to `limit` messages of one queue that wait, whichever they are, in one step.

        Pending ones first, in the order of leasing; then delayed ones, the earliest first; then held ones. None of them
        ever starts: each becomes ENDING with the verdict PURGED, to be leased and recorded by any worker. What is
        leased, ENDING or dead is left alone. A repeated call stops the next ones; an adapter may stop fewer than asked
        for, but calls that are repeated come to an end.
        """

    @abstractmethod
    def drop_dead(self, queue: str, uuids: Sequence[str]) -> list[bool]:
        """Remove dead letters from a queue: what else has these ids is left alone. For each whether it was one."""


class Broker(Queueing, Wakeup, Inspection, Cancelling, Staging, CodeCancelling, Schedules, Presence, ABC):
    """Where messages are kept."""

    @abstractmethod
    def close(self) -> None:
        """Close what this object opened in this process. May be repeated; a later call opens it again."""
