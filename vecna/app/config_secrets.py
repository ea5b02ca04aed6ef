"""Settings that nobody may see: their errors and their `repr` never show a value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from vecna.app.config_checks import Check
from vecna.domain.errors import ConfigError

_LEAST: Final = 16  # characters


@attrs.frozen
class Secrets(Check):
    """Secrets, as a list of texts or as one text with commas between them."""

    def check(self, value: object, key: str) -> None:
        """See `Check.check`; the value is not repeated."""
        if not self.fits(value):
            raise ConfigError(f"{key} must be {self.wanted} (not shown)")

    def fits(self, value: object) -> bool:
        """Each long enough to be one."""
        secrets = to_secrets(value)
        return type(secrets) is tuple and all(type(each) is str and len(each) >= _LEAST for each in secrets)

    @property
    def wanted(self) -> str:
        """In words."""
        return f"secrets of at least {_LEAST} characters each, separated by commas"


def to_secrets(value: object) -> tuple[str, ...]:
    """A text with commas, or a list of texts, as a tuple; what is neither stays, for the check to refuse."""
    if isinstance(value, str):
        return tuple([part.strip() for part in value.split(",")] if value.strip() else ())
    if isinstance(value, Iterable) and not isinstance(value, bytes | dict):
        return tuple(value)
    return value  # type: ignore[return-value]  # refused by the check


def hidden(secrets: object) -> str:
    """How a `repr` shows them: whether there are any."""
    return "***" if secrets else "()"
