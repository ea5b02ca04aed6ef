"""The documented message: every signature survives it, and nothing else gets through or breaks the reader."""

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.domain.strategies import exact, few, ids, json_values, signatures, zones
from vecna.domain.arg import TYPES, Arg
from vecna.domain.codec import MAX_MESSAGE, decode_object, format_instant, parse_instant
from vecna.domain.errors import InvalidSignature
from vecna.domain.retry import Exponential, Fibonacci
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_COUNT, MAX_DEPTH

pytestmark = pytest.mark.slow  # left out by `make unit`

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
KEYS = (
    "UUID", "ID", "Name", "Args", "Kwargs", "Headers", "OnSuccess", "OnError", "Code", "GroupUUID", "GroupID",
    "GroupTaskCount", "ChordCallback", "Spec", "Position", "RoutingKey", "ETA", "Delay", "Expires", "Timeout",
    "RetryCount", "RetryTimeout", "Retry", "RetryOn", "NoRetryOn", "Priority", "Immutable", "KeepResult",
    "IgnoreWhenTaskNotRegistered",
)  # fmt: skip


def read(**plain: Any) -> Signature:
    return Signature.from_json(json.dumps({"UUID": "u", "Name": "n", **plain}))


def written(signature: Signature) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(signature.to_json())
    return plain


# -- the round trip ------------------------------------------------------------------------------------------------


@few
@given(signatures())
def test_any_signature_survives_the_round_trip(signature):
    message = signature.to_json()
    restored = Signature.from_json(message)

    assert restored == signature == Signature.from_json(message.decode())
    assert exact(written(restored)) == exact(json.loads(message))
    for got, given_ in zip(restored.args, signature.args, strict=True):
        assert (got.type, exact(got.value), got.name) == (given_.type, exact(given_.value), given_.name)
    assert restored.depth == signature.depth
    assert not restored.fresh


@given(signatures())
def test_a_call_is_read_the_same_on_the_short_way_and_on_the_long_one(signature):
    plain = json.loads(signature.to_json())
    long_way = Signature.from_json(json.dumps({**plain, "GroupTaskCount": plain.get("GroupTaskCount", 0)}))
    assert Signature.from_json(signature.to_json()) == long_way == signature


def test_only_what_was_set_is_written():
    assert Signature("add", uuid="u").to_json() == b'{"UUID":"u","Name":"add"}'


def test_the_documented_message():
    signature = Signature(
        "add",
        [1, Arg("int8", 2, "b")],
        kwargs={"c": 1.5},
        uuid="u",
        headers={"trace": "x"},
        on_success=Signature("next", uuid="s"),
        on_error=[Signature("alert", uuid="e")],
        code="c",
        group_uuid="g",
        group_task_count=2,
        chord_callback=Signature("sum", uuid="k"),
        spec="@daily",
        queue="q",
        eta=NOON,
        expires=dt.timedelta(hours=1),
        timeout=1.5,
        retry_count=3,
        retry_timeout=10,
        retry=Exponential(1, 2, 60, 0),
        retry_on=[KeyError],
        no_retry_on=[ValueError],
        priority=9,
        immutable=True,
        keep_result=False,
        ignore_when_task_not_registered=True,
    )

    assert written(signature) == {
        "UUID": "u",
        "Name": "add",
        "RoutingKey": "q",
        "ETA": "2026-01-31T12:00:00Z",
        "Expires": 3600,
        "Timeout": 1.5,
        "RetryCount": 3,
        "RetryTimeout": 10,
        "Retry": {"Kind": "exponential", "Base": 1.0, "Factor": 2.0, "Maximum": 60.0, "Jitter": 0.0},
        "RetryOn": ["builtins.KeyError"],
        "NoRetryOn": ["builtins.ValueError"],
        "Priority": 9,
        "Immutable": True,
        "KeepResult": False,
        "IgnoreWhenTaskNotRegistered": True,
        "Args": [{"Type": "int64", "Value": 1}, {"Name": "b", "Type": "int8", "Value": 2}],
        "Kwargs": {"c": {"Type": "float64", "Value": 1.5}},
        "Headers": {"trace": "x"},
        "OnSuccess": [{"UUID": "s", "Name": "next"}],
        "OnError": [{"UUID": "e", "Name": "alert"}],
        "Code": "c",
        "GroupUUID": "g",
        "GroupTaskCount": 2,
        "ChordCallback": {"UUID": "k", "Name": "sum"},
        "Spec": "@daily",
    }
    assert Signature.from_json(signature.to_json()) == signature


