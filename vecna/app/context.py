"""What a running task can ask and say: `TaskContext`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from vecna.domain.errors import InvalidArgument, TaskCanceled
from vecna.domain.signature import Signature
from vecna.ports.clock import Clock

_LARGEST: Final = 2**53
#: Set while a task runs, in its thread or coroutine and in what these start with their context.
running_task: Final[ContextVar[TaskContext | None]] = ContextVar("vecna_running_task", default=None)


class TaskContext:
    """One run of one task, as the task sees it. All of it may be used from any thread.

    Attributes:
        signature: the call, with the options in force.
        attempt: which run this is: 1 + repeats.
        delivery: which delivery of this attempt this is: 1 + those whose worker died or went silent.
        worker: name of the worker that runs it.
        deadline: when its `timeout` is over (UTC); None without one.
        due_at: its ETA, or the time of its occurrence; None if it was to run at once.
    """

    __slots__ = (
        "_clock",
        "_report",
        "_stop",
        "attempt",
        "deadline",
        "delivery",
        "due_at",
        "last_progress",
        "signature",
        "worker",
    )

    def __init__(
        self,
        signature: Signature[Any],
        clock: Clock,
        *,
        attempt: int = 1,
        delivery: int = 1,
        worker: str = "",
        deadline: dt.datetime | None = None,
        due_at: dt.datetime | None = None,
        report: Callable[[], None] | None = None,
    ) -> None:
        self.signature = signature
        self.attempt = attempt
        self.delivery = delivery
        self.worker = worker
        self.deadline = deadline
        self.due_at = due_at
        #: What `progress` said last.
        self.last_progress: tuple[float, float] | None = None
        self._clock = clock
        self._report = report
        self._stop = ""

    def __repr__(self) -> str:
        return f"<TaskContext {self.signature.name} {self.signature.uuid} attempt={self.attempt}>"

    @property
    def canceled(self) -> bool:
        """Whether the task should stop: it was cancelled, ran over its `timeout`, or is not this worker's any more."""
        return bool(self._stop)

    @property
    def schedule_code(self) -> str:
        """Code of the schedule that this task is an occurrence of; "" if of none."""
        return self.signature.code if self.signature.spec else ""

    def now(self) -> dt.datetime:
        """The current instant (UTC) by vecna's clock, which a test harness moves."""
        return self._clock.now()

    def progress(self, done: float, total: float) -> None:
        """Say how far the task is; seen as `TaskState.progress`. Never blocks; the worker writes the last value soon.

        Raises:
            InvalidArgument: not two numbers between -2**53 and 2**53.
        """
        for number in (done, total):
            # Beyond 2**53 an int has no exact place in JSON; nobody counts that far.
            if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= _LARGEST:
                raise InvalidArgument(f"progress takes two numbers up to 2**53, not a {type(number).__name__}")
        self.last_progress = (done, total)
        report = self._report
        if report is not None:
            report()

    def raise_if_canceled(self) -> None:
        """Stop here if the task should.

        Raises:
            TaskCanceled: `canceled` is true; let it pass, and the task ends as CANCELED.
        """
        if self._stop:
            raise TaskCanceled(f"task {self.signature.uuid} was told to stop: {self._stop}")

    def detach(self) -> None:
        """Report nothing any more; called by the worker when the run is over."""
        self._report = None

    def tell_to_stop(self, reason: str) -> None:
        """Set `canceled`; called by the worker. The first reason stays."""
        self._stop = self._stop or reason


def current_task() -> TaskContext | None:
    """The context of the task that this code runs in; None outside of one."""
    return running_task.get()
