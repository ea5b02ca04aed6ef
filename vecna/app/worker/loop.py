"""The event loop that coroutines run on, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from vecna import log
from vecna.app.delivery_values import Item

#: Seconds that tasks which coroutines have left behind get to end when the worker stops.
_LEFTOVERS: Final = 1.0


class CoroutineLoop:
    """Runs coroutines. The thread begins with the first one. `start`, `cancel` and `stop` from any thread.

    Args:
        run: awaits one item, if it still should run; never raises.
        ended: told of the items whose run is over, in batches, on the loop; returns those that may start next.
        name: of the worker.
    """

    def __init__(
        self, run: Callable[[Item], Awaitable[Any]], ended: Callable[[list[Item]], Sequence[Item]], name: str
    ) -> None:
        self._run = run
        self._ended = ended
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: dict[Item, asyncio.Task[None]] = {}
        self._done: list[Item] = []
        self._stopping = False

    def start(self, items: list[Item]) -> bool:
        """Start items: one hand-over for all of them. False: the system has no thread or loop for them now."""
        if not items:
            return True
        with self._lock:
            if self._loop is None and not self._open():
                return False
            assert self._loop is not None
            if not self._stopping:
                self._loop.call_soon_threadsafe(self._begin, items)
        return True

    def _open(self) -> bool:
        try:
            loop = asyncio.new_event_loop()
        except OSError as exc:
            log.error(f"worker {self._name} cannot make an event loop for coroutines: {exc}")
            return False
        thread = threading.Thread(target=self._serve, args=(loop,), name=f"vecna-{self._name}-loop", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            loop.close()
            log.error(f"worker {self._name} cannot start the thread for coroutines: {exc}")
            return False
        self._loop, self._thread = loop, thread
        return True

    def cancel(self, items: Iterable[Item]) -> None:
        """Cancel those that run here; `Item.stop` has been called on them."""
        with self._lock:
            if self._loop is not None and not self._stopping:
                self._loop.call_soon_threadsafe(self._cancel, list(items))

    def stop(self, timeout: float) -> None:
        """End the loop and what still runs on it."""
        with self._lock:
            thread, loop = self._thread, self._loop
            if loop is None or thread is None or self._stopping:
                return
            self._stopping = True
            loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout)

    # -- on the loop -------------------------------------------------------------------------------------------------

    def _begin(self, items: Sequence[Item]) -> None:
        assert self._loop is not None
        for item in items:
            # A context of its own: it may be the end of another task that starts it.
            self._tasks[item] = self._loop.create_task(self._one(item), context=contextvars.Context())
        if items:
            self._loop.call_soon(self._check_begun, items)  # comes after the first steps of all of them

    def _check_begun(self, items: Sequence[Item]) -> None:
        """Begin anew what was cancelled before its first step, by us or by a user's coroutine: `_one` never saw it.

        Whether it still should run, the run finds out. One look for all costs a tenth of a callback for each.
        """
        waiting = [(item, self._tasks.get(item)) for item in items if item.started is None]
        unseen = [item for item, task in waiting if task is not None and task.cancelled()]
        if unseen and not self._stopping:
            self._begin(unseen)

    async def _one(self, item: Item) -> None:
        try:
            await self._run(item)
        finally:
            self._tasks.pop(item, None)
            if not self._done:
                asyncio.get_running_loop().call_soon(self._turn)
            self._done.append(item)

    def _turn(self) -> None:
        """Report all that has ended in this turn of the loop at once."""
        done, self._done = self._done, []
        self._begin(self._ended(done))

    def _cancel(self, items: Iterable[Item]) -> None:
        for item in items:
            task = self._tasks.get(item)
            if task is not None:
                task.cancel()

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._stopping:
                try:
                    loop.run_forever()
                except BaseException as exc:  # noqa: BLE001  # SystemExit in a task that a coroutine has left behind
                    log.error(
                        f"something that a coroutine on worker {self._name} started has raised {type(exc).__name__} "
                        "out of the event loop, which goes on",
                        exc_info=exc,
                    )
            self._clear_up(loop)
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _clear_up(self, loop: asyncio.AbstractEventLoop) -> None:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        try:
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=_LEFTOVERS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as exc:  # noqa: BLE001  # the worker stops all the same
            log.error(f"worker {self._name}: what coroutines left behind ended badly", exc_info=exc)
