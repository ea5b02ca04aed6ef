"""Every error that vecna raises on purpose. Each message names the thing and the remedy."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vecna.domain.signature import Signature


class VecnaError(Exception):
    """Root of all errors of vecna."""


class ConfigError(VecnaError, ValueError):
    """A setting is unknown, of the wrong type, or a URL cannot be used."""


class InvalidArgument(VecnaError, ValueError):
    """A value cannot travel as an argument or result: wrong type, out of range, too large."""


class InvalidSignature(VecnaError, ValueError):
    """A signature, or the bytes that should hold one, breaks a rule."""


class InvalidSpec(VecnaError, ValueError):
    """A schedule's spec cannot be read or never comes true."""


class NoTasks(VecnaError, ValueError):
    """A group, chord or chain was made of nothing."""


class InconsistentCode(VecnaError, ValueError):
    """Members of one workflow carry different explicit codes."""


class TaskAlreadyRegistered(VecnaError, ValueError):
    """The name is taken by another function."""


class TaskNotRegistered(VecnaError, LookupError):
    """No function is registered under this name here."""


class UnknownTask(VecnaError, LookupError):
    """Neither broker nor backend knows this id: never sent, or its result has expired."""


class UnknownSchedule(VecnaError, LookupError):
    """No schedule has this code."""


class ResultTimeout(VecnaError, TimeoutError):
    """The result was not there within the time given. The task goes on."""


class TaskTimeout(VecnaError, TimeoutError):
    """One attempt of a task ran longer than its `timeout`."""


class TaskFailed(VecnaError):
    """The task whose result was asked for has failed for good.

    Attributes:
        task_uuid: id of the failed task.
        error: the text of the error, e.g. `RuntimeError: boom`.
        error_type: qualified name of the exception's class, "" if unknown.
        traceback: the worker's traceback as text, "" if none was recorded.
    """

    def __init__(self, error: str, *, task_uuid: str = "", error_type: str = "", traceback: str = "") -> None:
        super().__init__(f"task {task_uuid} failed: {error}" if task_uuid else error)
        self.task_uuid = task_uuid
        self.error = error
        self.error_type = error_type
        self.traceback = traceback

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_task_failed, (self.error, self.task_uuid, self.error_type, self.traceback)


def _rebuild_task_failed(error: str, task_uuid: str, error_type: str, traceback: str) -> TaskFailed:
    return TaskFailed(error, task_uuid=task_uuid, error_type=error_type, traceback=traceback)


class TaskCanceled(VecnaError):
    """The task was cancelled, or expired before it could start."""


class BrokerUnavailable(VecnaError, ConnectionError):
    """The broker, backend or lock cannot be reached, or refuses to work (full, read-only, loading).

    Attributes:
        signatures: what may have been accepted. Send these same signatures again when the broker is back:
            what was accepted is not run twice.
    """

    def __init__(self, message: str, signatures: Sequence[Signature] = ()) -> None:
        super().__init__(message)
        self.signatures = tuple(signatures)


class WorkerAborted(VecnaError):
    """A second signal stopped the worker before its tasks had finished; they were handed back."""


class RetryTaskLater(VecnaError):
    """Raise it in a task to run it again after a delay, without using up `retry_count`.

    Args:
        message: why, for the task's state.
        delay: how long to wait: a timedelta, or seconds; below 0 is at once.

    Raises:
        InvalidArgument: the delay is of another type, or nothing that a timedelta can be.
    """

    def __init__(self, message: str, delay: dt.timedelta | float) -> None:
        super().__init__(message)
        try:
            wait = delay if isinstance(delay, dt.timedelta) else dt.timedelta(seconds=delay)
        except (OverflowError, TypeError, ValueError):
            raise InvalidArgument(
                f"the delay of RetryTaskLater is a timedelta or a number of seconds, not this {type(delay).__name__}"
            ) from None
        self.delay = max(wait, dt.timedelta(0))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (*self.args, self.delay)
