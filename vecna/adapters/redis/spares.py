"""Connections that are kept at hand between calls."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from redis import ConnectionPool
from redis.exceptions import RedisError, ResponseError

#: How many are kept at most; what more threads need at a time comes from the pool.
_MOST: Final = 4


class Spares:
    """Calls over connections of a pool, without what the client does around each call: that costs as much again.

    One that was closed by the server while it was idle is found out by the call that fails; the next goes over a new
    one. May be used from any thread.

    Args:
        pool: where connections come from.
        limit: how many the pool has in all, 0 for any number: half are left to others.
    """

    def __init__(self, pool: ConnectionPool, limit: int) -> None:
        self._pool = pool
        self._most = min(_MOST, limit // 2) if limit else _MOST
        self._idle: deque[Any] = deque()

    def call(self, *command: Any) -> Any:
        """Send a command and return the answer to it.

        Raises:
            RedisError: as from redis-py's client.
        """
        try:
            connection: Any = self._idle.pop()
        except IndexError:
            connection = self._pool.get_connection()
        answered = False
        try:
            connection.send_command(*command)
            answer = connection.read_response()
            answered = True
        except ResponseError:
            answered = True  # the whole of it: the connection is as good as before
            raise
        finally:
            if not answered:
                connection.disconnect()
                self._release_all()
                self._pool.release(connection)
            else:
                self._keep(connection)
        return answer

    def _keep(self, connection: Any) -> None:
        """Keep it at hand, and give back what is then too many: counted before, several threads would all find room."""
        self._idle.append(connection)
        while len(self._idle) > self._most:
            try:
                surplus = self._idle.popleft()
            except IndexError:
                return
            self._pool.release(surplus)

    def _release_all(self) -> None:
        """What is wrong with one may be wrong with all: the pool looks at each before it gives it out again."""
        try:
            while True:
                self._pool.release(self._idle.pop())
        except (IndexError, RedisError):
            return
