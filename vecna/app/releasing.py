"""Letting workflows that are over expire."""

from __future__ import annotations

import datetime as dt
from typing import Final

from vecna.app.delivery_values import Wiring
from vecna.ports.backend import Backend
from vecna.ports.values import Standing

_PAGE: Final = 500


def is_over(wiring: Wiring, root: str) -> bool:
    """Whether nothing of a workflow runs or will run. One that has failed may go on in other parts for a long time.

    Args:
        wiring: of the server.
        root: its outermost node, which has ended.

    Raises:
        BrokerUnavailable: broker or backend cannot be reached.
    """
    offset = 0
    while uuids := wiring.backend.get_tasks(root, every=True, offset=offset, limit=_PAGE):
        states = dict(zip(uuids, wiring.backend.get_states(uuids), strict=True))
        if any(state is not None and not state.is_completed for state in states.values()):
            return False
        unknown = [uuid for uuid, state in states.items() if state is None]
        places = wiring.broker.locate(unknown) if unknown else ()
        if any(place is not None and place.standing is not Standing.DEAD for place in places):
            return False
        offset += len(uuids)
    return True


def release_workflow(backend: Backend, root: str, keep: float) -> None:
    """Let all of a workflow that is over expire.

    Args:
        backend: where it is.
        root: its outermost node.
        keep: for how many seconds it stays.

    Raises:
        BrokerUnavailable: the backend cannot be reached; the call may be repeated.
    """
    uuids = release_plan(backend, root, keep)
    for start in range(0, len(uuids), _PAGE):
        backend.release(uuids[start : start + _PAGE], dt.timedelta(seconds=keep))


def release_plan(backend: Backend, root: str, keep: float) -> list[str]:
    """Let the plan of a workflow that is over expire; the ids of its tasks, which are to be released after it.

    In this order: after a crash, sweeps find results that were not released, and through them their plan.
    """
    uuids: list[str] = []
    while page := backend.get_tasks(root, every=True, offset=len(uuids), limit=_PAGE):
        uuids += page
    backend.release_plan(root, dt.timedelta(seconds=keep))
    return uuids
