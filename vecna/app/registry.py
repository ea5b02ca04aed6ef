"""Which function belongs to which name."""

from __future__ import annotations

import datetime as dt
import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from typing_extensions import Unpack

from vecna.app.context import TaskContext
from vecna.app.decorators import Declared, Foreign, PeriodicDecorator, TaskDecorator
from vecna.app.launchers import RESERVED
from vecna.app.task import AnyTask, Sender, Task
from vecna.app.when import When
from vecna.domain.errors import TaskAlreadyRegistered, TaskNotRegistered
from vecna.domain.options import Options
from vecna.domain.schedule import Missed

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
_Coroutine = Coroutine[Any, Any, R]


class Registering(ABC):
    """Registering functions as tasks: what `Server` and `Registry` have in common."""

    @property
    @abstractmethod
    def registry(self) -> Registry:
        """Where the tasks are."""

    @property
    def task(self) -> TaskDecorator:
        """Decorator: `@server.task`, or `@server.task(name="add", queue="math", retry_count=3)`.

        The name is the function's when left out; the options are in force for what a signature leaves open. It raises
        `TaskAlreadyRegistered` when the name is another function's (the same module and qualified name replaces it),
        `InvalidSignature` for options, `TypeError` for what cannot be a task.
        """
        return TaskDecorator(self.registry)

    def periodic(
        self,
        spec: str | dt.timedelta,
        *,
        code: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
        overlap: bool = True,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> PeriodicDecorator:
        """Decorator over a task without arguments: every worker stores the schedule when it starts, not the import.

        Args:
            spec: when; this and the other parameters as for `Server.send_periodic_task`.
            code: what the schedule is called.
            timezone: whose wall clock the fields mean.
            missed: what to do about occurrences when no worker was there.
            overlap: whether an occurrence may begin while an earlier one is not over.
            start: no occurrence before this.
            end: no occurrence after this.

        Raises:
            InvalidSpec, InvalidArgument: what was given is not allowed.
        """
        when = When.of(spec, code=code, timezone=timezone, missed=missed, overlap=overlap, start=start, end=end)
        return PeriodicDecorator(self.registry, when)

    @overload
    def register_task(
        self, name: str, fn: Callable[Concatenate[Foreign, ...], _Coroutine[R]], **options: Unpack[Options]
    ) -> Task[..., R, _Coroutine[R]]: ...
    @overload
    def register_task(
        self, name: str, fn: Callable[Concatenate[TaskContext, P], _Coroutine[R]], **options: Unpack[Options]
    ) -> Task[P, R, _Coroutine[R]]: ...
    @overload
    def register_task(  # type: ignore[overload-overlap]  # as for TaskDecorator
        self, name: str, fn: Callable[P, _Coroutine[R]], **options: Unpack[Options]
    ) -> Task[P, R, _Coroutine[R]]: ...
    @overload
    def register_task(
        self, name: str, fn: Callable[Concatenate[Foreign, ...], R], **options: Unpack[Options]
    ) -> Task[..., R, R]: ...
    @overload
    def register_task(
        self, name: str, fn: Callable[Concatenate[TaskContext, P], R], **options: Unpack[Options]
    ) -> Task[P, R, R]: ...
    @overload
    def register_task(self, name: str, fn: Callable[P, R], **options: Unpack[Options]) -> Task[P, R, R]: ...
    def register_task(self, name: str, fn: Callable[..., Any], **options: Unpack[Options]) -> Any:
        """Register a function under a name.

        Args:
            name: what signatures call it by.
            fn: a function or coroutine function; also a `Task` of another registry.
            **options: in force for what a signature leaves open.

        Raises:
            TaskAlreadyRegistered: the name is another function's.
            InvalidSignature: a bad name, an unknown option, or a value that it does not take.
            TypeError: no function, a generator, or a context parameter in the wrong place.
        """
        return self.registry.add(name, fn, options)

    def register_tasks(self, tasks: Mapping[str, Callable[..., Any]]) -> dict[str, AnyTask]:
        """Register several functions by name; all or none.

        Raises:
            TaskAlreadyRegistered, InvalidSignature, TypeError: as for `register_task`.
        """
        return self.registry.add_all(tasks)

    def include(self, registry: Registry) -> None:
        """Take over all tasks of a registry, also those that it gets later; their `send` goes through this server.

        Raises:
            TaskAlreadyRegistered: a name is another function's; then none is taken over.
        """
        self.registry.take_over(registry)

    def is_task_registered(self, name: str) -> bool:
        """Whether a function is registered under this name."""
        return self.registry.get(name) is not None

    def registered_task_names(self) -> list[str]:
        """The names of all tasks, sorted."""
        return self.registry.names()

    def get_registered_task(self, name: str) -> AnyTask:
        """The task of this name.

        Raises:
            TaskNotRegistered: there is none.
        """
        task = self.registry.get(name)
        if task is None:
            raise TaskNotRegistered(f"no task is registered as {name!r}; registered are: {self._some_names()}")
        return task

    def _some_names(self) -> str:
        names = self.registry.names()
        return ", ".join(names[:20]) + (" ..." if len(names) > 20 else "") if names else "none at all"


class Registry(Registering):
    """Tasks by name, to be included by a server: for modules that must not import it. Thread-safe."""

    def __init__(self, sender: Sender | None = None) -> None:
        # Reentrant: registries that include each other would otherwise wait for themselves.
        self._lock = threading.RLock()
        self._tasks: dict[str, AnyTask] = {}
        self._sender = sender
        self._outer: list[Registry] = []
        self._declared: dict[tuple[str, ...], Declared] = {}

    def __repr__(self) -> str:
        return f"<Registry of {len(self._tasks)} tasks>"

    @property
    def registry(self) -> Registry:
        """Itself."""
        return self

    def get(self, name: str) -> AnyTask | None:
        """The task of this name, None if there is none."""
        return self._tasks.get(name)

    def names(self) -> list[str]:
        """The names of all tasks, sorted."""
        return sorted(self._tasks.copy())

    def add(self, name: str | None, fn: Callable[..., Any], options: Mapping[str, object]) -> AnyTask:
        """Register a function; see `register_task`. Its own name is taken for None."""
        task = self._made(name, fn, options)
        self._put({task.name: task})
        return task

    def add_all(self, functions: Mapping[str, Callable[..., Any]]) -> dict[str, AnyTask]:
        """Register several functions; see `register_tasks`."""
        tasks = {name: self._made(name, fn, {}) for name, fn in functions.items()}
        self._put(tasks)
        return tasks

    def take_over(self, other: Registry) -> None:
        """Include another registry; see `include`."""
        if not isinstance(other, Registry):
            raise TypeError(f"include takes a Registry, not {type(other).__name__}")
        if other is self or other.contains(self):
            raise ValueError("a Registry cannot include itself")
        with self._lock:
            self._put(other._tasks.copy())
            for declared in other.declared():
                self.declare(declared)
            other._outer = [outer for outer in other._outer if outer is not self] + [self]

    def declare(self, declared: Declared) -> None:
        """Remember a schedule that is declared with its task, here and in all registries around."""
        with self._lock:
            self._declared[declared.key] = declared
        for outer in self._outer:
            outer.declare(declared)

    def declared(self) -> list[Declared]:
        """The schedules that are declared with tasks."""
        with self._lock:
            return list(self._declared.values())

    def contains(self, other: Registry) -> bool:
        """Whether `other` was included here, directly or through others."""
        return any(outer is self or self.contains(outer) for outer in other._outer)

    def sender(self, name: str) -> Sender:
        """Who sends for these tasks: the server that included them last.

        Raises:
            TaskNotRegistered: none did.
        """
        if self._sender is not None:
            return self._sender
        if self._outer:
            return self._outer[-1].sender(name)
        raise TaskNotRegistered(
            f"task {name!r} stands in a Registry that no server has included: call server.include(registry)"
        )

    def _made(self, name: str | None, fn: Callable[..., Any], options: Mapping[str, object]) -> AnyTask:
        if isinstance(fn, Task):
            fn = fn.fn
        if name in RESERVED:
            raise TaskAlreadyRegistered(f"the name {name!r} is used by vecna itself")
        if name is None:
            name = getattr(fn, "__name__", None)
            if not isinstance(name, str):
                raise TypeError(f"a {type(fn).__name__} has no name of its own: pass name=")
        return Task(name, fn, options, self)

    def _put(self, tasks: Mapping[str, AnyTask]) -> None:
        """Add tasks here and in all registries around, or nowhere."""
        with self._lock:
            self._check(tasks)
            self._store(tasks)

    def _check(self, tasks: Mapping[str, AnyTask]) -> None:
        for name, task in tasks.items():
            known = self._tasks.get(name)
            if known is not None and _origin(known) != _origin(task):
                raise TaskAlreadyRegistered(
                    f"the name {name!r} means {_shown(known)} already, and cannot mean {_shown(task)} too: pass name="
                )
        for outer in self._outer:
            outer._check(tasks)  # noqa: SLF001  # the same class

    def _store(self, tasks: Mapping[str, AnyTask]) -> None:
        self._tasks.update(tasks)
        for outer in self._outer:
            outer._store(tasks)  # noqa: SLF001  # the same class


def _origin(task: AnyTask) -> tuple[object, object]:
    """What makes a function the same one after a reload: module and qualified name; without them the object itself."""
    fn = task.fn
    qualified = getattr(fn, "__qualname__", None)
    return (fn.__module__, qualified) if qualified else (None, fn)


def _shown(task: AnyTask) -> str:
    fn = task.fn
    if isinstance(fn, functools.partial):
        return f"a partial of {getattr(fn.func, '__qualname__', repr(fn.func))}"
    return f"{getattr(fn, '__module__', '?')}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"
