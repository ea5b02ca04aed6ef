import datetime as dt
import importlib.metadata
import subprocess
import sys
import types
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from vecna import bootstrap
from vecna.adapters.clock import ManualClock, SystemClock
from vecna.adapters.memory import MemoryBackend, MemoryBroker, MemoryLock
from vecna.app.config import Config, RedisConfig
from vecna.bootstrap import Server, connect, prepare
from vecna.domain.errors import ConfigError
from vecna.ports.clock import Clock
from vecna.ports.values import Adapters

SECRET = "c4n4ry"


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VECNA_BROKER", raising=False)


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Config, Clock]]:
    """A package that brings the schemes `paper`, `broken` and `number`; gives the calls of paper's factory."""
    calls: list[tuple[str, Config, Clock]] = []

    def factory(url: str, config: Config, clock: Clock) -> Adapters:
        calls.append((url, config, clock))
        return connect(Config(broker="memory://"), clock)

    package = types.ModuleType("paper_adapter")
    package.factory = factory  # type: ignore[attr-defined]
    package.seven = 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "paper_adapter", package)
    points = EntryPoints(
        EntryPoint(name, value, bootstrap.GROUP)
        for name, value in {
            "paper": "paper_adapter:factory",
            "broken": "paper_adapter:missing",
            "number": "paper_adapter:seven",
        }.items()
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", points.select)
    return calls


def test_one_url_serves_for_everything() -> None:
    with Server("memory://") as server:
        assert server.config == Config(broker="memory://")
        assert isinstance(server.broker, MemoryBroker)
        assert isinstance(server.backend, MemoryBackend)
        assert isinstance(server.lock, MemoryLock)
        assert isinstance(server.clock, SystemClock)


def test_a_config_is_taken_as_it_is() -> None:
    config = Config(broker="memory://", lease=60)
    with Server(config) as server:
        assert server.config is config


def test_without_arguments_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECNA_BROKER", "memory://here")
    with Server() as server:
        assert server.config.broker == "memory://here"


def test_nothing_configured_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"set VECNA_BROKER .* Server\(\"memory://\"\)"):
        Server()


def test_what_is_no_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="Server takes a URL or a Config, not int"):
        Server(7)  # type: ignore[arg-type]


def test_equal_urls_share_one_set_of_adapters_and_others_do_not() -> None:
    made = connect(Config(broker="memory://a", lock="memory://b"))

    # Through a shared store: what one lock holds, the other sees.
    same, other = connect(Config(broker="memory://b")), connect(Config(broker="memory://a"))
    ttl = dt.timedelta(seconds=60)
    assert made.lock.acquire("job", "me", ttl)
    assert same.lock.acquire("job", "you", ttl) is None
    assert other.lock.acquire("job", "you", ttl)


def test_each_process_gets_adapters_of_its_own() -> None:
    wire = prepare(Config(broker="memory://"))

    assert wire().broker is not wire().broker


def test_any_port_can_be_replaced() -> None:
    clock = ManualClock()
    mine = connect(Config(broker="memory://"), clock)
    with Server("memory://", broker=mine.broker, clock=clock) as server:
        assert server.broker is mine.broker
        assert server.backend is not mine.backend
        assert server.clock is clock
    with Server("memory://", backend=mine.backend, lock=mine.lock) as server:
        assert (server.backend, server.lock) == (mine.backend, mine.lock)
        assert server.broker is not mine.broker


def test_with_every_port_given_nothing_needs_to_be_configured() -> None:
    mine = connect(Config(broker="memory://"))
    with Server(broker=mine.broker, backend=mine.backend, lock=mine.lock) as server:
        assert server.broker is mine.broker


def test_the_url_of_a_replaced_port_is_not_looked_at() -> None:
    mine = connect(Config(broker="memory://"))
    with Server(
        Config(broker="nowhere://", lock="memory://", result_backend="memory://"), broker=mine.broker
    ) as server:
        assert server.broker is mine.broker


def test_a_url_where_a_port_belongs_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match=r"broker takes a vecna.ports.Broker, not str; URLs go into Config") as caught:
        Server("memory://", broker=f"redis://:{SECRET}@h")  # type: ignore[arg-type]

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "redsi://localhost",
            r"broker: unknown scheme 'redsi', did you mean 'redis'\? Known are memory, redis, rediss",
        ),
        # Behind the built-in ones stand those of whatever packages are installed.
        (
            "amqp://localhost",
            "broker: unknown scheme 'amqp': Known are memory, redis, rediss, redis.socket.*; others come",
        ),
        ("memory://a?b", "broker: write memory://, or memory://name"),
        ("memory:///", "broker: write memory://, or memory://name"),
        (f"redis://:{SECRET}@localhost/0?x=1", "broker: .*query"),
        (f"redis://localhost/?password={SECRET}", "broker: .*query"),
        (f"redis://:{SECRET}@localhost:x/0", "broker: "),
        (f"redis://:{SECRET}@localhost:70000/0", "broker: .*70000"),
        (f"redis://:{SECRET}@localhost/x", "broker: .*database"),
        (f"redis://:{SECRET}@a:1,b:2/3", "broker: .*cluster"),
        (f"redis://user:{SECRET}", "broker: the URL is not understood, and not shown"),
        (f"redis://:{SECRET}", "broker: the URL is not understood, and not shown"),
        (f"redis+socket://{SECRET}@", "broker: .*redis.socket:///path"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Server(url)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:pw@localhost:6380/3",
        "rediss://user:p%40w@[::1]:6379",
        "redis+socket:///run/redis.sock:/2",
        "redis://a:1,b:2",
    ],
)
def test_a_good_url_opens_nothing(url: str) -> None:
    Server(url).close()


def test_sentinels_may_have_a_database() -> None:
    config = Config(broker="redis://a:1,b:2/3", redis=RedisConfig(master_name="main"))

    assert Server(config).config is config


def test_the_error_names_the_setting_and_where_it_was_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("broker: memory://\n\nlock: redis://localhost:x\n")
    with pytest.raises(ConfigError, match=r"config.yml, line 3: lock: "):
        Server(Config.from_yaml(file))
    with pytest.raises(ConfigError, match="VECNA_RESULT_BACKEND: result_backend: unknown scheme"):
        Server(Config.from_env(environment={"VECNA_BROKER": "memory://", "VECNA_RESULT_BACKEND": "x://"}))


def test_other_schemes_come_with_packages(entry_point: list[tuple[str, Config, Clock]]) -> None:
    clock = ManualClock()
    config = Config(broker="paper://desk?drawer=2")
    with Server(config, clock=clock) as server:
        assert entry_point == []
        assert server.broker is not None

    assert entry_point == [("paper://desk?drawer=2", config, clock)]


def test_an_unknown_scheme_names_those_of_packages_too(entry_point: Any) -> None:
    with pytest.raises(ConfigError, match=r"unknown scheme 'papr', did you mean 'paper'\? Known are .*, paper;"):
        Server("papr://desk")


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("broken", "the adapter for 'broken', paper_adapter:missing, cannot be loaded: AttributeError"),
        ("number", "the adapter for 'number', paper_adapter:seven, is no function"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(entry_point: Any, scheme: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"broker: {message}"):
        Server(f"{scheme}://")


def test_importing_vecna_loads_no_driver() -> None:
    drivers = ("redis", "hiredis", "click", "pytest")
    script = f"import sys, vecna, vecna.bootstrap; print([name for name in {drivers} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "[]"
