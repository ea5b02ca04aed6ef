"""What a task waits for that has not ended: for errors where time stands still, and waiting would be for ever."""

from __future__ import annotations

import datetime as dt
from typing import Final

from vecna.app.lookup import Lookup
from vecna.domain.state import TaskState
from vecna.ports.values import Place, Standing

#: Tasks of a workflow that are looked through for the one whose turn it is.
_PAGE: Final = 500


def standing_still(lookup: Lookup, state: TaskState, queue: str, now: dt.datetime) -> str:
    """The rest of a sentence that begins with the task's name: its state, what it waits for, and what helps.

    Args:
        lookup: where to look.
        state: of the task.
        queue: where it was sent to; "" if not known.
        now: the time.

    Raises:
        BrokerUnavailable: the store cannot be reached.
    """
    place = lookup.places([state.task_uuid], {state.task_uuid: queue})[state.task_uuid]
    what = _standing(place, now) if place is not None else _turn(lookup, state, now)
    return (
        f"is {state.state}{what}, and the clock stands still: call run() to run what is due, or advance(...) to move "
        "the clock, before get()"
    )


def _standing(place: Place, now: dt.datetime) -> str:
    queue = f"in queue {place.queue!r}"
    match place.standing:
        case Standing.PENDING:
            return f", pending {queue}"
        case Standing.DELAYED if place.due_at is not None:
            why = ""
            if place.attempts.parks:
                why = ", because no task of its name is registered"
            elif place.attempts.repeats:
                why = f" for its attempt {place.attempts.attempt}"
            left = (place.due_at - now).total_seconds()
            return f", delayed {queue} until {place.due_at.isoformat()}{why} (advance(seconds={left:g}))"
        case Standing.LEASED:
            return f", held {queue} by a worker; if that has died, until its lease has run out"
        case Standing.HELD:
            return f", held back {queue} until all of its workflow is sent"
        case _:
            return f", to be ended {queue}"


def _turn(lookup: Lookup, state: TaskState, now: dt.datetime) -> str:
    """What has to end before this one is sent."""
    before = [state.parent] if state.parent else lookup.backend.get_tasks(state.node, every=True, offset=0, limit=_PAGE)
    before = [uuid for uuid in before if uuid != state.task_uuid]
    states = dict(zip(before, lookup.backend.get_states(before), strict=True))
    open_ = [uuid for uuid, each in states.items() if each is None or not each.is_completed]
    for uuid, place in lookup.places(open_, {}).items():
        if place is not None:
            known = lookup.states([uuid], {uuid: place.queue})[0]
            name = f" ({known.task_name})" if known is not None and known.task_name else ""
            where = "waiting" if state.parent else "waiting for its turn in a workflow"
            return f", {where} for task {uuid}{name}, which is{_standing(place, now)[1:]}"
    return ", waiting for what comes before it" if before else ""
