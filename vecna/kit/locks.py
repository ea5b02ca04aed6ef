"""A lock on a store of documents."""

from __future__ import annotations

import datetime as dt

from vecna.kit.checks import checked
from vecna.kit.documents import DocumentStore
from vecna.kit.rules import after, microseconds
from vecna.ports.clock import Clock
from vecna.ports.lock import Grant, Lock


@checked
class DocumentLock(Lock):
    """One document a name. It stays when the lock is free, with the fence of the last grant.

    Args:
        store: where it is kept.
        clock: time.
    """

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> Grant | None:
        """See `vecna.ports.Lock`."""
        now = self._clock.now()
        with self._store.step() as documents:
            last = documents.get("lock", name)
            holder, fence = last.value.decode().split(" ") if last is not None else ("", "0")
            is_held = last is not None and (last.at or 0) > microseconds(now)
            if is_held and holder != owner:
                return None
            grant = Grant(name, owner, int(fence) + (not is_held))
            documents.put("lock", name, f"{owner} {grant.fence}".encode(), microseconds(after(now, ttl)))
            return grant

    def renew(self, grant: Grant, ttl: dt.timedelta) -> bool:
        """See `vecna.ports.Lock`."""
        now = self._clock.now()
        mine = f"{grant.owner} {grant.fence}".encode()
        with self._store.step() as documents:
            held = documents.get("lock", grant.name)
            if held is None or held.value != mine or (held.at or 0) <= microseconds(now):
                return False
            documents.put("lock", grant.name, mine, microseconds(after(now, ttl)))
            return True

    def release(self, grant: Grant) -> bool:
        """See `vecna.ports.Lock`."""
        return self.renew(grant, dt.timedelta(0))

    def close(self) -> None:
        """See `vecna.ports.Lock`."""
        self._store.close()
