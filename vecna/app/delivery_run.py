"""Running one delivery: the function or coroutine is called, and whatever it does becomes an outcome."""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

import attrs

from vecna import log
from vecna.app.arguments import bind, to_results
from vecna.app.context import TaskContext, running_task
from vecna.app.delivery_failure import error_text, failed
from vecna.app.delivery_values import TIMEOUT, Item, Launched, Parked, Wiring
from vecna.app.launchers import RESERVED
from vecna.app.launching import Launching
from vecna.app.task import AnyTask
from vecna.app.tracing import RunSpan, is_recorded, process_span
from vecna.domain.decide import Canceled, Failed, Outcome, Postponed
from vecna.domain.durations import LONGEST
from vecna.domain.errors import InvalidArgument, RetryTaskLater, TaskCanceled, TaskTimeout
from vecna.domain.signature import Signature

#: Seconds for which it is taken for granted that spans are recorded, or are not.
_TRACED_FOR: Final = 1.0

Result = tuple[Outcome | Launched | Parked, BaseException | None]


def _nothing(_: object) -> None:
    pass


@attrs.define
class RunHooks:
    """Who is told of runs. `before` and `after` are a user's; what they raise is logged and changes nothing.

    Attributes:
        started: a run is about to begin.
        progressed: a task has reported its progress.
        before, after: around the run of a task, in its thread or on its loop.
    """

    started: Callable[[Item], None] = _nothing
    progressed: Callable[[Item], None] = _nothing
    before: Callable[[Signature[Any]], object] | None = None
    after: Callable[[Signature[Any]], object] | None = None


