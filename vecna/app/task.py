"""A task: a function under a name, with its options, that can be sent."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeAlias

from typing_extensions import TypeVar, Unpack

from vecna.app.context import TaskContext, current_task
from vecna.app.every import Every
from vecna.app.parameters import Parameters
from vecna.app.schedule_handles import Schedule
from vecna.app.twins import blocking
from vecna.app.when import When
from vecna.domain.errors import InvalidArgument
from vecna.domain.options import Options, check_options
from vecna.domain.parts import arguments, keywords
from vecna.domain.schedule import Missed
from vecna.domain.signature import Signature
from vecna.ports.clock import Clock

if TYPE_CHECKING:
    from vecna.app.results import AsyncResult

P = ParamSpec("P")
R = TypeVar("R", default=Any)
C = TypeVar("C", default=Any)
T = TypeVar("T")
AnyTask: TypeAlias = "Task[..., Any, Any]"
_NONE: Mapping[str, Any] = MappingProxyType({})


class Sender(Protocol):
    """Who sends a task's signatures: the server."""

    def send_task(self, signature: Signature[T]) -> AsyncResult[T]:
        """Send one call."""

    async def send_task_async(self, signature: Signature[T]) -> AsyncResult[T]:
        """The same without blocking the event loop."""

    def store_schedule(self, when: When, signature: Signature[Any]) -> Schedule:
        """Have a call run again and again."""

    async def store_schedule_async(self, when: When, signature: Signature[Any]) -> Schedule:
        """The same without blocking the event loop."""

    @property
    def clock(self) -> Clock:
        """The server's clock."""


class Home(Protocol):
    """Where a task is registered."""

    def sender(self, name: str) -> Sender:
        """Who sends for the task of this name.

        Raises:
            TaskNotRegistered: the registry belongs to no server.
        """


