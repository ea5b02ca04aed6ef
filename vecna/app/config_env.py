"""Settings out of environment variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from vecna import log
from vecna.app.config_checks import Check, hint
from vecna.domain.errors import ConfigError

#: Documented names that differ from the one made of the key.
SYNONYMS: Final[Mapping[str, str]] = {
    "REDIS_IDLE_TIMEOUT": "redis.max_idle_timeout",
    "REDIS_CANCELEDTASKSKEY": "redis.canceled_tasks_key",
}


@attrs.frozen
class Found:
    """A setting that a file or the environment holds.

    Attributes:
        value: what it holds, already of the right type.
        origin: where, as an error names it.
    """

    value: Any
    origin: str


def variable_of(key: str) -> str:
    """The name of a setting's variable, without prefix: `redis.max_idle` is in `REDIS_MAX_IDLE`."""
    return key.replace(".", "_").upper()


def read_environment(environment: Mapping[str, str], prefix: str, checks: Mapping[str, Check]) -> dict[str, Found]:
    """What the environment says of each setting. An empty variable counts as not set.

    Args:
        environment: the variables.
        prefix: what their names begin with.
        checks: the settings, by key.

    Raises:
        ConfigError: a value is of the wrong type or out of range, or two names of one setting differ.
    """
    names = {prefix + variable_of(key): key for key in checks}
    names.update({prefix + name: key for name, key in SYNONYMS.items()})
    found: dict[str, Found] = {}
    for name, key in names.items():
        text = environment.get(name, "")
        if not text.strip():
            continue
        try:
            value = checks[key].parse(text, key)
            checks[key].check(value, key)
        except ConfigError as fault:
            raise ConfigError(f"{name}: {fault}") from None
        if key in found and found[key].value != value:
            raise ConfigError(f"{name} and {found[key].origin} are two names of {key} and differ: set one of them")
        found[key] = Found(value, name)
    if prefix:  # without, every variable of the machine would be unknown
        _warn_of_unknown((name for name in environment if name.startswith(prefix)), names)
    return found


def _warn_of_unknown(present: Iterable[str], names: Mapping[str, str]) -> None:
    for name in sorted(present):
        if name not in names:
            log.warning(f"{name} is set, but there is no such setting: {hint(name, names)}", variable=name)
