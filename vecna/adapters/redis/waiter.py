"""Waiting for work: a blocking pop of the queues' wake markers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from vecna.adapters.redis.connections import Connections, unavailable
from vecna.adapters.redis.errors import REDIS_ERRORS
from vecna.adapters.redis.line import Bell, Line, wait_for
from vecna.domain.ids import check_id
from vecna.ports.broker import Waiter
from vecna.ports.leaving import Leaving

#: The longest that the server is asked to hold a pop back, seconds.
LONGEST: Final = 5.0
#: How much later than asked the server may answer before the connection counts as lost, seconds.
_GRACE: Final = 3.0


@attrs.define(eq=False)
class _Pop:
    """A pop that is under way on one connection."""

    line: Line
    answer_by: float = 0.0  # by the clock's monotonic reading; 0: none is under way


class RedisWaiter(Waiter, Leaving):
    """Waits at the wake markers of its queues, on one connection; in a cluster on one for each queue.

    A pop that is still under way when `wait` returns goes on, and its answer ends the next wait: the server ends it at
    about the same time anyway. `wake` and `leave` end it, so that a process that is no longer waiting takes no marker.
    On one connection there is seldom one; in a cluster, whenever one of several queues had work.

    Args:
        connections: to the server or cluster.
        key: the name of a queue's wake marker.
    """

    def __init__(self, connections: Connections, key: Callable[[str], str]) -> None:
        self._connections = connections
        self._key = key
        self._bell = Bell()
        self._waiting = threading.Lock()
        self._pops: dict[tuple[str, ...], _Pop] = {}  # by their keys
        self._closed = False

    def wait(self, queues: Sequence[str], timeout: float) -> None:
        """See `vecna.ports.Waiter`. Under a virtual clock it returns at once."""
        for queue in queues:
            check_id(queue, "queue name")
        with self._waiting:
            if self._closed or self._connections.clock.virtual:
                return
            try:
                self._wait(tuple(sorted(map(self._key, queues))), timeout)
            except REDIS_ERRORS as exc:
                self._hang_up()
                self._connections.look_again()
                raise unavailable(exc, self._connections) from exc
            except BaseException:
                self._hang_up()
                raise

    def _wait(self, markers: tuple[str, ...], timeout: float) -> None:
        self._connections.attempt(lambda _: None, patience=0)  # whoever closes this waits for it
        groups = [(marker,) for marker in markers] if self._connections.is_cluster else [markers]
        self._hang_up_orderly(self._pops.keys() - groups)
        for group in groups:
            if group not in self._pops:
                self._pops[group] = _Pop(Line(self._connections.dedicated(group[0])))
        now = self._connections.clock.monotonic
        end = now() + max(timeout, 0.0)
        while True:
            self._ask(now(), end)
            left = min([end, *[pop.answer_by for pop in self._pops.values()]]) - now()
            ready = wait_for([pop.line for pop in self._pops.values()], self._bell, left)
            if self._bell.silence():
                self._hang_up_orderly(list(self._pops))
                return
            if self._answers(ready) or now() >= end:
                return
            if any(0.0 < pop.answer_by <= now() for pop in self._pops.values()):
                raise ConnectionError("the connection has gone silent")

    def _ask(self, now: float, end: float) -> None:
        for group, pop in self._pops.items():
            if not pop.answer_by:
                hold = max(min(end - now, LONGEST), 0.01)
                pop.line.send("BLPOP", *group, f"{hold:.3f}")
                pop.answer_by = now + hold + _GRACE

    def _answers(self, ready: Sequence[Line]) -> bool:
        """Read what has come; whether a marker was among it."""
        found = False
        for pop in self._pops.values():
            if pop.line in ready:
                found = pop.line.read() is not None or found
                pop.answer_by = 0.0
        return found

    def _hang_up_orderly(self, groups: Iterable[tuple[str, ...]]) -> bool:
        """Let a marker that is pushed from now on go to somebody who waits. Whether one may have come before."""
        given = [self._pops.pop(group).line.leave() for group in groups]
        return any(given)

    def _hang_up(self) -> None:
        while self._pops:
            self._pops.popitem()[1].line.close()

    def wake(self) -> None:
        """See `vecna.ports.Waiter`."""
        self._bell.ring()

    def lingers(self) -> bool:
        """See `vecna.ports.Leaving`."""
        return any(pop.answer_by for pop in list(self._pops.values()))

    def leave(self) -> bool:
        """See `vecna.ports.Leaving`. Connections over which nothing is asked for are kept."""
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            return self._hang_up_orderly([group for group, pop in self._pops.items() if pop.answer_by])
        finally:
            self._waiting.release()

    def close(self) -> None:
        """See `vecna.ports.Waiter`; a wait after it returns at once."""
        self._closed = True
        self._bell.ring()
        with self._waiting:
            self._hang_up_orderly(list(self._pops))
            self._bell.close()
