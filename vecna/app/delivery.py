"""The one life of a delivery: lease, admit, run, finish.

Steps over batches, with no thread and no wait of their own: the worker calls them from its threads, a harness or
simulation in one. All I/O goes through the ports, all time comes from the clock, all chance from `random`. Between any
two steps the process may die: then the lease runs out, and another worker takes the message up from what is recorded.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Sequence

import attrs

from vecna import log
from vecna.app.delivery_admit import Admission, read
from vecna.app.delivery_finish import Finisher
from vecna.app.delivery_run import RunHooks, Runner
from vecna.app.delivery_values import CANCELED, LOST, Batch, Hold, Item, QueuesAway, Returned, Wiring
from vecna.app.launchers import RESERVED
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.ids import new_id
from vecna.domain.state import State, TaskState
from vecna.ports.values import Answer, Extension

#: Share of a lease for which it is not trusted any more, for what lies between the broker's clock and ours.
_MARGIN = 0.1
#: Seconds: the most that half a call is taken for, since a reply may be late for other reasons.
_HALF_WAY = 0.001


@attrs.define
class _Call:
    """The newest lease call on one queue; repeated as it is until it has got its answer."""

    number: int
    count: int
    verdicts_only: bool
    started: float
    answered: bool = False


class Deliveries:
    """What one process holds, and the steps that bring it to its end.

    `lease` is for one thread, `finish` for one (another) at a time, the rest for any.

    Args:
        wiring: of the server.
        worker: name of the worker.
        hooks: who is told of runs.
        incarnation: makes the name unique to this process; a new random id when left out.
        asking: called before each lease call that takes messages, with queue, worker and number; must not wait.
    """

    def __init__(
        self,
        wiring: Wiring,
        worker: str,
        hooks: RunHooks | None = None,
        *,
        incarnation: str | None = None,
        asking: Callable[[str, str, int], None] | None = None,
    ) -> None:
        self._wiring = wiring
        self._clock = wiring.clock
        self._identity = f"{worker[:150]}:{incarnation or new_id()}"
        self._admission = Admission(wiring)
        self._runner = Runner(wiring, worker, hooks or RunHooks())
        self._finisher = Finisher(wiring, worker)
        self._asking = asking
        self._worker = worker
        self._calls: dict[str, _Call] = {}
        self._lock = threading.Lock()  # taken once per batch
        self._holds: dict[tuple[str, str], Hold] = {}
        self._held = 0
        self._told: list[Item] = []  # to stop, by what `finish` has asked, and not yet named by `extend`
        #: Run a function; see `Runner.run`.
        self.run = self._runner.run
        #: Await a coroutine function; see `Runner.arun`.
        self.arun = self._runner.arun

    @property
    def held(self) -> int:
        """How many deliveries are not over."""
        return self._held

    @property
    def owes(self) -> bool:
        """Whether `finish` was broken off and should be called again, even without items."""
        return self._finisher.owes

    def items(self) -> list[Item]:
        """All deliveries that are not over."""
        with self._lock:
            return [item for hold in self._holds.values() for item in hold.items.values()]

    # -- lease and admit ---------------------------------------------------------------------------------------------

    def lease(self, queue: str, count: int, *, verdicts_only: bool = False) -> Batch:
        """Take up to `count` messages of a queue; 0 only does its housekeeping.

        Raises:
            BrokerUnavailable: the broker cannot be reached. The next call on this queue repeats this one, so that what
                it may have got is not lost until the lease runs out.
        """
        config, now = self._wiring.config, self._clock.monotonic()
        call = self._calls.get(queue)
        if call is None or call.answered or not call.count:
            call = self._calls[queue] = _Call(1 if call is None else call.number + 1, count, verdicts_only, now)
        if self._asking is not None and call.count:
            self._asking(queue, self._identity, call.number)
        lease = self._wiring.broker.lease(
            queue,
            call.count,
            worker=self._identity,
            call=call.number,
            duration=dt.timedelta(seconds=config.lease),
            max_deliveries=config.max_deliveries,
            verdicts_only=call.verdicts_only,
        )
        call.answered = True
        # The broker looked at its clock about half way through; but late is late, and early costs one more look only.
        looked = now + min((self._clock.monotonic() - now) / 2, _HALF_WAY)
        due = None if lease.next_due is None else looked + (lease.next_due - lease.now).total_seconds()
        if not lease.deliveries:
            return Batch((), lease.now, due, lease.more)
        # The lease may be as old as the first attempt of this call.
        now = self._clock.monotonic()
        hold = Hold(queue, lease.token, call.started + config.lease * (1 - _MARGIN))
        items = tuple([read(delivery, hold, now, config.signing_keys) for delivery in lease.deliveries])
        hold.items.update({item.delivery.uuid: item for item in items})
        with self._lock:
            self._holds[queue, lease.token] = hold
            self._held += len(items)
        return Batch(items, lease.now, due, lease.more)

    def admit(self, batch: Batch) -> tuple[list[Item], list[Item]]:
        """Those of a batch to run, and those to finish without a run.

        Raises:
            BrokerUnavailable: the backend cannot be asked; call again with the same batch.
        """
        return self._admission.sort(batch)

    # -- while they run ----------------------------------------------------------------------------------------------

    def extend(self) -> list[Item]:
        """Extend all leases, and tell the runs that should stop. A queue out of reach keeps no other's from it.

        Returns:
            The items that were told just now; coroutines among them have to be cancelled.

        Raises:
            BrokerUnavailable: none could be extended; leases may run out unless a later call comes in time.
        """
        with self._lock:
            holds = [hold for hold in self._holds.values() if not hold.lost]
        missed = self._extend(holds)
        if missed and len(missed) == len({hold.queue for hold in holds}):
            raise next(iter(missed.values()))
        with self._lock:
            told, self._told = self._told, []
        return told

    def _extend(self, holds: Iterable[Hold]) -> dict[str, Exception]:
        """Note which items were told to stop by it; the queues that could not be reached."""
        by_queue: dict[str, list[Hold]] = {}
        for hold in holds:
            by_queue.setdefault(hold.queue, []).append(hold)
        told: list[Item] = []
        lease = self._wiring.config.lease
        missed: dict[str, Exception] = {}
        for queue, group in by_queue.items():
            started = self._clock.monotonic()
            tokens = [hold.token for hold in group]
            try:
                extensions = self._wiring.broker.extend(queue, tokens, dt.timedelta(seconds=lease))
                for hold, extension in zip(group, extensions, strict=True):
                    told += _extended(hold, extension, started + lease * (1 - _MARGIN))
            except Exception as exc:  # noqa: BLE001  # whatever is wrong with one queue, the leases of others go on
                missed[queue] = exc
                if not isinstance(exc, BrokerUnavailable):
                    log.error(f"leases of queue {queue} cannot be extended, and may run out", exc_info=exc)
        with self._lock:
            self._told += told
        self._say_lost([item for item in told if item.stopping == LOST])
        return missed

    def notes(self, items: Iterable[Item]) -> list[TaskState]:
        """What is to be written of items that are not at their end: RECEIVED, STARTED, progress."""
        states: list[TaskState] = []
        for item in items:
            if item.over or item.outcome is not None or item.decision is not None or item.hold.lost:
                continue
            if item.name in RESERVED:  # no end of it is recorded either
                continue
            item.noted = State.RECEIVED  # before the look: a start after the look sees it, and has it noted again
            if item.started is not None:
                item.noted = State.STARTED
            position = item.signature.position
            states.append(
                TaskState(
                    task_uuid=item.uuid,
                    task_name=item.name,
                    state=item.noted,
                    created_at=item.delivery.enqueued_at,
                    started_at=item.started_at,
                    attempt=item.attempt,
                    worker=self._worker,
                    progress=item.context.last_progress if item.context else None,
                    token=item.hold.token,
                    node=position.node if position else "",
                )
            )
        return states

    # -- finish ------------------------------------------------------------------------------------------------------

    def finish(self, items: Sequence[Item], notes: Sequence[TaskState] = ()) -> None:
        """Record, settle and release what has come to its end. Items that are over are left alone.

        Items whose lease was lost are dropped; a lease that is not to be trusted any more is asked for first.

        Args:
            items: with an outcome, a decision or a recorded end.
            notes: states to write along.

        Raises:
            BrokerUnavailable: call again with the same items (not the notes); nothing is done twice.
            QueuesAway: only the items of these queues and workflows are not over; the notes are written.
        """
        items = [item for item in items if not item.over]
        try:
            now = self._clock.monotonic()
            doubtful = {item.hold: None for item in items if item.hold.trusted_until <= now and not item.hold.lost}
            away = self._extend(doubtful) if doubtful else {}
            for item in items:
                # One whose end is recorded may have been settled by a call whose reply was lost: its settlement tells.
                if item.hold.lost and item.recorded is None:
                    item.answer, item.over = Answer.LOST, True
            workflows: dict[str, Exception] = {}
            try:
                self._finisher.finish([item for item in items if item.delivery.queue not in away], notes)
            except QueuesAway as exc:
                away.update(exc.queues)
                workflows = exc.workflows
            if away or workflows:
                raise QueuesAway(away, workflows)
        finally:
            self._drop([item for item in items if item.over])

    def give_back(self, items: Iterable[Item]) -> list[Item]:
        """Mark items to go back to the head of their queue; `finish` them then. Those at their end are left out."""
        marked = [item for item in items if item.outcome is None and item.decision is None and not item.over]
        marked.sort(key=lambda item: item.delivery.enqueued_at)
        for item in marked:
            item.decision = Returned()
        return marked

    def return_all(self, batch: Batch) -> list[Item]:
        """The same for a batch that was not admitted, or whose admission was broken off: all of it."""
        for item in batch.items:
            item.outcome = item.exception = item.decision = None
        return self.give_back(batch.items)

    def let_go(self, items: Sequence[Item]) -> None:
        """Forget items without settling them; their leases run out when nothing else is held under them."""
        for item in items:
            item.over = True
        self._drop(items)

    def _drop(self, items: Sequence[Item]) -> None:
        with self._lock:
            for item in items:
                hold = item.hold
                if hold.items.pop(item.delivery.uuid, None) is not None:
                    self._held -= 1
                    if not hold.items:
                        self._holds.pop((hold.queue, hold.token), None)
        lost = [item for item in items if item.answer is Answer.LOST and item.stopping != LOST]
        self._say_lost([item for item in lost if not _counts(item)])

    def _say_lost(self, items: Sequence[Item]) -> None:
        """One line, when it is known, of runs whose outcome will not count."""
        lost = [item for item in items if item.started is not None]
        if lost:
            some = ", ".join([f"{item.name} {item.uuid}" for item in lost[:5]])
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            log.warning(
                f"worker {self._worker} has lost the lease of {some}{more}: the outcome is discarded; another worker "
                "has run the task, or will",
                worker=self._worker,
                task_uuids=[item.uuid for item in lost[:5]],
            )


def is_own_failure(item: Item) -> bool:
    """Whether a finished item's task failed for good, and by what happened here."""
    return item.answer is not None and _counts(item) and item.recorded is not None and item.recorded.is_failure


def _counts(item: Item) -> bool:
    """Whether the end that stands is that of this very run, whoever settles it."""
    return item.recorded is not None and item.recorded.token == item.delivery.token


def _extended(hold: Hold, extension: Extension, trusted_until: float) -> list[Item]:
    """Take note of the answer to one extension; the items that are told to stop by it."""
    if not extension.alive:
        hold.lost = True
        # What is being settled hears from its settlement, which may be what has just ended this lease.
        held = list(hold.items.values())  # in one step: what is over is dropped meanwhile
        told = [item for item in held if item.decision is None and item.recorded is None]
        for item in told:
            item.stop(LOST)
        return told
    hold.trusted_until = max(hold.trusted_until, trusted_until)
    found = [hold.items.get(uuid) for uuid in extension.canceled]
    canceled = [item for item in found if item is not None and not item.canceled]
    for item in canceled:
        item.canceled = item.childless = True
        item.stop(CANCELED)
    return canceled
