"""Running a dead task again: as a copy under a new id, with what would have followed it.

The old task stays ended, and so does its workflow: others have been told of its end. All ids of the copy follow from
the old ones, so that who asks twice, or again after a crash, gets one copy.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Final

import attrs

from vecna.app.launchers import RESERVED
from vecna.app.passing import with_passed
from vecna.app.sweeping import DIED
from vecna.domain.errors import InvalidSignature
from vecna.domain.plan import Node, Step
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Group, Link
from vecna.ports.backend import Backend

#: The header of the copy that names the dead task.
RETRY_OF: Final = "retry_of"


@attrs.frozen
class Requeue:
    """What is sent for a dead task.

    Attributes:
        copy: of the task itself.
        chain: the copy and what follows it; None if nothing does.
        left_out: what of its workflow is not copied, and why; "" if all is.
    """

    copy: Signature[Any]
    chain: Chain | None = None
    left_out: str = ""


def requeue(backend: Backend, dead: Signature[Any], queue: str, given_up: int = 0) -> Requeue:
    """The copy of a dead task, with the later links of the chains that it stands in.

    Args:
        backend: where plans and results are.
        dead: the task.
        queue: where it lies.
        given_up: how many copies were cancelled because their senders had died; each has other ids.

    Raises:
        InvalidSignature: it is no task of a user's.
        InvalidArgument: the results that it was to be passed are not there any more.
        BrokerUnavailable: the backend cannot be reached.
    """
    if dead.name in RESERVED:
        raise InvalidSignature(f"{dead.uuid} is a part of a workflow, not a task: send the workflow again")
    copies = _Copies(dead, given_up)
    copy = copies.call(with_passed(backend, dead))
    copy = copy.replace(headers={**dead.headers, RETRY_OF: dead.uuid}, queue=queue, eta=None, delay=None)
    steps, left_out = _later_steps(backend, dead)
    if not steps:
        return Requeue(copy, left_out=left_out)
    later = [_Rebuilding(backend, copies, step.first).link(step.node, step.index) for step in steps]
    chain = Chain(copy, *later, code=copies.code, chain_uuid=copies.id(f"chain of {dead.uuid}"))
    return Requeue(copy, chain, left_out)


def was_given_up(backend: Backend, sent: Requeue) -> bool:
    """Whether a copy never runs because who sent it died before all of it was there.

    Raises:
        BrokerUnavailable: the backend cannot be reached.
    """
    if sent.chain is None:
        return False  # it is sent in one step
    (node,) = backend.get_nodes([sent.chain.chain_uuid])
    (state,) = backend.get_states([sent.copy.uuid])
    return DIED in (node and node.reason, state and state.error)


def _later_steps(backend: Backend, dead: Signature[Any]) -> tuple[list[Step], str]:
    """What would have followed, from the innermost chain outwards; and what is left out of that."""
    steps: list[Step] = []
    place = dead.position
    outer, index = (place.node, place.index) if place is not None else ("", 0)
    while outer:
        (state,) = backend.get_nodes([outer])
        if state is None:
            return steps, "its workflow has expired, so that what would have followed is not copied"
        node = state.node
        if not node.is_chain:
            return steps, f"it was in group {outer}: the group, and what would have followed that, stay ended"
        for later in range(index + 1, node.size):
            step = backend.get_step(outer, later)
            if step is None:
                return steps, "its workflow has expired, so that not all later links are copied"
            steps.append(step)
        outer, index = node.outer, node.index
    return steps, ""


class _Copies:
    """Makes copies under ids that follow from the dead task's.

    Attributes:
        code: what they share.
    """

    def __init__(self, dead: Signature[Any], given_up: int) -> None:
        self._of = f"{dead.uuid}:{given_up}" if given_up else dead.uuid
        self.code = self.id(dead.uuid) if dead.code == dead.uuid else dead.code

    def id(self, old: str) -> str:
        """The id of the copy of what had this one."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"vecna:retry:{self._of}:{old}"))

    def call(self, signature: Signature[Any]) -> Signature[Any]:
        """The copy of a call and its callbacks, outside of any workflow."""
        return signature.replace(
            uuid=self.id(signature.uuid),
            code=self.code,
            on_success=tuple(map(self.call, signature.on_success)),
            on_error=tuple(map(self.call, signature.on_error)),
            position=None,
            group_uuid="",
            group_task_count=0,
            chord_callback=None,
            spec="",
        )


class _Rebuilding:
    """Puts calls that were one link of a chain together again.

    Args:
        backend: where their groups and chains are.
        copies: copies them.
        first: what the link began with.
    """

    def __init__(self, backend: Backend, copies: _Copies, first: Iterable[Signature[Any]]) -> None:
        self._backend = backend
        self._copies = copies
        self._calls: dict[tuple[str, int], Signature[Any]] = {}
        self._nodes: dict[tuple[str, int], Node] = {}
        self._seen: set[str] = set()
        self._take(first)

    def _take(self, first: Iterable[Signature[Any]]) -> None:
        """Note which call stands at which place, and which groups and chains around them."""
        around: set[str] = set()
        for call in first:
            if call.position is not None:
                self._calls[call.position.node, call.position.index] = call
                around.add(call.position.node)
        while around := {node for node in around if node} - self._seen:
            self._seen |= around
            found = [state.node for state in self._backend.get_nodes(sorted(around)) if state is not None]
            self._nodes.update({(node.outer, node.index): node for node in found})
            around = {node.outer for node in found}

    def link(self, outer: str, index: int) -> Link:
        """The copy of what stands at one place of a group or chain.

        Raises:
            InvalidSignature: it is not known any more.
        """
        call = self._calls.get((outer, index))
        if call is not None:
            return self._copies.call(call)
        node = self._nodes.get((outer, index))
        if node is None:
            raise InvalidSignature(f"what would follow in workflow {outer} cannot be read any more: send it again")
        for place in range(1, node.size if node.is_chain else 0):
            step = self._backend.get_step(node.uuid, place)
            self._take(step.first if step is not None else ())
        links = [self.link(node.uuid, place) for place in range(node.size)]
        own, code = self._copies.id(node.uuid), self._copies.code
        return Chain(*links, code=code, chain_uuid=own) if node.is_chain else Group(*links, code=code, group_uuid=own)
