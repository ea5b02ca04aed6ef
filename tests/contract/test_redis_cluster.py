"""The laws of all ports, on a cluster of two nodes."""

import pytest

from tests.contract.test_redis import Settings
from tests.faults.redis.servers import RedisCluster
from tests.servers import redis8_binary
from vecna.adapters.redis import connect
from vecna.ports.values import Adapters
from vecna.testing import BackendContract, BrokerContract, LockContract


@pytest.fixture(scope="module")
def cluster():
    with RedisCluster(redis8_binary()) as cluster:
        yield cluster


@pytest.mark.redis
class OnCluster:
    @pytest.fixture(autouse=True)
    def store(self, cluster, namespace):
        self.url, self.settings = cluster.url, Settings(namespace)
        self.opened: list[Adapters] = []
        yield
        for adapters in self.opened:
            adapters.broker.close()

    def connect(self, clock):
        adapters = connect(self.url, self.settings, clock)
        self.opened.append(adapters)
        return adapters


class TestClusterBroker(OnCluster, BrokerContract):
    stress_steps = 150  # each step goes to several nodes

    def make(self, clock):
        return self.connect(clock).broker


class TestClusterBackend(OnCluster, BackendContract):
    stress_steps = 50

    def make(self, clock):
        return self.connect(clock).backend


class TestClusterLock(OnCluster, LockContract):
    def make(self, clock):
        return self.connect(clock).lock
