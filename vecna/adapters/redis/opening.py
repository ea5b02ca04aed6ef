"""Making redis-py's clients and connections: for one server, for a cluster, and through Sentinels."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import attrs
import hiredis
from redis import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.exceptions import DataError
from redis.retry import Retry

from vecna.adapters.redis.address import RedisAddress
from vecna.adapters.redis.checks import Server, check_rights, check_server
from vecna.adapters.redis.spares import Spares

Client = Any  # redis-py's classes are generic over too much; what is used of them is here

#: An idle connection is tested before it is used again after so many seconds.
_HEALTH: Final = 15


class ClientSettings(Protocol):
    """What of the settings for Redis matters here; timeouts in seconds."""

    @property
    def max_active(self) -> int:
        """How many connections at most; 0: no limit."""

    @property
    def wait(self) -> bool:
        """Whether to wait for one when all are in use."""

    @property
    def read_timeout(self) -> float:
        """How long to wait for a reply."""

    @property
    def write_timeout(self) -> float:
        """How long to wait for a command to be sent."""

    @property
    def connect_timeout(self) -> float:
        """How long to wait for a connection."""

    @property
    def master_name(self) -> str:
        """What Sentinels call the master."""


@attrs.frozen
class Opened:
    """What one process has opened.

    Attributes:
        pid: the process.
        client: its client.
        is_cluster: whether keys are spread over nodes.
        call: sends one command and returns the answer.
    """

    pid: int
    client: Client
    is_cluster: bool
    call: Callable[..., Any]


class Opener:
    """Opens what an address names. RESP2, explicit timeouts, and no tries of redis-py's own: they are made here once.

    Args:
        address: where.
        settings: pool and timeouts.
        namespace: what the names of all keys begin with.
    """

    def __init__(self, address: RedisAddress, settings: ClientSettings, namespace: str) -> None:
        self._address = address
        self._settings = settings
        self._namespace = namespace

    def open(self, warn: bool) -> Opened:
        """Connect, and check what is there.

        Args:
            warn: whether to warn of a server that may throw keys away.

        Raises:
            ConfigError: the server is too old.
            BrokerUnavailable: the user has too few rights.
        """
        address = self._address
        if address.is_cluster:
            return self._open_cluster(address.hosts, warn)
        client = self._through_sentinels() if address.master_name else self._direct()
        server = self._checked(client, warn)
        if server.is_cluster and address.hosts and not address.master_name:
            # One host may stand for a cluster: it has told who the others are.
            client.close()
            return self._open_cluster(address.hosts, warn=False)
        opened = Opened(
            os.getpid(), client, is_cluster=False, call=Spares(client.connection_pool, self._settings.max_active).call
        )
        return self._allowed(opened)

    def dedicated(self, opened: Opened, key: str) -> AbstractConnection:
        """A connection of the caller's own to the server that has `key`, not yet connected, without checks."""
        options = connection_options(self._address, self._settings)
        kind = options.pop("connection_class")
        if opened.is_cluster:
            node = opened.client.get_node_from_key(key)
            options.update(host=node.host, port=node.port)
        elif self._address.master_name:
            host, port = self._sentinel().discover_master(self._address.master_name)
            options.update(host=host, port=port)
        options["health_check_interval"] = 0
        made: AbstractConnection = kind(**options)
        return made

    def _direct(self) -> Client:
        limit, options = self._settings.max_active, connection_options(self._address, self._settings)
        if self._settings.wait and limit:
            waiting = self._settings.connect_timeout
            pool = BlockingConnectionPool(max_connections=limit, timeout=waiting, **options)  # type: ignore[no-untyped-call]
            return Redis.from_pool(pool)
        return Redis.from_pool(ConnectionPool(max_connections=limit or None, **options))

    def _through_sentinels(self) -> Client:
        options = connection_options(self._address, self._settings)
        kind = options.pop("connection_class")
        if self._settings.max_active:
            options["max_connections"] = self._settings.max_active
        return self._sentinel().master_for(self._address.master_name, ssl=kind is SSLConnection, **options)

    def _open_cluster(self, hosts: Sequence[tuple[str, int]], warn: bool) -> Opened:
        options = connection_options(self._address, self._settings)
        for name in ("connection_class", "host", "port", "db", "retry"):
            options.pop(name, None)
        if self._settings.max_active:
            options["max_connections"] = self._settings.max_active
        client: Client = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts],  # type: ignore[no-untyped-call]
            retry=Retry(NoBackoff(), 3),  # for redirections, which need no pause
            ssl=self._address.tls,
            **options,
        )
        self._checked(client, warn)
        return self._allowed(Opened(os.getpid(), client, is_cluster=True, call=client.execute_command))

    def _checked(self, client: Client, warn: bool) -> Server:
        try:
            return check_server(client, str(self._address), warn)
        except BaseException:
            client.close()
            raise

    def _allowed(self, opened: Opened) -> Opened:
        try:
            check_rights(opened.client, str(self._address), self._namespace)
        except BaseException:
            opened.client.close()
            raise
        return opened

    def _sentinel(self) -> Any:
        return Sentinel(  # type: ignore[no-untyped-call]
            list(self._address.hosts),
            socket_timeout=self._settings.read_timeout,
            socket_connect_timeout=self._settings.connect_timeout,
            ssl=self._address.tls,
            protocol=2,
        )


def connection_options(address: RedisAddress, settings: ClientSettings) -> dict[str, Any]:
    """How to make one connection, for the classes of redis-py."""
    options: dict[str, Any] = {
        "connection_class": Connection,
        "username": address.username or None,
        "password": address.password or None,
        "db": address.db,
        "socket_timeout": settings.read_timeout,
        "socket_connect_timeout": settings.connect_timeout,
        "health_check_interval": _HEALTH,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "command_packer": Packer(),
    }
    if address.path:
        return {**options, "connection_class": UnixDomainSocketConnection, "path": address.path}
    options.update(socket_keepalive=True, socket_keepalive_options=_keepalive(settings.write_timeout))
    if not address.master_name:
        options["host"], options["port"] = address.hosts[0]
    if address.tls:
        options.update(connection_class=SSLConnection, ssl_cert_reqs="required", ssl_check_hostname=True)
    return options


class Packer:
    """Writes commands as redis-py does, without its look at each argument: scripts are given hundreds."""

    def pack(self, *args: Any) -> list[bytes]:
        """The bytes of one command, whose arguments are str, bytes and numbers; the first may be of two words."""
        first = args[0].encode() if isinstance(args[0], str) else args[0]
        if b" " in first:
            args = (*first.split(), *args[1:])
        try:
            return [hiredis.pack_command(args)]
        except TypeError as exc:
            raise DataError(str(exc)) from None


def _keepalive(write_timeout: float) -> dict[int, int]:
    """What the system is told of a connection: when to ask whether the peer is there, when to give up what was sent.

    redis-py has one timeout for both directions, which is the one for reading.
    """
    wanted = {
        "TCP_KEEPIDLE": 30,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": math.ceil(write_timeout * 1000),
    }
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
