"""The part of the server that operators use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vecna.app.relaying import carry_all
from vecna.app.schedules import ScheduleServer
from vecna.app.twins import blocking, twin
from vecna.domain.ids import check_id

Progress = Callable[[int, int], None]


class OperatingServer(ScheduleServer):
    """Empties queues."""

    @blocking
    def purge(self, queue: str, *, on_progress: Progress | None = None) -> int:
        """Stop all that waits in a queue: what is pending, delayed, or held until its workflow is there.

        None of it ever starts; each task ends as CANCELED with the error `purged`, which its workflow hears. What comes
        into the queue meanwhile may be stopped too. What runs goes on, and so may what it causes or repeats; dead
        letters stay. Schedules go on.

        Args:
            queue: its name.
            on_progress: called as `on_progress(stopped, left)` after each step of up to 500.

        Returns:
            How many tasks were stopped.

        Raises:
            InvalidArgument: no queue can be called so.
            BrokerUnavailable: the broker cannot be reached; part of it may have been done, the call may be repeated.
        """
        check_id(queue, "queue name")
        broker = self.broker
        for name in broker.queues():  # what was caused before is in its queue now
            carry_all(partial(broker.relay, name))
        end, stopped = self._ender(), 0
        while True:
            step = broker.purge(queue)
            stopped += step.purged
            end(queue)
            if on_progress is not None:
                on_progress(stopped, step.left)
            if not step.left:
                return stopped

    purge_async = twin(purge)
