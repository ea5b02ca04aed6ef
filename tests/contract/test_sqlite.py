"""The laws of all ports, on the adapter for SQLite: a package of its own that knows only what is public."""

import ast
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import vecna
import vecna_sqlite
from vecna import Config, Server
from vecna.ports import Adapters
from vecna.testing import BackendContract, BrokerContract, ClockContract, LockContract
from vecna_sqlite import SqliteBroker, connect

PACKAGE = Path(vecna.__file__).parent
SOURCES = sorted(Path(vecna_sqlite.__file__).parent.glob("*.py"))


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


class TestSqliteClock(OnSqlite, ClockContract):
    def make(self):
        return Server(self.url).clock


# -- the package -----------------------------------------------------------------------------------------------------


def test_it_imports_only_what_is_public() -> None:
    """What an adapter needs and cannot get this way is a flaw of vecna."""
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))]
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported = {name for name in imported if name.split(".")[0] not in {"vecna_sqlite", *sys.stdlib_module_names}}

    assert imported == {"vecna", "vecna.kit", "vecna.kit.rules", "vecna.ports"}


def test_it_stays_small() -> None:
    """What makes an adapter longer than this belongs into the kit."""
    assert len(SOURCES) > 3
    assert sum(path.read_text().count("\n") for path in SOURCES) < 600


def test_its_scheme_is_found_by_its_entry_point(folder: Path) -> None:
    """Installed as `make setup` does it; nothing in vecna names it."""
    (found,) = entry_points(group="vecna.adapters", name="sqlite")

    assert found.load() is connect
    with Server(f"sqlite://{folder}/tasks.db") as server:
        assert isinstance(server.broker, SqliteBroker)
    assert not [path for path in PACKAGE.rglob("*.py") if "sqlite" in path.read_text().lower()]
