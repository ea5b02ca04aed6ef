"""Arguments and results as they travel: a wire type name and a value that fits it."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, Final

import attrs

from vecna.domain.errors import InvalidArgument
from vecna.domain.values import check_text, to_plain

_INT64 = (-(2**63), 2**63 - 1)
_UINT64 = (0, 2**64 - 1)
#: Range of each integer type. `int` and `uint` are 64 bits wide, as in Go on every current machine.
INTEGERS: Final[dict[str, tuple[int, int]]] = {
    "int": _INT64,
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": _INT64,
    "uint": _UINT64,
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": _UINT64,
}
#: Largest magnitude of each floating point type.
FLOATS: Final[dict[str, float]] = {"float32": 3.4028234663852886e38, "float64": math.inf}
SCALARS: Final = ("bool", *INTEGERS, *FLOATS, "string")
#: Every wire type name: the documented ones, and `json` for values rebuilt by annotation.
TYPES: Final = frozenset((*SCALARS, *(f"[]{name}" for name in SCALARS), "json"))


def _scalar(kind: str, value: object) -> bool | int | float | str:
    """Return `value` as a value of the scalar type `kind`."""
    if kind == "bool":
        if type(value) is bool:
            return value
        raise InvalidArgument(f"bool takes True or False, not {_shown(value)}")
    if kind == "string":
        if type(value) is str:
            check_text(value, "string argument")
            return value
        raise InvalidArgument(f"string takes a str, not {_shown(value)}")
    bounds = INTEGERS.get(kind)
    if bounds is not None:
        if type(value) is not int:
            raise InvalidArgument(f"{kind} takes an int, not {_shown(value)}")
        if not bounds[0] <= value <= bounds[1]:
            raise InvalidArgument(f"{_shown(value)} is out of range for {kind}: {bounds[0]} to {bounds[1]}")
        return value
    if type(value) is not float and type(value) is not int:
        raise InvalidArgument(f"{kind} takes a float or int, not {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise InvalidArgument(f"{_shown(value)} is out of range for {kind}") from None
    if not math.isfinite(number):
        raise InvalidArgument(f"{value} cannot travel: {kind} takes finite numbers")
    if abs(number) > FLOATS[kind]:
        raise InvalidArgument(f"{value} is out of range for {kind}")
    return number


def _shown(value: object) -> str:
    """What an error says of a value: kind and size, never the content of a text (it may be secret)."""
    if type(value) is int and value.bit_length() <= 128:
        return f"{value}"
    if isinstance(value, bool | float) or value is None:
        return f"{value}"
    return f"a {type(value).__name__}"


def _fit(kind: str, value: object) -> Any:
    if kind == "json":
        return to_plain(value, "json argument")
    if not kind.startswith("[]"):
        return _scalar(kind, value)
    item = kind[2:]
    if item == "uint8" and isinstance(value, bytes | bytearray):
        return list(value)
    if not isinstance(value, list | tuple):
        raise InvalidArgument(f"{kind} takes a list, not {_shown(value)}")
    return [_scalar(item, entry) for entry in value]


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
    if least >= _INT64[0] and largest <= _INT64[1]:
        return "int64"
    if least >= 0 and largest <= _UINT64[1]:
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


@attrs.frozen(init=False, slots=True)
class Arg:
    """One argument: a wire type name and a value of it.

    Args:
        type: `bool int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 float32 float64 string`, `[]` of each,
            or `json` (anything that JSON can say; rebuilt by the function's annotation).
        value: the value. Lists are copied.
        name: for the reader's eye only.

    Raises:
        InvalidArgument: unknown type, value of another type or out of its range, NaN or infinity.
    """

    type: str
    value: Any
    name: str = ""

    def __init__(self, type: str, value: object, name: str = "") -> None:  # noqa: A002  # the documented name
        if not isinstance(type, str) or type not in TYPES:
            raise InvalidArgument(f"unknown argument type {type!r}: one of {' '.join(SCALARS)}, [] of each, or json")
        if not isinstance(name, str):
            raise InvalidArgument("the name of an argument is a str")
        self.__attrs_init__(type, _fit(type, value), name)

    @classmethod
    def of(cls, value: object) -> Arg:
        """The argument for a plain value (an `Arg` is returned as it is); its type is inferred.

        Raises:
            InvalidArgument: the value cannot travel.
        """
        return value if type(value) is cls else cls(infer_type(value), value)

    @classmethod
    def from_wire(cls, type: str, value: object, name: str = "") -> Arg:  # noqa: A002  # the documented name
        """The argument as read from a message; `[]uint8` may come as base64, as Go writes it.

        Raises:
            InvalidArgument: as for the constructor.
        """
        if type == "[]uint8" and isinstance(value, str):
            try:
                value = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidArgument("[]uint8 takes a list of numbers or base64") from None
        return cls(type, value, name)


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
