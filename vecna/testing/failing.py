"""Tasks that fail because a test wants them to."""

from __future__ import annotations

import copy
from collections import deque

from vecna.app.task import AnyTask

Error = BaseException | type[BaseException]


class PlannedErrors:
    """Errors that the next runs of tasks raise, by name."""

    def __init__(self) -> None:
        self._errors: dict[str, deque[Error]] = {}

    def add(self, name: str, error: Error, times: int) -> None:
        """Plan an error for some runs, after those that are planned already."""
        self._errors.setdefault(name, deque()).extend([error] * times)

    def replaced(self, task: AnyTask) -> AnyTask:
        """The task to be run in place of this one: itself, or one that raises what was planned."""
        errors = self._errors.get(task.name)
        return _failing(task, errors.popleft()) if errors else task


def _failing(task: AnyTask, error: BaseException | type[BaseException]) -> AnyTask:
    """The task with a function that raises."""
    fresh = error.with_traceback(None) if isinstance(error, BaseException) else error

    def fail(*_: object, **__: object) -> None:
        raise fresh

    async def fail_async(*_: object, **__: object) -> None:
        raise fresh

    failing = copy.copy(task)
    failing.fn = fail_async if task.is_async else fail
    return failing
