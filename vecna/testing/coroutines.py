"""Coroutine tasks under the harness: an event loop whose time is the harness's.

A coroutine that sleeps an hour takes an hour of the virtual clock and none of yours. While it waits for something
outside, a socket or a thread, that takes what it takes.
"""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
import math
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from vecna.app.delivery_values import Item
from vecna.app.twins import on_running_loop
from vecna.ports.clock import Clock
from vecna.testing.moving import VirtualClock

T = TypeVar("T")
#: Real seconds for which a thread that the loop knows nothing of may bring what a coroutine waits for.
_PATIENCE: Final = 2.0


class Stuck(Exception):
    """A coroutine waits for what nobody will bring."""


class _Selector(selectors.DefaultSelector):
    """Where the loop would wait, the clock moves."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.outside = 0  # calls that run in threads

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.outside or len(self.get_map()) > 1:  # beside the loop's own
            found = super().select(timeout)
            if found or timeout is None:
                return found
        elif timeout is None:
            found = super().select(_PATIENCE)
            if not found:
                raise Stuck
            return found
        # Rounded up: a moment that was missed by a part of a microsecond would be waited for once more, and so on.
        self._clock.advance(dt.timedelta(microseconds=math.ceil(timeout * 1e6)))
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._waits = _Selector(clock)
        self._virtual: Clock = clock
        super().__init__(self._waits)
        # After a year the machine's own, a nanosecond, is lost in the float: timers would be due and never run.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual.monotonic()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # TypeVarTuple
        self._waits.outside += 1
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self._waits.outside -= 1


class Coroutines:
    """Runs one coroutine task at a time, on a loop of its own or on the caller's.

    Args:
        clock: of the harness.
        arun: awaits an item; see `Deliveries.arun`.
    """

    def __init__(self, clock: VirtualClock, arun: Callable[[Item], Coroutine[Any, Any, Any]]) -> None:
        self._clock = clock
        self._arun = arun
        self._loop: _Loop | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self, item: Item) -> None:
        """Run it to its end, on the loop of the harness.

        Raises:
            Stuck: it waits for what nobody will bring; it was cancelled.
        """
        if self._loop is None:
            self._loop = _Loop(self._clock)
        loop = self._loop
        task = loop.create_task(self._arun(item), context=contextvars.Context())
        self._task = task
        timeout = item.signature.timeout
        # So that the clock stops there on its way; what happens then is said by whoever moves it.
        limit = None if timeout is None else loop.call_at(loop.time() + timeout.total_seconds(), _nothing)
        try:
            self._drive(task)
        except Stuck:
            task.cancel()
            self._drive(task)
            raise
        except asyncio.CancelledError:  # before its first step, by what another has left behind: as in a worker
            self.run(item)
        finally:
            self._task = None
            if limit is not None:
                limit.cancel()

    async def arun(self, item: Item) -> None:
        """Run it to its end, on the loop that runs just now."""
        self._task = asyncio.get_running_loop().create_task(self._arun(item), context=contextvars.Context())
        try:
            await self._task
        finally:
            self._task = None

    def cancel(self) -> None:
        """Cancel the one that runs."""
        task = self._task
        if task is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """End what coroutines have left behind, and the loop."""
        loop, self._loop = self._loop, None
        if loop is not None:
            try:
                left = asyncio.all_tasks(loop)
                for task in left:
                    task.cancel()
                if left:
                    self._drive_on(loop, asyncio.wait(left, timeout=60))
                self._drive_on(loop, loop.shutdown_asyncgens())
                self._drive_on(loop, loop.shutdown_default_executor())
            finally:
                loop.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()

    def _drive(self, task: Awaitable[Any]) -> None:
        assert self._loop is not None
        self._drive_on(self._loop, task)

    def _drive_on(self, loop: _Loop, work: Awaitable[Any]) -> None:
        """Run the loop here, or, where another loop runs, in a thread while this one waits."""
        if not on_running_loop():
            loop.run_until_complete(work)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="vecna-harness")
        self._thread.submit(loop.run_until_complete, work).result()


def _nothing() -> None:
    pass
