"""What redis-py raises, in vecna's words: what happened, where, and what to do about it."""

from __future__ import annotations

from typing import Final

import attrs
from redis import exceptions as redis_errors

from vecna.domain.errors import BrokerUnavailable, ConfigError, VecnaError

#: Everything that a call of redis-py may raise for a reason that lies outside this process.
REDIS_ERRORS: Final[tuple[type[Exception], ...]] = (
    redis_errors.RedisError,
    redis_errors.RedisClusterException,
    OSError,
)


@attrs.frozen
class Failure:
    """One failed call.

    Attributes:
        error: what is raised in the end.
        passes: whether it may go by itself within seconds, so that trying again makes sense.
        timed_out: whether a timeout has been waited for.
    """

    error: VecnaError
    passes: bool
    timed_out: bool = False


@attrs.frozen
class _Kind:
    what: str
    remedy: str
    passes: bool = False
    error: type[VecnaError] = BrokerUnavailable


_AUTH: Final = _Kind("refuses the user or password", "check them in the URL", error=ConfigError)
_PERMISSION: Final = _Kind("denies a command", "give the user the rights in docs/redis-keys.md")
_LOADING: Final = _Kind("is loading its data", "wait until it is ready", passes=True)
_READ_ONLY: Final = _Kind("is a read-only replica", "name the primary, or wait for the failover to end", passes=True)
_MEMORY: Final = _Kind("is out of memory", "let the workers drain the queues, or raise its maxmemory")
_CLUSTER: Final = _Kind("is a cluster that is not ready", "wait for it, or check the cluster's state", passes=True)
_UNREACHABLE: Final = _Kind("cannot be reached", "check that it runs there and may be connected to", passes=True)
_SLOW: Final = _Kind("did not answer in time", "check its load, or raise redis.read_timeout", passes=True)
_FULL_POOL: Final = _Kind("has all of this process's connections in use", "raise redis.max_active", passes=True)
_DAMAGED: Final = _Kind("gives an answer that vecna does not expect", "see docs/redis-keys.md for what its keys hold")

#: How servers begin to say that a script may not run a command: Redis 7.2 and Valkey, Redis 7.0 in two ways.
_DENIED_IN_SCRIPT: Final = (
    "ACL failure in script",
    "The user executing the script",
    "NOPERM The user executing the script",
)
#: The first words of a server's error, for those that redis-py has no class for, or that come from within a script.
_BY_WORD: Final = {
    "NOAUTH": _AUTH,
    "WRONGPASS": _AUTH,
    "NOPERM": _PERMISSION,
    "LOADING": _LOADING,
    "READONLY": _READ_ONLY,
    "OOM": _MEMORY,
    "MISCONF": _Kind("cannot write to its disk and refuses changes", "repair its persistence"),
    "NOREPLICAS": _Kind("has too few replicas connected and refuses changes", "bring its replicas back", passes=True),
    "BUSY": _Kind("is busy with a long script", "wait, or end that script", passes=True),
    "CLUSTERDOWN": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
    "MASTERDOWN": _CLUSTER,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "UNBLOCKED": _Kind("has changed its role", "wait for the failover to end", passes=True),
    "WRONGTYPE": _Kind("has something else under one of vecna's keys", "choose another namespace, or remove that key"),
}
_BY_CLASS: Final[tuple[tuple[type[Exception], _Kind], ...]] = (
    (redis_errors.AuthenticationError, _AUTH),
    (redis_errors.AuthorizationError, _AUTH),
    (redis_errors.NoPermissionError, _PERMISSION),
    (redis_errors.BusyLoadingError, _LOADING),
    (redis_errors.ReadOnlyError, _READ_ONLY),
    (redis_errors.OutOfMemoryError, _MEMORY),
    (redis_errors.ClusterError, _CLUSTER),
    (redis_errors.AskError, _CLUSTER),
    (redis_errors.TryAgainError, _CLUSTER),
    (redis_errors.RedisClusterException, _CLUSTER),
    (redis_errors.MaxConnectionsError, _FULL_POOL),
    (redis_errors.TimeoutError, _SLOW),
    (TimeoutError, _SLOW),
    (redis_errors.ConnectionError, _UNREACHABLE),
    (OSError, _UNREACHABLE),
)


def _kind(exc: Exception) -> _Kind:
    text = str(exc)
    if text.startswith("invalid username-password pair"):  # redis-py cuts off WRONGPASS
        return _AUTH
    if text.startswith(_DENIED_IN_SCRIPT):
        return _PERMISSION
    if "No connection available" in text:
        return _FULL_POOL
    # Errors from within a script carry the word at their head, too.
    word = text.partition(" ")[0].rstrip(":")
    if isinstance(exc, redis_errors.RedisError) and word in _BY_WORD:
        return _BY_WORD[word]
    for kind, found in _BY_CLASS:
        if isinstance(exc, kind):
            return found
    return _DAMAGED


def understand(exc: Exception, where: str, secret: str = "") -> Failure:
    """Say what an error of redis-py means.

    Args:
        exc: what was raised.
        where: the server, as shown to users.
        secret: what must not be in the message.
    """
    kind = _kind(exc)
    detail = str(exc)
    if secret:
        detail = detail.replace(secret, "***")
    text = f"Redis at {where} {kind.what}: {kind.remedy}"
    return Failure(kind.error(f"{text} ({detail})" if detail else text), kind.passes, kind is _SLOW)
