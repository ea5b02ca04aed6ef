"""Signatures as values: immutable whatever is passed, copies under the same or a new uuid."""

import collections
import copy
import datetime as dt
import enum
import itertools
import pickle
import types
import uuid
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.strategies import HUGE, OPTION_VALUES, Word, exact, few, ids, kind, options, signatures
from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument, InvalidSignature, VecnaError
from vecna.domain.ids import check_id
from vecna.domain.options import DEFAULTS
from vecna.domain.position import Position
from vecna.domain.retry import Exponential
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_COUNT, MAX_DEPTH

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
LATER = Signature("later", uuid="later")


class Name(enum.StrEnum):
    ADD = "add"


# -- making one ----------------------------------------------------------------------------------------------------


def test_a_signature_gets_an_id_and_a_code_of_its_own():
    one, other = Signature("add"), Signature("add")

    assert check_id(one.uuid, "task id") == one.uuid == one.code != other.uuid
    assert one.fresh
    assert not Signature("add", uuid="u").fresh


def test_what_is_left_out_is_the_documented_default():
    signature = Signature("add", uuid="u")

    assert (signature.args, dict(signature.kwargs), dict(signature.headers)) == ((), {}, {})
    assert (signature.on_success, signature.on_error, signature.chord_callback) == ((), (), None)
    assert (signature.group_uuid, signature.group_task_count, signature.spec, signature.position) == ("", 0, "", None)
    assert dict(signature.set_options) == {}
    assert {name: getattr(signature, name) for name in DEFAULTS} == DEFAULTS
    assert (signature.routing_key, signature.pass_result) == ("", True)


@few
@given(options)
def test_an_option_that_was_set_is_in_force(chosen):
    signature = Signature("add", **chosen)

    assert signature.set_options.keys() == chosen.keys()
    for name in DEFAULTS:
        assert getattr(signature, name) == signature.set_options.get(name, DEFAULTS[name])


def test_synonyms_are_one_option():
    signature = Signature("add", routing_key="q", pass_result=False)

    assert (signature.queue, signature.routing_key) == ("q", "q")
    assert (signature.immutable, signature.pass_result) == (True, False)
    assert signature.set_options == {"queue": "q", "immutable": True}


@pytest.mark.parametrize(
    "values",
    [
        [1, "x"],
        (1, "x"),
        (value for value in (1, "x")),
        collections.deque([1, "x"]),
        {1: None, "x": None}.keys(),
        {"a": 1, "b": "x"}.values(),
        [Arg("int64", 1), Arg("string", "x")],
        range(1, 2),
    ],
    ids=kind,
)
def test_args_are_any_iterable_with_an_order(values):
    expected = (Arg("int64", 1), Arg("string", "x"))[: 1 if isinstance(values, range) else 2]

    assert Signature("add", values).args == expected


@pytest.mark.parametrize(
    "bad",
    [
        "ab", b"ab", bytearray(b"ab"), memoryview(b"ab"), {"a": 1}, types.MappingProxyType({"a": 1}), {1, 2},
        frozenset({1}), 5, None, 1.5, True, object(), Arg("int64", 1), Signature("x"), int, HUGE,
    ],
    ids=kind,
)  # fmt: skip
def test_a_single_value_or_one_without_order_is_no_args(bad):
    with pytest.raises(InvalidArgument, match=r"args takes a list or tuple .*: write args=\[value\]"):
        Signature("add", bad)


def test_endless_and_oversized_input_is_refused():
    many = {f"k{number}": 1 for number in range(MAX_COUNT + 1)}
    for wrong in (
        {"args": itertools.count()},
        {"args": [1] * (MAX_COUNT + 1)},
        {"kwargs": many},
        {"headers": many},
        {"on_success": itertools.repeat(LATER)},
        {"on_error": [LATER] * (MAX_COUNT + 1)},
        {"retry_on": itertools.repeat(KeyError)},
    ):
        with pytest.raises((InvalidArgument, InvalidSignature), match=f"at most {MAX_COUNT}"):
            Signature("add", **wrong)
    assert len(Signature("add", [1] * MAX_COUNT).args) == MAX_COUNT


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "n" * 201,
        "a\n",
        "a\x00b",
        "a\tb",
        "\x7f",
        "\u200b",
        "\u202e",
        "\ud800",
        "a\u2028",
        None,
        1,
        b"add",
        ["add"],
        HUGE,
    ],
    ids=kind,
)
def test_a_name_is_1_to_200_printable_characters(bad):
    with pytest.raises(InvalidSignature, match="a task's name is a text of 1 to 200 printable characters"):
        Signature(bad)


