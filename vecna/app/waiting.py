"""Waiting for the ends of tasks: one thread and one listener for all who wait in this process."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from vecna import log
from vecna.app.lookup import Lookup
from vecna.domain.errors import BrokerUnavailable, ResultTimeout, VecnaError
from vecna.domain.state import TaskState
from vecna.ports.backend import Listener
from vecna.ports.clock import Clock

#: A notification may get lost: each awaited state is read again after so many seconds, then less often.
_FIRST_REREAD: Final = 1.0
_LAST_REREAD: Final = 5.0
_REREAD_GROWTH: Final = 1.5
_FIRST_BACKOFF: Final = 0.1
_CROWD: Final = 3
_MOMENT: Final = 0.001
_LAST_BACKOFF: Final = 3.0

#: What a waiter is told: the final state; None if nobody knows the id (any more); or why the waiting is over.
News = TaskState | VecnaError | None


@attrs.define(eq=False)
class Waiter:
    """One call that waits.

    Attributes:
        uuid: for the end of which task.
        tell: called once with the news, in the room's thread.
    """

    uuid: str
    tell: Callable[[News], None]


@attrs.define(eq=False)
class _Awaited:
    """One id that is waited for."""

    uuid: str
    queue: str
    sure: bool  # it was sent from here: no need to ask at once whether anybody knows it
    waiters: set[Waiter] = attrs.field(factory=set)
    interval: float = _FIRST_REREAD
    due: float = 0.0


class WaitingRoom:
    """All who wait in this process, and the thread that wakes them. It starts with the first and ends with `close`.

    Args:
        lookup: reads states.
        clock: a real clock; with a virtual one there is nothing to wait for.
        patience: for how many seconds the store may be out of reach before all who wait are told.
    """

    def __init__(self, lookup: Lookup, clock: Clock, patience: Callable[[], float]) -> None:
        self._lookup = lookup
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._awaited: dict[str, _Awaited] = {}
        self._new: dict[str, _Awaited] = {}
        self._gone: set[str] = set()
        self._agenda: list[tuple[float, int, _Awaited]] = []
        self._numbers = itertools.count()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None
        self._lost_since: float | None = None
        self._calling_since: float | None = None
        self._crowding = 0  # rounds in a row that brought newcomers and no news
        self._backoff = _FIRST_BACKOFF

    @property
    def patience(self) -> float:
        """For how many seconds the store may be out of reach before all who wait are told."""
        return self._patience()

    def enter(self, uuid: str, tell: Callable[[News], None], *, queue: str = "", sure: bool = False) -> Waiter:
        """Wait for the end of a task.

        Args:
            uuid: its id.
            tell: called once, in the room's thread, at once if it has ended already.
            queue: where its message was sent to, if known.
            sure: it was sent from here, so that it need not be asked for at once.

        Raises:
            ResultTimeout: the room is closed. RuntimeError: the system gives no thread; who comes later may get one.
        """
        waiter = Waiter(uuid, tell)
        with self._lock:
            if self._closing.is_set():
                raise _closed(uuid)
            if self._thread is None:
                self._open()
            awaited = self._awaited.get(uuid)
            if awaited is None:
                awaited = self._awaited[uuid] = _Awaited(uuid, queue, sure)
            awaited.waiters.add(waiter)
            # Read (again) for whoever comes: the end may have been recorded before this one came.
            self._new[uuid] = awaited
            self._ring()
        return waiter

    def _open(self) -> None:
        """Start the thread. With the lock held, and before anybody is let in: what fails here must leave nothing."""
        listener = self._lookup.backend.listen()
        thread = threading.Thread(target=self._serve, args=(listener,), name="vecna-results", daemon=True)
        try:
            thread.start()
        except BaseException:
            listener.close()
            raise
        self._listener, self._thread = listener, thread

    def leave(self, waiter: Waiter) -> None:
        """Stop waiting; nothing of the waiter is kept. May be repeated, also after it was told."""
        with self._lock:
            awaited = self._awaited.get(waiter.uuid)
            if awaited is None or waiter not in awaited.waiters:
                return
            awaited.waiters.remove(waiter)
            if not awaited.waiters:
                self._drop(awaited)
                self._ring()

    def close(self) -> None:
        """End the thread; all who wait are told so. May be repeated."""
        with self._lock:
            self._closing.set()
            self._news.set()
            listener, thread = self._listener, self._thread
        if listener is not None:
            listener.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10)
        with self._lock:
            left = list(self._awaited.values())
        for awaited in left:
            self._tell(awaited, _closed(awaited.uuid))

    # -- the thread ------------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        """Have the thread look at what is new. With the lock held; ten thousand newcomers ring once."""
        if not self._news.is_set():
            self._news.set()
            if self._listener is not None:
                self._listener.wake()

    def _serve(self, listener: Listener) -> None:
        heard: Iterable[str] = ()
        while not self._closing.is_set():
            try:
                heard = self._round(listener, heard)
            except BrokerUnavailable as exc:
                heard = ()
                self._outage(exc)
            except Exception as exc:  # noqa: BLE001  # an adapter's fault must not leave all who wait without an answer
                heard = ()
                log.error(f"waiting for results: {exc!r}", exc_info=exc)
                self._outage(BrokerUnavailable(f"waiting for results failed: {exc!r}"))
        with contextlib.suppress(VecnaError):
            listener.close()

    def _round(self, listener: Listener, heard: Iterable[str]) -> Iterable[str]:
        if self._crowding >= _CROWD:
            # Thousands come one after the other: a moment's patience makes one read of what would be as many.
            self._clock.wait(self._closing, _MOMENT)
        self._calling_since = self._clock.monotonic()
        with self._lock:
            if self._closing.is_set():
                return ()  # what rang was the end: it must not be cleared away
            self._news.clear()
            new, self._new = self._new, {}
            ended = [self._awaited[uuid] for uuid in heard if uuid in self._awaited]
        self._crowding = self._crowding + 1 if new and not ended else 0
        if new:
            listener.watch(list(new))
        self._read([*new.values(), *self._due()], ended)
        with self._lock:
            gone, self._gone = self._gone - self._awaited.keys(), set()
        if gone:
            try:
                listener.unwatch(list(gone))
            except BaseException:
                with self._lock:
                    self._gone |= gone  # the next round tries again
                raise
        timeout, self._calling_since = self._until_due(), None
        if timeout is None:
            self._back()
            self._clock.wait(self._news)
            return ()
        heard = listener.poll(timeout)
        self._back()
        return heard

    def _back(self) -> None:
        if self._lost_since is not None:
            self._lost_since = None
            log.info("the result backend is back; waiting for results goes on")

    def _read(self, due: list[_Awaited], heard: list[_Awaited]) -> None:
        """Read states in one call, and tell whom it concerns."""
        entries = {awaited.uuid: awaited for awaited in (*due, *heard)}
        if not entries:
            return
        uuids = list(entries)
        states = dict(zip(uuids, self._lookup.backend.get_states(uuids), strict=True))
        # Heard of an end, and nothing there: nothing was kept. Nothing there for a while: does anybody know it?
        doubtful = {awaited.uuid for awaited in heard} | {awaited.uuid for awaited in due if not awaited.sure}
        open_ = {uuid: None for uuid, state in states.items() if state is None and uuid in doubtful}
        if open_:
            queues = {uuid: entries[uuid].queue for uuid in open_}
            states.update(zip(open_, self._lookup.complete(dict(open_), queues), strict=True))
        now = self._clock.monotonic()
        for uuid, awaited in entries.items():
            state = states[uuid]
            if (state is None and uuid in doubtful) or (state is not None and state.is_completed):
                self._tell(awaited, state)
            else:
                self._later(awaited, now)

    def _later(self, awaited: _Awaited, now: float) -> None:
        awaited.sure = False
        awaited.due = now + awaited.interval
        awaited.interval = min(awaited.interval * _REREAD_GROWTH, _LAST_REREAD)
        heapq.heappush(self._agenda, (awaited.due, next(self._numbers), awaited))

    def _due(self) -> list[_Awaited]:
        now = self._clock.monotonic()
        due = []
        while self._agenda and self._agenda[0][0] <= now:
            when, _, awaited = heapq.heappop(self._agenda)
            if awaited.waiters and awaited.due == when:
                due.append(awaited)
        return due

    def _until_due(self) -> float | None:
        """Seconds until the next read; None if nobody waits."""
        while self._agenda and not self._agenda[0][2].waiters:
            heapq.heappop(self._agenda)
        if not self._agenda:
            return None
        return max(0.0, self._agenda[0][0] - self._clock.monotonic())

    def _outage(self, exc: BrokerUnavailable) -> None:
        now = self._clock.monotonic()
        if self._lost_since is None:
            # A call that fails may have tried for long.
            self._lost_since = now if self._calling_since is None else self._calling_since
            self._backoff = _FIRST_BACKOFF
            log.warning(f"the result backend cannot be reached, waiting for results stands still: {exc}")
        if now - self._lost_since >= self._patience():
            with self._lock:
                left = list(self._awaited.values())
            for awaited in left:
                self._tell(awaited, exc)
        self._clock.wait(self._closing, self._backoff)
        self._backoff = min(self._backoff * 2, _LAST_BACKOFF)
        with self._lock:
            # A new connection may know nothing of what the old one listened for.
            self._new.update(self._awaited)

    def _tell(self, awaited: _Awaited, news: News) -> None:
        with self._lock:
            waiters, awaited.waiters = awaited.waiters, set()
            self._drop(awaited)
        for waiter in waiters:
            try:
                waiter.tell(news)
            except Exception as exc:  # noqa: BLE001  # e.g. its event loop was closed
                log.debug(f"nobody takes the result of {awaited.uuid} any more: {exc!r}")

    def _drop(self, awaited: _Awaited) -> None:
        if self._awaited.get(awaited.uuid) is awaited:
            del self._awaited[awaited.uuid]
            self._new.pop(awaited.uuid, None)
            self._gone.add(awaited.uuid)


def _closed(uuid: str) -> ResultTimeout:
    return ResultTimeout(f"the waiting for task {uuid} was ended: its server was closed")
