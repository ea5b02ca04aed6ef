"""The parts of a signature, taken from what users pass: checked, copied, and read-only from then on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.position import MAX_PLACE
from vecna.domain.shown import quoted, shown
from vecna.domain.values import MAX_COUNT, check_text, to_plain

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
#: No arguments: a text or mapping is one value that was meant to stand in a list, a set has no order.
_NO_LISTS: Final = (str, bytes, bytearray, memoryview, Mapping, set, frozenset)
_LONGEST_NAME: Final = 200


def task_name(value: object) -> str:
    """A task's name.

    Raises:
        InvalidSignature: not 1 to 200 printable characters.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise InvalidSignature(
            f"a task's name is a text of 1 to {_LONGEST_NAME} printable characters, not {quoted(value)}"
        )
    return value if type(value) is str else str.__str__(value)


def arguments(values: object) -> tuple[Arg, ...]:
    """Positional arguments.

    Raises:
        InvalidArgument: no list, too many, or one that cannot travel.
    """
    if type(values) is not list and type(values) is not tuple:
        if isinstance(values, _NO_LISTS) or not isinstance(values, Iterable):
            raise InvalidArgument(
                f"args takes a list or tuple of arguments, not {type(values).__name__}: write args=[value]"
            )
        values = list(itertools.islice(values, MAX_COUNT + 1))
    if len(values) > MAX_COUNT:
        raise InvalidArgument(f"there are too many arguments: at most {MAX_COUNT}")
    return tuple([value if type(value) is Arg else Arg.of(value) for value in values])


def keywords(values: object) -> Mapping[str, Arg]:
    """Keyword arguments.

    Raises:
        InvalidArgument: no mapping, too many, a name that is no text, or a value that cannot travel.
    """
    if not isinstance(values, Mapping):
        raise InvalidArgument(f"kwargs takes a mapping of names to arguments, not {shown(values)}")
    if not values:
        return EMPTY
    if len(values) > MAX_COUNT:
        raise InvalidArgument(f"there are too many keyword arguments: at most {MAX_COUNT}")
    plain: dict[str, Arg] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise InvalidArgument(f"the names in kwargs are str, not {shown(name)}")
        own = name if type(name) is str else str.__str__(name)
        if not own.isascii():
            check_text(own, "a name in kwargs")
        plain[own] = Arg.of(value)
    return MappingProxyType(plain)


def header_fields(values: object) -> Mapping[str, Any]:
    """Headers.

    Raises:
        InvalidSignature: no mapping, too many, a name that is no text, or a value that cannot travel.
    """
    if not isinstance(values, Mapping):
        raise InvalidSignature(f"headers takes a mapping, not {shown(values)}")
    if not values:
        return EMPTY
    if len(values) > MAX_COUNT or not all(isinstance(name, str) for name in values):
        raise InvalidSignature(f"headers are at most {MAX_COUNT}, and their names are str")
    return MappingProxyType(to_plain(values, "headers", InvalidSignature))


def place_count(value: object) -> int:
    """The number of a group's members.

    Raises:
        InvalidSignature: not an int of 0 or more.
    """
    if type(value) is not int or not 0 <= value <= MAX_PLACE:
        raise InvalidSignature(f"group_task_count must be an int from 0 to {MAX_PLACE}, not {shown(value)}")
    return value


def optional_id(value: object, what: str) -> str:
    """An id, or "" for none.

    Raises:
        InvalidSignature: something else.
    """
    return "" if type(value) is str and not value else check_id(value, what, InvalidSignature)


def text(value: object, what: str) -> str:
    """A text that may be empty.

    Raises:
        InvalidSignature: something else, or not valid Unicode.
    """
    if type(value) is not str:
        if not isinstance(value, str):
            raise InvalidSignature(f"{what} is a text, not {shown(value)}")
        value = str.__str__(value)
    if not value.isascii():
        check_text(value, what, InvalidSignature)
    return value
