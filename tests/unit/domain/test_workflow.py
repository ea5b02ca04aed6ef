"""Groups, chords and chains as values: ids, the one code, what is refused, and what stays as it was."""

import copy
import functools
import itertools
import operator
import pickle
import re
from typing import Any

import attrs
import pytest
from hypothesis import given

from tests.unit.domain.strategies import HUGE, Word, few, kind
from tests.unit.domain.workflows import shapes, workflow_of
from vecna.domain.errors import InconsistentCode, InvalidSignature, NoTasks
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_DEPTH
from vecna.domain.workflow import MAX_LINKS, MAX_MEMBERS, Chain, Chord, Group, Link, share_code


def sig(uuid: str, **fields: Any) -> Signature:
    return Signature("add", [1], uuid=uuid, **fields)


A, B, C, D = sig("a"), sig("b"), sig("c"), sig("d")


def codes(workflow: Link) -> set[str]:
    return (
        {workflow.code, *[leaf.code for leaf in workflow.signatures()]}
        if not isinstance(workflow, Signature)
        else set()
    )


# -- making them ---------------------------------------------------------------------------------------------------


def test_a_group_numbers_its_members():
    group = Group(A, B)

    assert group.uuid == group.group_uuid
    assert [(task.uuid, task.group_uuid, task.group_task_count) for task in group.signatures()] == [
        ("a", group.uuid, 2),
        ("b", group.uuid, 2),
    ]
    assert Group(A, group_uuid="g").group_uuid == "g"
    assert Group(A).group_uuid != Group(A).group_uuid


def test_a_chord_is_a_group_and_what_follows():
    group = Group(A, B)
    chord = Chord(group, C)

    assert (chord.group_uuid, chord.uuid, chord.callback.uuid) == (group.group_uuid, "c", "c")
    assert [leaf.uuid for leaf in chord.signatures()] == ["a", "b", "c"]
    assert chord.tasks == (chord.group, chord.callback)
    assert [leaf.uuid for leaf in Chord([A, B], C).signatures()] == ["a", "b", "c"]
    assert Chord(A, C).group.tasks[0].uuid == "a"  # type: ignore[arg-type]  # a group of one


def test_a_chain_ends_with_its_last_link():
    chain = Chain(A, Group(B, C), D)

    assert chain.uuid == "d"
    assert [leaf.uuid for leaf in chain.signatures()] == ["a", "b", "c", "d"]
    assert Chain(A, Group(B, C, group_uuid="g")).uuid == "g"
    assert Chain(A, chain_uuid="x").chain_uuid == "x"


@pytest.mark.parametrize("make", [Group, Chain])
def test_links_come_one_by_one_or_as_one_iterable(make):
    for links in ([A, B], (A, B), (link for link in (A, B)), {"a": A, "b": B}.values()):
        assert [leaf.uuid for leaf in make(links).signatures()] == ["a", "b"]
    assert [leaf.uuid for leaf in make(A, B).signatures()] == ["a", "b"]
    assert [leaf.uuid for leaf in make(Group(A, B)).signatures()] == ["a", "b"]


@pytest.mark.parametrize("make", [Group, Chain, lambda *links: Chord(links, C)])
def test_what_is_no_link_is_refused(make):
    for wrong in (1, None, "ab", b"a", object(), HUGE, [A], int):
        with pytest.raises(InvalidSignature, match="takes signatures, groups, chords and chains, not "):
            make(A, wrong)


@pytest.mark.parametrize("make", [Group, Chain])
@pytest.mark.parametrize("wrong", [1, None, "ab", b"a", {"a": A}, {A, B}, frozenset({A}), object(), HUGE], ids=kind)
def test_what_is_no_list_of_links_is_refused(make, wrong):
    with pytest.raises(InvalidSignature, match="takes signatures, groups, chords and chains, not "):
        make(wrong)


