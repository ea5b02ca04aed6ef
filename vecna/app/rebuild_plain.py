"""What needs no rebuilding but a check: JSON's own types; and what an annotation that is not met is called."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Hashable
from typing import Any, Final, get_args

from vecna.domain.errors import InvalidArgument

#: Turns a plain value into one of an annotated type, or raises Misfit.
Rebuild = Callable[[Any], Any]
#: What any value fits as it is.
_ANYTHING: Final = (Any, object, Hashable, inspect.Parameter.empty)


class Misfit(Exception):
    """A plain value does not fit an annotation. Says what was expected and what kind came, never the value.

    Attributes:
        text: what is wrong, e.g. `takes an int, not a str`.
        path: where in the value, e.g. `.items[3].price`; "" for the value itself.
    """

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text, path)
        self.text = text
        self.path = path

    def __str__(self) -> str:
        return f"at {self.path} {self.text}" if self.path else self.text

    def inside(self, step: str) -> Misfit:
        """The same, seen from the value around it."""
        return Misfit(self.text, f"{step}{self.path}")


class Unbuildable(InvalidArgument):
    """An annotation names a type that cannot be rebuilt from JSON."""


def misfit(expected: str, value: object) -> Misfit:
    """The Misfit of a value of the wrong kind."""
    kind = "None" if value is None else f"a {type(value).__name__}"
    return Misfit(f"takes {expected}, not {kind}")


def named(annotation: Any) -> str:
    """How an error calls a type."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def is_simple(annotation: Any) -> bool:
    """Whether it is one of JSON's own types."""
    return annotation is None or (isinstance(annotation, type) and annotation in _SIMPLE)


def simple_rebuilder(annotation: Any) -> Rebuild:
    """What checks values of one of JSON's own types."""
    return _SIMPLE[annotation]


def takes_anything(annotation: Any) -> bool:
    """Whether values are left as they are: no annotation, Any, object, a type variable, a protocol."""
    return (
        any(annotation is one for one in _ANYTHING)
        or isinstance(annotation, typing.TypeVar | typing.ParamSpecArgs | typing.ParamSpecKwargs)
        or getattr(annotation, "_is_protocol", False) is True
    )


def _int(value: Any) -> Any:
    if type(value) is int:
        return value
    raise misfit("an int", value)


def _float(value: Any) -> Any:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Misfit("takes a float; an int came that is too large for one") from None
    raise misfit("a float", value)


def _bool(value: Any) -> Any:
    if type(value) is bool:
        return value
    raise misfit("a bool", value)


def _str(value: Any) -> Any:
    if type(value) is str:
        return value
    raise misfit("a str", value)


def _none(value: Any) -> Any:
    if value is None:
        return value
    raise misfit("None", value)


def _list(value: Any) -> Any:
    if type(value) is list:
        return value
    raise misfit("a list", value)


def _dict(value: Any) -> Any:
    if type(value) is dict:
        return value
    raise misfit("a dict", value)


_SIMPLE: Final[dict[Any, Rebuild]] = {
    int: _int,
    float: _float,
    bool: _bool,
    str: _str,
    None: _none,
    type(None): _none,
    list: _list,
    dict: _dict,
}
#: Rebuilders of single values -> what they leave as it is, so that they need not be asked.
KEPT: Final[dict[Rebuild, type]] = {_int: int, _float: float, _bool: bool, _str: str}
