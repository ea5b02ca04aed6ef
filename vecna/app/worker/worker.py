"""The worker as its user sees it."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from vecna import log
from vecna.app.worker.engine import Engine
from vecna.app.worker.handlers import ConsumeHandler, ErrorHandler, Handlers, TaskHandler
from vecna.app.worker.scheduling import Served
from vecna.app.worker.signals import Signals
from vecna.app.worker.witness import Orders, Witness
from vecna.domain.durations import to_duration
from vecna.domain.errors import InvalidArgument, WorkerAborted
from vecna.domain.ids import check_id


class Worker:
    """Runs the tasks of a server: functions in threads, coroutine functions on one event loop.

    It runs what is registered, also what is registered while it runs; other messages wait for a worker that knows
    them. A worker whose broker goes away goes on when it is back.

    Args:
        server: whose tasks it runs.
        name: how states, logs and listings call it.
        concurrency: how many tasks it runs at a time; 0: any number of coroutines, up to `Config.max_threads`
            functions.
        queues: what it serves, in turn; the default queue if left out.
        witness: who is told what it holds; for the supervisors of groups.

    Raises:
        InvalidArgument: a name, number or queue that is not allowed.
    """

    def __init__(
        self,
        server: Served,
        name: str,
        concurrency: int = 0,
        queues: Sequence[str] | None = None,
        *,
        witness: Witness | None = None,
    ) -> None:
        self._server = server
        #: How states, logs and listings call it.
        self.name = check_id(name, "worker name")
        #: How many tasks it runs at a time; 0 for no limit.
        self.concurrency = checked_concurrency(concurrency)
        #: What it serves.
        self.queues = checked_queues(queues, server.config.default_queue)
        self._witness = witness
        self._handlers = Handlers()
        self._lock = threading.Lock()
        self._quitting = threading.Lock()
        self._engine: Engine | None = None
        self._orders: Orders | None = None
        self._all_finished = True

    def __repr__(self) -> str:
        return f"<Worker {self.name} of {', '.join(self.queues)}>"

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not stopped."""
        return self._engine is not None

    # -- handlers ----------------------------------------------------------------------------------------------------

    def set_error_handler(self, handler: ErrorHandler | None) -> None:
        """Have a function told of final failures, instead of the log.

        Args:
            handler: `handler(signature, exception)`, called in a thread of its own after the task's `on_error` was
                sent; with None for the signature when the broker is lost. What it raises is logged. None: no handler.
        """
        self._handlers.error = _checked(handler, "set_error_handler")

    def set_pre_task_handler(self, handler: TaskHandler | None) -> None:
        """Have a function called before each run of a task.

        Args:
            handler: `handler(signature)`, called where the task runs: in its thread, or on the event loop, which it
                must not block. What it raises is logged and changes nothing. None: no handler.
        """
        self._handlers.before = _checked(handler, "set_pre_task_handler")

    def set_post_task_handler(self, handler: TaskHandler | None) -> None:
        """Have a function called after each run of a task, however it went; see `set_pre_task_handler`."""
        self._handlers.after = _checked(handler, "set_post_task_handler")

    def set_pre_consume_handler(self, handler: ConsumeHandler | None) -> None:
        """Have a function asked whether more work may be taken now.

        Args:
            handler: `handler(worker) -> bool`, called before work is taken; after False it is asked again half a second
                later. What it raises is logged and counts as true. None: no handler.
        """
        self._handlers.consume = _checked(handler, "set_pre_consume_handler")

    # -- life --------------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Run until a signal, or until `quit` is called elsewhere.

        In the main thread, and without `Config.no_unix_signals`, SIGINT and SIGTERM are handled, and the handlers of
        before are restored at the end. The first signal: take no more, hand back what has not started, finish what
        runs, return. The second, or `Config.shutdown_timeout` after the first: hand back what has not finished.

        Raises:
            WorkerAborted: tasks were handed back unfinished, or the worker cannot go on.
        """
        with Signals(handle=not self._server.config.no_unix_signals) as signals:
            self.serve(signals)

    def serve(self, orders: Orders) -> None:
        """As `launch`, on the orders of something else than signals.

        Args:
            orders: the first lets it finish what runs, the second does not.

        Raises:
            WorkerAborted: as `launch`.
        """
        self._orders = orders
        try:
            self.start()
            self._attend(orders)
        finally:
            self._orders = None
            self.quit(0)

    def start(self) -> None:
        """Begin to take work, in threads; returns at once, touches no signals. Harmless if it runs already."""
        with self._lock:
            if self._engine is not None:
                return
            engine = Engine(
                self._server,
                self.name,
                self.concurrency,
                self.queues,
                self._handlers,
                self,
                self._on_change,
                self._witness,
            )
            self._engine = engine
            engine.start()
        many = self.concurrency or "any number of"
        log.info(f"worker {self.name} serves {', '.join(self.queues)}, {many} tasks at a time", worker=self.name)

    def quit(self, timeout: dt.timedelta | float | None = 30) -> bool:
        """Take no more, wait for what runs, hand back the rest. Harmless if it does not run.

        Args:
            timeout: how long to wait, a timedelta or seconds; None: as long as it takes. A function that was handed
                back cannot be stopped: it is told (`TaskContext.canceled`), and what it returns is discarded.

        Returns:
            Whether all that ran has finished.
        """
        patience = None if timeout is None else to_duration(timeout, "timeout").total_seconds()
        with self._quitting:
            engine = self._engine
            if engine is None:
                return self._all_finished
            engine.drain()
            self._all_finished = self._server.clock.wait(engine.drained, patience)
            if not self._all_finished:
                back = engine.abort()
                self._all_finished = not back and engine.drained.is_set()
                if back:
                    log.warning(
                        f"worker {self.name} hands back {len(back)} unfinished: "
                        + ", ".join([f"{item.name} {item.uuid}" for item in back[:5]]),
                        worker=self.name,
                    )
            engine.stop()
            self._engine = None
            log.info(f"worker {self.name} has stopped", worker=self.name)
            self._on_change()
            return self._all_finished

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.quit()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _on_change(self) -> None:
        orders = self._orders
        if orders is not None:
            orders.wake()

    def _attend(self, orders: Orders) -> None:
        """Wait, and act on orders and on what the engine reports."""
        draining = False
        impatient = threading.Event()
        while (engine := self._engine) is not None and not engine.drained.is_set():
            if engine.failure:
                raise WorkerAborted(f"worker {self.name} stops: {engine.failure}")
            if orders.count > 1 or impatient.is_set():
                why = f"a second signal ({orders.latest})" if orders.count > 1 else "its shutdown_timeout"
                self.quit(0)
                if self._all_finished:
                    return
                raise WorkerAborted(f"worker {self.name} was stopped by {why}; what had not finished was handed back")
            if orders.count and not draining:
                draining = True
                engine.drain()  # first, since who reads the next line may count on it
                log.info(f"worker {self.name} stops on {orders.latest}: it finishes what runs", worker=self.name)
                limit = self._server.config.shutdown_timeout
                if limit is not None:
                    engine.call_at(self._server.clock.monotonic() + limit, _Alarm(impatient, orders))
            orders.wait()


class _Alarm:
    """Sets an event and wakes who waits for orders."""

    def __init__(self, event: threading.Event, orders: Orders) -> None:
        self._event = event
        self._orders = orders

    def __call__(self) -> None:
        self._event.set()
        self._orders.wake()


def _checked(handler: Any, setter: str) -> Any:
    if handler is not None and not callable(handler):
        raise InvalidArgument(f"{setter} takes a function or None, not {type(handler).__name__}")
    return handler


def checked_concurrency(concurrency: int) -> int:
    """A number of tasks at a time, or 0 for no limit.

    Raises:
        InvalidArgument: it is none.
    """
    if type(concurrency) is not int or concurrency < 0:
        raise InvalidArgument(f"concurrency must be an int of 0 or more (0: no limit), not {concurrency!r}")
    return concurrency


def checked_queues(queues: Sequence[str] | None, default: str) -> tuple[str, ...]:
    """The queues to serve, each once.

    Raises:
        InvalidArgument: none, or names that are not allowed.
    """
    if queues is None:
        return (default,)
    if isinstance(queues, str) or not isinstance(queues, Sequence):
        raise InvalidArgument(f"queues takes a list of queue names, not {type(queues).__name__}: write queues=['name']")
    if not queues:
        raise InvalidArgument("queues is empty: name at least one, or leave it out for the default queue")
    return tuple(dict.fromkeys([check_id(queue, "queue name") for queue in queues]))
