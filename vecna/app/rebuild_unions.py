"""Unions: which member a plain value is meant for."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import operator
import typing
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import cattrs
from cattrs.disambiguators import create_default_dis_func

from vecna.app.rebuild_plain import Misfit, Rebuild, Unbuildable, misfit, named, takes_anything
from vecna.app.rebuild_scalars import is_enum, is_path

#: Text is tried as these before it is left a str. Bytes, decimals and paths are not: most text would pass for one.
_TELLING: Final = (uuid.UUID, dt.date, dt.datetime, dt.time, dt.timedelta)


def union_rebuilder(item: Callable[[Any], Rebuild], converter: cattrs.Converter, union: Any) -> Rebuild:
    """What rebuilds values of a union: members are tried in turn, the one that takes the least first.

    Classes are told apart by their fields. Text beside `str` becomes a UUID, date, time or duration if it reads as one.

    Raises:
        Unbuildable: two classes cannot be told apart.
    """
    members = sorted(get_args(union), key=_breadth)
    classes = [member for member in members if _is_class(member)]
    builders = [item(member) for member in members if member not in classes or len(classes) == 1]
    if len(classes) > 1:
        builders.insert(0, _one_of(item, converter, classes))
    shown = " | ".join(named(member) for member in get_args(union))

    def build(value: Any) -> Any:
        deepest: Misfit | None = None
        for builder in builders:
            try:
                return builder(value)
            except Misfit as exc:
                if deepest is None and (exc.path or len(builders) == 1):
                    deepest = exc
        if deepest is not None:
            raise deepest
        raise Misfit(f"takes {shown}; what came is a {type(value).__name__}")

    return build


def _one_of(item: Callable[[Any], Rebuild], converter: cattrs.Converter, classes: list[Any]) -> Rebuild:
    try:
        choose = create_default_dis_func(converter, *classes)
    except Exception as exc:
        names = " and ".join(named(kind) for kind in classes)
        raise Unbuildable(
            f"is annotated as a union of {names}, which cannot be told apart: give each a field that only it has, or a "
            "Literal field"
        ) from exc
    builders = {kind: item(kind) for kind in classes}
    shown = " | ".join(named(kind) for kind in classes)

    def build(value: Any) -> Any:
        if type(value) is not dict:
            raise misfit(shown, value)
        try:
            kind = choose(value)
        except Exception:  # noqa: BLE001  # cattrs raises what suits the case
            raise Misfit(f"takes {shown}; the fields that came are those of none") from None
        return builders[kind](value)

    return build


def _breadth(member: Any) -> int:
    """How much a member takes: the narrow ones are tried first."""
    while get_origin(member) is Annotated:
        member = get_args(member)[0]
    return next(index for index, fits in enumerate(_BY_BREADTH) if fits(member))


def _is_class(member: Any) -> bool:
    kind = get_origin(member) or member
    return hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__")


_BY_BREADTH: Final[tuple[Callable[[Any], bool], ...]] = (
    lambda member: member is type(None),
    lambda member: get_origin(member) is Literal or is_enum(member),
    *[functools.partial(operator.is_, kind) for kind in (*_TELLING, bool, int, float, str, decimal.Decimal)],
    is_path,
    lambda member: _is_class(member) or typing.is_typeddict(member),
    lambda member: isinstance(member, type) and issubclass(member, tuple),
    lambda member: not takes_anything(member) and member not in (bytes, bytearray),  # other containers
    lambda member: not takes_anything(member),  # bytes, which take lists of numbers too
    lambda _: True,
)
