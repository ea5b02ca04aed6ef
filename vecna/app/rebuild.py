"""Values rebuilt from JSON by annotation: the inverse of `vecna.domain.values.to_plain`."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import decimal
import inspect
import typing
import uuid
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Final

import cattrs
import msgspec

from vecna.domain.errors import InvalidArgument

Rebuild = Callable[[Any], Any]
_AS_IT_IS: Final = (Any, object, inspect.Parameter.empty)


def rebuilder(annotation: Any) -> Rebuild | None:
    """What turns a plain value into one of the annotated type; None if any value will do as it is.

    Raises (what is returned):
        InvalidArgument: the value does not fit; says what was expected, never the value.
    """
    if annotation in _AS_IT_IS or isinstance(annotation, typing.TypeVar):
        return None
    if annotation is None:
        annotation = type(None)

    def build(value: Any) -> Any:
        try:
            return _converter.structure(value, annotation)
        except Exception:  # noqa: BLE001  # cattrs and the user's own classes raise anything
            raise InvalidArgument(f"takes {_name(annotation)}, not {type(value).__name__}") from None

    return build


def _name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}")
        return value

    return hook


def _float(value: Any, _: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise TypeError("expected float")
    return float(value)


def _bytes(value: Any, _: Any) -> bytes:
    if type(value) is list:  # []uint8
        return bytes(value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise TypeError("expected base64") from exc


_converter = cattrs.Converter()
for _kind in (int, bool, str):
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook(float, _float)
_converter.register_structure_hook(bytes, _bytes)
for _scalar in (dt.datetime, dt.date, dt.time, dt.timedelta, uuid.UUID, decimal.Decimal):
    _converter.register_structure_hook(_scalar, lambda value, kind: msgspec.convert(value, kind))
_converter.register_structure_hook_func(
    lambda kind: isinstance(kind, type) and issubclass(kind, PurePath), lambda value, kind: kind(value)
)
