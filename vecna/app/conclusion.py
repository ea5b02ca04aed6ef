"""What the recorded end of a task means for callbacks and for the workflow that it belongs to.

Every step may be repeated: states that are final stay, and a repeated report gets the same answer, so a worker that
takes over a delivery after a crash comes to the same follow-ups as the one that died.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from vecna.app.launchers import MOST_AT_ONCE, step_launcher
from vecna.domain.arg import Arg
from vecna.domain.decide import follow_ups
from vecna.domain.plan import Node, Step
from vecna.domain.position import Position
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.backend import Backend
from vecna.ports.plans import Following, NodeStatus, Report, Reported

_PAGE: Final = 500


@attrs.frozen
class Ended:
    """A task whose end is recorded.

    Attributes:
        signature: the call.
        recorded: its end, as the backend holds it.
        childless: a cancel reached it while it ran: nothing may follow from it, however it ended.
    """

    signature: Signature[Any]
    recorded: TaskState
    childless: bool = False


@attrs.define
class Conclusion:
    """What follows from one end.

    Attributes:
        follow_ups: calls to enqueue together with the settlement.
        ended_roots: workflows that have succeeded with it: all of them is over.
        failed_roots: workflows that have failed with it: parts of them may go on.
        goes_on: its workflow is not over: its result must not expire yet.
    """

    follow_ups: list[Signature[Any]] = attrs.field(factory=list)
    ended_roots: list[str] = attrs.field(factory=list)
    failed_roots: list[str] = attrs.field(factory=list)
    goes_on: bool = False


@attrs.define
class _Walk:
    """One report on its way up through the nodes."""

    ended: Ended
    conclusion: Conclusion
    report: Report


def conclude(backend: Backend, ended: Sequence[Ended], now: dt.datetime) -> list[Conclusion]:
    """Report ends to their workflows, end what will never run, and find what follows.

    Args:
        backend: where states and plans are.
        ended: tasks whose ends are recorded.
        now: for what is recorded as ended by this.

    Returns:
        For each, what follows.

    Raises:
        BrokerUnavailable: the backend cannot be reached; the call may be repeated.
    """
    conclusions: list[Conclusion] = []
    never: list[TaskState] = []
    walks: list[_Walk] = []
    for item in ended:
        conclusion = Conclusion()
        conclusions.append(conclusion)
        signature = item.signature
        if signature.on_success or signature.on_error:
            caused = () if item.childless else follow_ups(signature, item.recorded)
            conclusion.follow_ups += caused
            never += uncaused(signature, {callback.uuid for callback in caused}, item.recorded, now)
        if signature.position is not None and signature.position.node:
            walks.append(_Walk(item, conclusion, _first_report(signature.position, item.recorded)))
    while walks:
        answers = backend.report([walk.report for walk in walks])
        following: list[_Walk] = []
        for walk, answer in zip(walks, answers, strict=True):
            further = _take(backend, walk, answer, now)
            if further is not None:
                following.append(attrs.evolve(walk, report=further))
        walks = following
    if never:
        backend.put_states(never)
    return conclusions


def _first_report(position: Position, recorded: TaskState) -> Report:
    if recorded.is_success:
        return Report(position.node, position.index, succeeded=True)
    verb = "was canceled" if recorded.is_canceled else "failed"
    reason = f"task {recorded.task_uuid} {verb}: {recorded.error}"
    return Report(position.node, position.index, succeeded=False, canceled=recorded.is_canceled, reason=reason)


def _take(backend: Backend, walk: _Walk, answer: Reported, now: dt.datetime) -> Report | None:
    """Act on the answer to one report; the report to the node around, if there is one to make."""
    node, report = answer.node, walk.report
    if node is None:
        return None
    match answer.following:
        case Following.NOTHING:
            walk.conclusion.goes_on = True
            return None
        case Following.CLOSED:
            if walk.ended.childless and node.is_chain and report.succeeded:
                # The chain may have been ended for that before, and whoever did so may not have come to the end of it.
                return _stopped(walk, report)
            (root,) = backend.get_nodes([node.root])
            walk.conclusion.goes_on = root is not None and root.status is NodeStatus.OPEN
            return None
        case Following.ADVANCE:
            if walk.ended.childless:
                return _stopped(walk, report)
            walk.conclusion.goes_on = True
            step = backend.get_step(node.uuid, report.index + 1)
            if step is not None:
                walk.conclusion.follow_ups += _beginning(step, walk.ended)
            return None
        case Following.COMPLETE:
            return _outwards(walk, node, Report(node.outer, node.index, succeeded=True))
        case Following.FAIL:
            if node.is_chain:
                _end_later_steps(backend, walk, node, now)
            return _outwards(walk, node, attrs.evolve(report, node=node.outer, index=node.index))


def _stopped(walk: _Walk, report: Report) -> Report:
    """The report that ends a chain because a cancel has reached a step that has succeeded all the same."""
    reason = f"task {walk.ended.recorded.task_uuid} was canceled while it ran"
    return Report(report.node, report.index, succeeded=False, canceled=True, reason=reason)


def _outwards(walk: _Walk, node: Node, report: Report) -> Report | None:
    if node.outer:
        return report
    (walk.conclusion.ended_roots if report.succeeded else walk.conclusion.failed_roots).append(node.root)
    return None


def _beginning(step: Step, ended: Ended) -> Iterable[Signature[Any]]:
    """What a step begins with: its first tasks, or one launcher for more of them than go with one settlement."""
    passed: tuple[Arg, ...] = ()
    if not step.takes and not ended.signature.immutable:
        passed = tuple([Arg(item.type, item.value) for item in ended.recorded.results])
    return (step_launcher(step, passed),) if len(step.first) > MOST_AT_ONCE else begun(step, passed)


def begun(step: Step, passed: tuple[Arg, ...]) -> Iterator[Signature[Any]]:
    """The first tasks of a step, with what they are passed: by value from a task, by reference from a group."""
    for signature in step.first:
        if step.takes and not signature.immutable:
            position = attrs.evolve(signature.position or Position(), takes=step.takes)
            yield signature.evolve(position=position)
        elif passed:
            yield signature.evolve(args=(*signature.args, *passed))
        else:
            yield signature


def _end_later_steps(backend: Backend, walk: _Walk, node: Node, now: dt.datetime) -> None:
    """End all that would have come after a failed step. A chord's callback shares the fate of the member."""
    report = walk.report
    for index in range(report.index + 1, node.size):
        step = backend.get_step(node.uuid, index)
        if step is None:
            continue
        is_callback = bool(step.takes) and index == report.index + 1
        state = State.FAILURE if is_callback and not report.canceled else State.CANCELED
        walk.conclusion.follow_ups += end_step(backend, step, state, report.reason, now, childless=walk.ended.childless)


