"""Plain values: what Python code passes, as JSON can say it, and what is refused."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import itertools
import pathlib
import types
import uuid
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given

from tests.unit.domain.strategies import HUGE, Number, Real, Word, exact, few, json_values, kind
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.values import MAX_BITS, MAX_DEPTH, MAX_VALUES, check_text, to_plain


@attrs.frozen
class Point:
    x: int
    y: Any = None
    total: int = attrs.field(init=False, default=7)


@dataclasses.dataclass
class Box:
    name: str
    points: list[Point] = dataclasses.field(default_factory=list)
    cache: int = dataclasses.field(init=False, default=1)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.Enum):
    LOW = ("low", 1)


Pair = collections.namedtuple("Pair", "a b")


def nested(depth: int, wrap=lambda inner: [inner]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@few
@given(json_values)
def test_what_json_can_say_is_kept_and_copied(value):
    plain = to_plain(value, "argument")

    assert exact(plain) == exact(value)
    assert plain is not value or not isinstance(value, list | dict)
    assert exact(msgspec.json.decode(msgspec.json.encode(plain))) == exact(plain)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2,)), [1, [2]]),
        ({3}, [3]),
        (frozenset({"x"}), ["x"]),
        (collections.deque([1, 2]), [1, 2]),
        (Pair(1, [2]), [1, [2]]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": (1,)}), {"a": [1]}),
        ({1: "a", 2.5: "b", "c": "d"}, {"1": "a", "2.5": "b", "c": "d"}),
        ({Colour.RED: 1, uuid.UUID(int=1): 2}, {"red": 1, "00000000-0000-0000-0000-000000000001": 2}),
        ({dt.date(2026, 1, 2): 1}, {"2026-01-02": 1}),
        (Point(1, {"a": Point(2)}), {"x": 1, "y": {"a": {"x": 2, "y": None}}}),
        (Box("b", [Point(1)]), {"name": "b", "points": [{"x": 1, "y": None}]}),
        (Colour.RED, "red"),
        (Level.LOW, ["low", 1]),
        (dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), "2026-01-02T03:04:05.000006Z"),
        (dt.datetime(2026, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(minutes=90))), "2026-01-02T03:00:00+01:30"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(seconds=1.5), "PT1.5S"),
        (uuid.UUID(int=255), "00000000-0000-0000-0000-0000000000ff"),
        (decimal.Decimal("1.10"), "1.10"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (memoryview(b"a"), "YQ=="),
    ],
    ids=kind,
)  # fmt: skip
def test_what_an_annotation_can_rebuild_becomes_plain(value, plain):
    assert exact(to_plain(value, "argument")) == exact(plain)


def test_values_lose_their_own_class():
    plain = to_plain([Word("a"), Number(5), Real(2.5), {Word("k"): Word("v")}], "argument")

    assert exact(plain) == exact(["a", 5, 2.5, {"k": "v"}])


class Sneaky:
    """It says that it is a dict."""

    __class__ = dict  # type: ignore[assignment]


class Raising(Mapping):
    def __getitem__(self, _):
        raise KeyError

    def __iter__(self):
        raise RuntimeError("iter")

    def __len__(self):
        return 1


CYCLE: list[Any] = []
CYCLE.append({"a": CYCLE})
LOOP = Point(1, [])
LOOP.y.append(LOOP)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (object(), "object"),
        (print, "builtin_function_or_method"),
        (Point, "type"),
        (Colour, "EnumType"),
        ((n for n in (1, 2)), "generator"),
        (range(3), "range"),
        (1j, "complex"),
        (fractions.Fraction(1, 2), "Fraction"),
        (pathlib, "module"),
        (float("nan"), "NaN"),
        (float("inf"), "infinity"),
        (2**MAX_BITS, "bits"),
        (HUGE, "bits"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        ({None: 1}, "key of type NoneType"),
        ({True: 1}, "key of type bool"),
        ({(1, 2): 1}, "key of type tuple"),
        ({Point(1): 1}, "key of type Point"),
        ({Level.LOW: 1}, "key of type tuple"),
        ({b"a": object()}, "object"),
        ({1: "a", "1": "b"}, "two keys that are the same"),
        ({float("inf"): 1}, "infinity"),
        (CYCLE, "contains itself"),
        (LOOP, "contains itself"),
        (nested(MAX_DEPTH + 1), "nested deeper than 64"),
        (nested(MAX_DEPTH + 1, lambda inner: {"a": inner}), "nested deeper than 64"),
        (nested(MAX_DEPTH + 1, Point), "nested deeper than 64"),
        (nested(100_000), "nested deeper than 64"),
        (Sneaky(), ""),
        (Raising(), "cannot be taken apart: RuntimeError"),
    ],
    ids=[f"case{number}" for number in range(31)],
)
def test_what_cannot_travel_is_refused_with_the_reason(bad, reason):
    for value in (bad, [bad], {"a": bad}):
        with pytest.raises(InvalidArgument, match=r"^argument ") as caught:
            to_plain(value, "argument")

        assert reason in str(caught.value)


def test_the_depth_limit_is_met_exactly():
    assert to_plain(nested(MAX_DEPTH), "argument") == nested(MAX_DEPTH)
    assert to_plain(2**MAX_BITS - 1, "argument") == 2**MAX_BITS - 1
    assert to_plain(-(2**MAX_BITS) + 1, "argument") == -(2**MAX_BITS) + 1


def test_the_error_class_is_the_callers():
    with pytest.raises(InvalidSignature, match=r"^headers "):
        to_plain(object(), "headers", InvalidSignature)
    with pytest.raises(InvalidSignature, match=r"^spec .*surrogate"):
        check_text("\ud800", "spec", InvalidSignature)


def test_no_error_shows_a_value():
    for value in ({"secret-a": object()}, ["secret-b", object()], "secret-c\ud800"):
        with pytest.raises(InvalidArgument) as caught:
            to_plain(value, "argument")

        assert "secret" not in str(caught.value)


class Endless(list):
    def __iter__(self):
        return itertools.repeat(1)


@pytest.mark.parametrize(
    "wrap", [lambda part: [part, part], lambda part: {"a": part, "b": part}, lambda part: Point(part, part)]
)
def test_parts_that_are_shared_do_not_unfold_without_end(wrap, monkeypatch):
    monkeypatch.setattr("vecna.domain.values.MAX_VALUES", 1000)
    value: Any = []
    for _ in range(MAX_DEPTH - 1):
        value = wrap(value)

    with pytest.raises(InvalidArgument, match="holds more than 1000 values"):
        to_plain(value, "argument")


def test_the_number_of_values_is_limited_exactly(monkeypatch):
    monkeypatch.setattr("vecna.domain.values.MAX_VALUES", 100)

    assert MAX_VALUES == 1_000_000
    assert to_plain([[1] * 49] * 2, "argument") == [[1] * 49] * 2
    assert to_plain(dict.fromkeys("abc", [1] * 32), "argument")
    for wrong in ([[1] * 49, [1] * 50], [1] * 101, {str(number): 1 for number in range(101)}, Endless()):
        with pytest.raises(InvalidArgument, match="holds more than 100 values"):
            to_plain(wrong, "argument")