@pytest.mark.parametrize("wrong", [1, None, [C], (C, D), "c"], ids=kind)
def test_what_follows_a_group_is_one_link(wrong):
    with pytest.raises(InvalidSignature, match="Chord takes signatures, groups, chords and chains, not "):
        Chord([A], wrong)


def test_a_workflow_of_nothing_is_refused():
    for make in (
        Group,
        Chain,
        lambda *_: Group([]),
        lambda *_: Chain(()),
        lambda *_: Chord([], A),
        lambda *_: Chain(iter([])),
    ):
        with pytest.raises(NoTasks, match="of no tasks: give it at least one"):
            make()


def test_one_id_twice_is_refused():
    for make in (
        lambda: Group(A, A),
        lambda: Chain(A, B, A.replace(name="other")),
        lambda: Chord([A, B], A),
        lambda: Chain(A, Group(B, Chain(C, A))),
        lambda: Group(Chord([A], B), Chord([C], B)),
        lambda: A | B | A,
        lambda: (A | B) | (C | A),
        lambda: Group(A, B) | B,
        lambda: Group(Group(A, group_uuid="g"), Group(B, group_uuid="g")),
        lambda: Group(Group(A, group_uuid="g"), group_uuid="g"),
        lambda: Group(Chain(B, Group(A, group_uuid="g")), group_uuid="g"),
        lambda: Group(A, group_uuid="a"),
        lambda: Chain(Chain(A, chain_uuid="x"), B, chain_uuid="x"),
        lambda: Chain(A, B) | Chain(C, Group(D, group_uuid="b")),
    ):
        with pytest.raises(InvalidSignature, match=r"stands twice in one workflow: use signature\.clone"):
            make()
    assert len(Group(A, A.clone()).tasks) == 2


@pytest.mark.parametrize("bad", ["a b", "a\n", 1, HUGE, b"a", "a" * 201], ids=kind)
def test_ids_and_codes_are_checked(bad):
    for make in (
        lambda: Group(A, group_uuid=bad),
        lambda: Chain(A, chain_uuid=bad),
        lambda: Chord([A], B, chain_uuid=bad),
        lambda: Group(A, code=bad),
        lambda: Chain(A, code=bad),
        lambda: Chord([A], B, code=bad),
    ):
        with pytest.raises(InvalidSignature, match="is not allowed"):
            make()


def test_the_limits_are_met_exactly():
    links = [Signature("n", uuid=f"u{number}") for number in range(MAX_LINKS + 1)]

    assert len(Chain(links[1:]).tasks) == MAX_LINKS
    assert len(Group(links).tasks) == MAX_LINKS + 1
    longest = Chain(links[:-2]) | links[-2]
    assert len(longest.tasks) == MAX_LINKS
    for make in (
        lambda: Chain(links),
        lambda: Chain(itertools.repeat(A)),
        lambda: longest | links[-1],
        lambda: Chain(links[:6000]) | Chain(links[6000:]),
    ):
        with pytest.raises(InvalidSignature, match=f"at most {MAX_LINKS}"):
            make()


def test_an_endless_group_is_refused(monkeypatch):
    monkeypatch.setattr("vecna.domain.workflow.MAX_MEMBERS", 100)

    assert MAX_MEMBERS == 1_000_000
    with pytest.raises(InvalidSignature, match="at most 100"):
        Group(itertools.repeat(A))


@pytest.mark.parametrize("wrap", [Group, Chain, lambda link: Chord([link], sig("x").clone())])
def test_workflows_nest_up_to_the_limit(wrap):
    link: Link = A
    while isinstance(link, Signature) or link.depth < MAX_DEPTH - (1 if isinstance(link, Chord) else 0):
        link = wrap(link)

    with pytest.raises(InvalidSignature, match="nest at most 64 deep"):
        wrap(link)


# -- the one code --------------------------------------------------------------------------------------------------


