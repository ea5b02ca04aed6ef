"""Fixtures that all tests share: real servers, a namespace of one's own, hypothesis' settings."""

import itertools
import os
from collections.abc import Callable, Generator, Iterator

import pytest
from hypothesis import settings

from tests import canary
from tests.servers import RedisServer, binaries

# The contract suites are shipped; their asserts are to explain themselves here as they do for users.
pytest.register_assert_rewrite("vecna.testing.contracts")

# No deadline: on a shared machine it measures the neighbours. In CI the same examples every time.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local"))

SERVERS = binaries()
SERVER_FIXTURES = {"any_redis", "any_redis_url", "redis_server", "redis_url", "server_of", "valkey_server"}

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Look through everything that is put out for the password of the test servers."""
    config.addinivalue_line("markers", "long: takes minutes, or repeats elsewhere what was shown: `make faults-long`")
    canary.attend()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A step of a test during which that password was seen has failed."""
    report = yield
    for title, text in report.sections:
        canary.watch.look(text, title)
    if found := canary.watch.found():
        report.outcome = "failed"
        report.longrepr = "the password of the test servers was shown:\n" + "\n".join(found)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses a server, so that `-m 'not redis'` leaves it out; leave out what is long unless asked for it."""
    if "long" not in config.getoption("markexpr"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if SERVER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.redis)


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], RedisServer]]:
    """The session's server of a name in `SERVERS`, started when first asked for."""
    started: dict[str, RedisServer] = {}

    def server_of(name: str) -> RedisServer:
        if name not in started:
            started[name] = RedisServer(SERVERS[name]).start()
        return started[name]

    yield server_of
    for server in started.values():
        server.stop()


@pytest.fixture(scope="session")
def redis_server(server_of: Callable[[str], RedisServer]) -> RedisServer:
    """The session's Redis 8. A test that stops or reconfigures a server starts its own `RedisServer`."""
    return server_of("redis8")


@pytest.fixture(scope="session")
def valkey_server(server_of: Callable[[str], RedisServer]) -> RedisServer:
    """The session's Valkey 9."""
    return server_of("valkey9")


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """URL of the session's Redis 8; tests keep apart by `namespace`."""
    return redis_server.url


@pytest.fixture(scope="session", params=list(SERVERS))
def any_redis(request: pytest.FixtureRequest, server_of: Callable[[str], RedisServer]) -> RedisServer:
    """Each kind of server in turn: Redis 8, Valkey 9, and the system's Redis where there is one."""
    return server_of(request.param)


@pytest.fixture(scope="session")
def any_redis_url(any_redis: RedisServer) -> str:
    """URL of each kind of server in turn; tests keep apart by `namespace`."""
    return any_redis.url


@pytest.fixture
def namespace() -> str:
    """A prefix for keys that no other test has, in this or another process."""
    return f"test-{os.getpid()}-{next(_numbers)}"
