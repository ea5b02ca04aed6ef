"""Plans of workflows, as the laws of the backend make and drive them."""

from __future__ import annotations

from typing import Final

from vecna.domain.plan import Plan
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group, Link
from vecna.ports.backend import Backend
from vecna.ports.plans import Following, NodeState, Report

#: More than any adapter puts into one call.
MANY: Final = 10_000


def call(uuid: str) -> Signature:
    """A call that is told from others."""
    return Signature("task", [uuid], uuid=uuid)


def group(uuid: str, *links: str | Link) -> Group:
    """A group of calls and others."""
    return Group([call(link) if isinstance(link, str) else link for link in links], group_uuid=uuid)


def chain(uuid: str, *links: str | Link) -> Chain:
    """A chain of calls and others."""
    return Chain([call(link) if isinstance(link, str) else link for link in links], chain_uuid=uuid)


def chord(uuid: str, members: Group, callback: str | Link) -> Chord:
    """A chord."""
    return Chord(members, call(callback) if isinstance(callback, str) else callback, chain_uuid=uuid)


def nested(prefix: str = "") -> Chain:
    """A workflow that has everything: `root` of a link, a chord of a chain and a call, and a group."""
    p = prefix
    inner = group(f"{p}g1", chain(f"{p}c1", f"{p}b1", f"{p}b2"), f"{p}b3")
    return chain(f"{p}root", f"{p}a", chord(f"{p}c2", inner, f"{p}d"), group(f"{p}g2", f"{p}e1", f"{p}e2"))


def ok(node: str, index: int) -> Report:
    """A member or step has succeeded."""
    return Report(node, index, succeeded=True)


def bad(node: str, index: int, reason: str = "why", *, canceled: bool = False) -> Report:
    """A member or step has not."""
    return Report(node, index, succeeded=False, canceled=canceled, reason=reason)


def tell(backend: Backend, *reports: Report) -> list[Following]:
    """What reports, made in one call, lead to."""
    return [answer.following for answer in backend.report(reports)]


def node(backend: Backend, uuid: str) -> NodeState:
    """What is known of a node, which must be there."""
    (found,) = backend.get_nodes([uuid])
    assert found is not None, f"{uuid} is not known"
    return found


def all_tasks(backend: Backend, uuid: str, *, every: bool, page: int = 500) -> list[str]:
    """All pages of tasks."""
    found: list[str] = []
    while uuids := backend.get_tasks(uuid, every=every, offset=len(found), limit=page):
        assert len(uuids) <= page
        found += uuids
    return found


def stored(backend: Backend, whole: Plan) -> tuple[object, ...]:
    """All that can be read of a plan; what its parts are, not how far it has got."""
    nodes = backend.get_nodes([each.uuid for each in whole.nodes])
    return (
        [None if each is None else each.node for each in nodes],
        [backend.get_step(step.node, step.index) for step in whole.steps],
        [all_tasks(backend, uuid, every=False) for uuid, _ in whole.results],
        all_tasks(backend, whole.root, every=True),
    )


def expected(whole: Plan) -> tuple[object, ...]:
    """The same, of the plan itself."""
    return (
        list(whole.nodes),
        list(whole.steps),
        [list(uuids) for _, uuids in whole.results],
        [each.uuid for each in whole.first] + [uuid for uuid, _ in whole.later],
    )
