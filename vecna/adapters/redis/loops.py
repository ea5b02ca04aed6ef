"""Calls to Redis from event loops: each loop has connections of its own, which end with it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from redis.exceptions import NoScriptError

from vecna.adapters.redis.async_opening import AsyncOpened, async_open
from vecna.adapters.redis.connections import IMPATIENT, Connections, unavailable
from vecna.adapters.redis.errors import REDIS_ERRORS, understand
from vecna.adapters.redis.scripts import Script, guard, guarded

T = TypeVar("T")
_Call = Callable[..., Awaitable[Any]]
#: Calls of one loop that are under way at a time, each over a connection; further ones wait.
_MOST: Final = 4
#: How long a close waits for a loop of another thread, seconds.
_FAREWELL: Final = 2.0


class Loops:
    """The connections of all event loops of this process, made when a loop first makes a call.

    They are closed when the loop shuts down its generators, as `asyncio.run` does at its end, or by `close`.

    Args:
        connections: those of threads. Over them it is found out, once, what is there and what it may be asked.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    # -- calls -------------------------------------------------------------------------------------------------------

    async def is_cluster(self) -> bool:
        """Whether keys are spread over nodes.

        Raises:
            BrokerUnavailable, ConfigError: as for `Connections.run`.
        """
        found = self._connections.known_cluster
        if found is None:
            # All checks of a server are made here, too: with what threads have opened, or open now.
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(None, self._connections.find_cluster, IMPATIENT)
        return found

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script; it may run twice if the first reply is lost. It is not waited for a server that is away.

        Raises:
            BrokerUnavailable, ConfigError: as for `Connections.run`.
        """
        if await self.is_cluster():
            script, keys = guarded(script), (*keys, guard(keys[0]))
        command = (len(keys), *keys, *args)

        async def evaluate(call: _Call) -> Any:
            try:
                return await call("EVALSHA", script.sha, *command)
            except NoScriptError:
                return await call("EVAL", script.source, *command)

        return await self._attempt(evaluate)

    async def call(self, *command: Any) -> Any:
        """Send one command.

        Raises:
            BrokerUnavailable, ConfigError: as for `Connections.run`.
        """
        return await self._attempt(lambda call: call(*command))

    async def _attempt(self, command: Callable[[_Call], Awaitable[T]]) -> T:
        is_last = False
        while True:
            try:
                here = await self._here()
                async with here.places:
                    return await command(here.opened.call)
            except REDIS_ERRORS as exc:
                failure = understand(exc, str(self._connections.address), self._connections.address.password)
                # The second try follows at once: the connection may just be stale.
                if is_last or failure.timed_out or not failure.passes:
                    raise unavailable(exc, self._connections) from exc
                is_last = True

    # -- connections -------------------------------------------------------------------------------------------------

    async def _here(self) -> _OfLoop:
        """What this loop has opened; it opens it if it has not."""
        is_cluster = await self.is_cluster()
        key = self, asyncio.get_running_loop(), os.getpid()
        opened = _open.get(key)
        if opened is None:
            _forget_closed_loops()
            made = async_open(self._connections.address, self._connections.settings, is_cluster=is_cluster)
            opened = _open[key] = _OfLoop(key, made)
            await opened.begin()
        return opened

    def close(self) -> None:
        """Close what all loops of this process have opened. May be called in any thread, with or without a loop."""
        for key, opened in list(_open.items()):
            if key[0] is self and key[2] == os.getpid():
                opened.close()


class _OfLoop:
    """What one loop has opened.

    Args:
        key: where it stands in `_open`.
        opened: for the running loop.
    """

    def __init__(self, key: _Key, opened: AsyncOpened) -> None:
        self.opened = opened
        self.places = asyncio.Semaphore(_MOST)
        self.key = key
        self._loop = key[1]
        self._end = self._until_the_loop_ends()

    async def begin(self) -> None:
        """Have the loop close it when it ends."""
        await anext(self._end)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        # That generators which have begun are closed is the one thing by which a loop tells of its end.
        try:
            yield
        finally:
            if _open.get(self.key) is self:
                del _open[self.key]
            _leaving.pop(self, None)
            await self.opened.aclose()

    async def _leave(self) -> None:
        # In this order: when the loop ends meanwhile and cuts this off, its end does the rest.
        await self.opened.aclose()
        await self._end.aclose()

    def close(self) -> None:
        """Close it, from any thread."""
        if _open.pop(self.key, None) is None or self._loop.is_closed():
            return
        _leaving[self] = None
        if _running_here() is self._loop:
            _leaving[self] = self._loop.create_task(self._leave())
        elif self._loop.is_running():
            with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
                asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(_FAREWELL)
        else:
            leaving = self._leave()
            try:
                self._loop.run_until_complete(leaving)
            except RuntimeError:  # another thread is about to run it, or this one runs another loop
                leaving.close()


_Key = tuple[Loops, asyncio.AbstractEventLoop, int]
#: What is open, by whom, loop and process. Kept here until it is closed, whoever else has forgotten it; what was
#: inherited from a parent process is left alone for ever.
_open: Final[dict[_Key, _OfLoop]] = {}
#: What is being closed, and by which task of its loop, if by one.
_leaving: Final[dict[_OfLoop, asyncio.Task[None] | None]] = {}


def _forget_closed_loops() -> None:
    """What belongs to a loop that was closed without its generators can no longer be closed."""
    for key in list(_open):
        if key[1].is_closed():
            _open.pop(key, None)
    for opened in list(_leaving):
        if opened.key[1].is_closed():
            _leaving.pop(opened, None)


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
