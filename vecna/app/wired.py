"""What a server is wired with: opened in each process when first needed, and closed."""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from vecna.app.config import Config
from vecna.app.lanes import Lanes
from vecna.app.lookup import Lookup
from vecna.app.twins import Pool, Twinned, blocking
from vecna.app.waiting import WaitingRoom
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock
from vecna.ports.lock import Lock
from vecna.ports.values import Adapters


class Opened:
    """What a server has opened in this process."""

    def __init__(self, adapters: Adapters, config: Config, threads: int | None = None) -> None:
        self.adapters = adapters
        self.lookup = Lookup(adapters.backend, adapters.broker)
        self.pool = Pool() if threads is None else Pool(threads)
        self.lanes = Lanes(adapters.broker, self.pool)
        self.waiting_room = WaitingRoom(self.lookup, adapters.clock, lambda: config.send_timeout)
        self.closing = threading.Event()

    def close(self) -> None:
        """Close connections and end threads."""
        self.closing.set()
        self.waiting_room.close()
        self.pool.close()
        self.adapters.broker.close()
        self.adapters.backend.close()
        self.adapters.lock.close()


class Wired(Twinned):
    """Settings and ports.

    Args:
        config: settings.
        connect: makes the ports; called once in each process, when they are first needed.
    """

    def __init__(self, config: Config, connect: Callable[[], Adapters]) -> None:
        self._config = config
        self._connect = connect
        self._random = random.Random()
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._threads: int | None = None
        _wired_here.add(self)

    # -- what it is wired with -------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """Its settings."""
        return self._config

    @property
    def broker(self) -> Broker:
        """Where messages are kept."""
        return self._here().adapters.broker

    @property
    def backend(self) -> Backend:
        """Where states and results are kept."""
        return self._here().adapters.backend

    @property
    def lock(self) -> Lock:
        """Mutual exclusion between processes."""
        return self._here().adapters.lock

    @property
    def clock(self) -> Clock:
        """Where all time comes from."""
        return self._here().adapters.clock

    @property
    def random(self) -> random.Random:
        """Where chance comes from, for jitter; never for ids."""
        return self._random

    @property
    def lookup(self) -> Lookup:
        """Reads states from broker and backend together."""
        return self._here().lookup

    @property
    def waiting_room(self) -> WaitingRoom:
        """Where this process waits for results."""
        return self._here().waiting_room

    @property
    def pool(self) -> Pool:
        """Threads that make the calls of the `_async` twins."""
        return self._here().pool

    @property
    def _pool(self) -> Pool:
        return self.pool

    # -- opening and closing ---------------------------------------------------------------------------------------

    @blocking
    def close(self) -> None:
        """Close the connections and end the threads of this process. Who waits for a result gets `ResultTimeout`.

        May be repeated. A later call opens again; what `memory://` holds is kept as long as the server itself.
        """
        with self._lock:
            opened = self._opened
            if opened is not None:
                self._opened = Opened(opened.adapters, self._config, self._threads)
        if opened is not None:
            opened.close()

    async def close_async(self) -> None:
        """As `close`, without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close_async()

    # -- for a while on other ports --------------------------------------------------------------------------------

    def rewire(self, adapters: Adapters, *, seed: int, threads: int) -> Callable[[], None]:
        """Put other ports under it: everything goes through these, until what is returned is called.

        Args:
            adapters: the ports.
            seed: of its chance meanwhile.
            threads: how many make the calls of the `_async` twins; with one they are made in the order of their begin.

        Returns:
            Puts back what was there before, as it was. May be called once.
        """
        chance = self._random.getstate()
        with self._lock:
            before = self._connect, self._opened, self._threads
            self._connect, self._opened, self._threads = lambda: adapters, None, threads
        self._random.seed(seed)

        def restore() -> None:
            with self._lock:
                opened = self._opened
                self._connect, self._opened, self._threads = before
            self._random.setstate(chance)
            if opened is not None:
                opened.close()

        return restore

    # -- inside ---------------------------------------------------------------------------------------------------

    def _here(self) -> Opened:
        """What is opened in this process, now at the latest."""
        opened = self._opened
        if opened is None:
            with self._lock:
                opened = self._opened
                if opened is None:
                    opened = self._opened = Opened(self._connect(), self._config, self._threads)
        return opened

    def _forked(self) -> None:
        """Begin anew in a child: connections, threads and locks held are the parent's."""
        self._lock = threading.Lock()
        self._opened = None


def _after_fork() -> None:
    for wired in list(_wired_here):
        wired._forked()  # noqa: SLF001  # this module's


_wired_here: Final[weakref.WeakSet[Wired]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
