"""What a server must be able to do, looked at when it is first connected to."""

from __future__ import annotations

from typing import Any, Final

import attrs
from redis.exceptions import NoPermissionError

from vecna import log
from vecna.adapters.redis import keys, scripts
from vecna.domain.errors import BrokerUnavailable, ConfigError

_LEAST: Final = (7, 0)


@attrs.frozen
class Server:
    """What a server says of itself. What it refuses to tell counts as usual."""

    version: str = ""
    is_cluster: bool = False
    eviction: str = "noeviction"


def check_server(client: Any, where: str, warn: bool) -> Server:
    """Refuse a server that is too old; warn of one that may throw keys away.

    Args:
        client: a client of redis-py.
        where: the server, as shown to users.
        warn: whether to.

    Raises:
        ConfigError: it is older than Redis 7.0.
    """
    server = _ask(client)
    number = tuple([int(part) for part in server.version.split(".")[:2] if part.isdecimal()])
    if number and number < _LEAST:
        raise ConfigError(f"Redis at {where} is version {server.version}: vecna needs Redis 7.0 or newer, or Valkey")
    if warn and server.eviction != "noeviction":
        log.warning(
            f"Redis at {where} has maxmemory-policy {server.eviction} and may throw tasks and results away when it is"
            " full: set maxmemory-policy noeviction",
            address=where,
        )
    return server


def check_rights(client: Any, where: str, namespace: str) -> None:
    """Ask before the first change whether the user may do all that the scripts do, not in the middle of one.

    Raises:
        BrokerUnavailable: a right is missing.
    """
    channel = keys.ends(namespace) + "0"
    script = scripts.RIGHTS
    denied = client.execute_command("EVAL", script.source, 1, keys.queues(namespace), channel, *scripts.COMMANDS)
    if denied:
        names = ", ".join([name.decode() for name in denied])
        raise BrokerUnavailable(
            f"Redis at {where} denies commands ({names}) on {namespace}:*: give the user the rights in"
            " docs/redis-keys.md"
        )


def _ask(client: Any) -> Server:
    """Read INFO of one server; a cluster's nodes are taken to be alike."""
    try:
        info = client.info()
    except NoPermissionError:
        return Server()
    if info and all(isinstance(value, dict) for value in info.values()) and "redis_version" not in info:
        info = next(iter(info.values()))  # a cluster answers by node
    return Server(
        version=str(info.get("redis_version", "")),
        is_cluster=bool(info.get("cluster_enabled", 0)),
        eviction=str(info.get("maxmemory_policy", "noeviction")),
    )
