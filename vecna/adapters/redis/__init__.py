"""All ports on Redis 7.0 or newer and Valkey: one server, Sentinels, or a cluster."""

from __future__ import annotations

from typing import Protocol

from vecna.adapters.redis.address import RedisAddress, parse_url
from vecna.adapters.redis.backend import RedisBackend
from vecna.adapters.redis.broker import RedisBroker
from vecna.adapters.redis.connections import Connections
from vecna.adapters.redis.lock import RedisLock
from vecna.adapters.redis.opening import ClientSettings
from vecna.ports.clock import Clock
from vecna.ports.values import Adapters

__all__ = ["RedisAddress", "RedisBackend", "RedisBroker", "RedisLock", "connect", "parse_url"]


class Settings(Protocol):
    """What of the configuration matters here."""

    @property
    def namespace(self) -> str:
        """What the names of all keys begin with."""

    @property
    def dead_letter_limit(self) -> int:
        """How many dead letters a queue keeps."""

    @property
    def send_timeout(self) -> float:
        """How long a call is tried again while the server is away, seconds."""

    @property
    def redis(self) -> ClientSettings:
        """Pool and timeouts."""


def connect(url: str, settings: Settings, clock: Clock) -> Adapters:
    """The ports for one URL. Nothing is opened before it is used, and by each process for itself.

    Args:
        url: see `parse_url`.
        settings: of the configuration.
        clock: time; with a virtual one the server's own time and expiry, blocking and notifications are not used.

    Raises:
        ConfigError: the URL cannot be used.
    """
    address = parse_url(url, settings.redis.master_name)
    connections = Connections(address, settings.redis, clock, settings.send_timeout, settings.namespace)
    return Adapters(
        broker=RedisBroker(connections, settings.namespace, dead_letter_limit=settings.dead_letter_limit),
        backend=RedisBackend(connections, settings.namespace),
        lock=RedisLock(connections, settings.namespace),
        clock=clock,
    )
