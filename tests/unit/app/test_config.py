import copy
import datetime as dt
import os
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecna.app.config import Config, RedisConfig
from vecna.app.config_checks import hint, redact
from vecna.domain.errors import ConfigError

URL = "redis://localhost:6379/0"
SECRET = "c4n4ry"


def test_the_defaults_are_the_documented_ones() -> None:
    config = Config(broker=URL)

    assert (config.lock, config.result_backend) == (URL, URL)
    assert config.default_queue == "vecna_tasks"
    assert config.results_expire_in == 3600
    assert config.no_unix_signals is False
    assert config.default_send_concurrency == 100
    assert (config.send_timeout, config.max_threads, config.namespace) == (30, 1000, "vecna")
    assert config.redis == RedisConfig()


def test_the_defaults_of_redis_are_the_documented_ones() -> None:
    assert attrs.asdict(RedisConfig()) == {
        "max_idle": 10,
        "max_active": 100,
        "max_idle_timeout": 300,
        "wait": True,
        "read_timeout": 15,
        "write_timeout": 15,
        "connect_timeout": 15,
        "normal_tasks_poll_period": 1000,
        "delayed_tasks_poll_period": 20,
        "delayed_tasks_key": "",
        "delayed_tasks_cache_key": "",
        "periodic_tasks_key": "",
        "canceled_tasks_key": "",
        "master_name": "",
    }


def test_lock_and_backend_may_differ_from_the_broker() -> None:
    config = Config(broker=URL, lock="memory://l", result_backend="memory://r")

    assert (config.broker, config.lock, config.result_backend) == (URL, "memory://l", "memory://r")


def test_an_empty_lock_or_backend_is_the_brokers() -> None:
    config = Config(broker=URL, lock="", result_backend="")

    assert (config.lock, config.result_backend) == (URL, URL)


def test_a_duration_may_be_a_timedelta_and_is_kept_in_seconds() -> None:
    config = Config(
        broker=URL,
        results_expire_in=dt.timedelta(hours=2),
        send_timeout=dt.timedelta(milliseconds=500),
        shutdown_timeout=dt.timedelta(0),
        redis=RedisConfig(read_timeout=dt.timedelta(seconds=3)),
    )

    assert (config.results_expire_in, config.send_timeout, config.shutdown_timeout) == (7200, 0.5, 0)
    assert type(config.results_expire_in) is int
    assert config.redis.read_timeout == 3


