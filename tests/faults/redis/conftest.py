"""Adapters on servers that a test breaks."""

import datetime as dt
from collections.abc import Callable, Iterator

import attrs
import pytest

from tests.faults.redis.proxy import Proxy
from tests.servers import RedisServer, binaries
from vecna.adapters.clock import SystemClock
from vecna.adapters.redis import connect
from vecna.adapters.redis.scripts import Script
from vecna.app.config import RedisConfig
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.values import Adapters, Lease, SettleAs, Settlement

LEASE = dt.timedelta(seconds=30)


@attrs.frozen
class Settings:
    namespace: str = "vecna"
    dead_letter_limit: int = 100
    send_timeout: float = 10
    redis: RedisConfig = attrs.field(factory=RedisConfig)


@attrs.define
class Driven:
    """Adapters, with what a test does not care about filled in."""

    adapters: Adapters
    calls: int = 0

    @property
    def broker(self):
        return self.adapters.broker

    @property
    def backend(self):
        return self.adapters.backend

    @property
    def lock(self):
        return self.adapters.lock

    def send(self, *uuids: str, queue: str = "q", body: bytes = b"{}", **fields) -> list[bool]:
        return self.broker.enqueue([Message(uuid, queue, body, **fields) for uuid in uuids])

    def lease(self, count: int = 100, *, queue: str = "q", worker: str = "w", call: int | None = None, **more) -> Lease:
        self.calls += 1
        number = self.calls if call is None else call
        options = {"duration": LEASE, "max_deliveries": 5, **more}
        return self.broker.lease(queue, count, worker=worker, call=number, **options)

    def settle(self, lease: Lease, kind: SettleAs = SettleAs.DONE, **fields):
        settlements = [Settlement(item.uuid, lease.token, kind, **fields) for item in lease.deliveries]
        return self.broker.settle(lease.queue, settlements)

    def end(self, *uuids: str, error: str = ""):
        return self.backend.put_states([TaskState(task_uuid=uuid, state=State.SUCCESS, error=error) for uuid in uuids])


def uuids_of(lease: Lease) -> list[str]:
    return [delivery.uuid for delivery in lease.deliveries]


@pytest.fixture
def drive() -> Iterator[Callable[..., Driven]]:
    """Opens adapters for a URL, in real time unless a clock is given, and closes them after the test."""
    opened = []

    def drive(url: str, clock=None, **settings) -> Driven:
        redis = RedisConfig(**settings.pop("redis", {}))
        adapters = connect(url, Settings(redis=redis, **settings), clock or SystemClock())
        opened.append(adapters)
        return Driven(adapters)

    yield drive
    for adapters in opened:
        adapters.broker.close()


@pytest.fixture
def proxy(any_redis) -> Iterator[Proxy]:
    """Stands between vecna and each kind of server, and does to the connection what a test wants."""
    with Proxy(any_redis.port) as proxy:
        yield proxy


@pytest.fixture
def losing(proxy: Proxy, any_redis) -> Iterator[Callable[[Script], None]]:
    """Loses the reply to the next run of a script; asserts that there was one to lose."""
    armed: list[Script] = []

    def losing(script: Script) -> None:
        assert not armed or proxy.lost.is_set(), f"no reply of {armed[-1]} was lost"
        armed.append(script)
        with any_redis.client() as client:
            client.script_load(script.source)  # else what is lost is the reply that the server does not know it
        proxy.lose_reply(script.sha.encode())

    yield losing
    assert armed
    assert proxy.lost.is_set(), f"no reply of {armed[-1]} was lost"


@pytest.fixture(params=list(binaries()))
def own_server(request) -> Iterator[RedisServer]:
    """A server of each kind that only this test uses; it persists every write."""
    with RedisServer(binaries()[request.param], "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.redis)
