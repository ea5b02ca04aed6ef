"""Arguments: every wire type, its exact edges, and the type that a plain value gets by itself."""

import base64
import collections
import copy
import enum
import math
import pickle
import struct
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.strategies import HUGE, Number, Real, Word, arguments, exact, few, json_values, kind, values_of
from vecna.domain.arg import TYPES, Arg, TaskResult, infer_type
from vecna.domain.errors import InvalidArgument
from vecna.domain.values import MAX_BITS

SCALAR_NAMES = (
    "bool", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "float32",
    "float64", "string",
)  # fmt: skip
LIST_NAMES = tuple([f"[]{name}" for name in SCALAR_NAMES])
EDGES = {
    "int": (-(2**63), 2**63 - 1),
    "int8": (-128, 127),
    "int16": (-32768, 32767),
    "int32": (-2147483648, 2147483647),
    "int64": (-9223372036854775808, 9223372036854775807),
    "uint": (0, 18446744073709551615),
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "uint32": (0, 4294967295),
    "uint64": (0, 18446744073709551615),
}


class Level(enum.IntEnum):
    LOW = 3


class Colour(enum.StrEnum):
    RED = "red"


def test_there_are_the_documented_types_and_json():
    assert {*SCALAR_NAMES, *LIST_NAMES, "json"} == TYPES


@few
@given(st.data(), st.sampled_from(sorted(TYPES)))
def test_every_type_takes_its_values_as_they_are(data, kind):
    value = data.draw(values_of(kind))
    arg = Arg(kind, value)

    assert (arg.type, exact(arg.value), arg.name) == (kind, exact(value), "")


@pytest.mark.parametrize("name", EDGES)
def test_an_integer_type_ends_exactly_at_its_edges(name):
    least, largest = EDGES[name]

    assert Arg(name, least).value == least
    assert Arg(f"[]{name}", [least, largest]).value == [least, largest]
    for outside in (least - 1, largest + 1, HUGE, -HUGE):
        for type_, value in ((name, outside), (f"[]{name}", [least, outside])):
            with pytest.raises(InvalidArgument, match=f"out of range for {name}: {least} to {largest}"):
                Arg(type_, value)


def test_a_float32_ends_where_rounding_to_it_would_give_infinity():
    largest = math.nextafter(3.4028235677973366e38, 0)

    assert math.isfinite(struct.unpack("<f", struct.pack("<f", largest))[0])
    with pytest.raises(OverflowError):
        struct.pack("<f", 3.4028235677973366e38)
    for inside in (largest, -largest, 3.4028235e38, 1e-300, -0.0):
        assert exact(Arg("float32", inside).value) == exact(inside)
    for outside in (3.4028235677973366e38, -3.4028235677973366e38, 1e39, 10**39):
        with pytest.raises(InvalidArgument, match="out of range for float32"):
            Arg("float32", outside)


def test_a_float64_takes_every_finite_float():
    for inside in (1.7976931348623157e308, -1.7976931348623157e308, 5e-324):
        assert Arg("float64", inside).value == inside
    for outside in (10**309, HUGE):
        with pytest.raises(InvalidArgument, match="out of range for float64"):
            Arg("float64", outside)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_floats_take_ints_and_hold_floats(name):
    assert exact(Arg(name, 3).value) == exact(3.0)
    assert exact(Arg(f"[]{name}", [1, 2.5]).value) == exact([1.0, 2.5])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_everywhere(bad):
    for name, value in {
        "float32": bad, "float64": bad, "[]float64": [1.0, bad], "json": [{"a": bad}], "int64": bad
    }.items():  # fmt: skip
        with pytest.raises(InvalidArgument):
            Arg(name, value)
    for value in (bad, [bad], {"a": bad}):
        with pytest.raises(InvalidArgument):
            Arg.of(value)


