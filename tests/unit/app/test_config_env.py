import logging
import operator
from typing import Any

import pytest

from vecna.app.config import CHECKS, Config
from vecna.app.config_checks import Flag, Name, Seconds, Text, Url, Whole
from vecna.app.config_env import variable_of
from vecna.app.config_secrets import Secrets
from vecna.domain.errors import ConfigError

URL = "redis://localhost:6379/0"
SECRET = "c4n4ry"
KEY = "at-least-16-characters"


def read(prefix: str = "VECNA_", **environment: str) -> Config:
    return Config.from_env(prefix, environment=environment)


def test_the_settings_come_from_variables_named_like_the_keys() -> None:
    config = read(
        VECNA_BROKER=URL,
        VECNA_LOCK="memory://l",
        VECNA_RESULT_BACKEND="memory://r",
        VECNA_DEFAULT_QUEUE="q",
        VECNA_RESULTS_EXPIRE_IN="60",
        VECNA_NO_UNIX_SIGNALS="true",
        VECNA_DEFAULT_SEND_CONCURRENCY="7",
        VECNA_SEND_TIMEOUT="2.5",
        VECNA_PARK_LIMIT="3",
        VECNA_REDIS_MAX_ACTIVE="0",
        VECNA_REDIS_WAIT="false",
        VECNA_REDIS_MASTER_NAME="main",
        VECNA_REDIS_READ_TIMEOUT="5",
    )

    assert (config.broker, config.lock, config.result_backend) == (URL, "memory://l", "memory://r")
    assert (config.default_queue, config.results_expire_in, config.no_unix_signals) == ("q", 60, True)
    assert (config.default_send_concurrency, config.send_timeout, config.park_limit) == (7, 2.5, 3)
    assert (config.redis.max_active, config.redis.wait, config.redis.master_name) == (0, False, "main")
    assert config.redis.read_timeout == 5
    assert type(config.results_expire_in) is int


def test_without_prefix_the_documented_names_are_read_as_they_stand(caplog: pytest.LogCaptureFixture) -> None:
    config = read("", BROKER=URL, DEFAULT_QUEUE="q", REDIS_IDLE_TIMEOUT="9", REDIS_CANCELEDTASKSKEY="c", PATH="/bin")

    assert (config.default_queue, config.redis.max_idle_timeout, config.redis.canceled_tasks_key) == ("q", 9, "c")
    assert caplog.records == []


@pytest.mark.parametrize("name", ["VECNA_REDIS_IDLE_TIMEOUT", "VECNA_REDIS_MAX_IDLE_TIMEOUT"])
def test_both_names_of_the_idle_timeout_are_read(name: str) -> None:
    assert read(VECNA_BROKER=URL, **{name: "9"}).redis.max_idle_timeout == 9


@pytest.mark.parametrize("name", ["VECNA_REDIS_CANCELEDTASKSKEY", "VECNA_REDIS_CANCELED_TASKS_KEY"])
def test_both_names_of_the_canceled_tasks_key_are_read(name: str) -> None:
    assert read(VECNA_BROKER=URL, **{name: "k"}).redis.canceled_tasks_key == "k"


def test_two_names_of_one_setting_must_agree() -> None:
    both = {"VECNA_REDIS_IDLE_TIMEOUT": "9", "VECNA_REDIS_MAX_IDLE_TIMEOUT": "9"}

    assert read(VECNA_BROKER=URL, **both).redis.max_idle_timeout == 9
    with pytest.raises(ConfigError, match=r"VECNA_REDIS_IDLE_TIMEOUT and VECNA_REDIS_MAX_IDLE_TIMEOUT .* differ"):
        read(VECNA_BROKER=URL, **{**both, "VECNA_REDIS_IDLE_TIMEOUT": "8"})


