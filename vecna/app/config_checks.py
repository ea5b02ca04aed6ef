"""What each setting takes: its check, how an environment variable spells it, and how an error speaks of it."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Final

import attrs

from vecna.domain.durations import to_duration
from vecna.domain.errors import ConfigError
from vecna.domain.ids import ALLOWED

SHOWN: Final = 60  # characters of a wrong value that an error repeats
NOT_SHOWN: Final = "(not shown)"  # instead of a URL that is not understood
_REDIS: Final = frozenset(("redis", "rediss", "redis+socket"))
_TRUE: Final = frozenset(("1", "true", "t", "yes", "y", "on"))
_FALSE: Final = frozenset(("0", "false", "f", "no", "n", "off"))
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
# What may stand behind the user part of a URL that is shown: hosts, a port, a path. Anything else may be a secret in
# the wrong place.
_HOSTS: Final = re.compile(r"(?:[A-Za-z0-9.\-_]+|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{1,5})?")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._:\-]*)*")


@attrs.frozen
class Check(ABC):
    """Checks one setting; an attrs validator.

    Attributes:
        optional: whether None is a value, too.
    """

    optional: bool = False

    def __call__(self, _: object, attribute: attrs.Attribute[Any], value: object) -> None:
        """Check the value of a field.

        Raises:
            ConfigError: wrong type or out of range.
        """
        self.check(value, key_of(attribute))

    def check(self, value: object, key: str) -> None:
        """Check the value of the setting `key`.

        Raises:
            ConfigError: wrong type or out of range.
        """
        if not (value is None and self.optional) and not self.fits(value):
            raise ConfigError(f"{key} must be {self.wanted}, not {shown(value)}")

    def parse(self, text: str, key: str) -> object:
        """The value that an environment variable spells.

        Raises:
            ConfigError: it spells none.
        """
        try:
            return self.read(text.strip())
        except ValueError:
            raise ConfigError(f"{key} must be {self.wanted}, not {shown(text)}") from None

    @abstractmethod
    def fits(self, value: object) -> bool:
        """Whether the value has the right type and range."""

    def read(self, text: str) -> object:
        """The value of this spelling; ValueError if it is none."""
        return text

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What the setting takes, in words."""


@attrs.frozen
class Whole(Check):
    """A whole number, from `least` to `most` (None: no limit)."""

    least: int = attrs.field(default=0, kw_only=True)
    most: int | None = attrs.field(default=None, kw_only=True)

    def fits(self, value: object) -> bool:
        """An int, and not a bool."""
        return type(value) is int and value >= self.least and (self.most is None or value <= self.most)

    def read(self, text: str) -> object:
        """Digits."""
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise ValueError
        return int(text)

    @property
    def wanted(self) -> str:
        """In words."""
        most = "" if self.most is None else f" to {self.most}"
        return f"a whole number from {self.least}{most}" if most else f"a whole number, {self.least} or more"


@attrs.frozen
class Seconds(Check):
    """A duration: a number of seconds, 0 allowed only if `zero`."""

    zero: bool = attrs.field(default=False, kw_only=True)

    def fits(self, value: object) -> bool:
        """An int or float, and not a bool."""
        try:
            return type(value) in (int, float) and (to_duration(value, "") > dt.timedelta(0) or self.zero)
        except ValueError:
            return False

    def read(self, text: str) -> object:
        """Digits, perhaps with a fraction."""
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            return int(text)
        value = float(text)
        if not math.isfinite(value):
            raise ValueError
        return value

    @property
    def wanted(self) -> str:
        """In words."""
        return f"a number of seconds, {'0 or more' if self.zero else 'above 0'}"


@attrs.frozen
class Flag(Check):
    """True or False."""

    def fits(self, value: object) -> bool:
        """A bool, and nothing else."""
        return type(value) is bool

    def read(self, text: str) -> object:
        """As one writes it: 1, true, yes, on, and their opposites."""
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise ValueError

    @property
    def wanted(self) -> str:
        """In words."""
        return "true or false"


@attrs.frozen
class Text(Check):
    """Any text."""

    def fits(self, value: object) -> bool:
        """A str."""
        return type(value) is str

    @property
    def wanted(self) -> str:
        """In words."""
        return "text"


@attrs.frozen
class Name(Check):
    """A name within the rule for ids."""

    def fits(self, value: object) -> bool:
        """A str of the allowed characters."""
        return type(value) is str and ALLOWED.fullmatch(value) is not None

    @property
    def wanted(self) -> str:
        """In words."""
        return "1 to 200 characters of A-Z a-z 0-9 _ . : @ / -, beginning with a letter or digit"


