"""The laws of all ports, on the Redis adapter: on Redis 8, Valkey 9, and the system's Redis where there is one."""

import attrs
import pytest

from vecna.adapters.redis import connect
from vecna.app.config import RedisConfig
from vecna.ports.values import Adapters
from vecna.testing import BackendContract, BrokerContract, LockContract


@attrs.frozen
class Settings:
    namespace: str
    dead_letter_limit: int = 10_000
    send_timeout: float = 10
    redis: RedisConfig = attrs.field(factory=RedisConfig)


class OnRedis:
    """Opens adapters of one namespace, and closes them after the test."""

    @pytest.fixture(autouse=True)
    def store(self, any_redis_url, namespace):
        self.url, self.settings = any_redis_url, Settings(namespace)
        self.opened: list[Adapters] = []
        yield
        for adapters in self.opened:
            adapters.broker.close()

    def connect(self, clock):
        adapters = connect(self.url, self.settings, clock)
        self.opened.append(adapters)
        return adapters


class TestRedisBroker(OnRedis, BrokerContract):
    def make(self, clock):
        return self.connect(clock).broker


class TestRedisBackend(OnRedis, BackendContract):
    def make(self, clock):
        return self.connect(clock).backend


class TestRedisLock(OnRedis, LockContract):
    def make(self, clock):
        return self.connect(clock).lock
