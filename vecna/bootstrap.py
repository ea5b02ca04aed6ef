"""The one place that knows both the application and the adapters: settings in, a wired server out."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Final, cast

from vecna.adapters.clock import SystemClock
from vecna.app import server as app
from vecna.app.config import Config
from vecna.app.config_checks import NOT_SHOWN, nearest, redact, scheme_of
from vecna.domain.errors import ConfigError
from vecna.domain.ids import ALLOWED
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock
from vecna.ports.lock import Lock
from vecna.ports.values import Adapters

#: Other schemes come with packages that have an entry point in this group: `scheme = "package:factory"`.
GROUP: Final = "vecna.adapters"

Factory = Callable[[str, Config, Clock], Adapters]

_REDIS: Final = "vecna.adapters.redis:connect"
_BUILT_IN: Final[Mapping[str, str]] = {
    "memory": "vecna.adapters.memory:connect",
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+socket": _REDIS,
}


class Server(app.Server):
    """Registers tasks, sends them, and makes workers that run them. Opens nothing until it is first used.

    Args:
        config: a URL for everything, e.g. `redis://localhost:6379/0` or `memory://` (inside this process), or a
            Config; left out: `Config.from_env()`.
        broker: used instead of what the configuration names; the other ports likewise.
        backend: for states and results.
        lock: for mutual exclusion.
        clock: where all time comes from.

    Raises:
        ConfigError: nothing is configured, or a URL cannot be used.
    """

    def __init__(
        self,
        config: Config | str | None = None,
        *,
        broker: Broker | None = None,
        backend: Backend | None = None,
        lock: Lock | None = None,
        clock: Clock | None = None,
    ) -> None:
        _check_port("broker", broker, Broker)
        _check_port("backend", backend, Backend)
        _check_port("lock", lock, Lock)
        _check_port("clock", clock, Clock)
        settings = _settings(config, needs_url=None in (broker, backend, lock))
        super().__init__(settings, prepare(settings, clock, broker=broker, backend=backend, lock=lock))
        used = [url for url, port in ((settings.broker, broker), (settings.result_backend, backend)) if port is None]
        self._within_process = "memory" in map(scheme_of, used)

    @property
    def within_process(self) -> bool:
        """Whether messages or results are kept in this process only, so that no worker in another one can serve it."""
        return self._within_process


def connect(config: Config, clock: Clock | None = None) -> Adapters:
    """The ports for the URLs of a configuration; equal URLs share one set of adapters.

    Args:
        config: its `broker`, `result_backend` and `lock`.
        clock: where the adapters get their time from; the machine's clock if left out.

    Raises:
        ConfigError: a URL cannot be used.
    """
    return prepare(config, clock)()


def prepare(
    config: Config,
    clock: Clock | None = None,
    *,
    broker: Broker | None = None,
    backend: Backend | None = None,
    lock: Lock | None = None,
) -> Callable[[], Adapters]:
    """Check the URLs, without opening anything.

    Args:
        config: as in `connect`.
        clock: as in `connect`.
        broker: used instead of what the URL names, which is not looked at then; the other ports likewise.
        backend: for states and results.
        lock: for mutual exclusion.

    Returns:
        What makes the ports. Each call makes new ones, so that each process has its own.

    Raises:
        ConfigError: a URL cannot be used; it names the setting and where that was read.
    """
    ports = {"broker": broker, "result_backend": backend, "lock": lock}
    urls = {key: getattr(config, key) for key, port in ports.items() if port is None}
    factories = {url: _factory_of(key, url, config) for key, url in urls.items()}

    def wire() -> Adapters:
        made = {url: factory(url, config, clock or SystemClock()) for url, factory in factories.items()}
        return Adapters(
            broker=broker or made[urls["broker"]].broker,
            backend=backend or made[urls["result_backend"]].backend,
            lock=lock or made[urls["lock"]].lock,
            clock=clock or (made[urls["broker"]].clock if "broker" in urls else SystemClock()),
        )

    return wire


def _settings(config: object, needs_url: bool) -> Config:
    if isinstance(config, Config):
        return config
    if isinstance(config, str):
        return Config(broker=config)
    if config is not None:
        raise ConfigError(
            f'Server takes a URL or a Config, not {type(config).__name__}: Server("redis://localhost:6379/0"), '
            'Server("memory://") or Server(Config.from_yaml("config.yml"))'
        )
    # With every port given nothing needs to be configured, but may be.
    environment = os.environ if needs_url else {"VECNA_BROKER": "memory://", **os.environ}
    return Config.from_env(environment=environment)


def _check_port(name: str, port: object, kind: type) -> None:
    if port is not None and not isinstance(port, kind):
        raise ConfigError(
            f"{name} takes a vecna.ports.{kind.__name__}, not {type(port).__name__}; "
            "URLs go into Config(broker=..., result_backend=..., lock=...)"
        )


def _factory_of(key: str, url: str, config: Config) -> Factory:
    scheme = scheme_of(url)
    try:
        if scheme == "memory":
            _check_memory(url)
        elif scheme in _BUILT_IN:
            _check_redis(url, config)
        return _load(scheme)
    except ConfigError as fault:
        origin = config.origin_of(key) or config.origin_of("broker")
        raise ConfigError(f"{origin}: {key}: {fault}" if origin else f"{key}: {fault}") from fault.__cause__


def _check_memory(url: str) -> None:
    name = url[len("memory://") :]
    if name and not ALLOWED.fullmatch(name):
        raise ConfigError("write memory://, or memory://name with a name of A-Z a-z 0-9 _ . : @ / -")


def _check_redis(url: str, config: Config) -> None:
    from vecna.adapters.redis.address import parse_url

    try:
        parse_url(url, config.redis.master_name)
    except ConfigError:
        if not redact(url).endswith(NOT_SHOWN):
            raise
        # The error may repeat what follows the user part, and here that may be a password in the wrong place.
        raise ConfigError(
            "the URL is not understood, and not shown because there may be a password in it: write "
            "redis://[[user:]password@]host[:port][/db], rediss://... or redis+socket://[password@]/path/to/file.sock; "
            "special characters percent-encoded, no query (?...)"
        ) from None


def _load(scheme: str) -> Factory:
    if scheme in _BUILT_IN:
        module, _, name = _BUILT_IN[scheme].partition(":")
        return cast(Factory, getattr(importlib.import_module(module), name))
    from importlib.metadata import entry_points  # takes a fifth of the time to import vecna

    others = {point.name.lower(): point for point in entry_points(group=GROUP)}
    if scheme not in others:
        known = (*_BUILT_IN, *sorted(others))
        meant = nearest(scheme, known)
        raise ConfigError(
            f"unknown scheme {scheme[:40]!r}{f', did you mean {meant!r}?' if meant else ':'} "
            f"Known are {', '.join(known)}; others come "
            f"with packages that have an entry point in the group {GROUP!r}"
        )
    point = others[scheme]
    try:
        factory = point.load()
    except Exception as fault:
        raise ConfigError(
            f"the adapter for {scheme!r}, {point.value}, cannot be loaded: {type(fault).__name__}: {fault}"
        ) from fault
    if not callable(factory):
        raise ConfigError(f"the adapter for {scheme!r}, {point.value}, is no function factory(url, config, clock)")
    return cast(Factory, factory)
