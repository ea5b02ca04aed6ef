"""A lock on Redis: one string for the holder, and a counter of fences that is kept."""

from __future__ import annotations

import datetime as dt

from vecna.adapters.redis import keys, scripts, wire
from vecna.adapters.redis.connections import Connections
from vecna.domain.ids import check_id
from vecna.ports.lock import Grant, Lock


class RedisLock(Lock):
    """Excludes processes from each other, as far as the server keeps what it has acknowledged.

    Args:
        connections: to the server or cluster.
        namespace: what the names of all keys begin with.
    """

    def __init__(self, connections: Connections, namespace: str = "vecna") -> None:
        self._connections = connections
        self._namespace = namespace

    def _collect(self) -> str:
        """Whether the server may drop what has expired by its own clock."""
        return "0" if self._connections.clock.virtual else "1"

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> Grant | None:
        """See `vecna.ports.Lock`."""
        check_id(name, "lock name")
        check_id(owner, "lock owner")
        now = wire.now_argument(self._connections.clock)
        args = (now, owner, max(0, wire.milliseconds(ttl)), self._collect())
        fence = self._connections.run(scripts.LOCK_ACQUIRE, keys.lock(self._namespace, name), args)
        return Grant(name, owner, fence) if fence else None

    def renew(self, grant: Grant, ttl: dt.timedelta) -> bool:
        """See `vecna.ports.Lock`."""
        return self._change(grant, max(0, wire.milliseconds(ttl)))

    def release(self, grant: Grant) -> bool:
        """See `vecna.ports.Lock`."""
        return self._change(grant, -1)

    def _change(self, grant: Grant, ttl: int) -> bool:
        check_id(grant.name, "lock name")
        check_id(grant.owner, "lock owner")
        holder, _ = keys.lock(self._namespace, grant.name)
        args = (wire.now_argument(self._connections.clock), grant.owner, grant.fence, ttl, self._collect())
        return bool(self._connections.run(scripts.LOCK_RENEW, (holder,), args))

    def close(self) -> None:
        """See `vecna.ports.Lock`."""
        self._connections.close()
