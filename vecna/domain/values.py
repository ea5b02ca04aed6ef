"""Plain JSON values: turning what Python code passes into what travels, and the limits on it."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime as dt
import enum
import functools
import itertools
import math
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any, Final, NoReturn

import attrs
import msgspec

from vecna.domain.errors import InvalidArgument, VecnaError

#: How deep lists, mappings and callbacks may nest in one message.
MAX_DEPTH: Final = 64
#: Arguments, headers, or callbacks of one kind, in one message.
MAX_COUNT: Final = 10_000
#: Values in one value. No message has room for more, and lists that share parts would unfold without end.
MAX_VALUES: Final = 1_000_000
#: Python itself refuses to write or read longer integers as text (4,300 digits).
MAX_BITS: Final = 14_000

_LISTS: Final = (list, tuple, Set, collections.deque)
_BYTES: Final = (bytes, bytearray, memoryview)


class _Refused(Exception):
    """Why a value cannot travel."""


def to_plain(value: object, what: str, error: type[VecnaError] = InvalidArgument) -> Any:
    """Turn a value into JSON's own types: None, bool, int, float, str, list, dict with str keys.

    attrs classes and dataclasses become mappings of their fields (those that `__init__` takes), named tuples, tuples,
    sets and deques lists, an Enum's member its value, date, time and datetime ISO 8601, timedelta an ISO 8601
    duration, UUID, Decimal and Path text, bytes base64. The receiving side rebuilds them by the annotations of its
    function.

    Raises:
        error: a type that cannot travel, NaN or infinity, text that is not valid Unicode, nested deeper than 64, or
            more than 1,000,000 values in it.
    """
    try:
        return _plain(value, MAX_DEPTH, [MAX_VALUES])
    except _Refused as exc:
        raise error(f"{what} {exc}") from None
    except Exception as exc:  # noqa: BLE001  # a property or an iterator of the user's class may raise anything
        raise error(f"{what} of type {type(value).__name__} cannot be taken apart: {type(exc).__name__}") from None


def check_text(text: str, what: str, error: type[VecnaError] = InvalidArgument) -> None:
    """Check that a text can be written as UTF-8.

    Raises:
        error: it contains a lone surrogate.
    """
    try:
        _text(text)
    except _Refused as exc:
        raise error(f"{what} {exc}") from None


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Refused("contains text that is not valid Unicode (a lone surrogate)") from None
    return text


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    """`left` holds how many values may still come."""
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return _integer(value)
    if kind is float:
        return _finite(value)
    if kind is list or kind is dict or isinstance(value, _CONTAINERS):
        if depth <= 0:
            raise _Refused(f"is nested deeper than {MAX_DEPTH}, or contains itself")
        if kind is dict or isinstance(value, Mapping):
            return _mapping(value, depth - 1, left)
        plain = [_plain(item, depth - 1, left) for item in itertools.islice(value, left[0] + 1)]
        _count(len(plain), left)
        return plain
    fields = _fields(kind)  # type: ignore[arg-type]  # every class is hashable
    if fields is not None:
        if depth <= 0:
            raise _Refused(f"is nested deeper than {MAX_DEPTH}, or contains itself")
        _count(len(fields), left)
        return {name: _plain(getattr(value, name), depth - 1, left) for name in fields}
    return _scalar(value, kind, depth, left)


def _count(values: int, left: list[int]) -> None:
    left[0] -= values
    if left[0] < 0:
        raise _Refused(f"holds more than {MAX_VALUES} values")


_CONTAINERS: Final = (*_LISTS, Mapping)


def _mapping(value: Mapping[Any, Any], depth: int, left: list[int]) -> dict[str, Any]:
    plain = {
        key if type(key) is str and key.isascii() else _key(key): _plain(item, depth, left)
        for key, item in itertools.islice(value.items(), left[0] + 1)
    }
    _count(len(plain), left)
    if len(plain) != len(value):
        raise _Refused("contains a mapping with two keys that are the same as text")
    return plain


def _key(key: object) -> str:
    if isinstance(key, enum.Enum):
        return _key(key.value)
    kind: Any = type(key)
    if kind is not bool and key is not None and not isinstance(key, _CONTAINERS) and not _fields(kind):
        plain = _plain(key, 0, [0])
        if type(plain) is str:
            return plain
        if type(plain) is int or type(plain) is float:
            return repr(plain)
    raise _Refused(f"contains a mapping with a key of type {type(key).__name__}: use text or numbers")


def _scalar(value: Any, kind: type, depth: int, left: list[int]) -> Any:
    """The plain form of what is neither JSON's own type nor made of parts."""
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth, left)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return _integer(int.__index__(value))
    if isinstance(value, float):
        return _finite(float.__float__(value))
    if isinstance(value, dt.datetime | dt.time):
        # Not by msgspec: it drops the seconds of a zone's offset.
        text = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text
    if isinstance(value, PurePath):
        return _text(str(value))
    if isinstance(value, _BYTES):
        return base64.b64encode(value).decode()
    try:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_refuse)
    except TypeError:
        _refuse(value)
    if type(plain) is kind:
        _refuse(value)
    return _plain(plain, depth, left)


def _refuse(value: object) -> NoReturn:
    raise _Refused(
        f"contains a {type(value).__name__}, which cannot travel as JSON: pass plain values, an attrs class or a "
        "dataclass"
    )


def _integer(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise _Refused(f"contains an integer of {value.bit_length()} bits: at most {MAX_BITS} can travel")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _Refused(f"contains {value}: NaN and infinity cannot travel as JSON")
    return value


@functools.lru_cache(maxsize=1024)
def _fields(kind: type) -> tuple[str, ...] | None:
    """The fields of an attrs class or dataclass that its `__init__` takes; None for any other class."""
    if attrs.has(kind):
        return tuple([field.name for field in attrs.fields(kind) if field.init])
    if dataclasses.is_dataclass(kind):
        return tuple([field.name for field in dataclasses.fields(kind) if field.init])
    return None