@pytest.mark.parametrize("name", SCALAR_NAMES[1:])
def test_a_bool_is_a_bool_and_nothing_else(name):
    for value in (True, False):
        with pytest.raises(InvalidArgument, match=f"{name} takes"):
            Arg(name, value)
        with pytest.raises(InvalidArgument, match=f"{name} takes"):
            Arg(f"[]{name}", [value])


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("bool", 1), ("bool", 0), ("bool", None), ("bool", "true"),
        ("int64", 1.0), ("int64", "1"), ("int64", None), ("int64", b"1"), ("int64", [1]),
        ("float64", "1.5"), ("float64", None), ("float64", 1j), ("float32", [1.0]),
        ("string", 1), ("string", None), ("string", b"x"), ("string", ["x"]), ("string", "\ud800"),
        ("[]int64", 1), ("[]int64", None), ("[]int64", [1, None]), ("[]int64", [[1]]), ("[]int64", [1, 2.0]),
        ("[]int64", {1: 2}), ("[]int64", "12"), ("[]int64", (n for n in (1, 2))), ("[]int64", {1}),
        ("[]string", "abc"), ("[]string", ["a", 1]), ("[]string", ["a", "\ud800"]), ("[]bool", [True, 1]),
        ("[]uint8", "AQI="), ("[]uint8", [256]), ("[]int8", b"ab"),
        ("json", object()), ("json", "\ud800"), ("json", 2**MAX_BITS),
    ],
    ids=kind,
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(name, bad):
    with pytest.raises(InvalidArgument):
        Arg(name, bad)


@pytest.mark.parametrize(
    "bad",
    ["", "Int64", "int128", "[]json", "[][]int", "int64\n", "[]", None, 1, ["int64"], HUGE, Word("int64x")],
    ids=kind,
)
def test_an_unknown_type_is_refused(bad):
    with pytest.raises(InvalidArgument, match="unknown argument type"):
        Arg(bad, 1)


@pytest.mark.parametrize("bad", [None, 1, b"x", "\ud800"], ids=kind)
def test_the_name_of_an_argument_is_a_text(bad):
    with pytest.raises(InvalidArgument, match="name of an argument"):
        Arg("int64", 1, bad)


def test_no_error_shows_the_content_of_a_text():
    for name, value in (("int64", "secret"), ("bool", "secret"), ("[]int64", ["secret"]), ("float64", "secret")):
        with pytest.raises(InvalidArgument) as caught:
            Arg(name, value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("int64", Number(5), 5),
        ("int8", Level.LOW, 3),
        ("[]uint8", [Number(5), Level.LOW], [5, 3]),
        ("float64", Real(2.5), 2.5),
        ("float32", Number(5), 5.0),
        ("string", Word("abc"), "abc"),
        ("string", Colour.RED, "red"),
        ("[]string", (Word("ä"), Colour.RED), ["ä", "red"]),
        ("json", [Number(5), Real(2.5), Word("abc"), Level.LOW, Colour.RED], [5, 2.5, "abc", 3, "red"]),
        (Word("int64"), 1, 1),
    ],
    ids=kind,
)
def test_what_travels_loses_its_own_class(name, value, plain):
    arg = Arg(name, value, Word("n"))

    assert exact(arg.value) == exact(plain)
    assert (type(arg.type), type(arg.name)) == (str, str)
    assert str.__eq__(arg.name, "n")


def test_lists_are_copied():
    numbers, nested = [1, 2], {"a": [1]}
    args = [Arg("[]int64", numbers), Arg.of(numbers), Arg("json", nested), Arg.of(nested)]
    numbers.append(3)
    nested["a"].append(2)

    assert [arg.value for arg in args] == [[1, 2], [1, 2], {"a": [1]}, {"a": [1]}]


def test_bytes_as_uint8_are_a_list_of_numbers():
    assert Arg("[]uint8", b"\x00\xff").value == [0, 255]
    assert Arg("[]uint8", bytearray(b"\x01")).value == [1]


# -- the type that a plain value gets by itself --------------------------------------------------------------------

Pair = collections.namedtuple("Pair", "a b")


