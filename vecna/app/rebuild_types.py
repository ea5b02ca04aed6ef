"""From an annotation to what rebuilds its values: classes and generics by cattrs, containers and unions here."""

from __future__ import annotations

import collections
import functools
import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any, Final, Literal, Union, get_args, get_origin

import cattrs
from cattrs.gen import make_dict_structure_fn
from cattrs.gen.typeddicts import make_dict_structure_fn as make_typeddict_structure_fn

from vecna.app.rebuild_plain import (
    Misfit,
    Rebuild,
    Unbuildable,
    is_simple,
    misfit,
    named,
    simple_rebuilder,
    takes_anything,
)
from vecna.app.rebuild_scalars import SCALARS, enum_rebuilder, is_enum, is_path, literal_rebuilder, path_rebuilder
from vecna.app.rebuild_unions import union_rebuilder

_SEQUENCES: Final[dict[Any, Callable[[list[Any]], Any]]] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    set: set,
    abc.Set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_MAPPINGS: Final[dict[Any, Callable[[dict[Any, Any]], Any]]] = {
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.Counter: collections.Counter,
}


def build_rebuilder(annotation: Any) -> Rebuild:
    """What turns plain values into values of the annotated type.

    Raises:
        Unbuildable: there is no way.
    """
    try:
        hook = _converter.get_structure_hook(annotation)
    except (Unbuildable, RecursionError):  # the latter is how cattrs finds classes that contain themselves
        raise
    except Exception as exc:
        raise Unbuildable(
            f"is annotated as {named(annotation)}, which cannot be rebuilt from JSON: use plain types, attrs classes "
            "or dataclasses"
        ) from exc
    return lambda value: hook(value, annotation)


def _item(annotation: Any) -> Rebuild:
    """What rebuilds a part of something."""
    if is_simple(annotation):
        return simple_rebuilder(annotation)
    return _as_it_is if takes_anything(annotation) else build_rebuilder(annotation)


def _as_it_is(value: Any) -> Any:
    return value


def _hook(build: Rebuild) -> Callable[[Any, Any], Any]:
    return lambda value, _: build(value)


# -- containers --------------------------------------------------------------------------------------------------------


def _each(item: Rebuild, value: Any, expected: str) -> list[Any]:
    if type(value) is not list:
        raise misfit(expected, value)
    built: list[Any] = []
    try:
        built.extend(map(item, value))
    except Misfit as exc:
        raise exc.inside(f"[{len(built)}]") from None
    return built


def _sequence(annotation: Any) -> Rebuild:
    make = _SEQUENCES[get_origin(annotation) or annotation]
    item = _item((*get_args(annotation), Any)[0])
    if make is list:
        return lambda value: _each(item, value, "a list")

    def build(value: Any) -> Any:
        try:
            return make(_each(item, value, "a list"))
        except TypeError:  # a set of what is not hashable
            raise Misfit(f"takes {named(annotation)}, and its items cannot be in a {make.__name__}") from None

    return build


def _tuple(annotation: Any) -> Rebuild:
    kinds = get_args(annotation)
    if not kinds and get_origin(annotation) is None:
        kinds = (Any, ...)
    if len(kinds) == 2 and kinds[1] is ...:
        item = _item(kinds[0])
        return lambda value: tuple(_each(item, value, "a list"))
    return _fixed([str(index) for index in range(len(kinds))], [_item(kind) for kind in kinds], len(kinds), tuple)


def _named_tuple(kind: Any) -> Rebuild:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = kind._fields
    least = len(fields) - len(kind._field_defaults)
    return _fixed(list(fields), [_item(hints.get(name, Any)) for name in fields], least, lambda parts: kind(*parts))


def _fixed(names: list[str], items: list[Rebuild], least: int, make: Callable[[list[Any]], Any]) -> Rebuild:
    def build(value: Any) -> Any:
        if type(value) is not list:
            raise misfit(f"a list of {len(items)}", value)
        if not least <= len(value) <= len(items):
            raise Misfit(f"takes a list of {len(items)}, not of {len(value)}")
        parts: list[Any] = []
        try:
            for item, part in zip(items, value, strict=False):
                parts.append(item(part))
        except Misfit as exc:
            raise exc.inside(f"[{names[len(parts)]}]") from None
        return make(parts)

    return build


def _mapping(annotation: Any) -> Rebuild:
    origin = get_origin(annotation) or annotation
    kinds = get_args(annotation)
    if origin is collections.Counter:
        kinds = ((*kinds, Any)[0], int)
    elif not kinds:
        kinds = (Any, Any)
    key, item = _key(kinds[0]), _item(kinds[1])
    if origin is collections.defaultdict:
        # What is missing is made by the class of the values, as the annotation says.
        make: Callable[[dict[Any, Any]], Any] = functools.partial(
            collections.defaultdict, kinds[1] if isinstance(kinds[1], type) else None
        )
    else:
        make = _MAPPINGS[origin]

    def build(value: Any) -> Any:
        if type(value) is not dict:
            raise misfit("a dict", value)
        built = {}
        try:
            for name, part in value.items():
                built[key(name)] = item(part)
        except Misfit as exc:
            raise exc.inside(f"[entry {len(built)}]") from None  # keys may be as secret as values
        return built if make is dict else make(built)

    return build


