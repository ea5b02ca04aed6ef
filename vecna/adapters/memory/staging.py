"""Sending many messages as one, and cancelling all that share a code."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from vecna.adapters.memory.queue import Queue, Queues
from vecna.domain.ids import check_id
from vecna.domain.message import Message
from vecna.kit.rules import check_messages
from vecna.ports.clock import Clock
from vecna.ports.staging import CodeCancel, CodeCancelling, Staging
from vecna.ports.values import Canceling

_PAGE = 500


class MemoryStaging(Staging, CodeCancelling):
    """The part of `MemoryBroker` that deals with many messages as one.

    Args:
        clock: time.
        store: of the broker.
    """

    def __init__(self, clock: Clock, store: Queues) -> None:
        self._clock = clock
        self._store = store
        self._lock = store.lock

    def stage(self, hold: str, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.Staging`."""
        check_id(hold, "hold")
        check_messages(messages)
        with self._lock:
            now = self._clock.now()
            return [self._store.queue(message.queue).accept(message, now, hold=hold) for message in messages]

    def unstage(self, queue: str, hold: str, *, canceled: bool = False, limit: int = 500) -> int:
        """See `vecna.ports.Staging`."""
        found = self._checked(queue)
        check_id(hold, "hold")
        with self._lock:
            left = found.unstage(hold, self._clock.now(), limit, canceled=canceled)
            found.announce()
            return left

    def staged(self, queue: str, age: dt.timedelta, limit: int = 100) -> list[str]:
        """See `vecna.ports.Staging`."""
        found = self._checked(queue)
        with self._lock:
            now = self._clock.now()
            return [name for name, hold in found.holds.items() if now - hold.began_at >= age][:limit]

    def cancel_code(self, queue: str, code: str, cursor: str = "") -> CodeCancel:
        """See `vecna.ports.CodeCancelling`."""
        found = self._checked(queue)
        check_id(code, "code")
        with self._lock:
            # Ids are walked in order, so that a page begins where the one before ended, whatever has left meanwhile.
            sharing = sorted(uuid for uuid in found.codes.get(code, ()) if uuid > cursor)
            page = sharing[:_PAGE]
            answers = {uuid: found.cancel(uuid) for uuid in page}
            found.announce()
        return CodeCancel(
            tuple([uuid for uuid, answer in answers.items() if answer is Canceling.CANCELED]),
            tuple([uuid for uuid, answer in answers.items() if answer is Canceling.RUNNING]),
            page[-1] if len(sharing) > len(page) else "",
        )

    def _checked(self, queue: str) -> Queue:
        check_id(queue, "queue name")
        with self._lock:
            return self._store.queue(queue)