@pytest.mark.parametrize("good", ["a", "n" * 200, "app.tasks:add", "größe", "任务", "with space"])
def test_other_names_are_free(good):
    assert Signature.from_json(Signature(good).to_json()).name == good


WRONG: dict[str, list[Any]] = {
    "kwargs": [None, [], [("a", 1)], "a", 5, {1: 2}, {None: 1}, {b"a": 1}, {"\ud800": 1}, {"a": object()}, {HUGE: 1}],
    "headers": [None, [], "a", 5, {1: 2}, {b"a": 1}, {"\ud800": 1}, {"a": object()}, {"a": float("nan")}, {"a": HUGE}],
    "uuid": ["", "a b", "a\n", "a" * 201, 1, b"a", uuid.uuid5(uuid.NAMESPACE_DNS, "a"), HUGE, ["a"]],
    "code": ["a b", "a\n", "a" * 201, 1, 0, False, [], b"a", HUGE],
    "group_uuid": ["a b", "a\n", 1, 0, False, None, [], b"", HUGE],
    "group_task_count": [-1, 1.0, True, False, None, "1", [], 2**31, HUGE],
    "on_success": [1, None, "add", b"x", {"a": LATER}, [1], [None], [LATER, "x"], [[LATER]], HUGE, Signature],
    "on_error": [1, None, "add", [1]],
    "chord_callback": [1, "x", [LATER], (), HUGE, Signature],
    "spec": [None, 1, b"x", [], "\ud800", HUGE],
    "position": [1, "x", {}, ("a", 1), HUGE],
    **{name: [object()] for name in OPTION_VALUES},
}


@pytest.mark.parametrize("field", WRONG)
def test_a_field_of_another_type_is_refused(field):
    for value in WRONG[field]:
        with pytest.raises((InvalidArgument, InvalidSignature)):
            Signature("add", **{field: value})


def test_an_unknown_option_is_named():
    with pytest.raises(InvalidSignature, match="unknown option 'retries': one of delay, eta,"):
        Signature("add", retries=3)  # type: ignore[call-arg]


def test_texts_lose_their_own_class():
    signature = Signature(
        Word("add"), kwargs={Word("k"): 1}, uuid=Word("u"), headers={Word("h"): Word("v")}, code=Word("c"),
        spec=Word("s"), queue=Word("q"), retry_on=[Word("r")],
    )  # fmt: skip

    assert Signature(Name.ADD, uuid=Name.ADD).to_json() == b'{"UUID":"add","Name":"add"}'
    texts = [signature.name, signature.uuid, signature.code, signature.spec, signature.queue, *signature.retry_on]
    assert exact(texts) == exact(["add", "u", "c", "s", "q", "r"])
    assert exact(Signature("add", group_uuid=Word("g")).group_uuid) == exact("g")
    assert [type(text) for text in (*signature.kwargs, *signature.headers, *signature.headers.values())] == [str] * 3
    assert Signature.from_json(signature.to_json()) == signature


def test_a_task_cannot_be_its_own_callback():
    task = Signature("add", uuid="u")
    for field in ("on_success", "on_error"):
        with pytest.raises(InvalidSignature, match="has itself as a callback"):
            task.replace(**{field: [LATER, task]})
        assert len(getattr(task.replace(**{field: task.clone()}), field)) == 1
    with pytest.raises(InvalidSignature, match="has itself as a callback"):
        task.replace(chord_callback=task)


def test_callbacks_nest_up_to_the_limit():
    signature = Signature("add")
    for _ in range(MAX_DEPTH - 1):
        signature = Signature("add", on_success=signature)

    assert Signature.from_json(signature.to_json()) == signature
    for field in ("on_success", "on_error", "chord_callback"):
        with pytest.raises(InvalidSignature, match="callbacks nest deeper than 64: use a Chain"):
            Signature("add", **{field: signature})  # type: ignore[arg-type]