def test_the_code_is_the_explicit_one_or_that_of_the_workflow():
    assert codes(Group(A, B, group_uuid="g")) == {"g"}
    assert codes(Chord(Group(A, B), C)) == {"c"}
    assert codes(Chain(A, B, C)) == {"a"}
    assert codes(Chain(Group(A, B), C)) == {"a"}
    for make in (
        lambda: Group(A, B, code="x"),
        lambda: Chord([A, B], C, code="x"),
        lambda: Chain(A, B, code="x"),
        lambda: Group(A, sig("b", code="x")),
        lambda: Chord([A, sig("b", code="x")], C),
        lambda: Chord([A, B], sig("c", code="x")),
        lambda: Chain(A, sig("b", code="x"), C, code="x"),
        lambda: Chain(A, Group(B, Chain(C, code="x"))),
        lambda: Chain(A, B) | sig("c", code="x"),
        lambda: A | Chain(B, code="x"),
        lambda: Chain(A, B, code="x") | C | D,
        lambda: Group(A, code="x") | B | C,
        lambda: Group(A, code=Word("x")),
    ):
        assert codes(make()) == {"x"}


def test_different_explicit_codes_are_refused():
    x, y = sig("b", code="x"), sig("c", code="y")
    for make in (
        lambda: Group(x, y),
        lambda: Group(x, code="y"),
        lambda: Chain(A, x, y),
        lambda: Chain(Group(x), code="y"),
        lambda: Chord([A, x], y),
        lambda: Chord([A, x], C, code="y"),
        lambda: x | y,
        lambda: Chain(A, code="x") | y,
        lambda: Chain(A, code="x") | Chain(D, code="y"),
        lambda: Group(x) | y,
    ):
        with pytest.raises(InconsistentCode, match="one workflow has one code, but these were given: x, y"):
            make()


def test_a_derived_code_does_not_count_as_explicit():
    nested = Chain(Group(A, B), Chord([C], D))

    assert codes(Group(nested, group_uuid="g")) == {"g"}
    assert codes(Chain(Chain(A, B), Chain(C, D))) == {"a"}
    assert codes((A | B) | (C | D)) == {"a"}
    assert codes(A | (B | C)) == {"a"}
    assert codes(Group(A, B) | C) == {"c"}
    assert codes(Group(A, B) | C | D) == {"a"}
    assert codes(sig("z") | (Group(A, B) | C)) == {"z"}


def test_callbacks_share_the_code_unless_they_have_one_of_their_own():
    inner = sig("i")
    task = sig("t", on_success=sig("s", on_success=inner), on_error=[sig("e", code="alerts")])
    (member,) = Group(task, group_uuid="g").signatures()

    assert (member.code, member.on_success[0].code, member.on_success[0].on_success[0].code) == ("g", "g", "g")
    assert member.on_error[0].code == "alerts"
    (again,) = Chain(member.with_code("h")).signatures()
    assert (again.code, again.on_success[0].on_success[0].code, again.on_error[0].code) == ("h", "h", "alerts")
    assert share_code(task, "x") == task.with_code("x")


# -- operators -----------------------------------------------------------------------------------------------------


def test_what_the_operator_makes():
    assert [type(link) for link in (A | B).tasks] == [Signature, Signature]
    assert isinstance(A | B, Chain)
    assert isinstance(Group(A, B) | C, Chord)
    assert isinstance(Group(A, B) | C | D, Chain)
    assert isinstance(A | Group(B, C), Chain)
    assert [leaf.uuid for leaf in (A | B | C | D).tasks] == ["a", "b", "c", "d"]
    assert [link.uuid for link in ((A | B) | (C | D)).tasks] == ["a", "b", "c", "d"]
    assert [type(link) for link in (A | Group(B, C) | D).tasks] == [Signature, Group, Signature]
    assert [type(link) for link in (Chord([A], B) | Chord([C], D)).tasks] == [Chord, Chord]


