"""What senders and workers that died have left in the stores: found by age, brought to an end, all repeatable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import attrs

from vecna import log
from vecna.app.delivery_values import Wiring
from vecna.app.faults import try_each
from vecna.app.releasing import is_over, release_workflow
from vecna.domain.state import State, TaskState
from vecna.ports.backend import Backend
from vecna.ports.plans import NodeState, NodeStatus, Report
from vecna.ports.values import Standing

#: Of one sweep: records, workflows.
_MOST: Final = 100
#: Records of one sweep in some: those of workflows that go on stand before those that nobody else will release.
_MANY: Final = 5_000
_SELDOM: Final = 0.1
_PAGE: Final = 500
#: Why a workflow was cancelled that nobody will go on sending.
DIED: Final = "its sender died before all of the workflow was sent"


def sweep_records(wiring: Wiring) -> None:
    """Let ends expire whose worker died between settling and releasing.

    Raises:
        BrokerUnavailable: broker or backend cannot be reached.
    """
    config, backend = wiring.config, wiring.backend
    most = _MANY if wiring.random.random() < _SELDOM else _MOST
    unreleased = backend.unreleased(dt.timedelta(seconds=2 * config.lease), most)
    if not unreleased:
        return
    places = wiring.broker.locate(unreleased)
    # A dead letter is over too: it stays for the operator, and nothing more is recorded of it.
    gone = [
        uuid for uuid, place in zip(unreleased, places, strict=True) if place is None or place.standing is Standing.DEAD
    ]
    states = [state for state in backend.get_states(gone) if state is not None]
    over, roots = _over(wiring, states)
    for root in roots:  # before the records that lead to them
        release_workflow(backend, root, config.results_expire_in)
    if over:
        backend.release(over, dt.timedelta(seconds=config.results_expire_in))


def sweep_callbacks(wiring: Wiring) -> None:
    """Forget callbacks whose parent was never sent: its sender died between recording them and sending it.

    Should the parent come all the same, they are caused by it as ever; nothing but their PENDING is lost. Those that
    still wait are recorded anew, so that the next sweep looks at others.

    Raises:
        BrokerUnavailable: broker or backend cannot be reached.
    """
    broker, backend, config = wiring.broker, wiring.backend, wiring.config
    age = dt.timedelta(seconds=max(config.publish_timeout, 2 * config.lease))
    waiting = backend.waiting_callbacks(age, _MOST)
    states = [state for state in (backend.get_states(waiting) if waiting else ()) if state is not None]
    states = [state for state in states if state.is_waiting_callback]
    if not states:
        return
    parents = list({state.parent: None for state in states})
    # First the broker: what leaves it has its end recorded before.
    places = broker.locate([*parents, *[state.task_uuid for state in states]])
    known = {uuid for uuid, place in zip(parents, places, strict=False) if place is not None}
    arrived = places[len(parents) :]
    known |= {uuid for uuid, state in zip(parents, backend.get_states(parents), strict=True) if state is not None}
    never = [
        state.task_uuid
        for state, place in zip(states, arrived, strict=True)
        if place is None and state.parent not in known
    ]
    backend.forget(never)
    gone = set(never)
    backend.put_states([state for state in states if state.task_uuid not in gone])


def _over(wiring: Wiring, states: Sequence[TaskState]) -> tuple[list[str], list[str]]:
    """Those whose workflow, if they have one, is over too; and these workflows: nobody else may release them."""
    backend = wiring.backend
    nodes = list({state.node: None for state in states if state.node})
    found: dict[str, NodeState | None] = dict(zip(nodes, backend.get_nodes(nodes), strict=True)) if nodes else {}
    roots = list({node.node.root: None for node in found.values() if node is not None})
    known = [state for state in (backend.get_nodes(roots) if roots else ()) if state is not None]
    opened = {state.node.uuid for state in known if _goes_on(wiring, state)}

    def is_open(state: TaskState) -> bool:
        node = found.get(state.node)
        return node is not None and node.node.root in opened

    over = [state.task_uuid for state in states if not is_open(state)]
    return over, [state.node.uuid for state in known if state.node.uuid not in opened]


def _goes_on(wiring: Wiring, root: NodeState) -> bool:
    if root.status is NodeStatus.FAILED:
        return not is_over(wiring, root.node.uuid)
    return root.status is NodeStatus.OPEN


def sweep_senders(wiring: Wiring, queues: Iterable[str]) -> None:
    """Bring workflows to an end, or on their way, whose sender died while it sent them.

    Raises:
        BrokerUnavailable: broker or backend cannot be reached; of queues that can be nothing is left out.
    """
    try_each([partial(_sweep_plans, wiring), *[partial(_sweep_staged, wiring, queue) for queue in queues]])


def _sweep_plans(wiring: Wiring) -> None:
    age = dt.timedelta(seconds=wiring.config.publish_timeout)
    for root in _without_launcher(wiring, wiring.backend.uncommitted(age, _MOST)):
        _decide(wiring, root)


def _sweep_staged(wiring: Wiring, queue: str) -> None:
    age = dt.timedelta(seconds=wiring.config.publish_timeout)
    for hold in _without_launcher(wiring, wiring.broker.staged(queue, age, _MOST)):
        sent = _decide(wiring, hold)
        while wiring.broker.unstage(queue, hold, canceled=not sent):
            pass


def _decide(wiring: Wiring, root: str) -> bool:
    """Commit what was sent, end what was not; whether it was."""
    backend = wiring.backend
    (state,) = backend.get_nodes([root])
    if state is None or state.committed:
        return state is not None
    if state.status is NodeStatus.FAILED and state.reason != DIED:
        # It ran before it was committed, and failed; or was cancelled. What was never sent is ended when all else is.
        if not _lives(wiring, root):
            _end_all(wiring, root, state.reason)
        return False
    if state.status is not NodeStatus.FAILED and _was_sent(wiring, root):
        return backend.commit_plan(root)
    return not end_workflow(wiring, root, DIED)


def _without_launcher(wiring: Wiring, uuids: Sequence[str]) -> list[str]:
    """Those that no launcher looks after: it has the id of what it launches, and comes again until it is done."""
    places = wiring.broker.locate(uuids) if uuids else ()
    held_or_dead = (Standing.HELD, Standing.DEAD)
    return [uuid for uuid, place in zip(uuids, places, strict=True) if place is None or place.standing in held_or_dead]


def _was_sent(wiring: Wiring, root: str) -> bool:
    """Whether the one step that sends a small workflow was done, and only the note of it is missing."""
    first = wiring.backend.get_tasks(root, every=True, offset=0, limit=1)
    if not first:
        return False  # it died while it stored the plan
    (state,) = wiring.backend.get_states(first)
    if state is not None and state.state is not State.PENDING:
        return True
    (place,) = wiring.broker.locate(first)
    return place is not None and place.standing is not Standing.HELD


def end_workflow(wiring: Wiring, root: str, reason: str) -> bool:
    """Record a workflow that will not run as cancelled, every task of it.

    Returns:
        Whether that was done; False: it was sent just now.

    Raises:
        BrokerUnavailable: the backend cannot be reached; the call may be repeated.
    """
    backend = wiring.backend
    # The decision comes first: from then on its sender cannot commit it, and a sweep that takes over sees it.
    backend.report([Report(root, 0, succeeded=False, canceled=True, reason=reason)])
    (node,) = backend.get_nodes([root])
    if node is None or node.committed or node.reason != reason:
        return False
    log.warning(f"workflow {root} is canceled: {reason}", root=root)
    _end_all(wiring, root, reason)
    return True


def _lives(wiring: Wiring, root: str) -> bool:
    """Whether the broker has a message of a workflow."""
    return any(
        place is not None and place.standing is not Standing.DEAD
        for uuids in _every(wiring.backend, root)
        for place in wiring.broker.locate(uuids)
    )


def _end_all(wiring: Wiring, root: str, reason: str) -> None:
    backend, now = wiring.backend, wiring.clock.now()
    for uuids in _every(backend, root):
        known = [
            state or TaskState(task_uuid=uuid, node=root)
            for uuid, state in zip(uuids, backend.get_states(uuids), strict=True)
        ]
        ends = [
            attrs.evolve(state, state=State.CANCELED, error=reason, finished_at=now)
            for state in known
            if not state.is_completed
        ]
        backend.put_states(ends)
    release_workflow(backend, root, wiring.config.results_expire_in)


def _every(backend: Backend, root: str) -> Iterator[list[str]]:
    offset = 0
    while uuids := backend.get_tasks(root, every=True, offset=offset, limit=_PAGE):
        yield uuids
        offset += len(uuids)
