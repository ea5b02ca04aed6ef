"""The laws of all ports, on the memory adapter and the clocks."""

import pytest

from vecna.adapters.clock import ManualClock, SystemClock
from vecna.adapters.memory import MemoryBackend, MemoryBroker, MemoryLock
from vecna.adapters.memory.backend import Records
from vecna.adapters.memory.lock import Grants
from vecna.adapters.memory.queue import Queues
from vecna.testing import BackendContract, BrokerContract, ClockContract, LockContract


class TestMemoryBroker(BrokerContract):
    @pytest.fixture(autouse=True)
    def store(self):
        self.queues = Queues()

    def make(self, clock):
        return MemoryBroker(clock, self.queues)


class TestMemoryBackend(BackendContract):
    @pytest.fixture(autouse=True)
    def store(self):
        self.records = Records()

    def make(self, clock):
        return MemoryBackend(clock, self.records)


class TestMemoryLock(LockContract):
    @pytest.fixture(autouse=True)
    def store(self):
        self.grants = Grants()

    def make(self, clock):
        return MemoryLock(clock, self.grants)


class TestSystemClock(ClockContract):
    def make(self):
        return SystemClock()


class TestManualClock(ClockContract):
    def make(self):
        return ManualClock()
