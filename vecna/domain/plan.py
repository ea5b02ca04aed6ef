"""A workflow as it is kept while it runs: nodes that its tasks report to, and what each step will enqueue.

There are two kinds of node. A *group* is complete when every member has succeeded, and fails with the first that has
not. A *chain* goes from step to step, and fails with the first that has not succeeded. A chord is a chain of two steps,
the group and the callback. A node that is complete or has failed reports to the node around it, up to the root.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

import attrs
import msgspec

from vecna.domain.errors import InvalidSignature
from vecna.domain.position import Position
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chord, Group, Link

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[str, int, tuple[msgspec.Raw, ...], tuple[tuple[str, str], ...], str]).decode


@attrs.frozen
class Node:
    """A group or chain of a running workflow.

    Attributes:
        uuid: its id: the group's, or the chain's own.
        size: members of a group; steps of a chain.
        is_chain: which of the two.
        root: id of the outermost node.
        outer: id of the node that it reports to; "" for the root.
        index: its place there.
        code: what the workflow can be cancelled by.
    """

    uuid: str
    size: int
    is_chain: bool
    root: str
    outer: str = ""
    index: int = 0
    code: str = ""


@attrs.frozen
class Step:
    """One step of a chain.

    Attributes:
        node: the chain.
        index: which step, from 0.
        first: what is enqueued when the step before has succeeded.
        leaves: ids and names of all tasks in it, nested ones included.
        takes: id of the group that is the step before, whose results go to `first`; "" if that is not a group.
    """

    node: str
    index: int
    first: tuple[Signature, ...]
    leaves: tuple[tuple[str, str], ...]
    takes: str = ""

    def to_json(self) -> bytes:
        """The step as bytes, its calls as the messages that they will be."""
        calls = [msgspec.Raw(call.to_json()) for call in self.first]
        return _encode([self.node, self.index, calls, self.leaves, self.takes])

    @staticmethod
    def from_json(step: bytes) -> Step:
        """The step that `to_json` wrote.

        Raises:
            InvalidSignature: the bytes hold no step.
        """
        try:
            node, index, calls, leaves, takes = _decode(step)
            first = tuple([Signature.from_json(bytes(call)) for call in calls])
        except (msgspec.MsgspecError, ValueError) as exc:
            raise InvalidSignature(f"the step of a chain cannot be read: {exc}") from None
        return Step(node, index, first, leaves, takes)


@attrs.frozen
class Plan:
    """All that is stored for one workflow before it starts.

    Attributes:
        root: id of the outermost node.
        nodes: every node, the root first.
        steps: of all chains, those after the first.
        results: for each group, ids of the tasks whose results it gives, in order.
        first: what is enqueued at once.
        later: ids and names of all other tasks.
    """

    root: str
    nodes: tuple[Node, ...]
    steps: tuple[Step, ...]
    results: tuple[tuple[str, tuple[str, ...]], ...]
    first: tuple[Signature, ...]
    later: tuple[tuple[str, str], ...]


@attrs.define
class _Plotter:
    """Collects the parts of a plan while it walks through a workflow."""

    root: str
    code: str
    nodes: list[Node] = attrs.Factory(list)
    steps: list[Step] = attrs.Factory(list)
    results: list[tuple[str, tuple[str, ...]]] = attrs.Factory(list)

    def plot(self, link: Link, outer: str, index: int) -> tuple[list[Signature], list[str]]:
        """What `link` begins with, and the ids of the tasks whose results it gives."""
        if isinstance(link, Signature):
            return [link.evolve(position=Position(outer, index))], [link.uuid]
        if isinstance(link, Group):
            return self._group(link, outer, index)
        return self._chain(link.chain_uuid, link.tasks, outer, index)

    def _node(self, uuid: str, size: int, outer: str, index: int, *, is_chain: bool) -> None:
        self.nodes.append(Node(uuid, size, is_chain, self.root, outer, index, self.code))

    def _group(self, group: Group, outer: str, index: int) -> tuple[list[Signature], list[str]]:
        self._node(group.group_uuid, len(group.tasks), outer, index, is_chain=False)
        first: list[Signature] = []
        results: list[str] = []
        for place, link in enumerate(group.tasks):
            begins, gives = self.plot(link, group.group_uuid, place)
            first += begins
            results += gives
        self.results.append((group.group_uuid, tuple(results)))
        return first, results

    def _chain(self, uuid: str, links: Iterable[Link], outer: str, index: int) -> tuple[list[Signature], list[str]]:
        links = tuple(links)
        self._node(uuid, len(links), outer, index, is_chain=True)
        begins, gives = self.plot(links[0], uuid, 0)
        first = begins
        for place, link in enumerate(links[1:], 1):
            before = links[place - 1]
            begins, gives = self.plot(link, uuid, place)
            leaves = (link,) if isinstance(link, Signature) else link.signatures()
            self.steps.append(
                Step(
                    uuid, place, tuple(begins), tuple([(leaf.uuid, leaf.name) for leaf in leaves]), _gives_group(before)
                )
            )
        return first, gives


def _gives_group(link: Link) -> str:
    """Id of the group whose results a link gives; "" if it ends in a single task."""
    if isinstance(link, Signature):
        return ""
    if isinstance(link, Group):
        return link.group_uuid
    return _gives_group(link.callback if isinstance(link, Chord) else link.tasks[-1])


def plan(workflow: Link) -> Plan:
    """What has to be stored and sent for a group, chord or chain."""
    if isinstance(workflow, Signature):
        raise TypeError("a single signature needs no plan")
    root = workflow.group_uuid if isinstance(workflow, Group) else workflow.chain_uuid
    plotter = _Plotter(root, workflow.code)
    first, _ = plotter.plot(workflow, "", 0)
    begun = {signature.uuid for signature in first}
    later = tuple([(leaf.uuid, leaf.name) for leaf in workflow.signatures() if leaf.uuid not in begun])
    return Plan(root, tuple(plotter.nodes), tuple(plotter.steps), tuple(plotter.results), tuple(first), later)


@attrs.frozen
class GroupMeta:
    """What is known of a group.

    Attributes:
        group_uuid: its id.
        task_uuids: ids of the tasks whose results it gives, in order.
        chord_triggered: whether all have succeeded, so that what follows the group was sent.
        lock: whether it has ended, one way or the other: nothing that its members report changes it any more.
        created_at: when it was sent.
    """

    group_uuid: str
    task_uuids: tuple[str, ...]
    chord_triggered: bool
    lock: bool
    created_at: dt.datetime
