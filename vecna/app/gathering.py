"""Waiting for many ends at once, until all are there or the first has gone wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from vecna.app.waiting import News, Waiter, WaitingRoom
from vecna.domain.state import TaskState


class Gathering:
    """One call that waits for many tasks.

    Args:
        room: where to wait.
        finals: tasks whose ends make it complete, each with the queue that it was sent to, "" if unknown.
        others: further tasks whose going wrong ends it.
        wake: called once, in any thread.
        tolerant: go on until all of `finals` have ended, however.
    """

    def __init__(
        self,
        room: WaitingRoom,
        finals: Iterable[tuple[str, str]],
        others: Iterable[tuple[str, str]],
        wake: Callable[[], None],
        *,
        tolerant: bool = False,
    ) -> None:
        self._room = room
        self._wake = wake
        self._tolerant = tolerant
        self._lock = threading.Lock()
        self._over = False
        self._left_off = False
        self._waiters: list[Waiter] = []
        #: What was heard, by task id; nothing more after `leave`.
        self.heard: dict[str, News] = {}
        watched = dict(finals)
        self._left = set(watched)
        if not tolerant:
            watched.update(others)
        for uuid, queue in watched.items():
            self._waiters.append(room.enter(uuid, self._teller(uuid), queue=queue))

    def _teller(self, uuid: str) -> Callable[[News], None]:
        def tell(news: News) -> None:
            with self._lock:
                if self._left_off:  # whoever waited may be reading by now
                    return
                self.heard[uuid] = news
                self._left.discard(uuid)
                went_well = isinstance(news, TaskState) and news.is_success
                over = not self._left or not (went_well or self._tolerant)
                first, self._over = over and not self._over, over or self._over
            if first:
                self._wake()

        return tell

    def leave(self) -> None:
        """Stop waiting; nothing is kept. May be repeated."""
        with self._lock:
            self._left_off = True
        for waiter in self._waiters:
            self._room.leave(waiter)
