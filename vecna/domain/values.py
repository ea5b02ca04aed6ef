"""Plain JSON values: turning what Python code passes into what travels, and the limits on it."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import Any, Final

import msgspec

from vecna.domain.errors import InvalidArgument, VecnaError

#: How deep lists, mappings and callbacks may nest in one message.
MAX_DEPTH: Final = 64
#: Arguments, headers, or callbacks of one kind, in one message.
MAX_COUNT: Final = 10_000


def _other(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError


def to_plain(value: object, what: str, error: type[VecnaError] = InvalidArgument) -> Any:
    """Turn a value into JSON's own types: None, bool, int, float, str, list, dict with str keys.

    attrs classes, dataclasses, named tuples, datetime, date, time, timedelta, UUID, Decimal, Enum, bytes (base64),
    Path, tuples and sets are taken apart; the receiving side rebuilds them by the annotations of its function.

    Raises:
        error: a type that cannot travel, NaN or infinity, text that is not valid Unicode, or nested deeper than 64.
    """
    try:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_other)
    except RecursionError:
        raise error(f"{what} is nested deeper than {MAX_DEPTH}, or contains itself") from None
    except Exception as exc:  # noqa: BLE001  # a property or __iter__ of the user's class may raise anything
        raise error(f"{what} of type {type(value).__name__} cannot travel as JSON{_because(exc)}") from None
    check_plain(plain, what, error)
    return plain


def _because(exc: Exception) -> str:
    text = str(exc)
    return f": {text}" if text else ": pass plain values, or an attrs class or dataclass"


def check_plain(value: object, what: str, error: type[VecnaError] = InvalidArgument, depth: int = MAX_DEPTH) -> None:
    """Check a value made of JSON's own types against the limits.

    Raises:
        error: NaN or infinity, text that is not valid Unicode, another type, or deeper than `depth`.
    """
    kind = type(value)
    if kind is str:
        _check_text(value, what, error)  # type: ignore[arg-type]  # kind is str
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # kind is float
            raise error(f"{what} contains {value}: NaN and infinity cannot travel as JSON")
    elif kind is list:
        if depth <= 0:
            raise error(f"{what} is nested deeper than {MAX_DEPTH}")
        for item in value:  # type: ignore[attr-defined]  # kind is list
            check_plain(item, what, error, depth - 1)
    elif kind is dict:
        if depth <= 0:
            raise error(f"{what} is nested deeper than {MAX_DEPTH}")
        for key, item in value.items():  # type: ignore[attr-defined]  # kind is dict
            _check_text(key, what, error)
            check_plain(item, what, error, depth - 1)
    elif value is not None and kind is not bool and kind is not int:
        raise error(f"{what} contains a {kind.__name__}, which cannot travel as JSON")


def _check_text(text: str, what: str, error: type[VecnaError]) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise error(f"{what} contains text that is not valid Unicode (a lone surrogate)") from None
