"""Connections to Redis: made on first use and per process, tried again for a bounded time, never shared over a fork."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import attrs
from redis import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.exceptions import NoScriptError
from redis.retry import Retry

from vecna.adapters.redis.address import RedisAddress
from vecna.adapters.redis.checks import check_server
from vecna.adapters.redis.errors import REDIS_ERRORS, understand
from vecna.adapters.redis.scripts import Script
from vecna.domain.errors import BrokerUnavailable
from vecna.ports.clock import Clock

T = TypeVar("T")
Client = Any  # redis-py's classes are generic over too much; what is used of them is here

#: What a call of a worker may take in all: it has a loop of its own that tries again.
IMPATIENT: Final = 2.0
_PAUSE: Final = (0.02, 1.0)  # the first pause between two tries, and the longest, seconds
_random: Final = random.Random()


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


@attrs.define
class _Opened:
    """What one process has opened."""

    pid: int
    client: Client
    cluster: bool
    options: dict[str, Any]


class Connections:
    """The connections of this process to one server, cluster, or group of Sentinels.

    Args:
        address: where.
        settings: pool and timeouts.
        clock: for pauses between tries. A virtual one does not pass by itself: then there is one quick second try only.
        patience: how long a call is tried again while the server is away, seconds.
    """

    def __init__(self, address: RedisAddress, settings: ClientSettings, clock: Clock, patience: float) -> None:
        self.address = address
        self.clock = clock
        self.patience = patience
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._evictable_told = False

    def __repr__(self) -> str:
        return f"<Connections {self.address}>"

    # -- calls -------------------------------------------------------------------------------------------------------

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any], *, patience: float | None = None) -> Any:
        """Run a script; it may run twice if the first reply is lost.

        Raises:
            BrokerUnavailable: it could not be run, or nobody knows whether it was.
            ConfigError: user, password or rights are wrong.
        """
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)

        def evaluate(client: Client) -> Any:
            try:
                return client.execute_command(*command)
            except NoScriptError:
                return client.execute_command("EVAL", script.source, *command[2:])

        return self.attempt(evaluate, patience=patience)

    def attempt(self, command: Callable[[Client], T], *, patience: float | None = None) -> T:
        """Give `command` a client, again and again while what it fails with may pass.

        Raises:
            BrokerUnavailable, ConfigError: as for `run`.
        """
        started = self.clock.monotonic()
        limit = self.patience if patience is None else min(patience, self.patience)
        tries = 0
        while True:
            try:
                return command(self.client())
            except REDIS_ERRORS as exc:
                if isinstance(exc, BrokerUnavailable):
                    raise
                failure = understand(exc, str(self.address), self.address.password)
                tries += 1
                if not failure.passes or not self._pause(tries, started + limit):
                    raise failure.error from exc

    def _pause(self, tries: int, end: float) -> bool:
        """Wait before the next try; False: there is none. The first follows at once: a connection may just be stale."""
        if tries == 1:
            return True
        left = end - self.clock.monotonic()
        if self.clock.virtual or left <= 0:
            return False
        first, longest = _PAUSE
        pause = min(longest, first * 2 ** (tries - 2)) * _random.uniform(0.5, 1.0)
        self.clock.wait(threading.Event(), min(pause, left))
        return True

    # -- connections -------------------------------------------------------------------------------------------------

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over nodes. Opens the connection if need be, as it may only be known then."""
        opened = self._opened
        if opened is None or opened.pid != os.getpid():
            opened = self.attempt(lambda _: self._opened)
        return opened is not None and opened.cluster

    def client(self) -> Client:
        """This process's client."""
        opened = self._opened
        if opened is not None and opened.pid == os.getpid():
            return opened.client
        with self._lock:
            if self._opened is None or self._opened.pid != os.getpid():
                self._opened = self._open()
            return self._opened.client

    def dedicated(self, key: str) -> AbstractConnection:
        """A connection of the caller's own to the server that has `key`, not yet connected, RESP2, without retries.

        Raises:
            BrokerUnavailable: nobody knows which server that is.
        """

        def find(client: Client) -> AbstractConnection:
            opened = self._opened
            if opened is not None and opened.cluster:
                node = client.get_node_from_key(key)
                return self._connection({**opened.options, "host": node.host, "port": node.port})
            if self.address.master_name:
                host, port = self._sentinel().discover_master(self.address.master_name)
                return self._connection({**self._options(), "host": host, "port": port})
            return self._connection(self._options())

        return self.attempt(find, patience=0)

    def refresh(self) -> None:
        """Look again at which node of a cluster has which keys."""
        opened = self._opened
        if opened is not None and opened.cluster:
            self.attempt(lambda client: client.nodes_manager.initialize(), patience=0)

    def close(self) -> None:
        """Close what this process has opened and nobody uses at the moment. A later call opens it again."""
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None and opened.pid == os.getpid():
                opened.client.close()

    # -- opening -----------------------------------------------------------------------------------------------------

    def _open(self) -> _Opened:
        address = self.address
        options = self._options()
        if address.is_cluster:
            return self._open_cluster(address.hosts, options)
        if address.master_name:
            sentinel = self._sentinel()
            client: Client = sentinel.master_for(address.master_name, **self._pool_options(options))
        else:
            client = Redis(connection_pool=self._pool(options), protocol=2)
            client.auto_close_connection_pool = True
        try:
            server = check_server(client, str(address), self._first_time())
        except BaseException:
            client.close()
            raise
        if server.is_cluster and not address.path and not address.master_name:
            client.close()
            return self._open_cluster(address.hosts, options)
        return _Opened(os.getpid(), client, False, options)

    def _open_cluster(self, hosts: Sequence[tuple[str, int]], options: dict[str, Any]) -> _Opened:
        options = {key: value for key, value in options.items() if key not in {"host", "port", "db", "retry"}}
        client: Client = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts],  # type: ignore[no-untyped-call]  # of redis-py
            retry=Retry(NoBackoff(), 3),  # for redirections; waiting is done here
            max_connections=self._settings.max_active or None,
            ssl=self.address.tls,
            **{key: value for key, value in options.items() if key != "connection_class"},
        )
        try:
            check_server(client, str(self.address), self._first_time())
        except BaseException:
            client.close()
            raise
        return _Opened(os.getpid(), client, True, options)

    def _first_time(self) -> bool:
        """Whether warnings are still to be given: once, not with each reconnection."""
        told, self._evictable_told = self._evictable_told, True
        return not told

    def _options(self) -> dict[str, Any]:
        """How to make one connection, for the classes of redis-py."""
        address, settings = self.address, self._settings
        options: dict[str, Any] = {
            "connection_class": Connection,
            "username": address.username or None,
            "password": address.password or None,
            "db": address.db,
            "socket_timeout": max(settings.read_timeout, settings.write_timeout),
            "socket_connect_timeout": settings.connect_timeout,
            "health_check_interval": 15,
            "retry": Retry(NoBackoff(), 0),  # trying again is done here, once, with a bound in time
            "protocol": 2,
        }
        if address.path:
            options.update(connection_class=UnixDomainSocketConnection, path=address.path)
            return options
        options.update(socket_keepalive=True)
        if not address.master_name:
            options.update(host=address.hosts[0][0], port=address.hosts[0][1])
        if address.tls:
            options.update(connection_class=SSLConnection, ssl_cert_reqs="required", ssl_check_hostname=True)
        return options

    def _connection(self, options: dict[str, Any]) -> AbstractConnection:
        options = {**options, "health_check_interval": 0, "retry": Retry(NoBackoff(), 0)}
        kind = options.pop("connection_class")
        made: AbstractConnection = kind(**options)
        return made

    def _pool_options(self, options: dict[str, Any]) -> dict[str, Any]:
        settings = self._settings
        pool: dict[str, Any] = {**options, "max_connections": settings.max_active or 2**31}
        if settings.wait and settings.max_active:
            pool["timeout"] = settings.connect_timeout
        return pool

    def _pool(self, options: dict[str, Any]) -> ConnectionPool:
        kind = BlockingConnectionPool if self._settings.wait and self._settings.max_active else ConnectionPool
        return kind(**self._pool_options(options))

    def _sentinel(self) -> Any:
        settings = self._settings
        return Sentinel(  # type: ignore[no-untyped-call]  # of redis-py
            list(self.address.hosts),
            socket_timeout=settings.read_timeout,
            socket_connect_timeout=settings.connect_timeout,
            ssl=self.address.tls,
            protocol=2,
        )


def unavailable(exc: Exception, connections: Connections) -> BrokerUnavailable:
    """What a lost connection of one's own is to callers."""
    if isinstance(exc, BrokerUnavailable):
        return exc
    error = understand(exc, str(connections.address), connections.address.password).error
    return error if isinstance(error, BrokerUnavailable) else BrokerUnavailable(str(error))