class Runner:
    """Calls tasks.

    Args:
        wiring: of the server.
        worker: name of the worker, for `TaskContext.worker`.
        hooks: who is told.
    """

    def __init__(self, wiring: Wiring, worker: str, hooks: RunHooks) -> None:
        self._wiring = wiring
        self._clock: Final = wiring.clock
        self._worker = worker
        self._hooks = hooks
        self._launching = Launching(wiring)
        self._traced = False
        self._traced_until = -math.inf
        self._traced_for = 0.0 if wiring.clock.virtual else _TRACED_FOR

    def run(self, item: Item) -> bool:
        """Run a function here, in a context of its own. What goes wrong around the call fails the task.

        Returns:
            Whether the item now has its outcome by this call. False: its lease is not to be trusted any more, or it was
            handed back, and it was not started (`started` is None); or its time limit has already ended it.
        """
        try:
            if not self._begin(item):
                return item.outcome is not None
            return contextvars.Context().run(self._run, item)
        except Exception as exc:  # noqa: BLE001  # an item without an outcome would be held for ever
            return self._broken(item, exc)

    def _run(self, item: Item) -> bool:
        running_task.set(item.context)
        if not self._is_traced(item):
            return self._end(item, *self._call(item))
        with self._span(item) as span:
            outcome, exception = self._call(item)
            if isinstance(outcome, Failed):
                span.failed(outcome.error_type)
        return self._end(item, outcome, exception)

    def _call(self, item: Item) -> Result:
        if item.signature.name in RESERVED:
            return self._launching.run(item)
        task, context = item.task, item.context
        assert task is not None
        try:
            args, kwargs = bind(task, item.signature)
        except BaseException as exc:  # noqa: BLE001  # a class of the user's may refuse its value in any way
            return failed(exc, permanent=True), exc
        self._tell(self._hooks.before, item.signature)
        try:
            value = task.fn(context, *args, **kwargs) if task.takes_context else task.fn(*args, **kwargs)
        except BaseException as exc:  # noqa: BLE001  # SystemExit, too, ends the task and not the worker
            result = _raised(exc, item)
        else:
            result = self._returned(task, value)
        self._tell(self._hooks.after, item.signature)
        return result

    async def arun(self, item: Item) -> bool:
        """Await a coroutine function here. As `run`; cancel the coroutine after `item.stop(reason)`."""
        try:
            if not self._begin(item):
                return item.outcome is not None
            running_task.set(item.context)
            if not self._is_traced(item):
                return self._end(item, *await self._acall(item))
            with self._span(item) as span:
                outcome, exception = await self._acall(item)
                if isinstance(outcome, Failed):
                    span.failed(outcome.error_type)
            return self._end(item, outcome, exception)
        except Exception as exc:  # noqa: BLE001  # an item without an outcome would be held for ever
            return self._broken(item, exc)

    async def _acall(self, item: Item) -> Result:
        task, context = item.task, item.context
        assert task is not None
        try:
            args, kwargs = bind(task, item.signature)
        except BaseException as exc:  # noqa: BLE001  # a class of the user's may refuse its value in any way
            return failed(exc, permanent=True), exc
        self._tell(self._hooks.before, item.signature)
        try:
            value = await (task.fn(context, *args, **kwargs) if task.takes_context else task.fn(*args, **kwargs))
        except asyncio.CancelledError as exc:
            result = (Canceled(), None) if item.stopping else _raised(exc, item)
        except BaseException as exc:  # noqa: BLE001  # SystemExit, too, ends the task and not the loop
            result = _raised(exc, item)
        else:
            result = self._returned(task, value)
        self._tell(self._hooks.after, item.signature)
        return timed_out(item) if item.stopping == TIMEOUT else result

    def _span(self, item: Item) -> AbstractContextManager[RunSpan]:
        return process_span(item.signature, queue=item.delivery.queue, worker=self._worker, attempt=item.attempt)

    def _is_traced(self, item: Item) -> bool:
        assert item.started is not None
        if item.started >= self._traced_until:
            self._traced, self._traced_until = is_recorded(), item.started + self._traced_for
        return self._traced

    def _begin(self, item: Item) -> bool:
        now = self._clock.monotonic()
        if item.hold.lost or now >= item.hold.trusted_until:
            return False
        if item.decision is not None:  # it was handed back since
            return False
        if item.canceled:  # since its lease
            item.complete(Canceled(), None, self._clock.now())
            return False
        signature, delivery = item.signature, item.delivery
        item.started_at = started_at = self._clock.now()
        item.started = now
        deadline = None
        timeout = signature.set_options.get("timeout")
        if timeout is not None:
            item.claim = [None]
            # A limit of a thousand years has no date.
            deadline = started_at + timeout if timeout < LONGEST else None
        item.context = TaskContext(
            signature,
            self._clock,
            attempt=item.attempt,
            delivery=1 + delivery.crashes,
            worker=self._worker,
            deadline=deadline,
            due_at=delivery.due_at,
            report=partial(self._hooks.progressed, item),
        )
        if item.stopping:  # between its lease and now
            item.context.tell_to_stop(item.stopping)
        self._hooks.started(item)
        return True

    def _end(self, item: Item, outcome: Outcome | Launched | Parked, exception: BaseException | None) -> bool:
        assert item.started is not None
        if item.context is not None:
            item.context.detach()
        item.elapsed = self._clock.monotonic() - item.started
        item.ended = True
        return item.complete(outcome, exception, self._clock.now())

    def _broken(self, item: Item, exc: Exception) -> bool:
        if item.started is None:
            item.started = self._clock.monotonic()
        is_first = self._end(item, failed(exc), exc)
        log.critical(f"task {item.name} {item.uuid} fails by what happened around its call", exc_info=exc)
        return is_first

    def _returned(self, task: AnyTask, value: object) -> Result:
        try:
            return to_results(task, value, self._wiring.config.max_message_size), None
        except InvalidArgument as exc:
            return failed(exc.with_traceback(None), permanent=True), exc
        except BaseException as exc:  # noqa: BLE001  # what the result does when it is taken apart
            return failed(exc, permanent=True), exc

    def _tell(self, hook: Callable[[Signature[Any]], object] | None, signature: Signature[Any]) -> None:
        if hook is not None:
            try:
                hook(signature)
            except BaseException as exc:  # noqa: BLE001  # whatever a hook raises changes nothing
                log.error(
                    f"a handler of worker {self._worker} raised {type(exc).__name__} at task {signature.name} "
                    f"{signature.uuid}; the task is not affected",
                    exc_info=exc,
                    task_uuid=signature.uuid,
                )


def timed_out(item: Item) -> tuple[Failed, TaskTimeout]:
    """The outcome of a run that its time limit has ended."""
    assert item.signature.timeout is not None
    limit = item.signature.timeout.total_seconds()
    exc = TaskTimeout(f"{item.name} ran longer than its timeout of {limit:g} s")
    return failed(exc), exc


def _raised(exc: BaseException, item: Item) -> Result:
    try:
        if isinstance(exc, TaskCanceled):
            return Canceled("canceled" if item.stopping else error_text(exc)), None
        if isinstance(exc, RetryTaskLater):
            delay: object = getattr(exc, "delay", None)  # a subclass may not have called our __init__
            if isinstance(delay, dt.timedelta):
                # The class takes what timedelta takes; the broker takes what lies ahead.
                return Postponed(error_text(exc), min(max(delay, dt.timedelta(0)), LONGEST)), None
            exc = InvalidArgument(
                f"RetryTaskLater.delay must be a timedelta, and {type(exc).__qualname__} has "
                f"{'none' if delay is None else f'one of type {type(delay).__name__}'}: have it call "
                "super().__init__(message, delay)"
            ).with_traceback(exc.__traceback__)
    except BaseException as fault:  # noqa: BLE001  # a user's subclass may be broken in any way
        exc = fault
    return failed(exc), exc