def test_an_option_set_to_its_default_is_written_for_it_overrides_the_registration():
    signature = Signature("add", uuid="u", retry_count=0, retry=Fibonacci(), retry_on=())

    assert written(signature) == {
        "UUID": "u", "Name": "add", "RetryCount": 0, "Retry": {"Kind": "fibonacci"}, "RetryOn": []
    }  # fmt: skip
    assert Signature.from_json(signature.to_json()) == signature


# -- as others write it --------------------------------------------------------------------------------------------

GO_README = """{
  "UUID": "48760a1a-8576-4536-973b-da09048c2ac5", "Name": "add", "RoutingKey": "", "ETA": null, "GroupUUID": "",
  "GroupTaskCount": 0, "Args": [{"Type": "int64", "Value": 1}, {"Type": "int64", "Value": 1}], "Immutable": false,
  "RetryCount": 0, "RetryTimeout": 0, "OnSuccess": null, "OnError": null, "ChordCallback": null,
  "IgnoreWhenTaskNotRegistered": false, "Spec": "", "Code": ""
}"""
GO_CODE = """{
  "ID": "task_V1StGXR8_Z5jdHi6B-myT", "Name": "add", "RoutingKey": "q", "ETA": "2026-01-31T13:00:00.123456789+01:00",
  "GroupID": "group_4", "GroupTaskCount": 2, "Args": [
    {"name": "a", "type": "int64", "value": 1}, {"name": "", "type": "[]uint8", "value": "AQL/"},
    {"name": "", "type": "[]string", "value": null}, {"name": "", "type": "float32", "value": 3.4028235e+38}
  ], "Headers": null, "Priority": 0, "Immutable": true, "RetryCount": 3, "RetryTimeout": 5,
  "OnSuccess": [{"ID": "task_s", "Name": "next", "GroupID": "", "Args": null}], "OnError": [], "ChordCallback": null,
  "IgnoreWhenTaskNotRegistered": true, "Spec": "", "Code": "group_4", "Unknown": {"deep": [1, {}]}
}"""


def test_the_message_of_the_go_readme_is_read():
    signature = Signature.from_json(GO_README)

    assert signature.uuid == signature.code == "48760a1a-8576-4536-973b-da09048c2ac5"
    assert (signature.name, signature.args) == ("add", (Arg("int64", 1), Arg("int64", 1)))
    assert (signature.queue, signature.eta, signature.group_uuid, signature.spec) == ("", None, "", "")
    assert (signature.on_success, signature.on_error, signature.chord_callback) == ((), (), None)
    assert (signature.retry_count, signature.immutable, signature.ignore_when_task_not_registered) == (0, False, False)


def test_a_message_as_the_go_code_writes_it_is_read():
    signature = Signature.from_json(GO_CODE)

    assert (signature.uuid, signature.group_uuid, signature.code) == (
        "task_V1StGXR8_Z5jdHi6B-myT",
        "group_4",
        "group_4",
    )
    assert signature.eta == NOON.replace(microsecond=123456)
    assert signature.args == (
        Arg("int64", 1, "a"), Arg("[]uint8", [1, 2, 255]), Arg("[]string", []), Arg("float32", 3.4028235e38)
    )  # fmt: skip
    assert signature.on_success == (Signature("next", uuid="task_s", code="task_s"),)
    assert (signature.queue, signature.immutable, signature.retry_count) == ("q", True, 3)
    assert signature.retry_timeout == dt.timedelta(seconds=5)


