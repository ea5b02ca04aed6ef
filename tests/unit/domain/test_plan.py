"""Plans: they say the same as the workflow, and following one runs each task once, in order."""

from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.domain.strategies import few
from tests.unit.domain.workflows import shapes, workflow_of
from vecna.domain.plan import Plan, plan
from vecna.domain.position import Position
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group, Link


def leaves(link: Link) -> list[Signature]:
    return [link] if isinstance(link, Signature) else list(link.signatures())


def begins(link: Link) -> list[str]:
    """Ids of the tasks that it starts with, by its plain definition."""
    if isinstance(link, Signature):
        return [link.uuid]
    if isinstance(link, Group):
        return [uuid for member in link.tasks for uuid in begins(member)]
    return begins(link.tasks[0])


def gives(link: Link) -> list[str]:
    """Ids of the tasks whose results it gives, by its plain definition."""
    if isinstance(link, Signature):
        return [link.uuid]
    if isinstance(link, Group):
        return [uuid for member in link.tasks for uuid in gives(member)]
    return gives(link.tasks[-1])


def ends_in_group(link: Link) -> str:
    while not isinstance(link, Signature | Group):
        link = link.tasks[-1]
    return link.group_uuid if isinstance(link, Group) else ""


def node_id(link: Group | Chord | Chain) -> str:
    return link.group_uuid if isinstance(link, Group) else link.chain_uuid


def nodes_of(link: Link) -> list[Group | Chord | Chain]:
    if isinstance(link, Signature):
        return []
    return [link, *[node for part in link.tasks for node in nodes_of(part)]]


@st.composite
def workflows(draw: st.DrawFn) -> Group | Chord | Chain:
    workflow = workflow_of(draw(shapes), "w")
    assume(not isinstance(workflow, Signature))
    assert not isinstance(workflow, Signature)
    return workflow


def test_a_single_task_needs_no_plan():
    with pytest.raises(TypeError, match="needs no plan"):
        plan(Signature("add"))


@few
@given(workflows())
def test_every_task_is_begun_exactly_once(workflow):
    made = plan(workflow)
    started = [task.uuid for task in made.first] + [task.uuid for step in made.steps for task in step.first]
    known = [(task.uuid, task.name) for task in made.first] + list(made.later)

    assert sorted(started) == sorted(task.uuid for task in leaves(workflow))
    assert sorted(known) == sorted((task.uuid, task.name) for task in leaves(workflow))
    assert [task.uuid for task in made.first] == begins(workflow)


@few
@given(workflows())
def test_each_place_of_each_node_has_one_occupant(workflow):
    made = plan(workflow)
    positions = [task.position for task in made.first] + [task.position for step in made.steps for task in step.first]
    places = [(node.outer, node.index) for node in made.nodes[1:]]
    places += [(position.node, position.index) for position in positions if position is not None]

    assert None not in positions
    assert sorted(places) == sorted((node.uuid, place) for node in made.nodes for place in range(node.size))


@few
@given(workflows())
def test_the_nodes_are_those_of_the_workflow_the_root_first(workflow):
    made = plan(workflow)
    inner = nodes_of(workflow)

    assert [node.uuid for node in made.nodes] == [node_id(link) for link in inner]
    assert [node.is_chain for node in made.nodes] == [not isinstance(link, Group) for link in inner]
    assert [node.size for node in made.nodes] == [len(link.tasks) for link in inner]
    assert {node.root for node in made.nodes} == {made.root} == {node_id(workflow)}
    assert {node.code for node in made.nodes} == {workflow.code}
    assert (made.nodes[0].outer, made.nodes[0].index) == ("", 0)


@few
@given(workflows())
def test_results_come_in_the_order_of_the_group(workflow):
    results = dict(plan(workflow).results)

    assert results == {
        group.group_uuid: tuple(gives(group)) for group in nodes_of(workflow) if isinstance(group, Group)
    }


@few
@given(workflows())
def test_steps_are_the_later_links_of_chains(workflow):
    steps = {(step.node, step.index): step for step in plan(workflow).steps}
    expected = {
        (node_id(chain), place): (before, link)
        for chain in nodes_of(workflow)
        if not isinstance(chain, Group)
        for place, (before, link) in enumerate(zip(chain.tasks, chain.tasks[1:], strict=False), 1)
    }

    assert steps.keys() == expected.keys()
    for key, (before, link) in expected.items():
        step = steps[key]
        assert [task.uuid for task in step.first] == begins(link)
        assert list(step.leaves) == [(task.uuid, task.name) for task in leaves(link)]
        assert step.takes == ends_in_group(before)


@few
@given(workflows())
def test_tasks_are_those_of_the_workflow_but_for_their_place(workflow):
    made = plan(workflow)
    begun = {task.uuid: task for task in (*made.first, *[task for step in made.steps for task in step.first])}

    for task in leaves(workflow):
        assert begun[task.uuid].replace(position=None) == task
        assert attrs.evolve(begun[task.uuid].position or Position(takes="x"), node="", index=0) == Position()


class Follower:
    """Runs a plan as a backend and workers would, one task at a time."""

    def __init__(self, made: Plan) -> None:
        self.nodes = {node.uuid: node for node in made.nodes}
        self.steps = {(step.node, step.index): step for step in made.steps}
        self.reported: Counter[tuple[str, int]] = Counter()
        self.complete: list[str] = []
        self.waiting = list(made.first)
        self.ran: list[str] = []

    def run(self, number: int) -> None:
        task = self.waiting.pop(number % len(self.waiting))
        self.ran.append(task.uuid)
        assert task.position is not None
        self.report(task.position.node, task.position.index)

    def report(self, uuid: str, index: int) -> None:
        self.reported[uuid, index] += 1
        node = self.nodes[uuid]
        if node.is_chain and index + 1 < node.size:
            self.waiting += self.steps[uuid, index + 1].first
        elif node.is_chain or all(self.reported[uuid, place] for place in range(node.size)):
            self.complete.append(uuid)
            if node.outer:
                self.report(node.outer, node.index)


@few
@given(workflows(), st.lists(st.integers(0, 20), min_size=1))
def test_following_a_plan_runs_each_task_once_and_in_order(workflow: Any, choices: list[int]):
    follower = Follower(plan(workflow))
    turns = 0
    while follower.waiting:
        assert node_id(workflow) not in follower.complete
        follower.run(choices[turns % len(choices)])
        turns += 1
    order = {uuid: place for place, uuid in enumerate(follower.ran)}

    assert sorted(follower.ran) == sorted(task.uuid for task in leaves(workflow))
    assert sorted(follower.complete) == sorted(node_id(node) for node in nodes_of(workflow))
    assert follower.complete[-1] == node_id(workflow)
    assert set(follower.reported.values()) == {1}
    for chain in nodes_of(workflow):
        if not isinstance(chain, Group):
            for before, link in zip(chain.tasks, chain.tasks[1:], strict=False):
                latest = max(order[task.uuid] for task in leaves(before))
                assert latest < min(order[task.uuid] for task in leaves(link))


def test_a_chord_after_a_chain_of_groups_takes_from_the_last_group():
    last = Group(Signature("n", uuid="c"), group_uuid="last")
    made = plan(Chain(Chain(Signature("n", uuid="a"), last), Signature("n", uuid="d"), Signature("n", uuid="e")))

    assert {(step.first[0].uuid, step.takes) for step in made.steps} == {("c", ""), ("d", "last"), ("e", "")}
