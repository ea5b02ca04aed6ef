"""The user's handlers, and a thread for those that may take their time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import attrs

from vecna import log
from vecna.app.delivery_values import Item
from vecna.domain.signature import Signature

ErrorHandler = Callable[[Signature[Any] | None, BaseException], object]
TaskHandler = Callable[[Signature[Any]], object]
#: Called with the worker; says whether it may take more work now.
ConsumeHandler = Callable[[Any], bool]


@attrs.define
class Handlers:
    """What the user has set; each may be changed while the worker runs."""

    error: ErrorHandler | None = None
    before: TaskHandler | None = None
    after: TaskHandler | None = None
    consume: ConsumeHandler | None = None


class Reporter:
    """Tells the error handler, or the log, of what went wrong; in a thread of its own, which a handler may hold up."""

    def __init__(self, worker: str, handlers: Handlers) -> None:
        self._worker = worker
        self._handlers = handlers
        self._reports: queue.SimpleQueue[tuple[Signature[Any] | None, BaseException] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def task_failed(self, item: Item) -> None:
        """Report a task that has failed for good."""
        exc = item.exception
        if exc is None:  # what was recorded by another, or without an exception
            return
        if self._handlers.error is None:
            what = f"task {item.name or '(unreadable)'} {item.uuid} has failed for good"
            log.error(
                f"{what}: {item.recorded.error if item.recorded else exc}",
                exc_info=exc,
                task_uuid=item.uuid,
                task=item.name,
                attempt=item.attempt,
                worker=self._worker,
            )
        else:
            self._report(item.signature, exc)

    def broker_lost(self, exc: Exception) -> None:
        """Report the begin of an outage; the log has it already."""
        if self._handlers.error is not None:
            self._report(None, exc)

    def stop(self, timeout: float) -> None:
        """Let the handler come to its end, at most `timeout` seconds."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._reports.put(None)
            thread.join(timeout)

    def _report(self, signature: Signature[Any] | None, exc: BaseException) -> None:
        self._reports.put((signature, exc))
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._loop, name=f"vecna-{self._worker}-reports", daemon=True)
                try:
                    thread.start()
                except RuntimeError as fault:  # the system gives no more threads: told with the next, if one comes
                    log.error(f"worker {self._worker} cannot start the thread of its error handler: {fault}")
                    return
                self._thread = thread

    def _loop(self) -> None:
        while (report := self._reports.get()) is not None:
            signature, exc = report
            handler = self._handlers.error
            if handler is None:
                continue
            try:
                handler(signature, exc)
            except BaseException as fault:  # noqa: BLE001  # whatever a handler raises changes nothing
                log.error(
                    f"the error handler of worker {self._worker} raised {type(fault).__name__} when it was told of "
                    f"{type(exc).__name__}",
                    exc_info=fault,
                )
