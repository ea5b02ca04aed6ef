"""What the handles of workflows have in common: waiting for many tasks, and naming the one that went wrong."""

from __future__ import annotations

import datetime as dt
import threading
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from vecna.app.context import current_task
from vecna.app.gathering import Gathering
from vecna.app.results import AsyncResult, ResultSource
from vecna.app.twins import Pool, Twinned, blocking, twin
from vecna.app.unfinished import standing_still
from vecna.app.waiting import News
from vecna.domain.cancellation import Cancellation
from vecna.domain.durations import to_duration
from vecna.domain.errors import ResultTimeout, VecnaError
from vecna.domain.state import State, TaskState

if TYPE_CHECKING:
    import asyncio

_PAGE: Final = 1000


class WorkflowResult(Twinned):
    """What the handles of groups, chords and chains have in common.

    Attributes:
        is_new: whether this sending started it.
    """

    def __init__(self, source: ResultSource, *, is_new: bool) -> None:
        self.is_new = is_new
        self._source = source

    @property
    @abstractmethod
    def uuid(self) -> str:
        """Its id: of a group its own, of a chord the callback's, of a chain the last link's."""

    @abstractmethod
    def leaves(self) -> Iterator[AsyncResult[Any]]:
        """The handles of all tasks in it, in order."""

    @abstractmethod
    def finals(self) -> Iterator[AsyncResult[Any]]:
        """The handles of the tasks whose ends complete it."""

    @abstractmethod
    def value(self, news: Mapping[str, News]) -> Any:
        """What it returns, from the ends of its final tasks."""

    @property
    def _pool(self) -> Pool:
        return self._source.pool

    # -- the result ------------------------------------------------------------------------------------------------

    @blocking
    def get(self, timeout: dt.timedelta | float | None = None) -> Any:
        """Wait for the end and return the result: of a group a list with one item per member, else the last task's.

        Args:
            timeout: how long to wait, a timedelta or seconds; None: as long as it takes.

        Raises:
            ResultTimeout: it has not ended in time; it goes on. With a virtual clock at once, unless it has ended.
            TaskFailed: a member has failed for good; it is named.
            TaskCanceled: a member was cancelled or has expired; it is named.
            UnknownTask: a member is not known (any more).
            BrokerUnavailable: broker or backend could not be reached for `Config.send_timeout`.
            RuntimeError: called inside a task, where waiting can deadlock the worker.
        """
        return self.value(self._wait(timeout, tolerant=False))

    async def get_async(self, timeout: dt.timedelta | float | None = None) -> Any:  # noqa: ASYNC109  # the documented name
        """As `get`, without blocking the event loop; `await result` is the same without a timeout."""
        return self.value(await self._wait_async(timeout, tolerant=False))

    def __await__(self) -> Generator[Any, None, Any]:
        return self.get_async().__await__()

    @blocking
    def touch(self, default: Any = None) -> Any:
        """The result if it is there, else `default`; never waits.

        Raises:
            TaskFailed, TaskCanceled, UnknownTask, BrokerUnavailable: as for `get`.
        """
        states = self._states(self.leaves())
        self._raise_cause(states)
        if all(states[final.uuid].is_success for final in self.finals()):
            return self.value(states)
        return default

    # -- what can be done with it ----------------------------------------------------------------------------------

    @blocking
    def cancel(self) -> Cancellation:
        """Stop all of it: what has not started never will, what runs is told to stop and causes nothing more.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached; the call may be repeated.
        """
        return self._source.cancel_leaves({leaf.uuid: leaf.queue for leaf in self.leaves()})

    @blocking
    def forget(self) -> None:
        """Drop states and results of all its tasks now. The tasks themselves are left alone.

        Raises:
            BrokerUnavailable: the backend cannot be reached.
        """
        self._source.lookup.backend.forget([leaf.uuid for leaf in self.leaves()])

    touch_async = twin(touch)
    cancel_async = twin(cancel)
    forget_async = twin(forget)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _states(self, results: Iterable[AsyncResult[Any]]) -> dict[str, TaskState]:
        """What is known of each; raises UnknownTask for one that is not known."""
        results = list(results)
        found: dict[str, TaskState] = {}
        for start in range(0, len(results), _PAGE):
            page = results[start : start + _PAGE]
            states = self._source.lookup.states([each.uuid for each in page], {each.uuid: each.queue for each in page})
            for each, state in zip(page, states, strict=True):
                if state is None:
                    each.raise_for(None)
                else:
                    found[each.uuid] = state
        return found

    def _raise_cause(self, states: Mapping[str, TaskState]) -> None:
        """Raise for the member that went wrong: the first that failed, else the first that was cancelled."""
        for wrong in (State.FAILURE, State.CANCELED):
            for leaf in self.leaves():
                state = states.get(leaf.uuid)
                if state is not None and state.state is wrong:
                    leaf.raise_for(state)

    def _wait(self, timeout: dt.timedelta | float | None, *, tolerant: bool) -> Mapping[str, News]:
        self._not_inside_a_task()
        patience = None if timeout is None else to_duration(timeout, "timeout").total_seconds()
        if self._source.clock.virtual:
            return self._look(tolerant=tolerant)
        done = threading.Event()
        gathering = self._gather(done.set, tolerant=tolerant)
        try:
            if not self._source.clock.wait(done, patience):
                raise self._late(patience or 0.0)
        finally:
            gathering.leave()
        return self._outcome(gathering.heard, tolerant=tolerant)

    async def _wait_async(self, timeout: dt.timedelta | float | None, *, tolerant: bool) -> Mapping[str, News]:  # noqa: ASYNC109
        import asyncio

        self._not_inside_a_task()
        patience = None if timeout is None else to_duration(timeout, "timeout").total_seconds()
        if self._source.clock.virtual:
            return await self._pool.run(lambda: self._look(tolerant=tolerant))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        gathering = self._gather(lambda: loop.call_soon_threadsafe(_resolve, future), tolerant=tolerant)
        try:
            async with asyncio.timeout(patience):
                await future
        except TimeoutError:
            raise self._late(patience or 0.0) from None
        finally:
            gathering.leave()
        return await self._pool.run(lambda: self._outcome(gathering.heard, tolerant=tolerant))

    def _gather(self, wake: Any, *, tolerant: bool) -> Gathering:
        return Gathering(
            self._source.waiting_room,
            [(final.uuid, final.queue) for final in self.finals()],
            [(leaf.uuid, leaf.queue) for leaf in self.leaves()],
            wake,
            tolerant=tolerant,
        )

    def _outcome(self, heard: Mapping[str, News], *, tolerant: bool) -> Mapping[str, News]:
        if tolerant or all(isinstance(heard.get(final.uuid), TaskState) for final in self.finals()):
            wrong = next((news for news in heard.values() if not _went_well(news)), None)
            if tolerant or wrong is None:
                return heard
        for leaf in self.leaves():
            news = heard.get(leaf.uuid)
            if isinstance(news, VecnaError) or (leaf.uuid in heard and news is None):
                leaf.raise_for(news)
        # The first news may be of what only suffered from it: look for the cause.
        states = self._states(self.leaves())
        self._raise_cause(states)
        return states

    def _look(self, *, tolerant: bool) -> Mapping[str, News]:
        """With a virtual clock there is nothing to wait for."""
        states = self._states(self.leaves())
        if not tolerant:
            self._raise_cause(states)
        waiting = [final for final in self.finals() if not states[final.uuid].is_completed]
        if waiting:
            state, queue = states[waiting[0].uuid], waiting[0].queue
            why = standing_still(self._source.lookup, state, queue, self._source.clock.now())
            raise ResultTimeout(f"{self} waits for task {state.task_uuid} ({state.task_name}), which {why}")
        return states

    def _not_inside_a_task(self) -> None:
        task = current_task()
        if task is not None:
            raise RuntimeError(
                f"task {task.signature.name} waits for {self}: when all slots of a worker do so, nothing is left to "
                "run what they wait for. Use on_success, a Chain or a Chord instead"
            )

    def _late(self, seconds: float) -> ResultTimeout:
        return ResultTimeout(f"{self} did not end within {seconds:g} s; it goes on")


def _went_well(news: News) -> bool:
    return isinstance(news, TaskState) and news.is_success


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():  # its waiting may have been cancelled meanwhile
        future.set_result(None)