def test_the_heartbeat_is_a_third_of_the_lease_unless_given() -> None:
    assert Config(broker=URL).heartbeat == 10
    assert Config(broker=URL, lease=6).heartbeat == 2
    assert Config(broker=URL, lease=6, heartbeat=3).heartbeat == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_threads": "10"}, r"max_threads must be a whole number from 1 to 100000, not '10' \(str\)"),
        ({"max_threads": True}, "max_threads must be .*, not True"),
        ({"max_threads": 0}, "max_threads must be"),
        ({"max_threads": 10.0}, "max_threads must be"),
        ({"max_threads": None}, "max_threads must be .*, not None"),
        ({"default_send_concurrency": -1}, "default_send_concurrency must be a whole number, 0 or more"),
        ({"results_expire_in": 0}, "results_expire_in must be a number of seconds, above 0"),
        ({"results_expire_in": -1}, "results_expire_in must be"),
        ({"results_expire_in": True}, "results_expire_in must be"),
        ({"results_expire_in": "1h"}, "results_expire_in must be"),
        ({"results_expire_in": float("nan")}, "results_expire_in must be"),
        ({"results_expire_in": float("inf")}, "results_expire_in must be"),
        ({"results_expire_in": 10**12}, "results_expire_in must be"),
        ({"results_expire_in": dt.timedelta(seconds=-1)}, "results_expire_in must be"),
        ({"no_unix_signals": 1}, "no_unix_signals must be true or false, not 1"),
        ({"no_unix_signals": "false"}, "no_unix_signals must be true or false"),
        ({"default_queue": ""}, "default_queue must be 1 to 200 characters"),
        ({"default_queue": "a b"}, "default_queue must be"),
        ({"default_queue": b"a"}, "default_queue must be"),
        ({"namespace": "{a}"}, "namespace must be"),
        ({"redis": {"max_active": 3}}, r"redis must be a RedisConfig\(\.\.\.\), not dict"),
        ({"lease": "x"}, "lease must be"),
        ({"lease": 10, "heartbeat": 6}, r"heartbeat \(6 s\) must be at most half of lease \(10 s\)"),
        ({"heartbeat": 0}, "heartbeat must be"),
        ({"max_message_size": 2**20 + 1}, "max_message_size must be a whole number from 1024 to 1048576"),
        ({"park_limit": -1}, "park_limit must be"),
        ({"shutdown_timeout": -1}, "shutdown_timeout must be"),
        ({"max_deliveries": 0}, "max_deliveries must be"),
    ],
)
def test_a_wrong_value_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(broker=URL, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_active": -1}, "redis.max_active must be"),
        ({"wait": 1}, "redis.wait must be"),
        ({"read_timeout": 0}, "redis.read_timeout must be a number of seconds, above 0"),
        ({"master_name": 7}, r"redis.master_name must be text, not 7 \(int\)"),
        ({"max_idel": 7}, "unknown key 'redis.max_idel': did you mean 'max_idle'?"),
    ],
)
def test_a_wrong_value_for_redis_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RedisConfig(**settings)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f":{SECRET}@localhost", "broker has no scheme: write a URL such as redis://localhost:6379/0"),
        ("", "broker has no scheme"),
        (f"redis:{SECRET}@localhost", "broker has no scheme"),
        (f"redis://:{SECRET} @localhost", "broker contains a space or control character"),
        (f"redis://:{SECRET}@localhost\n", "broker contains a space or control character"),
        (f"redis://:{SECRET}@localhost".encode(), "broker must be a URL as text, not bytes"),
        (None, "broker must be a URL as text, not NoneType"),
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(url: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Config(broker=url)

    assert SECRET not in str(caught.value)


def test_a_url_in_the_wrong_place_is_not_shown_either() -> None:
    with pytest.raises(ConfigError, match=r"max_threads must be .*, not a str$"):
        Config(broker=URL, max_threads=f"redis://:{SECRET}@localhost")  # type: ignore[arg-type]


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'defaultQueu': did you mean 'default_queue'\?"):
        Config(broker=URL, defaultQueu="a")  # type: ignore[call-arg]


def test_an_unknown_key_that_is_like_none_gets_the_list() -> None:
    with pytest.raises(ConfigError, match="unknown key 'xyzzy': the known ones are broker, lock"):
        Config(broker=URL, xyzzy=1)  # type: ignore[call-arg]


def test_a_broker_is_required_and_keywords_too() -> None:
    with pytest.raises(TypeError, match="broker"):
        Config()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Config(URL)  # type: ignore[call-arg]


def test_settings_cannot_be_assigned() -> None:
    with pytest.raises(AttributeError):
        Config(broker=URL).lease = 3  # type: ignore[misc]


def test_passwords_are_not_printed() -> None:
    config = Config(
        broker=f"redis://user:{SECRET}@localhost/1",
        lock=f"redis+socket://{SECRET}@/run/redis.sock",
        result_backend=f"redis://{SECRET}@a:1,b:2",
    )

    for text in (repr(config), str(config), f"{config}"):
        assert SECRET not in text
        assert "redis://***@localhost/1" in text


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("memory://", "memory://"),
        ("memory://name", "memory://name"),
        ("redis+socket:///run/redis.sock:/2", "redis+socket:///run/redis.sock:/2"),
        (f"redis://{SECRET}@localhost", "redis://***@localhost"),
        (f"redis://:{SECRET}@localhost", "redis://***@localhost"),
        (f"redis://user:{SECRET}@localhost", "redis://***@localhost"),
        (f"redis://user:{SECRET}/{SECRET}@localhost/3", "redis://***@localhost/3"),
        (f"redis://user:{SECRET}@{SECRET}@localhost", "redis://***@localhost"),
        (f"redis://a:1,{SECRET}@b:2", "redis://***@b:2"),
        (f"redis+socket://{SECRET}@/run/redis.sock", "redis+socket://***@/run/redis.sock"),
        (f"redis://user:{SECRET}", "redis://(not shown)"),
        (f"redis://:{SECRET}", "redis://(not shown)"),
        (f"redis://localhost/?password={SECRET}", "redis://(not shown)"),
        (f"redis://localhost#{SECRET}", "redis://(not shown)"),
        (f"redis:/:{SECRET}@localhost", "(not shown)"),
        (SECRET, "(not shown)"),
    ],
)
def test_a_url_is_printed_only_as_far_as_it_is_understood(url: str, printed: str) -> None:
    assert redact(url) == printed


@given(st.text(), st.text(), st.sampled_from(["redis", "rediss", "redis+socket"]))
def test_no_user_part_is_ever_printed(user: str, secret: str, scheme: str) -> None:
    printed = redact(f"{scheme}://{user}:{SECRET}{secret}@localhost:6379/0")

    assert SECRET not in printed


def test_equal_settings_are_equal_and_have_no_hash() -> None:
    assert Config(broker=URL) == Config(broker=URL, results_expire_in=3600.0)
    assert Config(broker=URL) != Config(broker=URL, lease=31)
    with pytest.raises(TypeError):
        hash(Config(broker=URL))


def test_copies_keep_the_settings(tmp_path: Any) -> None:
    file = tmp_path / "c.yml"
    file.write_text(f"broker: {URL}\nlease: 60\n")
    config = Config.from_yaml(file, reload=True)
    try:
        assert copy.deepcopy(config) == config
        assert pickle.loads(pickle.dumps(config)) == config
        assert attrs.evolve(config, lease=40).lease == 40
    finally:
        config.close()


def test_closing_without_a_file_is_harmless() -> None:
    config = Config(broker=URL)
    config.close()
    config.close()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DefaultQueue", "default_queue"),
        ("result_expires_in", "results_expire_in"),
        ("max_idle", "redis.max_idle"),
        ("redis.read-timeout", "redis.read_timeout"),
    ],
)
def test_the_hint_finds_what_was_meant(name: str, meant: str) -> None:
    known = ["broker", "default_queue", "results_expire_in", "redis.max_idle", "redis.read_timeout"]

    assert hint(name, known) == f"did you mean {meant!r}?"


def test_no_environment_is_read_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "VECNA_LEASE", "99")

    assert Config(broker=URL).lease == 30


def test_a_hurried_configuration_waits_no_longer_than_said_and_shorter_where_it_did() -> None:
    config = Config(broker="redis://localhost", redis=RedisConfig(read_timeout=1))
    config.hurry(5)

    assert (config.send_timeout, config.redis.connect_timeout, config.redis.write_timeout) == (5, 5, 5)
    assert config.redis.read_timeout == 1
