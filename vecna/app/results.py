"""Handles of results."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Protocol, overload

from typing_extensions import TypeVar

from vecna.app.context import current_task
from vecna.app.lookup import Lookup
from vecna.app.parameters import Parameters
from vecna.app.twins import Pool, Twinned, blocking, twin
from vecna.app.unfinished import standing_still
from vecna.app.waiting import News, WaitingRoom
from vecna.domain.cancellation import Cancellation
from vecna.domain.durations import to_duration
from vecna.domain.errors import BrokerUnavailable, ResultTimeout, TaskCanceled, TaskFailed, UnknownTask, VecnaError
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.clock import Clock

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R", default=Any, covariant=True)
D = TypeVar("D")
#: Seconds: who waits longer has heard from the waiting room what is known of the task.
_SHORT: Final = 2.0


class Returning(Protocol):
    """A task, as far as its return annotation goes."""

    @property
    def parameters(self) -> Parameters:
        """What its function takes and returns."""


class Tasks(Protocol):
    """Where tasks are looked up."""

    def get(self, name: str) -> Returning | None:
        """The task of this name, None if there is none."""


class ResultSource(Protocol):
    """What a handle needs of its server."""

    @property
    def registry(self) -> Tasks:
        """The tasks whose return annotations are known."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def lookup(self) -> Lookup:
        """Reads states."""

    @property
    def waiting_room(self) -> WaitingRoom:
        """Where to wait."""

    @property
    def pool(self) -> Pool:
        """Where twins make their calls."""

    def cancel_leaves(self, queues: Mapping[str, str]) -> Cancellation:
        """Stop tasks and what they would cause; for each the queue that it was sent to, "" if unknown."""