@pytest.mark.parametrize("left", [A, A | B, Group(A, B), Chord([A], B)], ids=kind)
def test_the_operator_refuses_what_is_no_link(left):
    for wrong in (1, None, "x", [C], HUGE):
        with pytest.raises(InvalidSignature, match="takes signatures, groups, chords and chains, not "):
            left | wrong


def test_a_long_chain_may_be_made_by_operators():
    chain = functools.reduce(operator.or_, [Signature("n", uuid=f"u{number}") for number in range(1000)])

    assert isinstance(chain, Chain)
    assert len(chain.tasks) == 1000
    assert codes(chain) == {"u0"}


def test_every_chain_has_an_id_of_its_own():
    one = A | B

    assert len({one.chain_uuid, (one | C).chain_uuid, (one | C).chain_uuid, Chain(A, B).chain_uuid}) == 4


@few
@given(shapes, shapes)
def test_joining_is_the_same_as_a_chain_of_the_links(one, other):
    left, right = workflow_of(one, "l"), workflow_of(other, "r")
    joined = left | right
    if isinstance(left, Group):
        assert isinstance(joined, Chord)
        assert joined == Chord(left, right, chain_uuid=joined.chain_uuid)
        return
    links = [link for part in (left, right) for link in (part.tasks if isinstance(part, Chain) else (part,))]
    plain = [link.with_code(link.uuid) if isinstance(link, Signature) else link for link in links]

    assert joined == Chain(plain, chain_uuid=joined.chain_uuid)
    assert joined.depth == Chain(plain).depth


# -- values --------------------------------------------------------------------------------------------------------


@few
@given(shapes)
def test_what_is_passed_in_is_never_changed(shape):
    inner = workflow_of(shape, "i")
    before = copy.deepcopy(inner)
    for outer in (Group(inner, A), Chain(inner, A), Chord([inner], A), Chain(inner, code="x"), Group(A) | inner):
        assert len(codes(outer)) == 1
    assert inner == before


@few
@given(shapes)
def test_members_keep_their_ids_and_all_share_one_code(shape):
    workflow = workflow_of(shape, "w")
    if isinstance(workflow, Signature):
        workflow = Group(workflow)
    leaves = list(workflow.signatures())

    assert len({leaf.uuid for leaf in leaves}) == len(leaves)
    assert codes(workflow) == {workflow.code}
    assert codes(workflow.with_code("x")) == {"x"}
    assert [leaf.uuid for leaf in workflow.with_code("x").signatures()] == [leaf.uuid for leaf in leaves]
    assert workflow.with_code("x").with_code(workflow.code) == workflow


@few
@given(shapes)
def test_workflows_are_values(shape):
    workflow = workflow_of(shape, "w")
    for twin in (pickle.loads(pickle.dumps(workflow)), copy.copy(workflow), copy.deepcopy(workflow)):
        assert twin == workflow
        assert hash(twin) == hash(workflow)


@pytest.mark.parametrize("workflow", [Group(A, B), A | B, Chord([A], B)], ids=kind)
def test_workflows_are_immutable_and_show_no_arguments(workflow):
    for field in attrs.fields(type(workflow)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(workflow, field.name, None)
    with pytest.raises(AttributeError):
        workflow.other = 1
    secret = type(workflow)(
        *([[sig("s"), A]] if isinstance(workflow, Chord) else [sig("s"), A]),
        *([B] if isinstance(workflow, Chord) else []),
    )
    assert repr(secret).startswith(f"<{type(workflow).__name__} ")
    assert "add" not in re.sub("[0-9a-f]{8}-[0-9a-f-]{27}", "", repr(secret))  # an id may have it by chance


def test_lists_that_are_changed_later_change_nothing():
    links = [A, B]
    workflows: list[Group | Chain | Chord] = [Group(links), Chain(links), Chord(links, C)]
    links.clear()

    assert [len(list(workflow.signatures())) for workflow in workflows] == [2, 2, 3]
