"""Which function belongs to which name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from typing_extensions import Unpack

from vecna.app.context import TaskContext
from vecna.app.task import Sender, Task
from vecna.domain.errors import TaskAlreadyRegistered, TaskNotRegistered
from vecna.domain.options import Options

P = ParamSpec("P")
R = TypeVar("R")
_Coroutine = Coroutine[Any, Any, R]
AnyTask = Task[..., Any, Any]


class TaskDecorator:
    """`@registry.task`, and what `@registry.task(...)` returns."""

    def __init__(
        self, registry: Registry, name: str | None = None, options: Mapping[str, object] | None = None
    ) -> None:
        self._registry = registry
        self._name = name
        self._options = options or {}

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a context parameter is looked for first
        self, fn: Callable[Concatenate[TaskContext, P], _Coroutine[R]], /
    ) -> Task[P, R, _Coroutine[R]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine function before any function
        self, fn: Callable[P, _Coroutine[R]], /
    ) -> Task[P, R, _Coroutine[R]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a context parameter is looked for first
        self, fn: Callable[Concatenate[TaskContext, P], R], /
    ) -> Task[P, R, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R, R]: ...
    @overload
    def __call__(self, /, *, name: str | None = None, **options: Unpack[Options]) -> TaskDecorator: ...
    def __call__(
        self, fn: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Unpack[Options]
    ) -> Any:
        """Register a function as a task.

        Args:
            fn: the function, when used without parentheses.
            name: the task's name; the function's when left out.
            **options: in force for what the signature leaves open.

        Raises:
            TaskAlreadyRegistered: the name is another function's.
            InvalidSignature: an unknown option, or a value that it does not take.
            TypeError: no function, a generator, or a context parameter in the wrong place.
        """
        if fn is None:
            return TaskDecorator(self._registry, name, options)
        return self._registry.add(self._name, fn, self._options)


class Registry:
    """Tasks by name. Thread-safe."""

    def __init__(self, sender: Sender | None = None) -> None:
        self._lock = threading.RLock()
        self._tasks: dict[str, AnyTask] = {}
        self._sender = sender
        self._parents: list[Registry] = []

    @property
    def task(self) -> TaskDecorator:
        """Decorator: `@registry.task` or `@registry.task(name="add", queue="math", retry_count=3)`."""
        return TaskDecorator(self)

    def get(self, name: str) -> AnyTask | None:
        """The task of this name, None if there is none."""
        return self._tasks.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        with self._lock:
            return sorted(self._tasks)

    def add(self, name: str | None, fn: Callable[..., Any], options: Mapping[str, object]) -> AnyTask:
        """Register a function."""
        if isinstance(fn, Task):
            fn = fn.fn
        if name is None:
            name = getattr(fn, "__name__", None)
            if not isinstance(name, str):
                raise TypeError(f"a {type(fn).__name__} has no name of its own: pass name=")
        task: AnyTask = Task(name, fn, options, self)
        self._put([task])
        return task

    def include(self, other: Registry) -> None:
        """Take over all tasks of another registry, also those that it gets later."""
        with self._lock:
            self._put(list(other._tasks.values()))
            if self not in other._parents:
                other._parents.append(self)

    def sender(self, name: str) -> Sender:
        """Who sends for these tasks: the server that included them last."""
        if self._sender is not None:
            return self._sender
        if self._parents:
            return self._parents[-1].sender(name)
        raise TaskNotRegistered(f"task {name!r} stands in a Registry that no server has: call server.include(registry)")

    def _put(self, tasks: list[AnyTask]) -> None:
        with self._lock:
            for task in tasks:
                known = self._tasks.get(task.name)
                if known is not None and _origin(known) != _origin(task):
                    raise TaskAlreadyRegistered(
                        f"task {task.name!r} is {_shown(known)} already, and cannot be {_shown(task)}: pass name="
                    )
            for parent in self._parents:
                parent._put(tasks)
            self._tasks.update({task.name: task for task in tasks})


def _origin(task: AnyTask) -> tuple[object, object]:
    name = getattr(task.fn, "__qualname__", None)
    return (getattr(task.fn, "__module__", None), name) if name else (None, task.fn)


def _shown(task: AnyTask) -> str:
    return f"{getattr(task.fn, '__module__', '?')}.{getattr(task.fn, '__qualname__', repr(task.fn))}"
