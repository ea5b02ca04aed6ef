"""What is written of a plan, and read again."""

import pytest

from vecna.adapters.redis import plan_fields
from vecna.domain.plan import Node, plan
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group


def fields_of(complete):
    """All fields, by node."""
    found: dict[str, dict[str, bytes]] = {}
    for entry in plan_fields.entries(complete):
        found.setdefault(entry.node.uuid, {}).update(entry.fields)
    return found


@pytest.mark.parametrize(
    "node",
    [
        Node("n", 3, is_chain=True, root="n"),
        Node("n", 100_000, is_chain=False, root="r@1", outer="o/2", index=2**31 - 1, code="a:b"),
        Node("n", 1, is_chain=False, root="r", outer="", index=0, code="c"),
    ],
)
def test_a_node_is_read_as_it_was_written(node):
    assert plan_fields.described("n", plan_fields.describe(node).encode()) == node


def test_a_step_is_read_as_it_was_written():
    wide = Group(*[Signature(f"tâsk {number}", ["ö\n" * number]) for number in range(23)])
    complete = plan(Chain(Signature("a"), Chord(wide, Signature("b"))))
    (step,) = [step for step in complete.steps if step.node == complete.root]
    fields = fields_of(complete)[complete.root]

    first, leaves, takes = plan_fields.step_parts(1, fields["s1"])

    assert (len(first), len(leaves), takes) == (3, 1, "")
    assert tuple([call for name in first for call in plan_fields.calls(fields[name])]) == step.first
    assert tuple([leaf for name in leaves for leaf in plan_fields.leaves(fields[name])]) == step.leaves


def test_the_root_comes_first_and_knows_the_others():
    complete = plan(Group(*[Chain(Signature("a"), Signature("b")) for _ in range(1_200)]))
    written = list(plan_fields.entries(complete))
    others = [node.uuid for node in complete.nodes if node.uuid != complete.root]

    assert written[0].node.uuid == complete.root
    fields = fields_of(complete)[complete.root]
    assert " ".join([fields[f"n{number}"].decode() for number in range(3)]).split(" ") == others
    assert {entry.node.uuid for entry in written} == {complete.root, *others}


def test_entries_are_of_bounded_size():
    complete = plan(Chain(*[Signature("t", ["x" * 10_000]) for _ in range(500)]))

    written = list(plan_fields.entries(complete))

    assert len(written) > 10
    assert max(len(entry.fields) for entry in written) <= 50
    assert max(entry.size for entry in written) <= 256 * 1024
    assert all(entry.size == sum(len(value) for _, value in entry.fields) for entry in written)


def test_a_list_is_cut_at_the_same_places_however_large_its_signatures_are():
    """So that a plan that two calls have stored, each a part, is one plan."""
    small = Group(*[Signature("t", uuid=f"t{number}") for number in range(35)])
    large = Group(*[Signature("t", ["x" * 5_000], uuid=f"t{number}") for number in range(35)])
    names = [
        {name for fields in fields_of(plan(Chain(Signature("a"), group))).values() for name in fields}
        for group in (small, large)
    ]

    assert names[0] == names[1]


def test_nothing_is_no_state():
    assert plan_fields.state("n", [None] * len(plan_fields.STATE)) is None
