"""A lock in this process: what the port means, on a dict."""

from __future__ import annotations

import datetime as dt
import itertools
import threading

from vecna.adapters.memory.agenda import Agenda
from vecna.domain.ids import check_id
from vecna.kit.rules import after
from vecna.ports.clock import Clock
from vecna.ports.lock import Grant, Lock


class Grants:
    """The store behind a `MemoryLock`: who holds what, until when."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: dict[str, Grant] = {}
        self.expiry: Agenda[str] = Agenda()
        self.fences = itertools.count(1)  # one row for all names: it grows for each of them

    def expire(self, now: dt.datetime) -> None:
        """Free what has run out; comes before everything else that is done."""
        for name in self.expiry.take_due(now):
            del self.held[name]


class MemoryLock(Lock):
    """Excludes the threads of this process from each other.

    Args:
        clock: time.
        store: shared by all locks that are given the same; one of its own when left out.
    """

    def __init__(self, clock: Clock, store: Grants | None = None) -> None:
        self._clock = clock
        self._store = Grants() if store is None else store

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> Grant | None:
        """See `vecna.ports.Lock`."""
        check_id(name, "lock name")
        check_id(owner, "lock owner")
        store = self._store
        with store.lock:
            now = self._clock.now()
            store.expire(now)
            grant = store.held.get(name)
            if grant is None:
                grant = store.held[name] = Grant(name, owner, next(store.fences))
            elif grant.owner != owner:
                return None
            store.expiry.put(name, after(now, ttl))
            return grant

    def renew(self, grant: Grant, ttl: dt.timedelta) -> bool:
        """See `vecna.ports.Lock`."""
        store = self._store
        with store.lock:
            now = self._clock.now()
            store.expire(now)
            if store.held.get(grant.name) != grant:
                return False
            store.expiry.put(grant.name, after(now, ttl))
            return True

    def release(self, grant: Grant) -> bool:
        """See `vecna.ports.Lock`."""
        store = self._store
        with store.lock:
            store.expire(self._clock.now())
            if store.held.get(grant.name) != grant:
                return False
            del store.held[grant.name]
            store.expiry.discard(grant.name)
            return True

    def close(self) -> None:
        """Nothing is open."""
