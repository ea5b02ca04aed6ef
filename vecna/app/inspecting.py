"""Looking into queues."""

from __future__ import annotations

from typing import Any

from vecna.app.twins import blocking, twin
from vecna.app.wired import Wired
from vecna.domain.errors import InvalidArgument
from vecna.domain.ids import check_id
from vecna.domain.signature import Signature
from vecna.domain.signing import bare
from vecna.ports.values import DeadLetter, QueueCounts


class Inspecting(Wired):
    """Looks without changing."""

    @blocking
    def get_pending_tasks(self, queue: str | None = None, *, limit: int | None = None) -> list[Signature[Any]]:
        """Signatures that a worker could take now: by priority, within one the oldest first.

        Args:
            queue: where; the default queue if left out.
            limit: at most so many; None for all.

        Raises:
            InvalidArgument: no queue can be called so, or a negative limit.
            BrokerUnavailable: the broker cannot be reached.
        """
        return [bare(each) for each in self.broker.get_pending_tasks(self._queue(queue), limit=_limit(limit))]

    @blocking
    def get_delayed_tasks(self, queue: str | None = None, *, limit: int | None = None) -> list[Signature[Any]]:
        """Signatures that wait for their time, the earliest first, with that time as `eta`.

        Delayed ones, those that wait for a repeat, and those that were put back because no worker knows their task.

        Args:
            queue: where; the default queue if left out.
            limit: at most so many; None for all.

        Raises:
            InvalidArgument, BrokerUnavailable: as for `get_pending_tasks`.
        """
        return [bare(each) for each in self.broker.get_delayed_tasks(self._queue(queue), limit=_limit(limit))]

    @blocking
    def get_dead_tasks(self, queue: str | None = None, *, limit: int | None = None) -> list[DeadLetter]:
        """Messages that will not be run any more, the oldest first, each with the reason.

        Args:
            queue: where; the default queue if left out.
            limit: at most so many; None for all.

        Raises:
            InvalidArgument, BrokerUnavailable: as for `get_pending_tasks`.
        """
        return self.broker.get_dead_tasks(self._queue(queue), limit=_limit(limit))

    @blocking
    def queue_counts(self) -> dict[str, QueueCounts]:
        """How many messages stand where, for every queue that ever held one.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
        """
        broker = self.broker
        return {queue: broker.counts(queue) for queue in broker.queues()}

    get_pending_tasks_async = twin(get_pending_tasks)
    get_delayed_tasks_async = twin(get_delayed_tasks)
    get_dead_tasks_async = twin(get_dead_tasks)
    queue_counts_async = twin(queue_counts)

    def _queue(self, queue: str | None) -> str:
        return self._config.default_queue if queue is None else check_id(queue, "queue name")


def _limit(limit: int | None) -> int | None:
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidArgument(f"limit must be an int of 0 or more, or None for all, not {limit!r}")
    return limit
