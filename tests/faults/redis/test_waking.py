"""Waking up on real servers: quickly, one after the other, and never for good asleep."""

import statistics
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.redis.conftest import uuids_of
from tests.faults.redis.servers import eventually
from vecna.adapters.clock import SystemClock
from vecna.ports.values import SettleAs

PATIENCE = 20.0


@pytest.fixture
def driven(any_redis_url, drive, namespace):
    return drive(any_redis_url, namespace=namespace)


@pytest.fixture
def key(namespace):
    return f"{namespace}:q:{{q}}:wake"


def test_an_enqueue_wakes_within_milliseconds(driven, any_redis):
    clock = SystemClock()
    waiter = driven.broker.waiter()
    delays = []
    with ThreadPoolExecutor(1) as threads:
        for number in range(30):
            driven.lease()

            def wait() -> float:
                waiter.wait(["q"], PATIENCE)
                return clock.monotonic()

            waiting = threads.submit(wait)
            _until_blocked(any_redis, 1)
            begin = clock.monotonic()
            driven.send(f"t{number}")
            delays.append(waiting.result(PATIENCE) - begin)
    waiter.close()

    # Generous: the machine may be shared. On an idle one the median is below a millisecond.
    assert statistics.median(delays) < 0.05


def test_a_timeout_is_kept_to_the_millisecond(driven):
    clock = SystemClock()
    waiter = driven.broker.waiter()
    late = []
    for timeout in [0.02, 0.05, 0.03, 0.01] * 5:
        begin = clock.monotonic()
        waiter.wait(["q"], timeout)
        late.append(clock.monotonic() - begin - timeout)
    waiter.close()

    assert min(late) >= -0.001
    assert statistics.median(late) < 0.02  # the server's own timer is ten times as coarse


def test_one_marker_at_most(driven, any_redis, key):
    for number in range(10):
        driven.send(f"t{number}")
    with any_redis.client() as client:
        assert client.llen(key) == 1
        driven.lease(3)
        assert client.llen(key) == 1
        driven.lease()
        assert client.llen(key) == 0


def test_a_marker_that_died_with_its_waiter_is_set_again(driven, any_redis, key):
    driven.send("a", "b")
    with any_redis.client() as client:
        client.lpop(key)  # somebody took it, and died

    assert uuids_of(driven.lease(1)) == ["a"]

    waiter = driven.broker.waiter()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(waiter.wait, ["q"], PATIENCE * 3).result(PATIENCE)
    waiter.close()


def test_a_wait_that_was_woken_takes_no_marker(driven, any_redis, key):
    """A process that is not waiting must not be the one that is woken."""
    waiter = driven.broker.waiter()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(waiter.wait, ["q"], PATIENCE)
        _until_blocked(any_redis, 1)
        waiter.wake()
        waiting.result(PATIENCE)
        with any_redis.client() as client:
            assert client.info("clients")["blocked_clients"] == 0
            driven.send("a")
            assert client.llen(key) == 1
    waiter.close()


def test_who_was_woken_asks_for_nothing_more_and_keeps_its_connection(driven, any_redis):
    """A full worker has nothing to take back, and nothing to connect anew, for each task that wakes it."""
    waiter, used = driven.broker.waiter(), []
    with ThreadPoolExecutor(1) as threads, any_redis.client() as client:
        for number in range(3):
            driven.lease()
            waiting = threads.submit(waiter.wait, ["q", "other"], PATIENCE)
            _until_blocked(any_redis, 1)
            used += [each["id"] for each in client.client_list() if "b" in each["flags"]]
            driven.send(f"t{number}")
            waiting.result(PATIENCE)

            assert (waiter.lingers(), waiter.leave()) == (False, False)
    waiter.close()

    assert len(used) == 3
    assert len(set(used)) == 1


def test_a_waiter_can_go_on_with_other_queues(driven):
    waiter = driven.broker.waiter()
    waiter.wait(["q"], 0.01)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(waiter.wait, ["other", "third"], PATIENCE * 3)
        driven.send("a", queue="other")
        waiting.result(PATIENCE)
        waiting = threads.submit(waiter.wait, ["third", "other"], PATIENCE * 3)
        driven.send("b", queue="third")
        waiting.result(PATIENCE)
    waiter.close()


def test_many_sleepers_wake_one_by_one(driven, any_redis):
    waiters = [driven.broker.waiter() for _ in range(5)]
    with ThreadPoolExecutor(5) as threads:
        waiting = [threads.submit(waiter.wait, ["q"], PATIENCE) for waiter in waiters]
        _until_blocked(any_redis, 5)
        driven.send("a")
        _until_blocked(any_redis, 4)
        lease = driven.lease()
        _until_blocked(any_redis, 4)

        driven.settle(lease, SettleAs.RETURN)
        _until_blocked(any_redis, 3)
        eventually(lambda: sum(future.done() for future in waiting) == 2, "the second waking")
        for waiter in waiters:
            waiter.close()


def test_a_closed_waiter_does_not_wait(driven):
    waiter = driven.broker.waiter()
    waiter.wait(["q"], 0.01)
    waiter.close()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(waiter.wait, ["q"], PATIENCE * 3).result(PATIENCE)


def _until_blocked(server, number: int) -> None:
    with server.client() as client:
        eventually(lambda: client.info("clients")["blocked_clients"] == number, f"{number} waiting clients")
