"""The settings of a server and its workers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import attrs

from vecna.app.config_checks import Flag, Name, Seconds, Text, Url, Whole, hint, redact, to_optional_seconds, to_seconds
from vecna.app.config_env import Found, read_environment, variable_of
from vecna.app.config_reload import Reloader
from vecna.app.config_secrets import Secrets, hidden, to_secrets
from vecna.domain.codec import MAX_MESSAGE
from vecna.domain.errors import ConfigError
from vecna.ports.clock import Clock

_REDIS: Final = {"section": "redis."}
_NO_EFFECT: Final = {"section": "redis.", "effect": False}
_LIVE: Final = {"live": True}  # may change while the program runs


def _refuse_unknown(cls: type[attrs.AttrsInstance], names: Mapping[str, object], section: str = "") -> None:
    known = [attribute.name for attribute in attrs.fields(cls) if attribute.init]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown key {section + name!r}: {hint(name, known)}")


@attrs.frozen(kw_only=True)
class RedisConfig:
    """Settings of the Redis adapter: the documented keys of the original, with its defaults.

    Timeouts are timedelta or seconds, and are kept as numbers of seconds; poll periods are whole milliseconds.

    Attributes:
        max_idle: no effect: idle connections are kept for reuse, as many as were once needed.
        max_active: how many connections one process keeps for its calls at most, for each URL; 0: no limit. Those that
            wait for work and for results come on top, one each, and up to four for each event loop that sends.
        max_idle_timeout: no effect: a connection that was idle is tested before it is used again.
        wait: at `max_active`, wait up to `connect_timeout` for a connection to come free; False: `BrokerUnavailable` at
            once.
        read_timeout: how long to wait for the reply to a command.
        write_timeout: how long the system waits until what was sent is acknowledged, before it gives the connection up
            (TCP on Linux; elsewhere `read_timeout` holds for sending, too).
        connect_timeout: how long to wait for a connection.
        normal_tasks_poll_period: no effect, milliseconds: workers are woken; see `poll_interval`.
        delayed_tasks_poll_period: no effect, milliseconds: workers know when the next task is due.
        delayed_tasks_key: no effect: keys are made of `namespace` and the queue's name.
        delayed_tasks_cache_key: no effect, as `delayed_tasks_key`.
        periodic_tasks_key: no effect, as `delayed_tasks_key`.
        canceled_tasks_key: no effect, as `delayed_tasks_key`.
        master_name: name of the master; the hosts of the URL are then Sentinels. Empty: they are none.

    Raises:
        ConfigError: an unknown key, a wrong type or range.
    """

    max_idle: int = attrs.field(default=10, validator=Whole(), metadata=_NO_EFFECT)
    max_active: int = attrs.field(default=100, validator=Whole(), metadata=_REDIS)
    max_idle_timeout: float = attrs.field(
        default=300, converter=to_seconds, validator=Seconds(zero=True), metadata=_NO_EFFECT
    )
    wait: bool = attrs.field(default=True, validator=Flag(), metadata=_REDIS)
    read_timeout: float = attrs.field(default=15, converter=to_seconds, validator=Seconds(), metadata=_REDIS)
    write_timeout: float = attrs.field(default=15, converter=to_seconds, validator=Seconds(), metadata=_REDIS)
    connect_timeout: float = attrs.field(default=15, converter=to_seconds, validator=Seconds(), metadata=_REDIS)
    normal_tasks_poll_period: int = attrs.field(default=1000, validator=Whole(), metadata=_NO_EFFECT)
    delayed_tasks_poll_period: int = attrs.field(default=20, validator=Whole(), metadata=_NO_EFFECT)
    delayed_tasks_key: str = attrs.field(default="", validator=Text(), metadata=_NO_EFFECT)
    delayed_tasks_cache_key: str = attrs.field(default="", validator=Text(), metadata=_NO_EFFECT)
    periodic_tasks_key: str = attrs.field(default="", validator=Text(), metadata=_NO_EFFECT)
    canceled_tasks_key: str = attrs.field(default="", validator=Text(), metadata=_NO_EFFECT)
    master_name: str = attrs.field(default="", validator=Text(), metadata=_REDIS)

    def __new__(cls, *_: object, **settings: object) -> Self:
        """Refuse unknown keys with the nearest known one."""
        _refuse_unknown(cls, settings, "redis.")
        return object.__new__(cls)


def _third_of_lease(config: Config) -> float:
    # Before the checks have run: a wrong lease is reported as that.
    return config.lease / 3 if type(config.lease) in (int, float) else 10


def _is_redis(_: object, __: object, value: object) -> None:
    if not isinstance(value, RedisConfig):
        raise ConfigError(f"redis must be a RedisConfig(...), not {type(value).__name__}")


@attrs.frozen(kw_only=True, slots=False, unsafe_hash=False)
class Config:
    """The settings of a server and its workers. Read-only; `from_yaml(..., reload=True)` may change it, see there.

    Durations are timedelta or seconds, and are kept as numbers of seconds.

    Attributes:
        broker: URL of where messages are kept.
        lock: URL of where locks are kept; the broker's if left out.
        result_backend: URL of where states and results are kept; the broker's if left out.
        default_queue: the queue of tasks that name none.
        results_expire_in: how long states and results are kept after the end of their task or workflow.
        redis: settings of the Redis adapter.
        no_unix_signals: whether `Worker.launch` leaves SIGINT and SIGTERM alone.
        default_send_concurrency: how many members of a group are sent at a time when the call says None; 0: no limit.
        send_timeout: how long a send tries to reach the broker before it raises `BrokerUnavailable`.
        max_threads: how many functions a worker without a limit of its own runs at a time; read when it starts.
        namespace: what all names in a store begin with; servers of different namespaces do not see each other.
        lease: how long a worker that has gone silent keeps its tasks, before others run them.
        heartbeat: how often a worker extends its leases, at most half of `lease`; a third of it if left out.
        max_deliveries: how many leases of a task may run out, as when it kills its worker, before it becomes a dead
            letter.
        max_message_size: the longest message that is sent, bytes.
        dead_letter_limit: how many dead letters a queue keeps; the oldest are dropped.
        park_limit: how often a message is put back because no worker here knows its task, before it ends as FAILURE;
            left out: for ever.
        shutdown_timeout: how long a worker that was told to stop waits for its tasks before it hands them back; left
            out: as long as they take.
        hard_timeout: how long a run without a `timeout` may take in a worker group before its process is killed; with
            one it is that and a `lease` more.
        poll_interval: the longest that an idle worker waits before it looks into its queues, and for schedules, without
            having been woken.
        publish_timeout: how long the sending of a group may take before it counts as given up.
        signing_keys: secrets of at least 16 characters, separated by commas. With them every message is signed with the
            first one, and a worker runs only what was signed with one of them. Never printed.
        schedules: whether workers fire the schedules that are due; some must, for any to be fired.

    Raises:
        ConfigError: an unknown key, a wrong type or range, something that is no URL.
    """

    broker: str = attrs.field(validator=Url(), repr=redact)
    lock: str = attrs.field(default="", validator=Url(optional=True), repr=redact)
    result_backend: str = attrs.field(default="", validator=Url(optional=True), repr=redact)
    default_queue: str = attrs.field(default="vecna_tasks", validator=Name())
    results_expire_in: float = attrs.field(default=3600, converter=to_seconds, validator=Seconds(), metadata=_LIVE)
    redis: RedisConfig = attrs.field(factory=RedisConfig, validator=_is_redis)
    no_unix_signals: bool = attrs.field(default=False, validator=Flag())
    default_send_concurrency: int = attrs.field(default=100, validator=Whole(), metadata=_LIVE)
    send_timeout: float = attrs.field(default=30, converter=to_seconds, validator=Seconds(), metadata=_LIVE)
    max_threads: int = attrs.field(default=1000, validator=Whole(least=1, most=100_000), metadata=_LIVE)
    namespace: str = attrs.field(default="vecna", validator=Name())
    lease: float = attrs.field(default=30, converter=to_seconds, validator=Seconds())
    heartbeat: float = attrs.field(
        default=attrs.Factory(_third_of_lease, takes_self=True),
        converter=to_seconds,
        validator=Seconds(),
    )
    max_deliveries: int = attrs.field(default=5, validator=Whole(least=1), metadata=_LIVE)
    max_message_size: int = attrs.field(default=262_144, validator=Whole(least=1024, most=MAX_MESSAGE), metadata=_LIVE)
    dead_letter_limit: int = attrs.field(default=10_000, validator=Whole(least=1))
    park_limit: int | None = attrs.field(default=None, validator=Whole(optional=True), metadata=_LIVE)
    shutdown_timeout: float | None = attrs.field(
        default=None, converter=to_optional_seconds, validator=Seconds(optional=True, zero=True), metadata=_LIVE
    )
    hard_timeout: float = attrs.field(default=86_400, converter=to_seconds, validator=Seconds(), metadata=_LIVE)
    poll_interval: float = attrs.field(default=5, converter=to_seconds, validator=Seconds(), metadata=_LIVE)
    publish_timeout: float = attrs.field(default=60, converter=to_seconds, validator=Seconds(), metadata=_LIVE)
    signing_keys: tuple[str, ...] = attrs.field(
        default=(), converter=to_secrets, validator=Secrets(), repr=hidden, metadata=_LIVE
    )
    schedules: bool = attrs.field(default=True, validator=Flag(), metadata=_LIVE)
    _origins: Mapping[str, str] = attrs.field(init=False, factory=dict, eq=False, repr=False)
    _reloader: Reloader | None = attrs.field(init=False, default=None, eq=False, repr=False)

    __hash__ = None  # type: ignore[assignment]  # equal by value, and a value may change

    def __new__(cls, *_: object, **settings: object) -> Self:
        """Refuse unknown keys with the nearest known one."""
        _refuse_unknown(cls, settings)
        return object.__new__(cls)

    def __attrs_post_init__(self) -> None:
        for name in ("lock", "result_backend"):
            if not getattr(self, name):
                object.__setattr__(self, name, self.broker)
        if self.heartbeat > self.lease / 2:
            raise ConfigError(
                f"heartbeat ({self.heartbeat:g} s) must be at most half of lease ({self.lease:g} s), so that one that "
                "is lost ends no lease"
            )

    def __getstate__(self) -> dict[str, object]:
        # A copy, also one in another process, is not kept up to date: its thread is not its own.
        return {**vars(self), "_reloader": None}

    @classmethod
    def from_env(cls, prefix: str = "VECNA_", *, environment: Mapping[str, str] | None = None) -> Config:
        """Read the settings from environment variables: `VECNA_BROKER`, `VECNA_REDIS_MAX_ACTIVE` and so on.

        Args:
            prefix: what the names of the variables begin with; "" for the documented names as they stand. An unknown
                variable under a prefix is warned of.
            environment: the variables; those of this process if left out.

        Raises:
            ConfigError: no broker, a wrong type or range; it names the variable.
        """
        found = read_environment(os.environ if environment is None else environment, prefix, CHECKS)
        if "broker" not in found:
            raise ConfigError(
                f"no broker is configured: set {prefix}{variable_of('broker')} to a URL such as "
                'redis://localhost:6379/0, or pass one: Server("memory://")'
            )
        return cls._of(found, "environment")

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], reload: bool = False, *, clock: Clock | None = None) -> Config:
        """Read the settings from a YAML file of at most 256 KiB.

        Args:
            path: the file.
            reload: read it again every 10 seconds in a daemon thread, until `close`. URLs, `namespace`,
                `default_queue`, `lease`, `heartbeat`, `dead_letter_limit`, `no_unix_signals` and all below `redis` keep
                their values (one log line); everything else changes at once, together. A bad file changes nothing
                (one log line).
            clock: who counts the 10 seconds; the machine's clock if left out.

        Raises:
            ConfigError: not readable, not YAML, an unknown key, a wrong type or range; it names file and line.
        """
        from vecna.app.config_yaml import parse_yaml, read_file  # takes a tenth of the time to import vecna

        file = Path(path)
        content = read_file(file)

        def parse(content: bytes) -> Config:
            found = parse_yaml(content, file, CHECKS)
            if "broker" not in found:
                raise ConfigError(f"{file}: broker is missing: give a URL such as redis://localhost:6379/0")
            return cls._of(found, str(file))

        config = parse(content)
        if reload:
            wait: Callable[[threading.Event, float], bool] = clock.wait if clock else threading.Event.wait
            reloader = Reloader(config, content, lambda: read_file(file), parse, str(file), wait)
            object.__setattr__(config, "_reloader", reloader)
        return config

    def close(self) -> None:
        """Stop reading the file again. May be repeated; harmless where there is none."""
        if self._reloader:
            self._reloader.close()

    def hurry(self, seconds: float) -> None:
        """Have calls of servers that are not opened yet give up after so many seconds, where they would try longer.

        For programs that somebody waits for; it changes this object.
        """
        limits = ("read_timeout", "write_timeout", "connect_timeout")
        redis = attrs.evolve(self.redis, **{name: min(getattr(self.redis, name), seconds) for name in limits})
        sooner = {"redis": redis, "send_timeout": min(self.send_timeout, seconds)}
        object.__setattr__(self, "__dict__", {**vars(self), **sooner})

    def origin_of(self, key: str) -> str:
        """Where a setting was read, for errors: a variable, or file and line; "" if it was given in the program."""
        return self._origins.get(key, "")

    @classmethod
    def _of(cls, found: Mapping[str, Found], source: str) -> Config:
        redis = {key.removeprefix("redis."): each.value for key, each in found.items() if key.startswith("redis.")}
        settings: dict[str, Any] = {key: each.value for key, each in found.items() if "." not in key}
        try:
            config = cls(**settings, redis=RedisConfig(**redis))
        except ConfigError as fault:  # each value for itself was good
            raise ConfigError(f"{source}: {fault}") from None
        object.__setattr__(config, "_origins", {key: each.origin for key, each in found.items()})
        return config


def _checks() -> dict[str, Any]:
    redis = {f"redis.{attribute.name}": attribute.validator for attribute in attrs.fields(RedisConfig)}
    own = {a.name: a.validator for a in attrs.fields(Config) if a.init and a.name != "redis"}
    return {**own, **redis}


#: Every setting that files and the environment may hold, and what it takes.
CHECKS: Final = _checks()