@pytest.mark.parametrize(
    ("plain", "uuid", "group"),
    [
        ({"UUID": "a", "ID": "b", "GroupUUID": "g", "GroupID": "h"}, "a", "g"),
        ({"ID": "b", "UUID": "a", "GroupID": "h", "GroupUUID": "g"}, "a", "g"),
        ({"UUID": None, "ID": "b", "GroupUUID": None, "GroupID": "h"}, "b", "h"),
        ({"UUID": "", "ID": "b", "GroupUUID": "", "GroupID": "h"}, "b", "h"),
        ({"ID": "b"}, "b", ""),
        ({"UUID": "a", "ID": None, "GroupID": None}, "a", ""),
    ],
)
def test_the_documented_spelling_goes_before_the_other(plain, uuid, group):
    signature = Signature.from_json(json.dumps({"Name": "n", **plain}))

    assert (signature.uuid, signature.group_uuid) == (uuid, group)


@pytest.mark.parametrize(
    ("arg", "expected"),
    [
        ({"Type": "int8", "Value": 1}, Arg("int8", 1)),
        ({"type": "int8", "value": 1}, Arg("int8", 1)),
        ({"Type": "int8", "value": 1}, Arg("int8", 1)),
        ({"Type": "int8", "Value": 1, "value": 2, "type": "string", "name": "x"}, Arg("int8", 1, "x")),
        ({"Type": "int8", "Value": 1, "Name": "x", "name": "y", "Other": 3}, Arg("int8", 1, "x")),
        ({"Type": "json", "Value": None, "value": 2, "Name": None}, Arg("json", None)),
        ({"Type": "json"}, Arg("json", None)),
        ({"Type": "float64", "Value": 1}, Arg("float64", 1.0)),
        ({"Type": "[]uint8", "Value": ""}, Arg("[]uint8", [])),
        ({"Type": "[]uint8", "Value": [1]}, Arg("[]uint8", [1])),
    ],
)
def test_an_argument_in_either_spelling(arg, expected):
    assert read(Args=[arg]).args == (expected,)
    assert read(Kwargs={"k": arg}).kwargs == {"k": expected}


@pytest.mark.parametrize(
    "arg",
    [
        None, 1, "x", [], {}, {"Value": 1}, {"Type": None, "Value": 1}, {"Type": "int", "Value": "1"},
        {"Type": "int8", "Value": 128}, {"Type": "int8"}, {"Type": 1, "Value": 1}, {"Type": ["int"], "Value": 1},
        {"Type": {}, "Value": 1}, {"Type": "int", "Value": True}, {"Type": "int", "Value": 1.0},
        {"Type": "int", "Value": 1, "Name": 2}, {"Type": "int", "Value": 1, "name": []},
        {"Type": "[]uint8", "Value": "!"}, {"Type": "[]int", "Value": "AQ=="}, {"Type": "Int", "Value": 1},
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(arg):
    good = {"Type": "int64", "Value": 1}
    with pytest.raises(InvalidSignature, match=r"^argument 2: "):
        read(Args=[good, arg, good])
    with pytest.raises(InvalidSignature, match=r"^argument 'k': "):
        read(Kwargs={"k": arg})


# -- instants ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("2026-01-31T12:00:00.123456789Z", NOON.replace(microsecond=123456)),
        ("2026-01-31T17:30:00+05:30", NOON),
        ("2026-01-31T04:00:00.000000001-08:00", NOON),
        ("0001-01-01T00:00:00Z", dt.datetime(1, 1, 1, tzinfo=dt.UTC)),
        ("9999-12-31T23:59:59.999999999Z", dt.datetime.max.replace(tzinfo=dt.UTC)),
    ],
)
def test_instants_are_read_to_the_microsecond(text, expected):
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "", "now", "2026-01-31", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z", "2026-02-30T12:00:00Z", "1769860800",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-01-31T12:00:00Z" + " " * 50, "\ud800",
        1769860800, 1.5, True, [], {}, "2026-01-31T12:00:00+25:00", "\u0662\u0660\u0662\u0666-01-31T12:00:00Z",
    ],
)  # fmt: skip
def test_anything_else_is_no_instant(bad):
    with pytest.raises(InvalidSignature, match="not an instant"):
        parse_instant(bad)


@given(st.datetimes(timezones=zones))
def test_a_written_instant_is_read_back(instant):
    try:
        text = format_instant(instant)
    except OverflowError:  # at the ends of the calendar; no option can hold one
        return

    assert text.endswith("Z")
    assert parse_instant(text) == instant.astimezone(dt.UTC)  # in a gap of a zone's clock nothing equals anything


