import socket

import pytest
from redis import exceptions as redis_errors

from vecna.adapters.redis.errors import REDIS_ERRORS, understand
from vecna.domain.errors import BrokerUnavailable, ConfigError

PASSES, STAYS = True, False


@pytest.mark.parametrize(
    ("exc", "words", "passes", "error"),
    [
        (redis_errors.ConnectionError("Error 111 connecting to h:1."), "cannot be reached", PASSES, BrokerUnavailable),
        (ConnectionRefusedError(111, "refused"), "cannot be reached", PASSES, BrokerUnavailable),
        (socket.gaierror(-2, "Name or service not known"), "cannot be reached", PASSES, BrokerUnavailable),
        (redis_errors.TimeoutError("Timeout reading"), "did not answer in time", PASSES, BrokerUnavailable),
        (TimeoutError(), "did not answer in time", PASSES, BrokerUnavailable),
        (redis_errors.BusyLoadingError("Redis is loading"), "is loading", PASSES, BrokerUnavailable),
        (redis_errors.ResponseError("LOADING Redis is"), "is loading", PASSES, BrokerUnavailable),
        (redis_errors.OutOfMemoryError("command not allowed"), "out of memory", STAYS, BrokerUnavailable),
        (redis_errors.ResponseError("OOM allow-oom flag is not set"), "out of memory", STAYS, BrokerUnavailable),
        (redis_errors.ReadOnlyError("You can't write"), "read-only replica", PASSES, BrokerUnavailable),
        (redis_errors.ResponseError("READONLY You can't"), "read-only replica", PASSES, BrokerUnavailable),
        (
            redis_errors.ResponseError("MISCONF Redis is configured"),
            "cannot write to its disk",
            STAYS,
            BrokerUnavailable,
        ),
        (redis_errors.ResponseError("NOREPLICAS Not enough"), "too few replicas", PASSES, BrokerUnavailable),
        (redis_errors.ResponseError("BUSY Redis is busy"), "long script", PASSES, BrokerUnavailable),
        (redis_errors.ResponseError("UNBLOCKED force unblock"), "changed its role", PASSES, BrokerUnavailable),
        (redis_errors.ClusterDownError("CLUSTERDOWN Hash slot"), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.ClusterError("TTL exhausted."), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.TryAgainError("Multiple keys"), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.MovedError("1 h:2"), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.AskError("1 h:2"), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.MasterDownError("Link with MASTER"), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.SlotNotCoveredError("Slot 1"), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.RedisClusterException("No way"), "cluster", PASSES, BrokerUnavailable),
        (redis_errors.MaxConnectionsError("Too many"), "redis.max_active", PASSES, BrokerUnavailable),
        (redis_errors.NoPermissionError("this user"), "denies a command", STAYS, BrokerUnavailable),
        (redis_errors.ResponseError("ACL failure in script: User x"), "denies a command", STAYS, BrokerUnavailable),
        (
            redis_errors.ResponseError("The user executing the script can't"),
            "denies a command",
            STAYS,
            BrokerUnavailable,
        ),
        (redis_errors.ResponseError("WRONGTYPE Operation"), "something else", STAYS, BrokerUnavailable),
        (redis_errors.ResponseError("user_script:1: nil"), "does not expect", STAYS, BrokerUnavailable),
        (redis_errors.InvalidResponse("Protocol Error"), "does not expect", STAYS, BrokerUnavailable),
        (redis_errors.AuthenticationError("invalid username-password pair"), "user or password", STAYS, ConfigError),
        (redis_errors.AuthenticationError("Authentication required."), "user or password", STAYS, ConfigError),
        (redis_errors.ResponseError("NOAUTH Authentication required."), "user or password", STAYS, ConfigError),
        (redis_errors.ResponseError("WRONGPASS invalid"), "user or password", STAYS, ConfigError),
    ],
)
def test_each_error_is_told_in_words(exc, words, passes, error):
    assert isinstance(exc, REDIS_ERRORS)

    failure = understand(exc, "redis://h:1")

    assert type(failure.error) is error
    assert failure.passes is passes
    text = str(failure.error)
    assert words in text
    assert "redis://h:1" in text
    assert ": " in text.removeprefix("Redis at redis://h:1"), "a remedy is named"


def test_a_password_in_an_error_is_left_out():
    exc = redis_errors.ConnectionError("cannot connect with s3cret to h")
    assert "s3cret" not in str(understand(exc, "redis://h", "s3cret").error)
