"""Values that travel as text or number: dates, ids, decimals, bytes, paths, enums."""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, Final, get_args

import msgspec

from vecna.app.rebuild_plain import Misfit, Rebuild, misfit, named
from vecna.domain.errors import InvalidArgument
from vecna.domain.values import to_plain


def _from_text(read: Callable[[str], Any], expected: str) -> Rebuild:
    def build(value: Any) -> Any:
        if type(value) is not str:
            raise misfit(f"{expected} as text", value)
        try:
            return read(value)
        except (ValueError, OverflowError, msgspec.ValidationError):
            raise Misfit(f"takes {expected}; the text that came is none") from None

    return build


def _datetime(text: str) -> dt.datetime:
    if len(text) <= len("2026-01-31"):
        raise ValueError("a date")
    return dt.datetime.fromisoformat(text)


def _timedelta(text: str) -> dt.timedelta:
    return msgspec.convert(text, dt.timedelta)


def _decimal(value: Any) -> Any:
    if type(value) is int:
        return decimal.Decimal(value)
    return _decimal_text(value)


def _read_decimal(text: str) -> decimal.Decimal:
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError("no decimal") from None


_decimal_text = _from_text(_read_decimal, "a Decimal")


def _bytes(value: Any) -> bytes:
    if type(value) is list:  # []uint8
        try:
            return bytes(value)
        except (TypeError, ValueError):
            raise Misfit("takes bytes: base64, or a list of numbers from 0 to 255") from None
    return _base64(value)  # type: ignore[no-any-return]  # base64 gives bytes


def _read_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None


_base64 = _from_text(_read_base64, "bytes as base64")

#: Types that one value of JSON's own makes.
SCALARS: Final[dict[Any, Rebuild]] = {
    dt.datetime: _from_text(_datetime, "a datetime in ISO 8601"),
    dt.date: _from_text(dt.date.fromisoformat, "a date in ISO 8601"),
    dt.time: _from_text(dt.time.fromisoformat, "a time in ISO 8601"),
    dt.timedelta: _from_text(_timedelta, "a duration in ISO 8601"),
    uuid.UUID: _from_text(uuid.UUID, "a UUID"),
    decimal.Decimal: _decimal,
    bytes: _bytes,
    bytearray: lambda value: bytearray(_bytes(value)),
}


def is_path(kind: Any) -> bool:
    """Whether it is a class of pathlib's."""
    return isinstance(kind, type) and issubclass(kind, PurePath)


def path_rebuilder(kind: type[PurePath]) -> Rebuild:
    """What makes paths of this class."""
    return _from_text(kind, f"a {kind.__name__}" if kind is not Path else "a path")


def is_enum(kind: Any) -> bool:
    """Whether it is a class of enum's."""
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def enum_rebuilder(kind: type[enum.Enum]) -> Rebuild:
    """What gives the members of an enum for their values."""
    members = _plain_members(kind)
    texts = {value: member for value, member in members if type(value) is str}

    def build(value: Any) -> Any:
        if type(value) is str and value in texts:
            return texts[value]
        for plain, member in members:
            if type(plain) is type(value) and plain == value:
                return member
        try:
            return kind(value)  # combinations of flags, and what `_missing_` knows
        except Exception:  # noqa: BLE001  # `_missing_` is the user's
            raise Misfit(f"takes a {kind.__name__}; what came is the value of no member") from None

    return build


def _plain_members(kind: type[enum.Enum]) -> list[tuple[Any, enum.Enum]]:
    found = []
    for member in kind:
        with contextlib.suppress(InvalidArgument):  # a member that cannot travel does not arrive either
            found.append((to_plain(member.value, "a value"), member))
    return found


def literal_rebuilder(annotation: Any) -> Rebuild:
    """What gives the values that a Literal names."""
    allowed = [(to_plain(value, "a Literal"), value) for value in get_args(annotation)]

    def build(value: Any) -> Any:
        for plain, allowed_value in allowed:
            if type(plain) is type(value) and plain == value:
                return allowed_value
        raise Misfit(f"takes {named(annotation)}; something else came")

    return build
