"""The laws of all ports, on the adapter for SQLite: a package of its own that knows only what is public."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vecna import Config
from vecna.ports import Adapters
from vecna.testing import BackendContract, BrokerContract, LockContract
from vecna_sqlite import connect


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the file goes: in memory, where there is such a file system."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="vecna-sqlite-", dir=shm if shm.is_dir() else None) as folder:
        yield Path(folder)


class OnSqlite:
    """Opens adapters of one file, and closes them after the test."""

    @pytest.fixture(autouse=True)
    def store(self, folder):
        self.url = f"sqlite://{folder}/tasks.db"
        self.opened: list[Adapters] = []
        yield
        for adapters in self.opened:
            adapters.broker.close()

    def connect(self, clock):
        adapters = connect(self.url, Config(broker=self.url), clock)
        self.opened.append(adapters)
        return adapters


class TestSqliteBroker(OnSqlite, BrokerContract):
    def make(self, clock):
        return self.connect(clock).broker


class TestSqliteBackend(OnSqlite, BackendContract):
    def make(self, clock):
        return self.connect(clock).backend


class TestSqliteLock(OnSqlite, LockContract):
    def make(self, clock):
        return self.connect(clock).lock
