"""Launching: what a worker does with a launcher. Every step may be repeated, by whoever gets the launcher next.

Few first tasks go with the launcher's own settlement, which is one step with the look whether it was cancelled. Many
are held back at the broker until all are there; then the launcher comes once more and lets them go. Its end is not
recorded: what it launches is all that it leaves. One that is cancelled or fails ends all that it would have launched.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import attrs

from vecna.app.conclusion import begun, end_of, end_step, uncaused
from vecna.app.delivery_failure import failed
from vecna.app.delivery_values import Item, Launched, Parked, Wiring, with_options
from vecna.app.launchers import LAUNCH, MOST_AT_ONCE, RESERVED, dated, occurrence_of, step_of
from vecna.app.signing import message_of, signed_plans
from vecna.app.task import AnyTask, Sender, Task
from vecna.app.workflow_sending import batches, later_records, with_final
from vecna.domain.codec import MAX_MESSAGE
from vecna.domain.decide import Canceled, Failed
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature, TaskNotRegistered
from vecna.domain.message import Message
from vecna.domain.plan import Plan, Step, plan
from vecna.domain.schedule import occurrence
from vecna.domain.signature import Signature
from vecna.domain.state import TaskState

#: Seconds: how long a launcher is put back for at most when broker or backend cannot be reached.
_LONGEST_PAUSE: Final = 60.0
_PAGE: Final = 500
Outcome = Launched | Parked | Canceled | Failed


class _Stopped(Exception):
    """The launcher was cancelled, or is not this worker's any more."""


