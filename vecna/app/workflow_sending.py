"""Sending groups, chords and chains: as a whole or not at all.

The plan is stored first. What begins at once goes to the broker in one step where that is possible; else it is held
there until all of it is there and one write has made the workflow count as sent. A sender may die anywhere: the same
call again completes what it began, and what nobody completes is cancelled after `Config.publish_timeout`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import attrs

from vecna.app import tracing
from vecna.app.config import Config
from vecna.app.sending import Sending, callbacks_of, check, waiting_callbacks
from vecna.app.signing import signed_plans
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.message import Message
from vecna.domain.plan import Plan, plan
from vecna.domain.signature import Signature
from vecna.domain.state import TaskState
from vecna.domain.workflow import Chain, Chord, Group, Link
from vecna.ports.backend import Backend
from vecna.ports.clock import Clock
from vecna.ports.values import Adapters

#: Messages in one call, and bytes of their bodies; and, if they all go to one queue, what every broker accepts in one
#: step, so that it need not be held back.
BATCH: Final = 500
BATCH_BYTES: Final = 1024 * 1024
#: Batches in flight at most, whatever is asked for: each is a thread.
_MOST_THREADS: Final = 16
Workflow = Group | Chord | Chain


@attrs.frozen
class SentWorkflow:
    """A workflow as it was sent.

    Attributes:
        plan: what was stored.
        queues: of what began at once, by task id.
        new: ids of what this sending started.
    """

    plan: Plan
    queues: Mapping[str, str]
    new: frozenset[str]


class WorkflowSending:
    """Prepares workflows and hands them to backend and broker.

    Args:
        config: settings.
        sending: prepares their signatures.
    """

    def __init__(self, config: Config, sending: Sending) -> None:
        self._config = config
        self._sending = sending

    def send(
        self, workflow: Workflow, ports: Adapters, stop: threading.Event, *, send_concurrency: int | None = 0
    ) -> SentWorkflow:
        """Check all, then send all.

        Args:
            workflow: what to send.
            ports: broker, backend and clock.
            stop: set when the server is closed: no further attempt is made.
            send_concurrency: batches in flight; 0: as many as there are, None: `Config.default_send_concurrency`.

        Raises:
            InvalidArgument, InvalidSignature: some part cannot be sent, or was sent before as part of something else;
                nothing was sent.
            BrokerUnavailable: the store could not be reached within `Config.send_timeout`; the same call may be
                repeated.
        """
        concurrency = self.concurrency(send_concurrency)
        signatures = list(workflow.signatures())
        for signature in signatures:
            check(signature, member_of=signature.group_uuid)
        with tracing.send_span(signatures) as traced:
            prepared = self._sending.prepared(signatures, traced=traced)
            final = {each.uuid: each for each in prepared}
            changed = {new.uuid for new, old in zip(prepared, signatures, strict=True) if new is not old}
            complete = with_final(plan(workflow), final, changed)
            messages = [self._sending.message(signature) for signature in complete.first]
            for step in complete.steps:
                for signature in step.first:
                    self._sending.message(signature)  # its size is checked now, not when its turn comes
            later = later_records(complete, final.values(), ports.clock)
            known = set(self._sending.old(signatures))
            checked: list[bool] = []

            def attempt() -> set[str]:
                if not checked:
                    _refuse_parts_of_others(complete, known, ports)
                    checked.append(True)
                # What has ended is not sent again, as with single tasks.
                ended = _ended(ports.backend, [uuid for uuid in known if uuid in final])
                open_messages = [message for message in messages if message.uuid not in ended]
                return self._attempt(complete, open_messages, later, ports, concurrency)

            new = self._sending.insisting.insist(attempt, signatures, ports.clock, stop)
        return SentWorkflow(complete, {message.uuid: message.queue for message in messages}, frozenset(new))

    def concurrency(self, asked: int | None) -> int:
        """How many batches may be in flight; 0: all.

        Raises:
            InvalidArgument: that is no such number.
        """
        if asked is None:
            return self._config.default_send_concurrency
        if type(asked) is not int or asked < 0:
            raise InvalidArgument(f"send_concurrency must be an int of 0 or more, or None, not {asked!r}")
        return asked

    def _attempt(
        self, complete: Plan, messages: Sequence[Message], later: Sequence[TaskState], ports: Adapters, concurrency: int
    ) -> set[str]:
        signed_plans(ports.backend, self._config).store_plan(complete)
        if later:  # after the plan: through it sweeps find them, should this process die here
            ports.backend.put_states(later)
        queues = {message.queue for message in messages}
        size = sum([len(message.body) for message in messages])
        if len(queues) <= 1 and len(messages) <= BATCH and (size <= BATCH_BYTES or len(messages) == 1):
            new = set(_accepted(messages, ports.broker.enqueue(messages)) if messages else ())
            ports.backend.commit_plan(complete.root)
            return new
        new = set()
        parts = list(batches(messages))
        for batch, answers in _each(parts, lambda batch: ports.broker.stage(complete.root, batch), concurrency):
            new.update(_accepted(batch, answers))
        canceled = not ports.backend.commit_plan(complete.root)
        for queue in sorted(queues):
            while ports.broker.unstage(queue, complete.root, canceled=canceled):
                pass
        return new


def with_final(draft: Plan, final: Mapping[str, Signature[Any]], changed: Container[str] | None = None) -> Plan:
    """The plan with its signatures as they were prepared; where they stand in it stays. Their callbacks join it.

    Args:
        draft: the plan.
        final: the prepared signatures by their ids.
        changed: ids of those that preparing has changed; all of them when left out.
    """

    def complete(signature: Signature[Any]) -> Signature[Any]:
        if changed is not None and signature.uuid not in changed:
            return signature
        return final[signature.uuid].evolve(position=signature.position)

    steps = tuple([attrs.evolve(step, first=tuple(map(complete, step.first))) for step in draft.steps])
    # Callbacks are known by the plan too: what is never sent is ended with all that waits for it.
    waiting = [(callback.uuid, callback.name) for leaf in final.values() for callback, _ in callbacks_of(leaf)]
    later = (*draft.later, *waiting)
    return attrs.evolve(draft, first=tuple(map(complete, draft.first)), steps=steps, later=later)


def later_records(complete: Plan, signatures: Iterable[Signature[Any]], clock: Clock) -> list[TaskState]:
    """Records of all that does not begin at once.

    Args:
        complete: what is sent.
        signatures: all tasks in it, as they are sent.
        clock: time.
    """
    now = clock.now()
    parents = {callback.uuid: parent for leaf in signatures for callback, parent in callbacks_of(leaf)}
    return [
        TaskState(task_uuid=uuid, task_name=name, created_at=now, node=complete.root, parent=parents.get(uuid, ""))
        for uuid, name in complete.later
    ]


def leaf_records(link: Link, root: str, clock: Clock) -> list[TaskState]:
    """Records of all tasks of a workflow, as waiting; of a single task only those of its callbacks."""
    if isinstance(link, Signature):
        return waiting_callbacks([link], clock)
    leaves, now = list(link.signatures()), clock.now()
    states = [TaskState(task_uuid=leaf.uuid, task_name=leaf.name, created_at=now, node=root) for leaf in leaves]
    return states + waiting_callbacks(leaves, clock)


def _refuse_parts_of_others(complete: Plan, known: Iterable[str], ports: Adapters) -> None:
    """Refuse what would wait for ever: tasks and groups that report to another workflow, or to none.

    Args:
        complete: what is to be sent.
        known: tasks that left their process before.
        ports: where they may be known.

    Raises:
        InvalidSignature: it has such parts.
    """
    found = ports.backend.get_nodes([node.uuid for node in complete.nodes])
    for node, state in zip(complete.nodes, found, strict=True):
        if state is not None and state.node.root != complete.root:
            raise _taken(node.uuid)
    if found[0] is not None:
        stored = ports.backend.get_tasks(complete.root, every=True, offset=0, limit=BATCH)
        own = {signature.uuid for signature in complete.first} | {uuid for uuid, _ in complete.later}
        if not own.issuperset(stored):
            raise _taken(complete.root)
        return  # it is this very workflow, sent before
    uuids = list(known)
    places = ports.broker.locate(uuids) if uuids else ()
    sent = _ended(ports.backend, uuids) | {uuid for uuid, place in zip(uuids, places, strict=True) if place is not None}
    if sent:
        raise InvalidSignature(
            f"task {min(sent)} was sent before and is no part of this workflow, which would wait for it for ever: put "
            "signature.clone() into it"
        )


def _taken(uuid: str) -> InvalidSignature:
    return InvalidSignature(
        f"{uuid} is the id of another group or chain, that was sent before: make a new one, of signature.clone() for "
        "each task"
    )


def _ended(backend: Backend, uuids: Sequence[str]) -> set[str]:
    if not uuids:
        return set()
    return {state.task_uuid for state in backend.get_states(uuids) if state is not None and state.is_completed}


def _accepted(messages: Sequence[Message], answers: Sequence[bool]) -> Iterable[str]:
    return [message.uuid for message, is_new in zip(messages, answers, strict=True) if is_new]


def batches(messages: Iterable[Message]) -> Iterable[Sequence[Message]]:
    """Messages by queue, as many as go into one call."""
    by_queue: dict[str, list[Message]] = {}
    for message in messages:
        by_queue.setdefault(message.queue, []).append(message)
    for group in by_queue.values():
        for start in range(0, len(group), BATCH):
            yield group[start : start + BATCH]


def _each(
    parts: Sequence[Sequence[Message]], call: Callable[[Sequence[Message]], list[bool]], concurrency: int
) -> Iterable[tuple[Sequence[Message], list[bool]]]:
    """Make a call for each batch, several at a time."""
    threads = min(concurrency or len(parts), len(parts), _MOST_THREADS)
    if threads <= 1:
        return [(batch, call(batch)) for batch in parts]
    with ThreadPoolExecutor(threads, thread_name_prefix="vecna-send") as executor:
        return list(zip(parts, executor.map(call, parts), strict=True))


def check_workflow(value: object, kind: type[Workflow], method: str) -> None:
    """Refuse something else than the workflow that a method takes.

    Raises:
        InvalidSignature: it is something else.
    """
    if not isinstance(value, kind):
        raise InvalidSignature(f"{method} takes a {kind.__name__}, not a {type(value).__name__}")