def end_step(
    backend: Backend, step: Step, state: State, reason: str, now: dt.datetime, *, childless: bool = False
) -> list[Signature[Any]]:
    """Record the ends of all tasks of a step whose turn never comes, and of the callbacks that these do not cause.

    Args:
        backend: where they are.
        step: nothing of it has begun.
        state: how they end, those aside that were cancelled before.
        reason: why.
        now: when.
        childless: nothing may follow.

    Returns:
        Callbacks that their ends cause.
    """
    recorded: dict[str, TaskState] = {}
    for start in range(0, len(step.leaves), _PAGE):
        ends = [end_of(uuid, name, state, reason, now, step.node) for uuid, name in step.leaves[start : start + _PAGE]]
        recorded.update({end.task_uuid: end for end in backend.put_states(ends)})
    caused: list[Signature[Any]] = []
    never: list[TaskState] = []
    for signature in _calls(backend, step):
        end = recorded.get(signature.uuid)
        if end is not None and (signature.on_success or signature.on_error):
            mine = () if childless else follow_ups(signature, end)
            caused += mine
            never += uncaused(signature, {callback.uuid for callback in mine}, end, now)
    for start in range(0, len(never), _PAGE):
        backend.put_states(never[start : start + _PAGE])
    return caused


def _calls(backend: Backend, step: Step) -> Iterator[Signature[Any]]:
    """All calls of a step: what it begins with, and the later links of chains that are nested in it."""
    yield from step.first
    if len(step.first) == len(step.leaves):
        return
    seen = {step.node}
    left = _nodes(step.first) - seen
    while left:
        seen |= left
        found = [state.node for state in backend.get_nodes(sorted(left)) if state is not None]
        left = {node.outer for node in found}
        for node in found:
            for index in range(1, node.size if node.is_chain else 0):
                nested = backend.get_step(node.uuid, index)
                if nested is not None:
                    yield from nested.first
                    left |= _nodes(nested.first)
        left -= seen


def _nodes(signatures: Iterable[Signature[Any]]) -> set[str]:
    return {signature.position.node for signature in signatures if signature.position is not None}


def end_of(uuid: str, name: str, state: State, reason: str, now: dt.datetime, node: str = "") -> TaskState:
    """The record of a task that never ran."""
    return TaskState(task_uuid=uuid, task_name=name, state=state, error=reason, finished_at=now, node=node)


def uncaused(signature: Signature[Any], caused: set[str], recorded: TaskState, now: dt.datetime) -> Iterator[TaskState]:
    """Ends of the callbacks that this end did not cause, and of theirs: whoever waits for them must wake."""
    reason = f"task {recorded.task_uuid} ended as {recorded.state}"
    for callback in _callbacks((*signature.on_success, *signature.on_error), caused):
        yield end_of(callback.uuid, callback.name, State.CANCELED, reason, now)


def _callbacks(signatures: Iterable[Signature[Any]], caused: set[str]) -> Iterator[Signature[Any]]:
    for signature in signatures:
        if signature.uuid not in caused:
            yield signature
            yield from _callbacks((*signature.on_success, *signature.on_error), caused)