# -- hostile messages ----------------------------------------------------------------------------------------------


def survives(message: bytes | str) -> Signature | None:
    """Read a message: it is refused as it should be, or what it holds survives the round trip."""
    try:
        signature = Signature.from_json(message)
    except InvalidSignature as exc:
        assert str(exc).isprintable()  # noqa: PT017  # only when it is raised
        assert len(str(exc)) < 2000  # noqa: PT017
        return None
    assert Signature.from_json(signature.to_json()) == signature
    hash(signature)
    repr(signature)
    return signature


@given(st.binary() | st.text(st.characters()))
def test_no_noise_breaks_the_reader(noise):
    assert survives(noise) is None


@few
@given(signatures(depth=1), st.data())
def test_no_damaged_message_breaks_the_reader(signature, data):
    message = bytearray(signature.to_json())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message)))
        end = min(len(message), at + data.draw(st.integers(0, 4)))
        message[at:end] = data.draw(st.binary(max_size=4) | st.sampled_from([b"null", b"[]", b"1e9", b'"', b"\\ud800"]))

    survives(bytes(message))


junk = st.one_of(
    json_values,
    ids,
    st.sampled_from(["", "UUID", "exponential", "2026-01-31T12:00:00Z", 0, -1, 1, 1e300, 2**70, True, [], {}, [[]]]),
)
noise_objects = st.dictionaries(
    st.sampled_from([*KEYS, "Type", "Value", "type", "value", "name", "Kind", "Base", "Node", "Index", "Takes"]),
    junk,
    max_size=6,
)
entries = st.one_of(
    junk,
    noise_objects,
    st.lists(noise_objects, max_size=3),
    st.dictionaries(ids, noise_objects, max_size=2),
    st.fixed_dictionaries({"Type": st.sampled_from(sorted(TYPES)), "Value": junk}),
    st.lists(st.fixed_dictionaries({"Type": st.sampled_from(sorted(TYPES)), "Value": junk}), max_size=2),
    st.lists(st.fixed_dictionaries({"UUID": ids, "Name": ids}), max_size=2),
)


@given(st.dictionaries(st.sampled_from(KEYS), entries, max_size=6), st.booleans())
@example({"GroupUUID": 0}, True)
@example({"Code": False}, True)
@example({"Spec": []}, True)
@example({"GroupTaskCount": 2**70}, True)
@example({"Position": {"Index": 2**70}}, True)
@example({"Priority": True}, True)
@example({"Delay": 2**2000}, True)
@example({"RetryCount": [[]]}, True)
def test_no_message_of_right_keys_and_wrong_values_breaks_the_reader(plain, complete):
    message = json.dumps({"UUID": "u", "Name": "n", **plain} if complete else plain)

    survives(message)


FITTING: dict[str, list[Any]] = {
    "Args": [[]], "Kwargs": [{}], "Headers": [{}, {"a": 1}], "OnSuccess": [[]], "OnError": [[]], "Code": [""],
    "GroupUUID": [""], "GroupID": [""], "Spec": ["", "\n"], "Position": [{}, {"a": 1}], "RoutingKey": [""],
    "Delay": [1.5], "Expires": [1.5], "Timeout": [1.5], "RetryTimeout": [1.5], "RetryOn": [[]], "NoRetryOn": [[]],
    "Immutable": [True], "KeepResult": [True], "IgnoreWhenTaskNotRegistered": [True],
}  # fmt: skip


@pytest.mark.parametrize("key", [key for key in KEYS if key != "ID"])
def test_each_key_refuses_a_value_of_another_type(key):
    values: list[Any] = [True, 1.5, "", "\n", [], {}, [1], {"a": 1}, -1, 10**30, [[[]]]]
    for value in values:
        if value in FITTING.get(key, []):
            assert read(**{key: value}).name == "n"
        else:
            with pytest.raises(InvalidSignature):
                read(**{key: value})


@pytest.mark.parametrize("key", KEYS)
def test_null_is_as_good_as_nothing(key):
    plain = {"UUID": "u", "Name": "n", key: None} if key not in {"UUID", "Name"} else {"ID": "u", "Name": "n"}

    assert Signature.from_json(json.dumps(plain)) == Signature("n", uuid="u")


