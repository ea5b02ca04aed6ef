"""Blocking calls, and their `_async` twins that leave the event loop free."""

from __future__ import annotations

import contextvars
import functools
import inspect
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from vecna import log

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound="Twinned")
#: Threads that do the waiting for coroutines. Each is one call to the store at a time.
_THREADS: Final = 8
_warned: Final[set[str]] = set()


class Pool:
    """A few threads of this process that make blocking calls for coroutines; they start when first needed.

    Args:
        threads: how many at most.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads_at_most = threads
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Make the call in a thread of the pool, in the caller's context.

        A coroutine that is cancelled while it waits here does not stop a call that is under way.
        """
        import asyncio

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads(), context.run, call)

    def close(self) -> None:
        """Let what is under way end, and start nothing more."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)

    def _threads(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads_at_most, thread_name_prefix="vecna-io")
            return self._executor


class Twinned(ABC):
    """What has blocking calls with twins."""

    @property
    @abstractmethod
    def _pool(self) -> Pool:
        """Where the twins make their calls."""


def blocking(method: F) -> F:
    """Mark a method that does I/O: on a thread whose event loop is running it logs one warning that names the twin."""
    name = method.__qualname__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name not in _warned and on_running_loop():
            _warned.add(name)
            log.warning(
                f"{type(self).__name__}.{method.__name__} blocks the event loop that runs in this thread: use "
                f"`await ...{method.__name__}_async(...)`"
            )
        return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]  # the same parameters and result


def twin(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The `_async` twin of a blocking method."""

    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._pool.run(functools.partial(method, self, *args, **kwargs))

    call.__name__ = f"{method.__name__}_async"
    call.__qualname__ = f"{method.__qualname__}_async"
    call.__module__ = method.__module__
    call.__doc__ = (
        f"As `{method.__name__}`, without blocking the event loop.\n\n{inspect.cleandoc(method.__doc__ or '')}"
    )
    call.__wrapped__ = method  # type: ignore[attr-defined]  # so that help() shows its parameters
    return call


def on_running_loop() -> bool:
    """Whether this thread is running an event loop right now."""
    asyncio = sys.modules.get("asyncio")  # a program that has not imported it runs no loop
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001  # in asyncio's __all__
