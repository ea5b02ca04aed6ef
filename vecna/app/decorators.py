"""The decorators that make tasks of functions, and schedules of tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, final, overload

import attrs
from typing_extensions import Unpack

from vecna.app.context import TaskContext
from vecna.app.task import AnyTask, Task
from vecna.app.when import When
from vecna.domain.errors import TaskNotRegistered
from vecna.domain.options import Options

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
_Coroutine = Coroutine[Any, Any, R]


@attrs.frozen
class Declared:
    """A schedule that is declared with its task, and stored by every worker when it starts."""

    task: AnyTask
    when: When

    @property
    def key(self) -> tuple[str, ...]:
        """What another declaration replaces it by: the same code, or without one the same times."""
        when = self.when
        return (self.task.name, when.code) if when.code else (self.task.name, "", when.spec.text, when.spec.timezone)


class Registrar(Protocol):
    """Where decorated functions go: a registry."""

    def get(self, name: str) -> AnyTask | None:
        """The task of this name, None if there is none."""

    def add(self, name: str | None, fn: Callable[..., Any], options: Mapping[str, object]) -> AnyTask:
        """Register a function."""

    def declare(self, declared: Declared) -> None:
        """Remember a schedule."""


@final
class Foreign:
    """A type that nobody's function names: what takes it first takes anything first, hence no context."""


class TaskDecorator:
    """`@server.task`, and what `@server.task(...)` returns."""

    def __init__(
        self, registry: Registrar, name: str | None = None, options: Mapping[str, object] | None = None
    ) -> None:
        self._registry = registry
        self._name = name
        self._options = options or {}

    # Type checkers take the first that matches, so the narrower ones come first. A function whose first parameter takes
    # any object is not told from one with a context: its calls are not checked.
    @overload
    def __call__(self, fn: Callable[Concatenate[Foreign, ...], _Coroutine[R]], /) -> Task[..., R, _Coroutine[R]]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[TaskContext, P], _Coroutine[R]], /) -> Task[P, R, _Coroutine[R]]: ...
    @overload
    def __call__(self, fn: Callable[P, _Coroutine[R]], /) -> Task[P, R, _Coroutine[R]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[Concatenate[Foreign, ...], R], /) -> Task[..., R, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[TaskContext, P], R], /) -> Task[P, R, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R, R]: ...
    @overload
    def __call__(self, /, *, name: str | None = None, **options: Unpack[Options]) -> TaskDecorator: ...
    def __call__(
        self, fn: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Unpack[Options]
    ) -> Any:
        """Register a function as a task, or say how in parentheses.

        Args:
            fn: the function, when used without parentheses.
            name: the task's name; the function's when left out.
            **options: in force for what a signature leaves open.

        Returns:
            The task; with parentheses what takes the function.

        Raises:
            TaskAlreadyRegistered: the name is another function's.
            InvalidSignature: an unknown option, or a value that it does not take.
            TypeError: no function, a generator, or a context parameter in the wrong place.
        """
        if fn is None:
            return TaskDecorator(self._registry, name, options)
        return self._registry.add(self._name, fn, self._options)


class PeriodicDecorator:
    """What `@server.periodic(...)` returns. A task is a function, too: type checkers take what stands first."""

    def __init__(self, registry: Registrar, when: When) -> None:
        self._registry = registry
        self._when = when

    @overload
    def __call__(self, task: Task[P, R, C], /) -> Task[P, R, C]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[[], C], /) -> Task[[], Any, C]: ...
    @overload
    def __call__(self, fn: Callable[[TaskContext], C], /) -> Task[[], Any, C]: ...
    def __call__(self, task: Callable[..., Any], /) -> Any:
        """Declare a task as periodic; a plain function is registered under its own name.

        Raises:
            TypeError: it cannot be called without arguments.
            TaskNotRegistered: it is a task of another registry. TaskAlreadyRegistered: as for `@server.task`.
        """
        known = task if isinstance(task, Task) else self._registry.add(None, task, {})
        if self._registry.get(known.name) is not known:
            raise TaskNotRegistered(
                f"{known!r} belongs to another registry: include it before, or use its own periodic"
            )
        try:
            known.signature()
        except TypeError as exc:
            raise TypeError(
                f"{exc}; a periodic task is called without arguments: use {known.name}.every(...).send(...)"
            ) from None
        self._registry.declare(Declared(known, self._when))
        return known