DEEP = 100_000


@pytest.mark.parametrize(
    "message",
    [
        b"", b" ", b"null", b"true", b"1", b'"x"', b"[]", b"{}", b"{", b'{"UUID":"u"}', b'{"Name":"n"}', b"\x00",
        b"\xff",
        b'\xef\xbb\xbf{"UUID":"u","Name":"n"}', '\ufeff{"UUID":"u","Name":"n"}',
        b'{"UUID":"u","Name":"n"} x', b'{"UUID":"u","Name":"n"}{}', b"{'UUID':'u'}",
        b'{"UUID":"u","Name":"n","Delay":NaN}', b'{"UUID":"u","Name":"n","Delay":Infinity}',
        b'{"UUID":"u","Name":"n","Delay":1e400}', b'{"UUID":"u","Name":"n","Delay":-1e400}',
        b'{"UUID":"u","Name":"n","Args":[{"Type":"float64","Value":1e400}]}',
        b'{"UUID":"u","Name":"n","Headers":{"a":NaN}}',
        b'{"UUID":"u","Name":"n","RetryCount":' + b"9" * 5000 + b"}",
        b'{"UUID":' + b"9" * 5000 + b',"Name":"n"}', b'{"UUID":"u","Name":' + b"9" * 4000 + b"}",
        b'{"UUID":"u","Name":"n","Priority":' + b"9" * 4299 + b"}",
        b'{"UUID":"u","Name":"n","Delay":' + b"9" * 4299 + b"}",
        b'{"UUID":"u","Name":"n","ETA":' + b"9" * 4299 + b"}",
        b'{"UUID":"u","Name":"n","Retry":{"Kind":"exponential","Jitter":' + b"9" * 4299 + b"}}",
        b'{"UUID":"u\\u0000","Name":"n"}', b'{"UUID":"u","Name":"n\\u0000"}', b'{"UUID":"u","Name":"\\ud800"}',
        b'{"UUID":"u\\n","Name":"n"}', b'{"UUID":"u","Name":"n\\n"}', b'{"UUID":"u","Name":"n","Spec":"\\ud800"}',
        '{"UUID":"u","Name":"n","Spec":"\ud800"}', b'{"UUID":"u","Name":"n","Spec":"\xed\xa0\x80"}',
        b'{"UUID":"u","Name":"' + b"n" * 201 + b'"}', b'{"UUID":"' + b"u" * 201 + b'","Name":"n"}',
        b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"OnSuccess":' * DEEP,
        b'{"UUID":"u","Name":"n","Headers":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        b'{"UUID":"u","Name":"n","Headers":' + b'{"a":' * 66 + b"1" + b"}" * 66 + b"}",
        b'{"UUID":' + b"[" * 900 + b"]" * 900 + b',"Name":"n"}',
        b'{"UUID":"u","Name":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"UUID":"u","Name":"n","Priority":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"UUID":"u","Name":"n","RetryOn":[' + b"[" * 900 + b"]" * 900 + b"]}",
        b'{"UUID":"u","Name":"n","Args":[{"Type":"int64","Value":' + b"[" * 900 + b"]" * 900 + b"}]}",
        b'{"UUID":"u","Name":"n","Args":[{"Type":' + b"[" * 900 + b"]" * 900 + b',"Value":1}]}',
        b'{"UUID":"u","Name":"n","Kwargs":{"k":{"Type":"json","Value":' + b"[" * 65 + b"]" * 65 + b"}}}",
        b'{"UUID":"u","Name":"n","OnSuccess":[{"UUID":"u","Name":"n"}]}',
        b'{"UUID":"u","Name":"n","Delay":1,"ETA":"2026-01-01T00:00:00Z"}',
        b'{"UUID":"u","Name":"n","Args":[' + b",".join([b'{"Type":"bool","Value":true}'] * (MAX_COUNT + 1)) + b"]}",
        b'{"UUID":"u","Name":"n","Headers":{' + b",".join([b'"%d":1' % n for n in range(MAX_COUNT + 1)]) + b"}}",
    ],
    ids=lambda message: repr(message[:40]),
)  # fmt: skip
def test_a_message_that_breaks_a_rule_is_refused(message):
    assert survives(message) is None


def test_a_message_that_is_too_large_is_refused_without_being_read():
    for message in (b" " * (50 * 1024 * 1024), "x" * (50 * 1024 * 1024), b"[" * (MAX_MESSAGE + 1)):
        with pytest.raises(InvalidSignature, match=f"of {len(message)} bytes is too large: at most {MAX_MESSAGE}"):
            Signature.from_json(message)
    largest = b'{"UUID":"u","Name":"n"}'.ljust(MAX_MESSAGE)
    assert Signature.from_json(largest).uuid == "u"
    # Characters are not bytes.
    with pytest.raises(InvalidSignature, match="too large"):
        Signature.from_json(
            json.dumps({"UUID": "u", "Name": "n", "Spec": "ä" * (MAX_MESSAGE - 100)}, ensure_ascii=False)
        )


@pytest.mark.parametrize("message", [None, 1, ["x"], {"UUID": "u"}, ..., Signature], ids=repr)
def test_what_is_no_message_at_all_is_refused(message):
    with pytest.raises(InvalidSignature, match="a message is bytes or str"):
        Signature.from_json(message)


def test_any_bytes_like_message_is_read():
    message = b'{"UUID":"u","Name":"n"}'

    for form in (bytearray(message), memoryview(message), memoryview(b"xx" + message)[2:]):
        assert Signature.from_json(form).uuid == "u"  # type: ignore[arg-type]
    with pytest.raises(InvalidSignature):
        Signature.from_json(memoryview(message)[::2])  # type: ignore[arg-type]


def test_of_a_key_that_stands_twice_the_last_counts():
    signature = Signature.from_json(b'{"UUID":"u","Name":"a","UUID":"v","Name":"b","Args":[1],"Args":[]}')

    assert (signature.uuid, signature.name, signature.args) == ("v", "b", ())


def nested_message(depth: int, key: str) -> bytes:
    message: dict[str, Any] = {"UUID": "u0", "Name": "n"}
    for number in range(1, depth):
        message = {"UUID": f"u{number}", "Name": "n", key: [message] if key != "ChordCallback" else message}
    return json.dumps(message).encode()


@pytest.mark.parametrize("key", ["OnSuccess", "OnError", "ChordCallback"])
def test_callbacks_nest_up_to_the_limit(key):
    deepest = Signature.from_json(nested_message(MAX_DEPTH, key))

    assert deepest.depth == MAX_DEPTH - 1
    assert Signature.from_json(deepest.to_json()) == deepest
    for depth in (MAX_DEPTH + 1, 450):  # the latter would be too deep for the reader itself, were it to go on
        with pytest.raises(InvalidSignature, match="callbacks nest deeper than 64"):
            Signature.from_json(nested_message(depth, key))


def test_the_count_limits_are_met_exactly():
    arg, callback = {"Type": "bool", "Value": True}, {"Name": "n"}
    assert len(read(Args=[arg] * MAX_COUNT).args) == MAX_COUNT
    assert len(read(Kwargs={str(n): arg for n in range(MAX_COUNT)}).kwargs) == MAX_COUNT
    assert len(read(OnSuccess=[{"UUID": f"c{n}", **callback} for n in range(MAX_COUNT)]).on_success) == MAX_COUNT
    for wrong in (
        {"Args": [arg] * (MAX_COUNT + 1)},
        {"Kwargs": {str(n): arg for n in range(MAX_COUNT + 1)}},
        {"OnError": [{"UUID": f"c{n}", **callback} for n in range(MAX_COUNT + 1)]},
    ):
        with pytest.raises(InvalidSignature, match=f"at most {MAX_COUNT}"):
            read(**wrong)


def test_reading_an_object_of_any_size_is_possible_where_it_is_asked_for():
    message = json.dumps({"a": "x" * MAX_MESSAGE})

    assert decode_object(message, limit=None) == {"a": "x" * MAX_MESSAGE}
    with pytest.raises(InvalidSignature, match="too large"):
        decode_object(message)