@attrs.frozen
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "bool"), (False, "bool"),
        (1, "int64"), (-(2**63), "int64"), (2**63 - 1, "int64"), (2**63, "uint64"), (2**64 - 1, "uint64"),
        (2**64, "json"), (-(2**63) - 1, "json"), (2**MAX_BITS - 1, "json"),
        (1.5, "float64"), (-0.0, "float64"), ("x", "string"), ("", "string"), ("ä", "string"),
        ([1, 2], "[]int64"), ([2**63, 1], "[]uint64"), ([2**63, -1], "json"), ([2**64], "json"),
        ([True, False], "[]bool"), ([1.5], "[]float64"), (["x", "ä"], "[]string"),
        ([], "json"), ([1, True], "json"), ([1, 1.5], "json"), ([1, "x"], "json"), ([None], "json"), ([[1]], "json"),
        (None, "json"), ((1, 2), "json"), ({1, 2}, "json"), ({"a": 1}, "json"), (b"x", "json"),
        (Level.LOW, "json"), (Colour.RED, "json"), (Real(1.0), "json"), (Word("x"), "json"), (Number(1), "json"),
        (Pair(1, 2), "json"), (Point(1), "json"),
    ],
    ids=kind,
)  # fmt: skip
def test_the_table_of_inferred_types(value, name):
    assert infer_type(value) == name
    assert Arg.of(value).type == name


@few
@given(arguments)
def test_an_inferred_argument_is_the_one_that_its_type_makes(value):
    arg = Arg.of(value)

    if isinstance(value, Arg):
        assert arg is value
    else:
        assert arg == Arg(infer_type(value), value)
        assert exact(arg.value) == exact(value)


def test_an_argument_has_no_subclasses():
    with pytest.raises(TypeError, match="no subclasses"):
        type("Labelled", (Arg,), {})


@pytest.mark.parametrize(
    "bad", [object(), print, (n for n in (1,)), range(3), 1j, HUGE, Level, {object(): 1}], ids=kind
)
def test_a_value_that_cannot_travel_is_refused(bad):
    with pytest.raises(InvalidArgument):
        Arg.of(bad)


# -- from the wire -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=20))
def test_bytes_are_read_as_go_writes_them(content):
    assert Arg.from_wire("[]uint8", base64.b64encode(content).decode()).value == list(content)


@pytest.mark.parametrize("bad", ["A", "A===", "!!!!", "AQ I=", "AQI=\n", "ä", "\ud800", "AQI", "_-_-"])
def test_text_that_is_not_base64_is_refused(bad):
    with pytest.raises(InvalidArgument, match="base64"):
        Arg.from_wire("[]uint8", bad)


@pytest.mark.parametrize("name", LIST_NAMES)
def test_null_is_an_empty_list_as_gos_nil_slice_is(name):
    assert Arg.from_wire(name, None).value == []


@few
@given(st.one_of(st.sampled_from(sorted(TYPES)), st.text(), json_values), json_values, json_values)
def test_reading_any_argument_succeeds_or_says_why_not(name: Any, value, label: Any):
    try:
        arg = Arg.from_wire(name, value, label)
    except InvalidArgument:
        return

    assert Arg.from_wire(arg.type, arg.value, arg.name) == arg


# -- as values -----------------------------------------------------------------------------------------------------


def test_arguments_are_values():
    arg = Arg("int64", 1, "n")

    assert arg == Arg("int64", 1, "n") != Arg("int32", 1, "n")
    assert hash(arg) == hash(Arg("int64", 1, "n"))
    assert copy.deepcopy(arg) == pickle.loads(pickle.dumps(arg)) == arg
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        arg.value = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        arg.other = 2  # type: ignore[attr-defined]


@few
@given(json_values)
def test_a_result_has_the_type_and_value_that_an_argument_would_have(value):
    result, arg = TaskResult.of(value), Arg.of(value)

    assert (result.type, exact(result.value)) == (arg.type, exact(arg.value))