class AsyncResult(Twinned, Generic[R]):
    """The handle of one task's result: what it will return, on any thread or event loop.

    Attributes:
        uuid: the task's id.
        signature: the call that was sent; None if the handle was made from an id.
        is_new: whether this sending started it; False if its id was known already, or the handle was made from an id.
        queue: where it was sent to; "" if not known.
    """

    def __init__(
        self,
        source: ResultSource,
        uuid: str,
        signature: Signature[R] | None = None,
        *,
        is_new: bool = False,
        queue: str = "",
    ) -> None:
        self.uuid = uuid
        self.signature = signature
        self.is_new = is_new
        self._source = source
        self.queue = queue

    def __repr__(self) -> str:
        return f"<AsyncResult {self._shown()}>"

    @property
    def _pool(self) -> Pool:
        return self._source.pool

    # -- the state -------------------------------------------------------------------------------------------------

    @blocking
    def get_state(self) -> TaskState:
        """What is known of the task now.

        Raises:
            UnknownTask: neither broker nor backend knows it: never sent, or expired.
            BrokerUnavailable: they cannot be reached.
        """
        return self._state()

    @overload
    def touch(self) -> R | None: ...
    @overload
    def touch(self, default: D) -> R | D: ...
    @blocking
    def touch(self, default: object = None) -> object:
        """The result if it is there, else `default`; never waits for the task.

        Raises:
            TaskFailed, TaskCanceled: the task has ended so.
            UnknownTask: neither broker nor backend knows it: never sent, or expired.
            BrokerUnavailable: they cannot be reached.
        """
        return self._touch(default)

    # -- the result ------------------------------------------------------------------------------------------------

    @blocking
    def get(self, timeout: dt.timedelta | float | None = None) -> R:
        """Wait for the task's end and return what it returned, rebuilt by the function's return annotation.

        A result that came as a plain tuple is a tuple again, one that was none is None.

        Args:
            timeout: how long to wait, a timedelta or seconds; None: as long as it takes.

        Raises:
            ResultTimeout: it has not ended in time; it goes on. With a virtual clock at once, unless it has ended.
            TaskFailed: it has failed for good.
            TaskCanceled: it was cancelled, or expired before it could start.
            UnknownTask: neither broker nor backend knows it: never sent, expired, or sent with `keep_result=False`.
            BrokerUnavailable: they could not be reached for `Config.send_timeout`.
            RuntimeError: called inside a task, where waiting can deadlock the worker.
            InvalidArgument: what it returned does not fit its return annotation.
        """
        self._not_inside_a_task()
        patience = None if timeout is None else to_duration(timeout, "timeout").total_seconds()
        started = self._source.clock.monotonic()
        state = self._glance(started)
        if state is not None and state.is_completed:
            return self._value(state)
        if self._source.clock.virtual:
            raise self._unfinished(state)
        done = threading.Event()
        news: list[News] = []

        def tell(what: News) -> None:
            news.append(what)
            done.set()

        room = self._source.waiting_room
        waiter = room.enter(self.uuid, tell, queue=self.queue, sure=self.signature is not None)
        try:
            left = None if patience is None else patience - (self._source.clock.monotonic() - started)
            in_time = self._source.clock.wait(done, left)
        finally:
            room.leave(waiter)
        return self._value(news[0] if in_time else self._at_last(patience or 0.0))

    async def get_async(self, timeout: dt.timedelta | float | None = None) -> R:  # noqa: ASYNC109  # the documented name
        """As `get`, without blocking the event loop; `await result` is the same without a timeout."""
        import asyncio

        self._not_inside_a_task()
        patience = None if timeout is None else to_duration(timeout, "timeout").total_seconds()
        if self._source.clock.virtual:
            state = await self._pool.run(lambda: self._glance(self._source.clock.monotonic()))
            if state is not None and state.is_completed:
                return self._value(state)
            raise await self._pool.run(lambda: self._unfinished(state))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[News] = loop.create_future()

        def tell(what: News) -> None:
            loop.call_soon_threadsafe(_resolve, future, what)

        room = self._source.waiting_room
        waiter = room.enter(self.uuid, tell, queue=self.queue, sure=self.signature is not None)
        try:
            async with asyncio.timeout(patience):
                news = await future
        except TimeoutError:
            news = await self._pool.run(lambda: self._at_last(patience or 0.0))
        finally:
            room.leave(waiter)
        return self._value(news)

    def __await__(self) -> Generator[Any, None, R]:
        return self.get_async().__await__()

    # -- what can be done with it ----------------------------------------------------------------------------------

    @blocking
    def cancel(self) -> Cancellation:
        """Stop the task: if it has not started it never will, if it runs it is told to stop.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached; what was asked for may have been done in part, and
                the call may be repeated.
        """
        return self._source.cancel_leaves({self.uuid: self.queue})

    @blocking
    def forget(self) -> None:
        """Drop state and result now. The task itself is left alone; its id may be sent anew.

        Raises:
            BrokerUnavailable: the backend cannot be reached.
        """
        self._source.lookup.backend.forget([self.uuid])

    @overload
    async def touch_async(self) -> R | None: ...
    @overload
    async def touch_async(self, default: D) -> R | D: ...
    async def touch_async(self, default: object = None) -> object:
        """As `touch`, without blocking the event loop."""
        return await self._pool.run(lambda: self._touch(default))

    get_state_async = twin(get_state)
    cancel_async = twin(cancel)
    forget_async = twin(forget)

    # -- for workflows ---------------------------------------------------------------------------------------------

    def value(self, news: Mapping[str, News]) -> R:
        """What the task returned, if its end is among these; raises as `get` does."""
        return self._value(news.get(self.uuid))

    def raise_for(self, news: News) -> NoReturn:
        """Raise what `get` raises when this is what it hears: the task has not succeeded."""
        self._value(news)
        raise AssertionError("the task has succeeded")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _state(self) -> TaskState:
        state = self._source.lookup.states([self.uuid], {self.uuid: self.queue})[0]
        if state is None:
            raise self._unknown()
        return state

    def _touch(self, default: object) -> object:
        state = self._state()
        return self._value(state) if state.is_completed else default

    def _glance(self, started: float) -> TaskState | None:
        """What is recorded now. Who is going to wait does not mind that the backend is away for a moment."""
        try:
            return self._source.lookup.backend.get_state(self.uuid)
        except BrokerUnavailable:
            clock = self._source.clock
            if clock.virtual or clock.monotonic() - started >= self._source.waiting_room.patience:
                raise
            return None

    def _at_last(self, patience: float) -> TaskState | None:
        """The news after a wait that was too short to hear any: the end, or that nobody knows the task."""
        state = None
        if patience < _SHORT:
            state = self._source.lookup.states([self.uuid], {self.uuid: self.queue})[0]
        if patience < _SHORT and (state is None or state.is_completed):
            return state
        raise ResultTimeout(f"task {self._shown()} did not end within {patience:g} s; it goes on")

    def _value(self, news: News) -> R:
        if news is None:
            raise self._unknown()
        if isinstance(news, VecnaError):
            # An error of its own for each who waits: tracebacks grow on errors that are shared.
            raise type(news)(*news.args)
        if news.state is State.FAILURE:
            raise TaskFailed(news.error, task_uuid=self.uuid, error_type=news.error_type, traceback=news.traceback)
        if news.state is State.CANCELED:
            raise TaskCanceled(f"task {self._shown(news)} was canceled: {news.error or 'no reason was recorded'}")
        task = self._source.registry.get(news.task_name or self._name)
        value = news.value()
        if task is None:
            return value  # type: ignore[no-any-return]  # nobody here knows the annotation
        return task.parameters.rebuild_result(value, several=news.several, none=not news.results)  # type: ignore[no-any-return]

    def _not_inside_a_task(self) -> None:
        task = current_task()
        if task is not None:
            raise RuntimeError(
                f"task {task.signature.name} waits for the result of task {self._shown()}: when all slots of a worker "
                "do so, nothing is left to run what they wait for. Use on_success, a Chain or a Chord instead"
            )

    @property
    def _name(self) -> str:
        return "" if self.signature is None else self.signature.name

    def _shown(self, state: TaskState | None = None) -> str:
        name = self._name or (state.task_name if state is not None else "")
        return f"{self.uuid} ({name})" if name else self.uuid

    def _unknown(self) -> UnknownTask:
        return UnknownTask(
            f"task {self._shown()} is known to neither broker nor result backend: it was never sent, its result has "
            "expired (Config.results_expire_in), was forgotten, or was not kept (keep_result=False)"
        )

    def _unfinished(self, state: TaskState | None) -> ResultTimeout:
        if state is None:
            state = self._state()
        why = standing_still(self._source.lookup, state, self.queue, self._source.clock.now())
        return ResultTimeout(f"task {self._shown(state)} {why}")


def _resolve(future: asyncio.Future[News], news: News) -> None:
    if not future.done():  # its waiting may have been cancelled meanwhile
        future.set_result(news)