def test_there_are_no_subclasses():
    with pytest.raises(TypeError, match="no subclasses"):
        type("Mine", (Signature,), {})


# -- immutable -----------------------------------------------------------------------------------------------------


def test_input_that_is_changed_later_changes_nothing():
    numbers, nested, kwargs, headers = [1, 2], {"deep": [1]}, {"k": [1]}, {"h": [1]}
    callbacks, classes = [LATER], [KeyError]
    signature = Signature(
        "add", [numbers, nested], kwargs=kwargs, headers=headers, on_success=callbacks, retry_on=classes
    )
    before = signature.to_json()
    for changed in (numbers, nested["deep"], kwargs["k"], headers["h"], callbacks, classes):
        changed.clear()
    for mapping in (nested, kwargs, headers):
        mapping.clear()

    assert signature.to_json() == before


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Signature)])
def test_no_field_can_be_set_or_deleted(field):
    signature = Signature("add")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(signature, field, 1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        delattr(signature, field)


def test_nothing_can_be_added_and_mappings_are_read_only():
    signature = Signature("add", kwargs={"k": 1}, headers={"h": 1}, queue="q")
    with pytest.raises(AttributeError):
        signature.other = 1  # type: ignore[attr-defined]
    for mapping in (signature.kwargs, signature.headers, signature.set_options, Signature("add").kwargs):
        with pytest.raises(TypeError):
            mapping["x"] = 1  # type: ignore[index]


def test_a_signature_that_was_refused_is_none():
    made: list[Signature] = []

    class Telling:
        """Keeps hold of the frame's half-made signature, as a debugger would."""

        def __iter__(self):
            import sys

            made.append(sys._getframe(2).f_locals["self"])
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        Signature("add", Telling())
    assert not isinstance(made[0], Signature)


# -- as a value ----------------------------------------------------------------------------------------------------


@few
@given(signatures(depth=0), signatures(depth=0))
def test_equal_by_content_and_hashed_by_uuid(one, other):
    twin = Signature.from_json(one.to_json())

    assert (one == twin, hash(one) == hash(twin), one is twin) == (True, True, False)
    assert hash(one) == hash(one.uuid)
    assert one == other or one.to_json() != other.to_json()
    assert one != one.uuid
    assert len({one, twin, one.clone()}) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"}, {"args": [1]}, {"args": [True]}, {"kwargs": {"a": 1}}, {"uuid": "v"}, {"headers": {"a": 1}},
        {"on_success": LATER}, {"on_error": LATER}, {"code": "c"}, {"group_uuid": "g"}, {"group_task_count": 1},
        {"chord_callback": LATER}, {"spec": "s"}, {"position": Position()}, {"retry_count": 0}, {"queue": "q"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_part_counts_for_equality(change):
    signature = Signature("a", [2], uuid="u")

    assert signature.replace(**change) != signature
    assert signature.replace(**change) == signature.replace(**change)


@few
@given(signatures(depth=0))
def test_copies_of_every_kind_are_equal(signature):
    for twin in (pickle.loads(pickle.dumps(signature)), copy.copy(signature), copy.deepcopy(signature)):
        assert twin == signature
        assert not twin.fresh


def test_what_is_larger_than_a_message_may_be_is_still_copied():
    signature = Signature("add", ["x" * 3_000_000])

    assert copy.deepcopy(signature) == pickle.loads(pickle.dumps(signature)) == signature


def test_repr_shows_no_argument():
    signature = Signature(
        "add", ["secret"], kwargs={"secret": "secret"}, uuid="u", headers={"secret": "secret"}, spec="secret"
    )

    assert repr(signature) == "<Signature add u args=1 kwargs=1>"
    assert "secret" not in f"{signature} {[signature]} {Signature('x', on_success=signature)}"


# -- changed copies ------------------------------------------------------------------------------------------------


@few
@given(signatures(depth=0))
def test_replacing_nothing_changes_nothing(signature):
    assert signature.replace() == signature


@few
@given(signatures(depth=0), ids)
def test_a_clone_is_the_same_call_under_a_new_id(signature, code):
    clone = signature.clone()
    renewed = signature.code == signature.uuid

    assert clone.uuid != signature.uuid
    assert clone.fresh
    assert clone.code == (clone.uuid if renewed else signature.code)
    assert clone.replace(uuid=signature.uuid) == signature
    assert signature.clone(code=code).code == code


def test_a_code_that_was_the_id_follows_it_and_any_other_stays():
    own, shared = Signature("add", uuid="u"), Signature("add", uuid="u", code="c")

    assert own.replace(uuid="v").code == own.replace(name="b", uuid="v").code == "v"
    assert shared.replace(uuid="v").code == shared.clone().code == "c"
    assert shared.replace(code=None).code == shared.replace(code="").code == "u"
    assert own.replace(code="c").code == "c"
    assert own.replace(code="v", uuid="v").replace(uuid="w").code == "w"
    assert (own.uuid, own.code) == ("u", "u")


def test_replace_keeps_the_id_and_changes_only_what_is_named():
    signature = Signature("add", [1], kwargs={"k": 2}, uuid="u", queue="q", retry_count=3)

    assert signature.replace(args=[5]) == Signature("add", [5], kwargs={"k": 2}, uuid="u", queue="q", retry_count=3)
    assert signature.replace(queue=None).set_options == {"retry_count": 3}
    assert signature.replace(routing_key="r").queue == "r"
    assert signature.replace(pass_result=False).set_options == {"queue": "q", "retry_count": 3, "immutable": True}
    assert signature.replace(immutable=True).replace(pass_result=True).immutable is False


def test_eta_and_delay_take_each_others_place():
    eta, delayed = Signature("add", eta=NOON), Signature("add", delay=5)

    assert eta.replace(delay=5).set_options == {"delay": dt.timedelta(seconds=5)}
    assert delayed.replace(eta=NOON).set_options == {"eta": NOON}
    assert eta.replace(eta=None, delay=0).set_options == {"delay": dt.timedelta(0)}
    assert eta.replace(delay=None).set_options == {"eta": NOON}
    with pytest.raises(InvalidSignature, match="exclude each other"):
        eta.replace(eta=NOON, delay=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fresh": True},
        {"set_options": {}},
        {"depth": 0},
        {"only_here": [True]},
        {"nme": "x"},
        {"args": "x"},
        {"uuid": "a\n"},
    ],
)
def test_replace_checks_as_the_constructor_does(wrong):
    for change in (Signature("add").replace, Signature("add").clone):
        with pytest.raises(VecnaError):
            change(**wrong)


def test_all_copies_under_one_id_know_whether_it_was_sent():
    signature = Signature("add")
    copies = [signature.replace(queue="q"), signature.evolve(group_uuid="g"), signature.replace(args=[1]).replace()]
    clone, read = signature.clone(), Signature.from_json(signature.to_json())

    assert [one.fresh for one in (*copies, clone, read)] == [True, True, True, True, False]
    copies[1].sent()
    assert [one.fresh for one in (signature, *copies, clone)] == [False, False, False, False, True]
    assert signature == Signature.from_json(signature.to_json())
    assert [Signature("b", uuid="b").fresh, read.replace().fresh, signature.replace(uuid="w").fresh] == [False] * 3


@few
@given(signatures(depth=0), st.integers(1, 100))
def test_evolve_changes_a_field_and_nothing_else(signature, count):
    evolved = signature.evolve(group_task_count=count)

    assert evolved.group_task_count == count
    for field in attrs.fields(Signature):
        if field.name != "group_task_count":
            assert getattr(evolved, field.name) is getattr(signature, field.name)
    with pytest.raises(AttributeError):
        signature.evolve(group_count=1)
    assert evolved.evolve(group_task_count=signature.group_task_count) == signature
    assert type(evolved) is Signature
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        evolved.name = "x"  # type: ignore[misc]


def test_the_value_of_every_option_is_kept_in_its_one_form():
    signature = Signature("add", retry=Exponential(5), retry_on=KeyError, timeout=2, expires=NOON)

    assert signature.set_options == {
        "retry": Exponential(5),
        "retry_on": ("builtins.KeyError",),
        "timeout": dt.timedelta(seconds=2),
        "expires": NOON,
    }
