"""An optional way into the broker for event loops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from vecna.domain.message import Message


class AsyncQueueing(ABC):
    """What a broker may offer beside `Broker`, by inheriting from both: to accept messages without blocking a loop.

    For one that does not, `Queueing.enqueue` is called in a thread.
    """

    @abstractmethod
    async def enqueue_async(self, messages: Sequence[Message]) -> list[bool]:
        """As `Queueing.enqueue`, with the same promises, on any event loop, several of them too.

        It never blocks the loop, and is not to wait long for a store that is away: the caller tries again. When it is
        cancelled, all, some or none was done, and what it used is left clean or given up. What it opens for a loop is
        closed when that loop ends (`asyncio.run` does that) or by `Broker.close`.
        """
