"""Connections that are kept at hand: what goes wrong with one call must not reach the next."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from tests.servers import RedisServer
from vecna.adapters.redis.spares import Spares

pytestmark = pytest.mark.redis


@pytest.fixture
def pool(redis_server: RedisServer) -> Iterator[redis.ConnectionPool]:
    pool = redis.ConnectionPool.from_url(redis_server.url)
    yield pool
    pool.disconnect()


def test_calls_one_after_the_other_share_a_connection(pool: redis.ConnectionPool):
    spares = Spares(pool, 0)

    assert {spares.call("CLIENT", "ID") for _ in range(5)} == {spares.call("CLIENT", "ID")}


def test_an_interrupted_call_leaves_no_answer_for_the_next(pool: redis.ConnectionPool, monkeypatch: Any):
    spares = Spares(pool, 0)
    spares.call("PING")
    (connection,) = spares._idle
    with monkeypatch.context() as patch:

        def interrupted(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spares.call("ECHO", "old")

    assert spares.call("ECHO", "new") == b"new"


def test_a_refused_command_keeps_its_connection(pool: redis.ConnectionPool):
    spares = Spares(pool, 0)
    before = spares.call("CLIENT", "ID")
    with pytest.raises(ResponseError):
        spares.call("NO-SUCH-COMMAND")

    assert spares.call("CLIENT", "ID") == before


def test_after_a_loss_all_that_were_kept_are_looked_at(pool: redis.ConnectionPool, redis_server: RedisServer):
    spares = Spares(pool, 0)
    kept = [pool.get_connection() for _ in range(3)]
    spares._idle.extend(kept)
    with redis_server.client() as client:
        for connection in kept:
            connection.send_command("CLIENT", "ID")
            client.client_kill_filter(_id=str(connection.read_response()))

    with pytest.raises(Lost):
        spares.call("PING")
    assert spares.call("PING") == b"PONG"
    assert spares.call("PING") == b"PONG"


@pytest.mark.parametrize(("limit", "kept"), [(1, 0), (2, 1), (4, 2), (100, 4), (0, 4)])
def test_some_of_a_small_pool_is_left_to_others(pool: redis.ConnectionPool, limit: int, kept: int):
    assert Spares(pool, limit)._most == kept


class _Interrupted(deque[Any]):
    """Once, right after its length was read, something else happens."""

    meanwhile: Callable[[], object] | None = None

    def __len__(self) -> int:
        length = super().__len__()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return length


def test_calls_that_end_at_the_same_time_keep_no_more_than_their_share(pool: redis.ConnectionPool):
    spares = Spares(pool, 2)
    spares._idle = idle = _Interrupted()
    idle.meanwhile = lambda: spares.call("PING")

    spares.call("PING")

    assert deque.__len__(idle) == 1
