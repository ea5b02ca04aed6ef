"""The values that ports take and give back."""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING

import attrs

from vecna.domain.decide import Attempts
from vecna.domain.message import Message
from vecna.domain.signature import Signature

if TYPE_CHECKING:
    from vecna.ports.backend import Backend
    from vecna.ports.broker import Broker
    from vecna.ports.clock import Clock
    from vecna.ports.lock import Lock


class Verdict(enum.StrEnum):
    """Why a message is leased out to be ended, not run."""

    DEAD = "dead"
    CANCELED = "canceled"
    PURGED = "purged"


class Standing(enum.StrEnum):
    """Where a message stands.

    HELD: it waits for the rest of its workflow to be there. ENDING: it has a verdict and waits for a worker that
    records its end.
    """

    HELD = "held"

    PENDING = "pending"
    DELAYED = "delayed"
    LEASED = "leased"
    ENDING = "ending"
    DEAD = "dead"


class Answer(enum.StrEnum):
    """What became of one settlement.

    OK: done. ALREADY: this very lease had settled it so before (a repeated call). LOST: the lease is no longer the
    live one; nothing was changed. GONE: there is no such message (any more). FLAGGED: it was cancelled while leased,
    and the settlement has follow-ups: nothing was changed; decide again without them.
    """

    OK = "ok"
    ALREADY = "already"
    LOST = "lost"
    GONE = "gone"
    FLAGGED = "flagged"


class SettleAs(enum.StrEnum):
    """How a lease ends.

    DONE: the message is removed. RETRY: it waits for `delay`, with `attempts` kept. RETURN: it goes back to the head
    of its priority, as if it had not been leased. DEAD: it becomes a dead letter, with `reason`.
    """

    DONE = "done"
    RETRY = "retry"
    RETURN = "return"
    DEAD = "dead"


class Canceling(enum.StrEnum):
    """What a cancel found.

    CANCELED: will never start. RUNNING: leased, now flagged; or it will not be leased out to be run again, but a lease
    of it ran out before, and who held that may run it still. UNKNOWN: not in this queue.
    """

    CANCELED = "canceled"
    RUNNING = "running"
    UNKNOWN = "unknown"


@attrs.define
class _DeliveryFields:
    """The fields of a delivery, not yet frozen: see `vecna.domain.making`."""

    uuid: str
    queue: str
    body: bytes
    token: str
    attempts: Attempts
    crashes: int
    enqueued_at: dt.datetime
    due_at: dt.datetime | None = None
    verdict: Verdict | None = None


@attrs.frozen
class Delivery(_DeliveryFields):
    """One message in the hands of one worker.

    Attributes:
        uuid: the task's id.
        queue: where it was leased from.
        body: the message as it was enqueued.
        token: of the lease. All deliveries of one lease share it.
        attempts: what the last RETRY settlement kept.
        crashes: how many leases of it ran out.
        enqueued_at: when the broker accepted it, by the broker's clock.
        due_at: the instant that it was enqueued for, None if for at once.
        verdict: why it must be ended and not run; None: run it.
    """


@attrs.frozen
class Lease:
    """What a lease call got.

    Attributes:
        queue: where from.
        token: of this lease; "" if nothing was leased.
        deliveries: the messages, at most as many as asked for.
        now: the broker's clock during the call.
        next_due: when a further call could get something that this one could not: the earliest delayed message or
            running out lease; None if there is none.
        more: whether messages that could be leased at once were left behind.
    """

    queue: str
    token: str
    deliveries: tuple[Delivery, ...]
    now: dt.datetime
    next_due: dt.datetime | None = None
    more: bool = False


@attrs.frozen
class Extension:
    """What became of one token in an extend call.

    Attributes:
        token: the lease.
        alive: whether it is still the live one, now with the new deadline.
        canceled: ids of it that were cancelled while leased.
    """

    token: str
    alive: bool
    canceled: tuple[str, ...] = ()


@attrs.define
class _SettlementFields:
    """The fields of a settlement, not yet frozen."""

    uuid: str
    token: str
    settle: SettleAs = SettleAs.DONE
    delay: dt.timedelta = dt.timedelta(0)
    attempts: Attempts = Attempts()
    reason: str = ""
    follow_ups: tuple[Message, ...] = ()


@attrs.frozen
class Settlement(_SettlementFields):
    """The end of one lease on one message.

    Attributes:
        uuid: the message.
        token: of the lease under which it was delivered.
        settle: how it ends.
        delay: RETRY: how long it waits.
        attempts: RETRY: what is kept with it.
        reason: DEAD: why.
        follow_ups: DONE, DEAD: messages that its end causes, for any queue; enqueued in the same step.
    """


@attrs.frozen
class QueueCounts:
    """How many messages of a queue stand where.

    `ending`: cancelled, purged or dead, not yet recorded so. `held`: of workflows that are not all there yet.
    """

    pending: int = 0
    delayed: int = 0
    leased: int = 0
    ending: int = 0
    dead: int = 0
    held: int = 0


@attrs.frozen
class Purge:
    """One step of a purge.

    Attributes:
        purged: how many messages it has stopped.
        left: how many still wait; 0: none did after it.
    """

    purged: int
    left: int


@attrs.frozen
class Place:
    """Where a message was found.

    Attributes:
        queue: its queue.
        standing: where in it.
        body: the message as it was enqueued.
        attempts: what the last RETRY settlement kept.
        enqueued_at: when the broker accepted it.
        due_at: DELAYED: when it can be leased.
    """

    queue: str
    standing: Standing
    body: bytes
    attempts: Attempts
    enqueued_at: dt.datetime
    due_at: dt.datetime | None = None


@attrs.frozen
class DeadLetter:
    """A message that will not be run any more, kept for the operator.

    Attributes:
        uuid: the task's id.
        queue: its queue.
        reason: why.
        died_at: when.
        body: the message as it was enqueued.
    """

    uuid: str
    queue: str
    reason: str
    died_at: dt.datetime
    body: bytes

    @property
    def signature(self) -> Signature:
        """The call that it holds.

        Raises:
            InvalidSignature: the message cannot be read.
        """
        return Signature.from_json(self.body)

    @property
    def name(self) -> str:
        """The task's name, "" if the message cannot be read."""
        try:
            return self.signature.name
        except ValueError:
            return ""


@attrs.frozen
class Adapters:
    """What an adapter's factory gives: the four ports for one URL."""

    broker: Broker
    backend: Backend
    lock: Lock
    clock: Clock
