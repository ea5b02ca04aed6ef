"""What travels as JSON is rebuilt by annotation: for every supported type the same value comes out."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import math
import typing
import uuid
from collections import abc
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vecna.app.arguments import bind, to_results
from vecna.app.registry import Registry
from vecna.app.task import AnyTask
from vecna.domain.errors import InvalidArgument
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState

pytestmark = pytest.mark.slow  # left out by `make unit`

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    GREEN = 2
    PAIR = (1, "x")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"
    NO = "no"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    when: dt.date = dt.date(2026, 1, 1)


class Movie(TypedDict):
    title: str
    made: typing.NotRequired[dt.date]


@attrs.define
class Money:
    amount: decimal.Decimal
    currency: Literal["EUR", "USD"] = "EUR"
    _secret: int = 0
    shown: str = attrs.field(init=False, default="")


@dataclasses.dataclass
class Order:
    id: uuid.UUID
    items: list[Money]
    placed: dt.datetime | None = None
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


@attrs.frozen
class Node:
    name: str
    children: "list[Node]" = attrs.field(factory=list)


@attrs.frozen
class Box(Generic[T]):
    content: T


@attrs.frozen
class Positive:
    number: int = attrs.field(validator=attrs.validators.gt(0))


@attrs.frozen
class Upper:
    text: str = attrs.field(converter=lambda text: text.upper())


UserId = NewType("UserId", int)


class Sized(Protocol):
    def size(self) -> int: ...


TEXT = st.text(max_size=20)
INTS = st.integers()
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
OFFSETS = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(
    lambda offset: dt.timezone(dt.timedelta(seconds=int(offset.total_seconds())))
)
MONEY = st.builds(Money, st.decimals(allow_nan=False), st.sampled_from(["EUR", "USD"]), INTS)
MOMENTS = st.datetimes(timezones=st.one_of(st.none(), OFFSETS))
ORDERS = st.builds(
    Order, st.uuids(), st.lists(MONEY, max_size=3), st.none() | MOMENTS, st.dictionaries(TEXT, TEXT, max_size=3)
)
NODES = st.recursive(
    st.builds(Node, TEXT), lambda inner: st.builds(Node, TEXT, st.lists(inner, max_size=3)), max_leaves=8
)

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": (int, INTS),
    "float": (float, FLOATS),
    "bool": (bool, st.booleans()),
    "str": (str, TEXT),
    "none": (None, st.none()),
    "bytes": (bytes, st.binary()),
    "bytearray": (bytearray, st.binary().map(bytearray)),
    "datetime": (dt.datetime, MOMENTS),
    "date": (dt.date, st.dates()),
    "time": (dt.time, st.times()),
    "timedelta": (dt.timedelta, st.timedeltas()),
    "uuid": (uuid.UUID, st.uuids()),
    "decimal": (decimal.Decimal, st.decimals(allow_nan=False)),
    "path": (Path, st.lists(st.text("abc.", min_size=1), min_size=1).map("/".join).map(Path)),
    "pure path": (PurePosixPath, st.just(PurePosixPath("/a/b"))),
    "enum": (Color, st.sampled_from(Color)),
    "int enum": (Level, st.sampled_from(Level)),
    "str enum": (Word, st.sampled_from(Word)),
    "flag": (Access, st.sampled_from([Access.READ, Access.WRITE, Access.READ | Access.WRITE])),
    "literal": (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
    "new type": (UserId, INTS.map(UserId)),
    "annotated": (Annotated[dt.date, "when"], st.dates()),
    "any": (Any, st.none() | INTS | TEXT | st.lists(INTS)),
    "bare list": (list, st.lists(INTS)),
    "list": (list[dt.date], st.lists(st.dates(), max_size=5)),
    "sequence": (abc.Sequence[int], st.lists(INTS, max_size=5)),
    "set": (set[uuid.UUID], st.sets(st.uuids(), max_size=5)),
    "frozen set": (frozenset[int], st.frozensets(INTS, max_size=5)),
    "deque": (collections.deque[int], st.lists(INTS, max_size=5).map(collections.deque)),
    "tuple": (tuple[int, dt.date, str], st.tuples(INTS, st.dates(), TEXT)),
    "empty tuple": (tuple[()], st.just(())),
    "long tuple": (tuple[dt.date, ...], st.lists(st.dates(), max_size=5).map(tuple)),
    "bare tuple": (tuple, st.lists(INTS).map(tuple)),
    "bare dict": (dict, st.dictionaries(TEXT, INTS)),
    "dict": (dict[str, dt.timedelta], st.dictionaries(TEXT, st.timedeltas(), max_size=5)),
    "dict by int": (dict[int, bytes], st.dictionaries(INTS, st.binary(), max_size=5)),
    "dict by float": (dict[float, int], st.dictionaries(FLOATS, INTS, max_size=5)),
    "dict by date": (dict[dt.date, int], st.dictionaries(st.dates(), INTS, max_size=5)),
    "dict by enum": (dict[Level, int], st.dictionaries(st.sampled_from(Level), INTS, max_size=5)),
    "dict by uuid": (dict[uuid.UUID, list[int]], st.dictionaries(st.uuids(), st.lists(INTS, max_size=3), max_size=5)),
    "mapping": (abc.Mapping[str, int], st.dictionaries(TEXT, INTS, max_size=5)),
    "counter": (collections.Counter[str], st.lists(TEXT, max_size=5).map(collections.Counter)),
    "named tuple": (Point, st.builds(Point, INTS, st.dates())),
    "typed dict": (Movie, st.fixed_dictionaries({"title": TEXT}, optional={"made": st.dates()})),
    "attrs": (Money, MONEY),
    "dataclass": (Order, ORDERS),
    "recursive": (Node, NODES),
    "generic": (Box[dt.date], st.builds(Box, st.dates())),
    "optional": (dt.datetime | None, st.none() | MOMENTS),
    "optional list": (list[int | None] | None, st.none() | st.lists(st.none() | INTS, max_size=5)),
    "numbers": (int | float | None, st.none() | INTS | FLOATS),
    "bool or int": (bool | int, st.booleans() | INTS),
    "date or datetime": (dt.date | dt.datetime, st.dates() | st.datetimes()),
    "uuid or int": (uuid.UUID | int, st.uuids() | INTS),
    "number or text": (int | str | list[int], INTS | TEXT | st.lists(INTS)),
    "bytes or list": (bytes | list[int], st.binary() | st.lists(INTS, min_size=1)),
    "enum or int": (Word | int, st.sampled_from(Word) | INTS),
    "classes": (Money | Order | Node, MONEY | ORDERS | NODES),
    "class or none or text": (Money | str | None, MONEY | st.none() | TEXT),
    "list of classes": (list[Money | Node], st.lists(MONEY | NODES, max_size=3)),
    "nested": (dict[str, list[tuple[int, Order | None]]], st.dictionaries(
        TEXT, st.lists(st.tuples(INTS, st.none() | ORDERS), max_size=2), max_size=2)),
}  # fmt: skip


def task_of(annotation: Any) -> AnyTask:
    def probe(value): ...

    probe.__annotations__ = {"value": annotation, "return": annotation}
    return Registry().add("probe", probe, {})


def rebuilt(annotation: Any, value: Any) -> Any:
    """What a function gets for a value that is sent to it."""
    task = task_of(annotation)
    (arrived,), _ = bind(task, Signature.from_json(task.signature(value).to_json()))
    return arrived


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_was_sent_arrives(kind: str, data: st.DataObject) -> None:
    annotation, strategy = TYPES[kind]
    value = data.draw(strategy)

    arrived = rebuilt(annotation, value)

    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_was_returned_comes_back(kind: str, data: st.DataObject) -> None:
    annotation, strategy = TYPES[kind]
    value = data.draw(strategy)
    task = task_of(annotation)

    outcome = to_results(task, value)
    state = TaskState.from_json(
        TaskState(
            task_uuid="1", state=State.SUCCESS, results=outcome.results, several=outcome.several
        ).to_json()
    )  # fmt: skip
    back = task.parameters.rebuild_result(state.value(), several=state.several, none=not state.results)

    assert back == value
    assert type(back) is type(value)


def test_values_that_equality_does_not_tell_apart_stay_what_they_are() -> None:
    assert [type(value) for value in rebuilt(list[bool | int], [True, 1, 0, False])] == [bool, int, int, bool]
    assert [type(value) for value in rebuilt(list[int | float], [1, 1.0])] == [int, float]
    assert math.copysign(1, rebuilt(float, -0.0)) == -1
    assert rebuilt(decimal.Decimal, decimal.Decimal("NaN")).is_nan()


def test_an_int_does_for_a_float() -> None:
    assert rebuilt(float, 3) == 3.0
    assert type(rebuilt(float, 3)) is float


def test_converters_and_validators_of_classes_run() -> None:
    assert rebuilt(Upper, Upper("abc")) == Upper("ABC")
    task = task_of(Positive)

    with pytest.raises(InvalidArgument, match="takes a Positive, which refused its fields: ValueError"):
        bind(task, Signature("probe", [{"number": -5}]))


def test_further_fields_are_ignored_so_that_senders_may_be_newer() -> None:
    (arrived,), _ = bind(task_of(Node), Signature("probe", [{"name": "a", "later": 1}]))

    assert arrived == Node("a")


def test_a_protocol_takes_anything() -> None:
    assert rebuilt(Sized, [1]) == [1]
    assert rebuilt(abc.Hashable, "x") == "x"


SECRET = "s3cr3t"
MISFITS: list[tuple[Any, Any, str]] = [
    (int, SECRET, "takes an int, not a str"),
    (int, True, "takes an int, not a bool"),
    (int, 1.5, "takes an int, not a float"),
    (int, None, "takes an int, not None"),
    (float, True, "takes a float, not a bool"),
    (float, 10**400, "too large"),
    (str, 1, "takes a str, not a int"),
    (None, 1, "takes None, not a int"),
    (bool, 1, "takes a bool, not a int"),
    (list, SECRET, "takes a list, not a str"),
    (dict, [SECRET], "takes a dict, not a list"),
    (list[int], SECRET, "takes a list, not a str"),
    (list[int], [1, SECRET], r"at \[1\] takes an int, not a str"),
    (set[Any], [[SECRET]], "cannot be in a set"),
    (dict[str, int], {"a": SECRET}, r"at \[entry 0\] takes an int"),
    (dict[int, int], {SECRET: 1}, "takes keys that are int"),
    (tuple[int, int], [1], "takes a list of 2, not of 1"),
    (tuple[int, int], [1, SECRET], r"at \[1\] takes an int"),
    (Point, [1, SECRET], r"at \[when\] takes a date in ISO 8601; the text that came is none"),
    (dt.datetime, "2026-01-31", "takes a datetime in ISO 8601; the text"),
    (dt.datetime, 5, "takes a datetime in ISO 8601 as text, not a int"),
    (dt.date, SECRET, "takes a date"),
    (dt.timedelta, SECRET, "takes a duration"),
    (uuid.UUID, SECRET, "takes a UUID"),
    (decimal.Decimal, SECRET, "takes a Decimal"),
    (decimal.Decimal, 1.5, "takes a Decimal as text, not a float"),
    (bytes, "*", "takes bytes as base64"),
    (bytes, [256], "from 0 to 255"),
    (Color, SECRET, "takes a Color"),
    (Access, 512, "takes a Access"),
    (Literal["a"], SECRET, r"takes Literal\['a'\]"),
    (Node, SECRET, "takes a Node, not a str"),
    (Node, {"children": []}, "takes a Node; its field name is missing"),
    (Node, {"name": "a", "children": [{"name": "b"}, {"name": 1}]}, r"at \.children\[1\]\.name takes a str"),
    (Order, {"id": SECRET, "items": []}, r"at \.id takes a UUID"),
    (Movie, {"title": 1}, r"at \.title takes a str"),
    (int | None, SECRET, r"takes int \| None; what came is a str"),
    (list[int] | None, [SECRET], r"at \[0\] takes an int"),
    (Money | Node, {SECRET: 1}, "the fields that came are those of none"),
    (Money | Node, SECRET, r"takes Money \| Node"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "message"), MISFITS)
def test_what_does_not_fit_is_named_without_its_value(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        bind(task_of(annotation), Signature("probe", [value]))

    assert str(caught.value).startswith("probe(): argument 'value' ")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


class Plain:
    pass


class A:
    __slots__ = ()


@attrs.define
class Twin:
    name: str


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Plain, "'value' is annotated as Plain, which cannot be rebuilt from JSON"),
        (list[Plain], "which cannot be rebuilt from JSON"),
        (Callable[[], int], "which cannot be rebuilt from JSON"),
        (complex, "which cannot be rebuilt from JSON"),
        (Node | Twin, "cannot be told apart: give each a field that only it has, or a Literal field"),
        ("NoSuchThing", "the annotation 'NoSuchThing' of 'value' cannot be resolved"),
        ("list[", "cannot be resolved"),
    ],
)
def test_an_annotation_that_cannot_be_rebuilt_says_so(annotation: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        bind(task_of(annotation), Signature("probe", ["x"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(value=JSON)
def test_whatever_arrives_is_rebuilt_or_refused(kind: str, value: Any) -> None:
    task = task_of(TYPES[kind][0])
    try:
        bind(task, Signature("probe", [value]))
    except InvalidArgument as exc:
        refusal = str(exc)
    else:
        return

    assert refusal.startswith("probe(): argument 'value' ")
