"""The server that a command looks into: named by options, or by the environment."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from vecna.adapters.memory import MemoryBroker
from vecna.app.config import Config
from vecna.app.server import Server
from vecna.bootstrap import Server as Wired
from vecna.cli.target import load_server
from vecna.domain.errors import ConfigError

_VARIABLE: Final = "VECNA_BROKER"
_OPTIONS: Final = (
    click.option("--app", "-A", metavar="MODULE:SERVER", help="The server of a program, e.g. app.tasks:server."),
    click.option("--broker", metavar="URL", help="URL of the broker; all other settings from VECNA_* variables."),
    click.option("--config", metavar="FILE", help="A YAML file of settings."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=5.0,
        show_default=True,
        help="Seconds after which a store that does not answer counts as away.",
    ),
)


def with_server(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command the options that name a server, and the server itself, open, as first argument."""

    @functools.wraps(command)
    def call(
        *args: Any, app: str | None, broker: str | None, config: str | None, timeout: float, **options: Any
    ) -> int | None:
        server = _find(app, broker, config)
        server.config.hurry(timeout)
        logging.getLogger("vecna").setLevel(logging.ERROR)  # what goes wrong from here on is one line of our own
        with server:
            if isinstance(server.broker, MemoryBroker):
                raise click.UsageError(
                    "what a memory:// server holds is inside its own process, and the command line is another one: "
                    "look from there (server.queue_counts()), or use a store that processes share"
                )
            return command(server, *args, **options)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


def _find(app: str | None, broker: str | None, config: str | None) -> Server:
    """The server of the one option that was given; that of the environment if none was.

    Raises:
        click.UsageError: more than one, or nothing is configured.
        ConfigError: what is configured cannot be used.
    """
    given = [f"--{name}" for name, value in (("app", app), ("broker", broker), ("config", config)) if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} name a server each: give one of them")
    if app is not None:
        return load_server(app)
    if config is not None:
        return Wired(Config.from_yaml(Path(config)))
    if broker is not None:
        try:
            return Wired(Config.from_env(environment={**os.environ, _VARIABLE: broker}))
        except ConfigError as fault:
            raise ConfigError(str(fault).replace(_VARIABLE, "--broker")) from None
    if not os.environ.get(_VARIABLE, "").strip():
        raise click.UsageError(
            f"no server is named: give --app module:server, --broker URL or --config FILE, or set {_VARIABLE}"
        )
    return Wired()
