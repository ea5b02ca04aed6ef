"""The part of the server that operators use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from vecna.app.relaying import carry_all
from vecna.app.requeueing import Requeue, requeue, was_given_up
from vecna.app.results import AsyncResult
from vecna.app.schedules import ScheduleServer
from vecna.app.signing import signed_plans
from vecna.app.twins import blocking, twin
from vecna.domain.errors import UnknownTask
from vecna.domain.ids import check_id
from vecna.domain.presence import WorkerRecord
from vecna.domain.signature import Signature
from vecna.domain.signing import verified
from vecna.ports.values import Standing

Progress = Callable[[int, int], None]


@attrs.frozen
class Retried:
    """What became of a dead task that is run again.

    Attributes:
        result: the handle of its copy; `is_new` is False if there was one already.
        later: ids of the copies of what follows it.
        left_out: what of its workflow was not copied, and why; "" if all was.
    """

    result: AsyncResult[Any]
    later: tuple[str, ...] = ()
    left_out: str = ""


class OperatingServer(ScheduleServer):
    """Empties queues, runs dead tasks again, knows which workers are there."""

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
            if step.left <= 0:
                return stopped

    @blocking
    def retry_dead_task(self, uuid: str) -> Retried:
        """Run a dead task again: a copy under a new id, with its callbacks and the later links of its chain.

        The copy carries the dead task's id in its header `retry_of`, and begins at once, without its `eta` or `delay`.
        The dead letter is removed; the task itself and its workflow stay ended. Of a group's member only what follows
        it within the group is copied. Called again before that has expired it sends nothing new.

        Args:
            uuid: the dead task's id.

        Returns:
            The handle of the copy, and what of the workflow was left out.

        Raises:
            UnknownTask: no dead letter has this id.
            InvalidSignature: what is left of it cannot be read or sent, or is not signed by any of `signing_keys`.
            InvalidArgument: no id can be written so, or the results that it was to be passed have expired.
            BrokerUnavailable: the store cannot be reached; the call may be repeated, and makes one copy.
        """
        (place,) = self.broker.locate([check_id(uuid, "task id")])
        if place is None or place.standing is not Standing.DEAD:
            where = "it is not with the broker" if place is None else f"it is {place.standing} in queue {place.queue}"
            raise UnknownTask(f"no dead letter has the id {uuid}: {where}")
        dead = verified(Signature.from_json(place.body), self._config.signing_keys)
        plans = signed_plans(self.backend, self._config)
        given_up = 0  # and nearly always stays so
        while True:
            found = requeue(plans, dead, place.queue, given_up)
            is_new = self._send_requeued(found)
            if not was_given_up(self.backend, found):
                break
            given_up += 1
        # Not once only: whoever called again after this had had its effect would be told that there is no such letter.
        self._insist(partial(self.broker.drop_dead, place.queue, [uuid]))
        result = AsyncResult[Any](self, found.copy.uuid, found.copy, is_new=is_new, queue=place.queue)
        later = [each.uuid for each in found.chain.signatures()][1:] if found.chain is not None else []
        return Retried(result, tuple(later), found.left_out)

    def _send_requeued(self, found: Requeue) -> bool:
        if found.chain is not None:
            return bool(self._send_workflow(found.chain, 0).is_new)
        sent = self._sending.send([found.copy], self.broker, self.backend, self.clock, self._here().closing)
        return sent[0].is_new

    @blocking
    def workers(self) -> list[WorkerRecord]:
        """The workers that are there, by name, each with its queues and what it ran when it last said so.

        A worker says so when it starts and stops, and in between every heartbeat, or every five seconds if those are
        more frequent. One that died is listed for up to three times that.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
        """
        return self.broker.workers()

    workers_async = twin(workers)
    purge_async = twin(purge)
    retry_dead_task_async = twin(retry_dead_task)
