"""A worker in one thread: the same steps of the engine as in production, one after the other, on a virtual clock.

It takes several messages at a time because that is fast, and behaves as if it took one: whatever the code under test
asks of broker or backend while it runs, and every move of the clock, makes it finish what has run and give the rest
back first.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from vecna.app.delivery import Deliveries, is_own_failure
from vecna.app.delivery_run import RunHooks, timed_out
from vecna.app.delivery_values import TIMEOUT, Item
from vecna.app.firing import Firer
from vecna.app.launchers import RESERVED
from vecna.app.task import AnyTask
from vecna.domain.decide import Succeeded
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.testing.coroutines import Coroutines
from vecna.testing.crashing import CrashPoint, Died, Faults
from vecna.testing.patience import be_patient
from vecna.testing.stores import View
from vecna.testing.sweeps import Sweeps
from vecna.testing.wiring import Wiring

T = TypeVar("T")
#: What states and `TaskContext.worker` say.
WORKER: Final = "harness"
#: The most messages at a time.
_MOST: Final = 64
#: How often a step is repeated whose reply was lost.
_TRIES: Final = 100
#: So many runs at one instant, beside those of what was there before, are a task that sends itself for ever.
_ENDLESS: Final = 100_000
_NO_TIME: Final = dt.timedelta(0)


class Stepper:
    """Does a worker's work step by step.

    Args:
        wiring: with the worker's own ports.
        view: of the same stores, for looks that are no part of a worker's work.
        faults: where it dies.
        begun: told of each call of a task's function.
        replaced: gives the task that is to be run in place of another, for its next run.
        raise_errors: whether to stop at final failures.
    """

    def __init__(
        self,
        wiring: Wiring,
        view: View,
        faults: Faults,
        begun: Callable[[Signature[Any]], None],
        replaced: Callable[[AnyTask], AnyTask],
        *,
        raise_errors: bool,
    ) -> None:
        self._wiring = wiring
        self._faults = faults
        self._replaced = replaced
        self._hooks = RunHooks(before=begun)
        self._names = itertools.count(1)
        self._calls = itertools.count(1)
        self._view = view.broker
        self._sweeps = Sweeps(wiring, view)
        self._todo: deque[Item] = deque()
        self._done: list[Item] = []
        #: What runs just now.
        self.current: Item | None = None
        self._progress: tuple[float, float] | None = None  # of it, as it is known
        self._size = _MOST // 4
        self._disturbed = False
        self._ran = 0
        self._raise_errors = raise_errors
        #: What is to be raised in the test.
        self.failures: deque[BaseException] = deque()
        self._join()
        self.coroutines = Coroutines(wiring.clock, self._arun)
        wiring.clock.moving = self.put_down
        wiring.clock.moved = self.beat

    # -- the steps ---------------------------------------------------------------------------------------------------

    def work(self, limit: int | None) -> Generator[Item, None, int]:
        """Fire and run all that is due, at most `limit` runs. Yields coroutine tasks, to be awaited before it goes on.

        Returns:
            How many runs there were.
        """
        begin, endless = self._ran, None
        self.put_down()
        while True:
            self._fire()
            queues = self._view.queues()
            self._wiring.random.shuffle(queues)
            took = False
            for queue in queues:
                left = None if limit is None else limit - (self._ran - begin)
                if left is not None and left <= 0:
                    return self._ran - begin
                took = (yield from self._serve(queue, left)) or took
                if self.failures:
                    return self._ran - begin
            if not took:
                break
            endless = self._check_endless(begin, endless)
        self._sweeps.note()
        return self._ran - begin

    def sweep(self) -> bool:
        """Do what workers do now and then; whether it was time."""
        if not self._sweeps.is_due():
            return False
        try:
            self._again(self._sweeps.sweep)
        except Died:
            self._die()
        return True

    def next_due(self) -> dt.datetime | None:
        """When there will be something to do again."""
        config, now = self._wiring.config, self._wiring.clock.now()
        moments = [self._sweeps.next()]
        for queue in self._view.queues():
            look = self._view.lease(
                queue,
                0,
                worker=f"{WORKER}-look",
                call=next(self._calls),
                duration=dt.timedelta(seconds=config.lease),
                max_deliveries=config.max_deliveries,
            )
            moments.append(look.next_due)
        if config.schedules:
            moments.append(self._view.due_schedules(0).next_due)
        return min((moment for moment in moments if moment is not None and moment > now), default=None)

    # -- while something runs ----------------------------------------------------------------------------------------

    def put_down(self) -> None:
        """Finish what has run and give back what has not, as if only one task were in hand."""
        if self._todo or self._done:
            self._disturbed = True
            self._put_down()

    def look(self) -> None:
        """Somebody is about to ask what is known of tasks: also of the one that runs."""
        self.put_down()
        item = self.current
        if item is None or item.ended:
            return
        progress = item.context.last_progress if item.context else None
        if item.noted is not State.STARTED or progress != self._progress:
            self._progress = progress
            notes = self._deliveries.notes([item])
            self._again(lambda: self._wiring.backend.put_states(notes))

    def beat(self) -> None:
        """The heartbeat: the clock has moved, or something was cancelled."""
        item = self.current
        if item is None or item.ended:
            return
        told = self._again(self._deliveries.extend)
        if item in told and item.task is not None and item.task.is_async:
            self.coroutines.cancel()
        limit, now = item.signature.timeout, self._wiring.clock.monotonic()
        if limit is None or item.started is None or item.outcome is not None:
            return
        if now < item.started + limit.total_seconds() - 1e-6:  # a float's rounding
            return
        item.stop(TIMEOUT)
        if item.task is not None and item.task.is_async:
            self.coroutines.cancel()
        else:
            item.complete(*timed_out(item), self._wiring.clock.now())

    # -- one batch ---------------------------------------------------------------------------------------------------

    def _serve(self, queue: str, most: int | None) -> Generator[Item, None, bool]:
        """One batch of a queue; whether there was anything."""
        try:
            size = 1 if self._faults.points else self._size
            batch = self._again(lambda: self._deliveries.lease(queue, size if most is None else min(size, most)))
            if not batch.items:
                return False
            runnable, ended = self._again(lambda: self._deliveries.admit(batch))
            self._disturbed = False
            self._done, self._todo = [*ended], deque(runnable)
            while self._todo:
                item = self._todo.popleft()
                yield from self._run(item)
                if not _is_quiet(item):
                    break
            in_vain = self._disturbed or bool(self._todo)
            self._put_down()
            self._size = 1 if in_vain else min(2 * self._size, _MOST)
        except Died:
            self._die()
        return True

    def _run(self, item: Item) -> Generator[Item, None, None]:
        self._faults.passed(CrashPoint.BEFORE_RUN)
        task = item.task
        assert task is not None  # what is not known was not admitted
        if item.name not in RESERVED:
            item.task = task = self._replaced(task)
            self._ran += 1
        self.current, self._progress = item, None
        try:
            if task.is_async:
                yield item
            else:
                self._deliveries.run(item)
        finally:
            self.current = None
            if item.outcome is None:  # nobody has awaited it, or not to its end
                self._deliveries.give_back([item])
            self._done.append(item)
        self._faults.passed(CrashPoint.AFTER_RUN)

    def _put_down(self) -> None:
        todo, self._todo = list(self._todo), deque()
        done, self._done = self._done, []
        items = [*done, *self._deliveries.give_back(todo)]
        for item in items:
            be_patient(item, self._wiring.config.park_limit)
        try:
            self._again(lambda: self._deliveries.finish(items))
        finally:
            self.failures.extend([exc for item in done if (exc := self._failure(item)) is not None])

    def _failure(self, item: Item) -> BaseException | None:
        """What a test should see: a final failure, or what was never meant for a task: Ctrl-C, pytest.fail()."""
        exc = item.exception
        if exc is None or isinstance(exc, Exception | SystemExit | asyncio.CancelledError):
            return exc if self._raise_errors and is_own_failure(item) else None
        return exc

    # -- firing, dying -----------------------------------------------------------------------------------------------

    def _fire(self) -> None:
        if self._wiring.config.schedules:
            try:
                while self._again(self._firer.step) == _NO_TIME:
                    pass
            except Died:
                self._die()

    def _join(self) -> None:
        """Begin as a worker that nobody knows yet."""
        self._deliveries = Deliveries(self._wiring, WORKER, self._hooks, incarnation=str(next(self._names)))
        self._firer = Firer(self._wiring)
        self._todo.clear()
        self._done.clear()

    def _die(self) -> None:
        """Be gone, with all that was in hand, and begin anew."""
        self._join()
        self._sweeps.died()

    async def _arun(self, item: Item) -> None:
        await self._deliveries.arun(item)

    def _again(self, call: Callable[[], T]) -> T:
        """Repeat a step while replies get lost, as workers do."""
        for _ in range(_TRIES):
            try:
                return call()
            except BrokerUnavailable:
                self._sweeps.expect()
        return call()

    def _check_endless(self, begin: int, endless: int | None) -> int:
        if endless is None:
            counts = [self._view.counts(queue) for queue in self._view.queues()]
            endless = begin + _ENDLESS + sum(count.pending for count in counts)
        if self._ran > endless:
            heads = [self._view.get_pending_tasks(queue, limit=3) for queue in self._view.queues()]
            names = ", ".join(sorted({signature.name for head in heads for signature in head}))
            raise RuntimeError(
                f"run() has run {self._ran - begin} tasks, and the clock stands still: does a task send itself again "
                f"without a delay? What waits: {names}. run(limit=...) runs as many as you say"
            )
        return endless


def _is_quiet(item: Item) -> bool:
    """Whether nothing follows from a run."""
    signature = item.signature
    causes = signature.on_success or signature.on_error or signature.position
    return isinstance(item.outcome, Succeeded) and not causes
