"""Admitting deliveries: which of a leased batch are run, and how the others end."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any, Final

import attrs

from vecna import log
from vecna.app.delivery_failure import failed
from vecna.app.delivery_values import Batch, Hold, Item, Parked, Wiring, with_options
from vecna.app.launching import TASKS
from vecna.app.passing import with_passed
from vecna.domain.decide import Canceled, Failed
from vecna.domain.errors import InvalidArgument, InvalidSignature, TaskFailed, TaskNotRegistered
from vecna.domain.signature import Signature
from vecna.domain.signing import Keys, distrusted, verified
from vecna.ports.values import Delivery, Verdict

_CANCELED: Final = (Verdict.CANCELED, Verdict.PURGED)
#: Seconds: how long a message that no worker here knows is put back for at most.
LONGEST_PARK: Final = 60.0
#: How often an admission is tried whose callbacks' results cannot be read; seconds that those then wait at most.
_TRIES: Final = 3
_LATER: Final = 5.0
#: Callbacks in a row whose results cannot be read, until no more are tried.
_ENOUGH: Final = 2


def read(delivery: Delivery, hold: Hold, now: float, keys: Keys = ()) -> Item:
    """The delivery with its message read; one that cannot be read, or is not signed as it should be, gets its end here.

    Args:
        delivery: what was leased.
        hold: its lease.
        now: monotonic.
        keys: those under one of which it has to be signed; none: it need not be.
    """
    try:
        signature = Signature.from_json(delivery.body)
        if signature.uuid != delivery.uuid:
            raise InvalidSignature(f"the message holds another task id than its own: {signature.uuid}")
    except InvalidSignature as exc:
        stand_in: Signature[Any] = Signature("unreadable", uuid=delivery.uuid)
        outcome = failed(exc, permanent=True, dead_reason=f"unreadable: {exc}")
        return Item(delivery, hold, now, stand_in, readable=False, exception=exc, outcome=outcome)
    try:
        return Item(delivery, hold, now, verified(signature, keys) if keys else signature)
    except InvalidSignature as exc:
        # Its place in a workflow hears of it; nothing else of what it says is done.
        outcome = failed(exc, permanent=True, dead_reason=str(exc))
        return Item(delivery, hold, now, distrusted(signature), exception=exc, outcome=outcome)


class Admission:
    """Sorts a batch by what is known before anything runs."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._lock = threading.Lock()
        self._unknown: set[str] = set()  # names that were logged as not registered
        self._broken_off = 0  # how often in a row `sort` was, by results that could not be read
        self._unread = 0  # callbacks in a row, of the batch that is sorted, whose results could not be

    def sort(self, batch: Batch) -> tuple[list[Item], list[Item]]:
        """Those to run, and those to finish without a run.

        Raises:
            BrokerUnavailable: the backend cannot be asked; nothing has changed, and the call may be repeated.
        """
        runnable: list[Item] = []
        ended: list[Item] = []
        self._unread = 0
        if batch.items:
            # By the broker's clock. The call may be repeated long after the lease.
            passed = self._wiring.clock.monotonic() - batch.items[0].since
            now = batch.now + dt.timedelta(seconds=passed)
            states = self._wiring.backend.get_states([item.uuid for item in batch.items])
            for item, state in zip(batch.items, states, strict=True):
                if item.delivery.verdict is not None:
                    item.canceled = item.canceled or item.delivery.verdict in _CANCELED
                item.childless = item.canceled
                if state is not None and state.is_completed:
                    # Whoever recorded it died before it settled, or lost its lease: what it began is brought to an end.
                    item.recorded = state
                    self._resolve(item)
                else:
                    self._judge(item, now)
                (runnable if _is_open(item) else ended).append(item)
        self._broken_off = 0
        return runnable, ended

    def _resolve(self, item: Item) -> None:
        name = item.signature.name
        item.task = (TASKS.get(name) or self._wiring.registry.get(name)) if item.readable else None
        item.signature = with_options(item.signature, item.task)

    def _judge(self, item: Item, now: dt.datetime) -> None:
        """Give an item that is not to run its outcome, or its decision."""
        verdict = item.delivery.verdict
        if item.canceled:
            item.outcome = Canceled("purged" if verdict is Verdict.PURGED else "canceled")
        elif item.outcome is not None:  # unreadable
            return
        elif verdict is Verdict.DEAD:
            self._resolve(item)
            times = item.delivery.crashes
            reason = f"its worker died or went silent {times} times while it held the task"
            item.exception = TaskFailed(reason, task_uuid=item.uuid)
            item.outcome = Failed(f"dead: {reason}", permanent=True, dead_reason=reason)
        else:
            self._resolve(item)
            if item.signature.set_options and _is_expired(item.signature, item.delivery.enqueued_at, now):
                item.outcome = Canceled("expired")
            elif item.task is None:
                self._park(item)
            elif item.signature.position is not None:
                self._take_results(item)

    def _take_results(self, item: Item) -> None:
        """A chord callback's further arguments. Where they cannot be read after some tries, it goes back for a while.

        That its backend is there is known by then: the ends of the batch were read. A key of its workflow is damaged,
        or the node that has it is away, and others need not wait for that.
        """
        position = item.signature.position
        if position is None or not position.takes:
            return
        if self._unread >= _ENOUGH:  # each may have taken a time limit to fail
            self._put_off(item)
            return
        try:
            item.signature = with_passed(self._wiring.backend, item.signature)
            self._unread = 0
        except InvalidArgument as exc:
            item.exception, item.outcome = exc, failed(exc.with_traceback(None), permanent=True)
        except Exception as exc:  # whatever a port raises about this one
            if self._broken_off < _TRIES - 1:
                self._broken_off += 1
                raise
            self._unread += 1
            self._put_off(item)
            log.warning(
                f"the results that task {item.name} {item.uuid} takes cannot be read; it is tried again in some "
                f"{_LATER:g} s: {exc}",
                task_uuid=item.uuid,
            )

    def _put_off(self, item: Item) -> None:
        # Not all after the same time: else those that are not tried would stand behind the same ones again.
        wait = _LATER * (1 - 0.2 * self._wiring.random.random())
        item.decision = Parked(dt.timedelta(seconds=wait), item.delivery.attempts)

    def _park(self, item: Item) -> None:
        signature, attempts = item.signature, item.delivery.attempts
        limit = self._wiring.config.park_limit
        if signature.ignore_when_task_not_registered or (limit is not None and attempts.parks >= limit):
            times = f", nor was one when it was put back {attempts.parks} times" if attempts.parks else ""
            item.exception = TaskNotRegistered(f"no task {signature.name!r} is registered with this worker{times}")
            item.outcome = failed(item.exception, permanent=True)
            return
        wait = min(2.0 ** min(attempts.parks, 30), LONGEST_PARK) * (1 - 0.2 * self._wiring.random.random())
        item.decision = Parked(dt.timedelta(seconds=wait), attrs.evolve(attempts, parks=attempts.parks + 1))
        with self._lock:
            if signature.name in self._unknown or len(self._unknown) >= 1000:
                return
            self._unknown.add(signature.name)
        log.warning(
            f"no task {signature.name!r} is registered with this worker: its messages go back to the queue with a "
            "growing delay, for a worker that knows it",
            task=signature.name,
            queue=item.delivery.queue,
        )


def _is_open(item: Item) -> bool:
    return item.outcome is None and item.decision is None and item.recorded is None


def _is_expired(signature: Signature[Any], enqueued_at: dt.datetime, now: dt.datetime) -> bool:
    expires: dt.datetime | dt.timedelta | None = signature.set_options.get("expires")
    if expires is None:
        return False
    if isinstance(expires, dt.timedelta):
        return now - enqueued_at >= expires
    return now >= expires
