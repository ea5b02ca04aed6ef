"""Cancelling tasks by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vecna.app.lookup import Lookup
from vecna.domain.cancellation import Cancellation
from vecna.domain.state import TaskState
from vecna.ports.values import Canceling, Standing

#: A task may change its place between two looks: what was found nowhere is looked for once more.
_LOOKS = 2


def cancel_tasks(lookup: Lookup, queues: Mapping[str, str]) -> Cancellation:
    """Stop tasks: what has not started never will, what runs is told to stop.

    Args:
        lookup: where they are looked for.
        queues: for each id the queue that it was sent to, "" if unknown.

    Raises:
        BrokerUnavailable: the store cannot be reached; the call may be repeated.
    """
    found: dict[str, str] = {}
    left = list(queues)
    for _ in range(_LOOKS):
        if left:
            found.update(_cancel(lookup, left, queues))
            left = [uuid for uuid in left if uuid not in found]
    return Cancellation(
        **{kind: tuple([uuid for uuid in queues if found.get(uuid, "unknown") == kind]) for kind in _KINDS}
    )


_KINDS = ("canceled", "running", "finished", "unknown")


def _cancel(lookup: Lookup, uuids: Sequence[str], queues: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    by_queue: dict[str, list[str]] = {}
    for uuid, place in lookup.places(uuids, queues).items():
        if place is not None and place.standing is Standing.DEAD:
            found[uuid] = "finished"
        elif place is not None:
            by_queue.setdefault(place.queue, []).append(uuid)
    for queue, ids in by_queue.items():
        for uuid, answer in zip(ids, lookup.broker.cancel(queue, ids), strict=True):
            if answer is not Canceling.UNKNOWN:
                found[uuid] = "canceled" if answer is Canceling.CANCELED else "running"
    ended = [uuid for uuid in uuids if uuid not in found]
    if ended:
        for uuid, state in zip(ended, lookup.backend.get_states(ended), strict=True):
            if state is not None and state.is_completed:
                found[uuid] = _kind(state)
    return found


def _kind(state: TaskState) -> str:
    return "canceled" if state.is_canceled else "finished"
