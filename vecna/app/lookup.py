"""What is known of tasks, from backend and broker together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from vecna.domain.errors import InvalidSignature
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.values import Place, Standing


@attrs.frozen
class Lookup:
    """Reads states. PENDING is not recorded: the broker has the message, the backend nothing."""

    backend: Backend
    broker: Broker

    def states(self, uuids: Sequence[str], queues: Mapping[str, str]) -> list[TaskState | None]:
        """What is known of each id; None for what neither broker nor backend knows.

        Args:
            uuids: the ids.
            queues: for each id the queue that it was sent to, as far as known: where to look first.
        """
        return self.complete(dict(zip(uuids, self.backend.get_states(uuids), strict=True)), queues)

    def complete(self, states: dict[str, TaskState | None], queues: Mapping[str, str]) -> list[TaskState | None]:
        """The same, where the backend has been read already."""
        missing = [uuid for uuid, state in states.items() if state is None]
        if missing:
            for uuid, place in self.places(missing, queues).items():
                if place is not None:
                    states[uuid] = _derived(uuid, place)
            # A task may have ended, and its message gone, between the two looks. Then its end is recorded by now.
            missing = [uuid for uuid in missing if states[uuid] is None]
            if missing:
                states.update(zip(missing, self.backend.get_states(missing), strict=True))
        return list(states.values())

    def node_of(self, uuid: str) -> str:
        """The group or chain that a task belongs to; "" if to none, or if nothing is known of it."""
        state = self.backend.get_state(uuid)
        if state is not None and state.node:
            return state.node
        (place,) = self.broker.locate([uuid])
        if place is None:
            return ""
        try:
            position = Signature.from_json(place.body).position
        except InvalidSignature:
            return ""
        return position.node if position is not None else ""

    def places(self, uuids: Sequence[str], queues: Mapping[str, str]) -> dict[str, Place | None]:
        """Where the message of each id stands; looked for in all queues if it is not in its own."""
        found: dict[str, Place | None] = dict.fromkeys(uuids)
        by_queue: dict[str, list[str]] = {}
        for uuid in uuids:
            if queue := queues.get(uuid):
                by_queue.setdefault(queue, []).append(uuid)
        for queue, ids in by_queue.items():
            found.update(zip(ids, self.broker.locate(ids, [queue]), strict=True))
        missing = [uuid for uuid, place in found.items() if place is None]
        if missing:
            found.update(zip(missing, self.broker.locate(missing), strict=True))
        return found


def _derived(uuid: str, place: Place) -> TaskState:
    try:
        name = Signature.from_json(place.body).name
    except InvalidSignature:
        name = ""
    if place.standing is Standing.DEAD:
        reason = f"became a dead letter of queue {place.queue}; what was recorded about it has expired"
        return TaskState(
            task_uuid=uuid, task_name=name, state=State.FAILURE, error=reason, dead_reason=reason,
            created_at=place.enqueued_at, attempt=place.attempts.attempt,
        )  # fmt: skip
    return TaskState(task_uuid=uuid, task_name=name, created_at=place.enqueued_at)