def _key(annotation: Any) -> Rebuild:
    """What rebuilds the keys of a mapping, which JSON has as text only."""
    if annotation is int or annotation is float:
        kind: type[int | float] = annotation

        def build(value: str) -> Any:
            try:
                return kind(value)
            except ValueError:
                raise Misfit(f"takes keys that are {kind.__name__}") from None

        return build
    if is_enum(annotation):
        plain = enum_rebuilder(annotation)
        numbers = {str(member.value): member for member in annotation if isinstance(member.value, int | float)}
        return lambda value: numbers[value] if value in numbers else plain(value)
    return _item(annotation)


# -- classes -----------------------------------------------------------------------------------------------------------


def _class(annotation: Any, structure: Callable[[Any, Any], Any], name: str) -> Callable[[Any, Any], Any]:
    """Cattrs' function for a class, with errors that say where and not what."""

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise misfit(f"a {name}", value)
        try:
            return structure(value, annotation)
        except cattrs.ClassValidationError as group:
            raise _first(group, name) from None

    return hook


def _first(group: cattrs.ClassValidationError, name: str) -> Misfit:
    placed, others = group.group_exceptions()
    for exc, note in placed:
        if isinstance(exc, Misfit):
            return exc.inside(f".{note.name}")
        if isinstance(exc, KeyError):
            return Misfit(f"takes a {name}; its field {note.name} is missing")
        return Misfit(f"does not take this value: {type(exc).__name__}", f".{note.name}")
    # From the class itself: converters, validators. Their texts quote values.
    return Misfit(f"takes a {name}, which refused its fields: {type(others[0]).__name__}")


def _dict_class(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    structure = make_dict_structure_fn(annotation, converter, _cattrs_detailed_validation=True)
    return _class(annotation, structure, (get_origin(annotation) or annotation).__name__)


def _typed_dict(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    structure = make_typeddict_structure_fn(annotation, converter, _cattrs_detailed_validation=True)
    return _class(annotation, structure, (get_origin(annotation) or annotation).__name__)


# -- which is which ----------------------------------------------------------------------------------------------------


def _origin_in(*kinds: Any) -> Callable[[Any], bool]:
    def is_one(annotation: Any) -> bool:
        origin = get_origin(annotation) or annotation
        return any(origin is kind for kind in kinds)

    return is_one


def _is_class(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and (hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__"))


def _is_named_tuple(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields")


class _Converter(cattrs.Converter):
    """cattrs for what is made of classes; before that our own functions, whose errors name no values.

    cattrs by itself takes a text for a list of letters, `"1"` for an int, and `""` for False.
    """

    def get_structure_hook(self, type: Any, cache_result: bool = True) -> Any:  # noqa: A002  # cattrs' names
        """The function that makes values of this type."""
        try:
            return self._found(type)
        except TypeError:  # not hashable: Annotated with a list, for example
            return super().get_structure_hook(type, False)

    def structure(self, obj: Any, cl: Any) -> Any:
        """A value of this type; called for classes that contain themselves."""
        return self.get_structure_hook(cl)(obj, cl)

    @functools.lru_cache(maxsize=4096)  # noqa: B019  # there is one converter, for as long as the process lives
    def _found(self, annotation: Any) -> Any:
        for is_kind, make in _KINDS:
            if is_kind(annotation):
                return make(annotation, self)
        return super().get_structure_hook(annotation)


def _made_by(make: Callable[[Any], Rebuild]) -> Callable[[Any, cattrs.Converter], Any]:
    return lambda annotation, _: _hook(make(annotation))


def _union(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    return _hook(union_rebuilder(_item, converter, annotation))


_KINDS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, cattrs.Converter], Any]], ...]] = (
    (is_simple, _made_by(simple_rebuilder)),
    (SCALARS.__contains__, _made_by(SCALARS.__getitem__)),
    (takes_anything, _made_by(lambda _: _as_it_is)),
    (_origin_in(Union, types.UnionType), _union),
    (_origin_in(Literal), _made_by(literal_rebuilder)),
    (is_enum, _made_by(enum_rebuilder)),
    (is_path, _made_by(path_rebuilder)),
    (_is_named_tuple, _made_by(_named_tuple)),
    (_origin_in(tuple), _made_by(_tuple)),
    (_origin_in(*_SEQUENCES), _made_by(_sequence)),
    (_origin_in(*_MAPPINGS, collections.defaultdict), _made_by(_mapping)),
    (typing.is_typeddict, _typed_dict),
    (_is_class, _dict_class),
)
_converter: Final = _Converter(detailed_validation=True)