@attrs.frozen
class Url(Check):
    """A URL by its outer form (or none at all, if optional); the rest is checked by the adapter of its scheme.

    Its errors never repeat the value: it may hold a password.
    """

    def check(self, value: object, key: str) -> None:
        """See `Check.check`."""
        if self.optional and (value is None or value == ""):
            return
        if type(value) is not str:
            raise ConfigError(f"{key} must be a URL as text, not {type(value).__name__}")
        if not _SCHEME.match(value):
            raise ConfigError(f"{key} has no scheme: write {self.wanted}")
        if any(character.isspace() or not character.isprintable() for character in value):
            raise ConfigError(f"{key} contains a space or control character: percent-encode it")
        if scheme_of(value) in _REDIS:
            self._check_redis(value, key)

    @staticmethod
    def _check_redis(url: str, key: str) -> None:
        """What can be said without the adapter, so that it is said when the settings are read."""
        place = url.partition("://")[2].rpartition("@")[2]
        if "?" in place or "#" in place:
            raise ConfigError(
                f"{key}: a query (?...) is not understood; timeouts and the like are settings of redis=RedisConfig(...)"
            )
        hosts, _, path = place.partition("/")
        is_socket = scheme_of(url) == "redis+socket"
        if redact(url).endswith(NOT_SHOWN) or not (path if is_socket else all(hosts.split(","))):
            raise ConfigError(
                f"{key}: the URL is not understood, and not shown because there may be a password in it: write "
                "redis://[[user:]password@]host[:port][/db], rediss://... or redis+socket:///path/to/file.sock"
            )
        for port in re.findall(r":([0-9]{1,5})(?=,|$)", hosts):
            if not 0 < int(port) < 65536:
                raise ConfigError(f"{key}: there is no port {port}: use 1 to 65535")

    def fits(self, value: object) -> bool:
        """A str that begins with a scheme."""
        return type(value) is str and _SCHEME.match(value) is not None

    @property
    def wanted(self) -> str:
        """In words."""
        return "a URL such as redis://localhost:6379/0 or memory://"


def key_of(attribute: attrs.Attribute[Any]) -> str:
    """The name of a setting as errors and files speak of it: `max_threads`, `redis.max_active`."""
    return f"{attribute.metadata.get('section', '')}{attribute.name}"


def shown(value: object) -> str:
    """A wrong value as an error shows it: short, and only its type if it looks like a URL."""
    text = repr(value)
    if "@" in text or "://" in text:
        return f"a {type(value).__name__}"
    if len(text) > SHOWN:
        text = f"{text[: SHOWN - 3]}..."
    return text if value is None or type(value) is bool else f"{text} ({type(value).__name__})"


def hint(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: which known one was probably meant, or else all of them."""
    names = list(known)
    meant = nearest(name, names)
    return f"did you mean {meant!r}?" if meant else f"the known ones are {', '.join(names)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like `name`, whatever its spelling (DefaultQueue); "" if none is."""
    plain: dict[str, str] = {}
    for each in known:
        plain.setdefault(_plain(each), each)
    close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.5)
    # Perhaps it is right but in the wrong place: max_idle for redis.max_idle.
    inner = [each for each in plain if each.rpartition(".")[2] == _plain(name)]
    return plain[(inner or close)[0]] if inner or close else ""


def scheme_of(url: str) -> str:
    """The scheme, in lower case: `redis`, `memory`; "" if there is none."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def redact(url: str) -> str:
    """The URL without what may be secret: user and password become `***`; all of it, if it cannot be understood."""
    found = _SCHEME.match(url)
    if not found:
        return NOT_SHOWN
    # Everything up to the last @, wherever it is: a password may hold a / or a @ that should have been encoded.
    secret, at, rest = url[found.end() :].rpartition("@")
    hosts, _, path = rest.partition("/")
    if not _PATH.fullmatch(f"/{path}") or not all(_HOSTS.fullmatch(host) for host in hosts.split(",")):
        return f"{found[0]}{NOT_SHOWN}"
    return f"{found[0]}{'***' if secret else ''}{at}{rest}"


def to_seconds(value: dt.timedelta | float) -> float:
    """A duration as a number of seconds, an int if whole; what is no duration stays, for the check to refuse."""
    if isinstance(value, dt.timedelta):
        seconds = value.total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    return value


def to_optional_seconds(value: dt.timedelta | float | None) -> float | None:
    """`to_seconds`, or None."""
    return None if value is None else to_seconds(value)


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9.]", "", name.lower())