class Task(Generic[P, R, C]):
    """A registered function: call it here, or send it to a worker.

    Generic over its parameters, what `AsyncResult.get` gives back (R) and what a plain call returns (C; a coroutine
    for `async def`). A leading `TaskContext` parameter is filled in and is none of the parameters.

    Attributes:
        name: its registered name.
        fn: the raw function.
        set_options: the options of its registration that were set, in their one spelling.
        is_async: whether `fn` is a coroutine function.
        takes_context: whether `fn` takes a `TaskContext` first.
        parameters: what `fn` takes besides.
    """

    __name__: str
    __qualname__: str

    def __init__(self, name: str, fn: Callable[..., C], options: Mapping[str, object], home: Home) -> None:
        self.name = Signature(name).name
        self.fn = fn
        self.set_options: Mapping[str, Any] = MappingProxyType(check_options(options)) if options else _NONE
        self.is_async = _is_coroutine_function(fn, name)
        self.parameters = Parameters(fn, name, TaskContext)
        self.takes_context = self.parameters.takes_context
        self._home = home
        self._call_options: Mapping[str, Any] = _NONE
        functools.update_wrapper(self, fn, updated=())
        if self.parameters.signature is not None:
            self.__signature__ = self.parameters.signature

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Call the function here, in this thread; nothing is sent.

        A function that takes a context gets that of the running task, outside a task one of its own.
        """
        if not self.takes_context:
            return self.fn(*args, **kwargs)
        return self.fn(current_task() or self._context(args, kwargs), *args, **kwargs)

    def _context(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TaskContext:
        """A context for a plain call: nobody waits for its progress, nobody cancels it."""
        signature: Signature[Any] = Signature(self.name)
        with contextlib.suppress(InvalidArgument):  # what cannot travel may well be passed here
            signature = Signature(self.name, args, kwargs=kwargs)
        return TaskContext(signature, _ServersClock(lambda: self._home.sender(self.name).clock))

    @blocking
    def send(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send a call to the workers; a new task every time.

        Returns:
            The handle of its result.

        Raises:
            TypeError: the function cannot be called so.
            InvalidArgument: an argument cannot travel, or the message is too large.
            BrokerUnavailable: the broker could not be reached within `Config.send_timeout`.
        """
        return self._home.sender(self.name).send_task(self.signature(*args, **kwargs))

    async def send_async(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As `send`, without blocking the event loop. What is sent at the same time shares its round trips.

        An await that is cancelled may or may not have sent it.
        """
        return await self._home.sender(self.name).send_task_async(self.signature(*args, **kwargs))

    def signature(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """The complete call, to be sent later or built into a workflow.

        Raises:
            TypeError: the function cannot be called so.
            InvalidArgument: an argument cannot travel.
        """
        self.parameters.check(args, kwargs)
        passed = keywords(kwargs) if kwargs else _NONE
        return Signature.of_call(None, self.name, arguments(args), passed, options=self._call_options)

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """A call that may leave out the arguments that a predecessor or group will append.

        Raises:
            TypeError: nothing appended could make it a call of the function.
            InvalidArgument: an argument cannot travel.
        """
        self.parameters.check_partial(args, kwargs)
        return Signature(self.name, args, kwargs=kwargs, **self._call_options)

    def options(self, **options: Unpack[Options]) -> Task[P, R, C]:
        """This task with options for the calls that are made through what is returned.

        Raises:
            InvalidSignature: an unknown option, or a value that it does not take.
        """
        other = copy.copy(self)
        checked = check_options(options)
        kept = {name: value for name, value in self._call_options.items() if not _displaced(name, checked)}
        other._call_options = MappingProxyType({**kept, **checked})  # noqa: SLF001  # the same class
        return other

    def every(
        self,
        spec: str | dt.timedelta,
        *,
        code: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
        overlap: bool = True,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> Every[P]:
        """Have it run again and again: `add.every("0 6 * * *", timezone="Europe/Berlin").send(1, 2)`.

        Args:
            spec: when; this and the other parameters as for `Server.send_periodic_task`.
            code: what the schedule is called, and cancelled by.
            timezone: whose wall clock the fields mean.
            missed: what to do about occurrences when no worker was there.
            overlap: whether an occurrence may begin while an earlier one is not over.
            start: no occurrence before this.
            end: no occurrence after this.

        Returns:
            What takes the arguments: its `send` gives the handle of the schedule.

        Raises:
            InvalidSpec, InvalidArgument: what was given is not allowed.
        """
        when = When.of(spec, code=code, timezone=timezone, missed=missed, overlap=overlap, start=start, end=end)

        def store(signature: Signature[Any]) -> Schedule:
            return self._home.sender(self.name).store_schedule(when, signature)

        async def store_async(signature: Signature[Any]) -> Schedule:
            return await self._home.sender(self.name).store_schedule_async(when, signature)

        return Every(self.signature, store, store_async)


class _ServersClock(Clock):
    """The clock of a task's server, looked up when it is first read: a plain call needs no server."""

    def __init__(self, find: Callable[[], Clock]) -> None:
        self._find = find

    @property
    def virtual(self) -> bool:
        return self._find().virtual

    def now(self) -> dt.datetime:
        return self._find().now()

    def monotonic(self) -> float:
        return self._find().monotonic()

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        return self._find().wait(event, timeout)


def _displaced(name: str, by: Mapping[str, object]) -> bool:
    return (name == "eta" and "delay" in by) or (name == "delay" and "eta" in by)


def _is_coroutine_function(fn: object, name: str) -> bool:
    if not callable(fn):
        raise TypeError(f"task {name!r} needs a function, not {type(fn).__name__}")
    inner: Any = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    seen = [inner, inspect.unwrap(inner), getattr(inner, "__call__", None)]  # noqa: B004  # `async def __call__`
    if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in seen):
        raise TypeError(f"task {name!r} is a generator: return a list, or send one task per item")
    return any(inspect.iscoroutinefunction(one) for one in seen)
