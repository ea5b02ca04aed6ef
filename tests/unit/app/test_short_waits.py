"""Waits that are too short to hear anything, and stores that are out of reach while somebody waits."""

import datetime as dt
import threading

import pytest

from tests.unit.app.doubles import CountingBackend, end, logged, server_with
from vecna import BrokerUnavailable, Config, ConfigError, Group, ResultTimeout, Server, Signature, UnknownTask
from vecna.adapters.clock import SystemClock
from vecna.app.relaying import carry_all
from vecna.ports.values import Settlement

LEASE = dt.timedelta(seconds=30)
NEVER = threading.Event()


@pytest.fixture
def server():
    with Server("memory://") as server:
        yield server


def test_an_unknown_task_is_unknown_however_short_the_wait(server):
    with pytest.raises(UnknownTask):
        server.result("nope").get(timeout=0)


async def test_an_unknown_task_is_unknown_to_a_short_await(server):
    with pytest.raises(UnknownTask):
        await server.result("nope").get_async(timeout=0)


def test_a_forgotten_result_is_unknown_to_its_own_handle(server):
    result = server.send_task(Signature("a"))
    server.broker.cancel("vecna_tasks", [result.uuid])
    lease = server.broker.lease(
        "vecna_tasks", 1, worker="w", call=1, duration=LEASE, max_deliveries=5, verdicts_only=True
    )
    server.broker.settle("vecna_tasks", [Settlement(result.uuid, lease.token)])
    result.forget()

    with pytest.raises(UnknownTask):
        result.get(timeout=0.01)


def test_an_end_is_there_however_short_the_wait(server):
    result = server.send_task(Signature("a"))
    end(server, result.uuid, 5)

    assert result.get(timeout=0) == 5


async def test_an_end_is_there_for_a_short_await(server):
    result = server.send_task(Signature("a"))
    end(server, result.uuid, 5)

    assert await result.get_async(timeout=0) == 5


def test_a_task_that_waits_is_late_after_a_short_wait(server):
    with pytest.raises(ResultTimeout, match="goes on"):
        server.send_task(Signature("a")).get(timeout=0.01)


class SlowlyAwayBackend(CountingBackend):
    """Each call fails only after it has tried for long."""

    def _check(self) -> None:
        if self.away.is_set():
            self._clock.wait(NEVER, 0.2)
        super()._check()


def test_who_waits_while_the_store_is_away_is_told_after_the_time_that_was_set():
    """Calls that try for that long each must not add up."""
    backend = SlowlyAwayBackend()
    clock = SystemClock()
    with server_with(backend=backend, send_timeout=0.2) as server, logged():
        backend.away.set()
        began = clock.monotonic()
        with pytest.raises(BrokerUnavailable):
            server.result("x").get(timeout=30)
        assert clock.monotonic() - began < 5
        assert len(backend.reads) == 0


async def test_what_asks_the_store_warns_on_an_event_loop(server, monkeypatch):
    monkeypatch.setattr("vecna.app.twins._warned", set())
    handle = await server.send_group_async(Group(Signature("a"), Signature("b")))
    with logged() as lines:
        assert handle.completed == 0
        assert await handle.completed_async() == 0
        server.close()
    assert sum("completed_async" in line for line in lines.of("warning")) == 1
    assert sum("close_async" in line for line in lines.of("warning")) == 1


def test_relaying_ends_when_nothing_moves():
    carry_all(lambda: 7)
    left = [9, 5, 0]
    carry_all(lambda: left.pop(0))
    assert left == []


@pytest.mark.parametrize("url", ["redis://", "redis://h:99999", "redis://h?x=1", "redis://h:abc", "redis+socket://"])
def test_settings_refuse_a_redis_url_that_cannot_be_used(url):
    with pytest.raises(ConfigError, match="broker: "):
        Config(broker=url)


def test_a_server_closes_at_once_though_its_waiters_have_just_come():
    """The ringing that ends the waiting must not be taken for the one of a newcomer."""
    clock = SystemClock()
    began = clock.monotonic()
    for _ in range(200):
        with Server("memory://") as server, pytest.raises(UnknownTask):
            server.result("nope").get(timeout=0)
    assert clock.monotonic() - began < 10