class Launching:
    """Runs launchers, and ends what those that come to nothing would have launched. For any thread.

    Args:
        wiring: of the server.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def run(self, item: Item) -> tuple[Outcome, BaseException | None]:
        """Launch. Never raises."""
        attempts = item.delivery.attempts
        try:
            if attempts.repeats:
                self._let_go(item)
                return Launched(), None
            first = self._unfold(item)
            if len(first) <= MOST_AT_ONCE:
                return Launched(tuple(first)), None
            for batch in batches(first):
                self._check(item)
                self._wiring.broker.stage(item.uuid, batch)
        except _Stopped:
            if item.canceled:
                return Canceled(), None
        except BrokerUnavailable:
            wait = dt.timedelta(seconds=min(2.0 ** min(attempts.parks, 30), _LONGEST_PAUSE))
            return Parked(wait, attrs.evolve(attempts, parks=attempts.parks + 1)), None
        except Exception as exc:  # noqa: BLE001  # whatever is wrong with it must be seen where it is looked for
            return failed(exc, permanent=True, dead_reason=f"cannot be launched: {exc}"), exc
        else:
            attempts = attrs.evolve(attempts, repeats=1)
        return Parked(dt.timedelta(0), attempts), None

    def _check(self, item: Item) -> None:
        """Go on only while the launcher is this worker's for certain."""
        if item.stopping or item.hold.lost or self._wiring.clock.monotonic() >= item.hold.trusted_until:
            raise _Stopped

    def _let_go(self, item: Item) -> None:
        """Let those go that are held back, now that all are there."""
        backend, broker = self._wiring.backend, self._wiring.broker
        canceled = item.signature.name == LAUNCH and not backend.commit_plan(item.uuid)
        for queue in broker.queues():
            while broker.unstage(queue, item.uuid, canceled=canceled):
                self._check(item)

    # -- unfolding ---------------------------------------------------------------------------------------------------

    def _unfold(self, item: Item) -> list[Message]:
        """What is to be enqueued. All that has to be known before is stored."""
        if item.signature.name == LAUNCH:
            return self._unfold_occurrence(item)
        node, index, passed = step_of(item.signature)
        step = signed_plans(self._wiring.backend, self._wiring.config).get_step(node, index)
        if step is None:
            return []  # its workflow is over, and has expired
        return [self._message(self._complete(signature)) for signature in begun(step, passed)]

    def _unfold_occurrence(self, item: Item) -> list[Message]:
        content, code, due, spec = occurrence_of(item.signature)
        link = occurrence(content, code, due, spec)
        if isinstance(link, Signature):
            raise InvalidSignature("it is a single task, which the worker that fired its schedule could not read")
        leaves = [dated(self._complete(leaf), due) for leaf in link.signatures()]
        complete = with_final(plan(link), {leaf.uuid: leaf for leaf in leaves})
        first = [self._message(signature) for signature in complete.first]
        for step in complete.steps:
            for signature in step.first:
                self._message(signature)  # its size is checked now, not when its turn comes
        self._check(item)
        return first if self._store(complete, leaves, at_once=len(first) <= MOST_AT_ONCE) else []

    def _store(self, complete: Plan, leaves: Sequence[Signature[Any]], *, at_once: bool) -> bool:
        """Store the plan; whether the workflow may begin."""
        backend = signed_plans(self._wiring.backend, self._wiring.config)
        if later := later_records(complete, leaves, self._wiring.clock):
            backend.put_states(later)
        backend.store_plan(complete)
        return backend.commit_plan(complete.root) if at_once else True

    def _complete(self, signature: Signature[Any]) -> Signature[Any]:
        return with_options(signature, self._wiring.registry.get(signature.name))

    def _message(self, signature: Signature[Any]) -> Message:
        message = message_of(signature, self._wiring.config)
        if len(message.body) > MAX_MESSAGE:
            raise InvalidArgument(
                f"the message of task {signature.name} has {len(message.body)} bytes; at most {MAX_MESSAGE}"
            )
        return message

    # -- launchers that come to nothing ------------------------------------------------------------------------------

    def abandon(self, item: Item) -> tuple[str, ...]:
        """End all that a launcher would have launched, when its own end is recorded.

        Returns:
            Ids of what was ended and belongs to no other workflow.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached; the call may be repeated.
        """
        assert item.recorded is not None
        recorded = item.recorded
        reason = f"it was not launched: {recorded.error}"
        now = self._wiring.clock.now()
        states: list[TaskState] = []
        step = self._step(item)
        if step is not None:
            end_step(
                signed_plans(self._wiring.backend, self._wiring.config),
                step,
                recorded.state,
                reason,
                now,
                childless=True,
            )
        for leaf in self._leaves(item):
            states.append(end_of(leaf.uuid, leaf.name, recorded.state, reason, now, item.uuid))
            states += uncaused(leaf, set(), recorded, now)
        for start in range(0, len(states), _PAGE):
            self._wiring.backend.put_states(states[start : start + _PAGE])
        for queue in self._wiring.broker.queues():
            while self._wiring.broker.unstage(queue, item.uuid, canceled=True):
                pass
        return tuple([state.task_uuid for state in states])

    def _step(self, item: Item) -> Step | None:
        """The step of a chain that it stands for."""
        if item.signature.name == LAUNCH:
            return None
        try:
            node, index, _ = step_of(item.signature)
        except Exception:  # noqa: BLE001  # unreadable, in whatever way: that was said when it was to be launched
            return None
        return signed_plans(self._wiring.backend, self._wiring.config).get_step(node, index)

    def _leaves(self, item: Item) -> Sequence[Signature[Any]]:
        """All tasks of the occurrence that it stands for."""
        if item.signature.name != LAUNCH:
            return ()
        try:
            link = occurrence(*occurrence_of(item.signature))
        except Exception:  # noqa: BLE001  # unreadable, in whatever way: that was said when it was to be launched
            return ()
        return () if isinstance(link, Signature) else tuple(link.signatures())


class _Engine:
    """Where the tasks of launchers are at home: nobody sends them."""

    def sender(self, name: str) -> Sender:
        raise TaskNotRegistered(f"{name} is sent by vecna only")


def _by_the_engine() -> NoReturn:
    raise TaskNotRegistered("launchers are run by vecna itself")


#: What stands for launchers where a task is asked for.
TASKS: Final[dict[str, AnyTask]] = {name: Task(name, _by_the_engine, {}, _Engine()) for name in sorted(RESERVED)}
