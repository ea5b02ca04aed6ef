"""Arguments and results as they travel: a wire type name and a value that fits it."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from typing import Any, Final, final

import attrs

from vecna.domain.errors import InvalidArgument
from vecna.domain.shown import quoted, shown
from vecna.domain.values import check_text, to_plain

_LEAST, _LARGEST = -(2**63), 2**63 - 1  # of int64
#: Range of each integer type. `int` and `uint` are 64 bits wide, as in Go on every current machine.
INTEGERS: Final[dict[str, tuple[int, int]]] = {
    "int": (_LEAST, _LARGEST),
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (_LEAST, _LARGEST),
    "uint": (0, 2**64 - 1),
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
#: Largest magnitude of each floating point type. For float32 the last double that is rounded to a finite float32:
#: Go and numpy write float32's largest as 3.4028235e38, which lies above it.
FLOATS: Final[dict[str, float]] = {
    "float32": float.fromhex("0x1.fffffefffffffp+127"),
    "float64": sys.float_info.max,
}
_Fit = Callable[[Any], Any]


def _bool(value: object) -> bool:
    if type(value) is bool:
        return value
    raise InvalidArgument(f"bool takes True or False, not {shown(value)}")


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"string takes a str, not {shown(value)}")
    if type(value) is not str:
        value = str.__str__(value)
    if not value.isascii():
        check_text(value, "string argument")
    return value


def _integer(kind: str, least: int, largest: int) -> _Fit:
    def fit(value: object) -> int:
        if type(value) is not int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise InvalidArgument(f"{kind} takes an int, not {shown(value)}")
            value = int.__index__(value)
        if least <= value <= largest:
            return value
        raise InvalidArgument(f"{shown(value)} is out of range for {kind}: {least} to {largest}")

    return fit


def _float(kind: str, largest: float) -> _Fit:
    def fit(value: object) -> float:
        if type(value) is not float:
            if not isinstance(value, float | int) or isinstance(value, bool):
                raise InvalidArgument(f"{kind} takes a float or int, not {shown(value)}")
            try:
                value = float.__float__(value) if isinstance(value, float) else int.__float__(value)
            except OverflowError:
                raise InvalidArgument(f"{shown(value)} is out of range for {kind}") from None
        if -largest <= value <= largest:
            return value
        if value - value == 0:
            raise InvalidArgument(f"{value} is out of range for {kind}")
        raise InvalidArgument(f"{value} cannot travel: {kind} takes finite numbers")

    return fit


def _list(kind: str, fit_item: _Fit) -> _Fit:
    def fit(values: object) -> list[Any]:
        if kind == "[]uint8" and isinstance(values, bytes | bytearray):
            return list(values)
        if not isinstance(values, list | tuple):
            raise InvalidArgument(f"{kind} takes a list, not {shown(values)}")
        return [fit_item(value) for value in values]

    return fit


def _json(value: object) -> Any:
    return to_plain(value, "json argument")


_SCALAR_FITS: Final[dict[str, _Fit]] = {
    "bool": _bool,
    **{kind: _integer(kind, *bounds) for kind, bounds in INTEGERS.items()},
    **{kind: _float(kind, largest) for kind, largest in FLOATS.items()},
    "string": _string,
}
SCALARS: Final = tuple(_SCALAR_FITS)
#: wire type name -> what returns a value as one of that type, or refuses it.
_FITS: Final[dict[str, _Fit]] = {
    **_SCALAR_FITS,
    **{f"[]{kind}": _list(f"[]{kind}", fit) for kind, fit in _SCALAR_FITS.items()},
    "json": _json,
}
#: Those of which a message holds just the value.
_DIRECT: Final = {kind: fit for kind, fit in _FITS.items() if kind != "[]uint8"}
#: Every wire type name: the documented ones, and `json` for values rebuilt by annotation.
TYPES: Final = frozenset(_FITS)


def infer_type(value: object) -> str:
    """The wire type that a plain value gets by itself.

    `True` bool, `1` int64, a larger int uint64, `1.5` float64, `"x"` string, a list of one such kind `[]` of it,
    everything else json.
    """
    kind = type(value)
    if kind is str:
        return "string"
    if kind is bool:
        return "bool"
    if kind is int:
        return _integer_type(value, value)  # type: ignore[arg-type]  # kind is int
    if kind is float:
        return "float64"
    if kind is list and value:
        return _list_type(value)  # type: ignore[arg-type]  # kind is list
    return "json"


def _integer_type(least: int, largest: int) -> str:
    if least >= _LEAST and largest <= _LARGEST:
        return "int64"
    if least >= 0 and largest <= 2**64 - 1:
        return "uint64"
    return "json"


def _list_type(values: list[Any]) -> str:
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return "json"
    kind = kinds.pop()
    if kind is int:
        item = _integer_type(min(values), max(values))
        return "json" if item == "json" else f"[]{item}"
    return {str: "[]string", bool: "[]bool", float: "[]float64"}.get(kind, "json")


@attrs.define(init=False, eq=False, repr=False, slots=True)
class _ArgFields:
    """The fields of an argument. `Arg` freezes them; while it is made, it is of this class, which is faster."""

    type: str
    value: Any
    name: str = ""


@final
@attrs.frozen(init=False, slots=True)
class Arg(_ArgFields):
    """One argument: a wire type name and a value of it.

    Args:
        type: `bool int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 float32 float64 string`, `[]` of each,
            or `json` (anything that JSON can say; rebuilt by the function's annotation).
        value: the value. Lists are copied.
        name: for the reader's eye only.

    Raises:
        InvalidArgument: unknown type, value of another type or out of its range, NaN or infinity.
    """

    def __init__(self, type: str, value: object, name: str = "") -> None:  # noqa: A002  # the documented name
        kind = str.__str__(type) if isinstance(type, str) else ""
        fit = _FITS.get(kind)
        if fit is None:
            raise InvalidArgument(
                f"unknown argument type {quoted(type)}: one of {' '.join(SCALARS)}, [] of each, or json"
            )
        if not isinstance(name, str):
            raise InvalidArgument(f"the name of an argument is a str, not {shown(name)}")
        if name:
            name = str.__str__(name)
            check_text(name, "the name of an argument")
        self.__attrs_init__(kind, fit(value), name)

    def __init_subclass__(cls, **_: object) -> None:
        raise TypeError("Arg has no subclasses: they would not survive the message")

    @staticmethod
    def of(value: object) -> Arg:
        """The argument for a plain value (an `Arg` is returned as it is); its type is inferred.

        Raises:
            InvalidArgument: the value cannot travel.
        """
        kind = type(value)
        if kind is int:
            if _LEAST <= value <= _LARGEST:  # type: ignore[operator]  # kind is int
                return _made("int64", value)
        elif kind is str:
            if value.isascii():  # type: ignore[attr-defined]  # kind is str
                return _made("string", value)
        elif isinstance(value, Arg):
            return value
        return Arg(infer_type(value), value)

    @staticmethod
    def from_plain(plain: object) -> Arg:
        """The argument that stands in a message as `{"Type": ..., "Value": ...}`, perhaps with a `Name`.

        As the Go code writes them: keys in lower case, `[]uint8` as base64, an empty list as null.

        Raises:
            InvalidArgument: it cannot be read, or as for the constructor.
        """
        if type(plain) is not dict:
            raise InvalidArgument("not an object with Type and Value")
        kind, value = plain.get("Type"), plain.get("Value")
        if type(kind) is str and value is not None and len(plain) == 2:  # nearly always
            fit = _DIRECT.get(kind)
            if fit is not None:
                return _made(kind, fit(value))
        if kind is None:
            kind = plain.get("type")
        if "Value" not in plain:
            value = plain.get("value")
        name = plain.get("Name")
        if name is None:
            name = plain.get("name")
        return Arg.from_wire(kind, value, "" if name is None else name)

    @staticmethod
    def from_wire(type: Any, value: object, name: Any = "") -> Arg:  # noqa: A002  # the documented name
        """The argument as read from a message. `[]uint8` may come as base64 and any empty list as null, as Go writes.

        Raises:
            InvalidArgument: as for the constructor.
        """
        if type == "[]uint8" and isinstance(value, str):
            try:
                value = base64.b64decode(value, validate=True)
            except ValueError:
                raise InvalidArgument("[]uint8 takes a list of numbers or base64") from None
        elif value is None and isinstance(type, str) and type.startswith("[]"):
            value = []
        return Arg(type, value, name)


def _made(kind: str, value: object) -> Arg:
    """An argument that needs no more checks."""
    arg: Any = _ArgFields()
    arg.type = kind
    arg.value = value
    arg.name = ""
    arg.__class__ = Arg
    return arg  # type: ignore[no-any-return]  # by the line before


@attrs.frozen(slots=True)
class TaskResult:
    """One value that a task returned.

    Attributes:
        type: its wire type name, see `Arg`.
        value: the value in JSON's own types.
    """

    type: str
    value: Any

    @classmethod
    def of(cls, value: object) -> TaskResult:
        """The result for a plain value.

        Raises:
            InvalidArgument: the value cannot travel.
        """
        arg = Arg.of(value)
        return cls(arg.type, arg.value)
