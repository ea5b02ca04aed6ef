"""Making redis.asyncio's clients, with the options of those for threads."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs
from redis import asyncio as aioredis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError

from vecna.adapters.redis.address import RedisAddress
from vecna.adapters.redis.errors import REDIS_ERRORS
from vecna.adapters.redis.opening import ClientSettings, Packer, connection_options

_pack: Final = Packer().pack


@attrs.frozen
class AsyncOpened:
    """What one loop has opened.

    Attributes:
        call: sends one command and returns the answer.
        clients: what is to be closed.
    """

    call: Callable[..., Awaitable[Any]]
    clients: Sequence[Any]

    async def aclose(self) -> None:
        """Close all connections; on their loop."""
        for client in self.clients:
            with contextlib.suppress(*REDIS_ERRORS):
                await client.aclose()


class _Packing:
    """Writes commands as the connections of threads do: there is no option for it here."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """The bytes of one command."""
        return _pack(*args)


class _Kept:
    """Calls over connections that are kept at hand, as `vecna.adapters.redis.spares.Spares` does for threads.

    What the client does around a call costs more than the call. One that was closed by the server while it was idle is
    found out by the call that fails; the next call over it connects anew.
    """

    def __init__(self, pool: aioredis.ConnectionPool) -> None:
        self._pool = pool
        self._idle: list[Any] = []

    async def call(self, *command: Any) -> Any:
        """Send a command and return the answer to it.

        Raises:
            RedisError: as from redis.asyncio's client.
        """
        if self._idle:
            connection = self._idle.pop()
        else:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # of redis-py
        answered = False
        try:
            await connection.send_command(*command, check_health=False)
            answer = await connection.read_response()
            answered = True
        except ResponseError:
            answered = True  # the whole of it
            raise
        finally:
            if not answered:  # an answer may still come, which nobody waits for
                await connection.disconnect(nowait=True)
            self._idle.append(connection)
        return answer


class _Tcp(_Packing, aioredis.Connection):
    pass


class _Tls(_Packing, aioredis.SSLConnection):
    pass


class _Socket(_Packing, aioredis.UnixDomainSocketConnection):
    pass


_KINDS: Final[dict[type, type]] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Socket}


def async_open(address: RedisAddress, settings: ClientSettings, *, is_cluster: bool) -> AsyncOpened:
    """A client for the running loop; it connects when it is first used.

    Args:
        address: where.
        settings: timeouts.
        is_cluster: whether the hosts are nodes of a cluster.
    """
    options = connection_options(address, settings)
    del options["command_packer"]
    kind = _KINDS[options.pop("connection_class")]
    options["retry"] = Retry(NoBackoff(), 0)
    if is_cluster:
        for name in ("host", "port", "db"):
            options.pop(name, None)
        options["retry"] = Retry(NoBackoff(), 3)  # for redirections, which need no pause
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        cluster: Any = aioredis.RedisCluster(startup_nodes=nodes, ssl=address.tls, **options)
        return AsyncOpened(cluster.execute_command, [cluster])
    if address.master_name:
        sentinel = aioredis.Sentinel(  # type: ignore[no-untyped-call]  # of redis-py
            list(address.hosts),
            socket_timeout=settings.read_timeout,
            socket_connect_timeout=settings.connect_timeout,
            ssl=address.tls,
            protocol=2,
        )
        master = sentinel.master_for(address.master_name, ssl=kind is _Tls, **options)
        return AsyncOpened(_Kept(master.connection_pool).call, [master, *sentinel.sentinels])
    client = aioredis.Redis.from_pool(aioredis.ConnectionPool(connection_class=kind, **options))
    return AsyncOpened(_Kept(client.connection_pool).call, [client])