@pytest.mark.parametrize("key", CHECKS)
def test_every_setting_has_its_variable(key: str) -> None:
    examples = {Url: "memory://x", Name: "x", Text: "x", Flag: "true", Whole: "1024", Seconds: "14", Secrets: KEY}
    variable = f"X_{variable_of(key)}"
    config = read("X_", **{"X_BROKER": URL, variable: examples[type(CHECKS[key])]})

    assert config.origin_of(key) == variable
    assert operator.attrgetter(key)(config) in ("memory://x", "x", True, 1024, 14, (KEY,))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MAX_THREADS", "many", r"VECNA_MAX_THREADS: max_threads must be a whole number .*, not 'many' \(str\)"),
        ("MAX_THREADS", "1.5", "VECNA_MAX_THREADS: max_threads must be a whole number"),
        ("MAX_THREADS", "1_000", "VECNA_MAX_THREADS"),
        ("MAX_THREADS", "٣", "VECNA_MAX_THREADS"),
        ("MAX_THREADS", "-1", r"VECNA_MAX_THREADS: .*, not -1 \(int\)"),
        ("RESULTS_EXPIRE_IN", "1h", "VECNA_RESULTS_EXPIRE_IN: results_expire_in must be a number of seconds"),
        ("RESULTS_EXPIRE_IN", "nan", "VECNA_RESULTS_EXPIRE_IN"),
        ("RESULTS_EXPIRE_IN", "1e999", "VECNA_RESULTS_EXPIRE_IN"),
        ("RESULTS_EXPIRE_IN", "9" * 5000, "VECNA_RESULTS_EXPIRE_IN"),
        ("NO_UNIX_SIGNALS", "perhaps", "VECNA_NO_UNIX_SIGNALS: no_unix_signals must be true or false, not 'perhaps'"),
        ("DEFAULT_QUEUE", "a b", "VECNA_DEFAULT_QUEUE: default_queue must be"),
        ("REDIS_MAX_ACTIVE", "x", "VECNA_REDIS_MAX_ACTIVE: redis.max_active must be"),
        ("LOCK", f":{SECRET}@h", "VECNA_LOCK: lock has no scheme"),
        ("HEARTBEAT", "20", "environment: heartbeat .* must be at most half of lease"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_variable(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(VECNA_BROKER=URL, **{f"VECNA_{name}": text})

    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["1", "true", "True", "TRUE", "t", "yes", "on", " true "])
def test_true_may_be_spelt_in_several_ways(text: str) -> None:
    assert read(VECNA_BROKER=URL, VECNA_NO_UNIX_SIGNALS=text).no_unix_signals is True


@pytest.mark.parametrize("text", ["0", "false", "F", "no", "off"])
def test_false_may_be_spelt_in_several_ways(text: str) -> None:
    assert read(VECNA_BROKER=URL, VECNA_REDIS_WAIT=text).redis.wait is False


def test_an_empty_variable_counts_as_not_set() -> None:
    config = read(VECNA_BROKER=URL, VECNA_LOCK="", VECNA_MAX_THREADS=" ", VECNA_PARK_LIMIT="")

    assert (config.lock, config.max_threads, config.park_limit) == (URL, 1000, None)


@pytest.mark.parametrize("environment", [{}, {"VECNA_BROKER": ""}, {"BROKER": URL}])
def test_nothing_configured_names_the_variable_and_the_embedded_way(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"set VECNA_BROKER .* Server\(\"memory://\"\)"):
        read(**environment)


def test_nothing_configured_names_the_variable_under_the_prefix_asked_for() -> None:
    with pytest.raises(ConfigError, match="set APP_BROKER"):
        read("APP_")


def test_an_unknown_variable_under_the_prefix_is_warned_of_once_with_the_nearest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environment: dict[str, Any] = {"VECNA_BROKR": f"redis://:{SECRET}@h", "VECNAX": "1", "OTHER": "1"}
    read(VECNA_BROKER=URL, **environment)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "VECNA_BROKR is set, but there is no such setting: did you mean 'VECNA_BROKER'?"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECNA_BROKER", "memory://here")

    assert Config.from_env().broker == "memory://here"


def test_the_origin_of_each_setting_is_known() -> None:
    config = read(VECNA_BROKER=URL)

    assert (config.origin_of("broker"), config.origin_of("lease")) == ("VECNA_BROKER", "")
