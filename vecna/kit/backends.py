"""A backend on a store of documents: states. Plans of workflows are in `plans.py`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from vecna.domain.state import TaskState
from vecna.kit.checks import checked
from vecna.kit.documents import LAST, Document, Documents, DocumentStore
from vecna.kit.plans import DocumentPlans
from vecna.kit.polling import PollingListener, tell
from vecna.kit.rules import after, microseconds, read_state
from vecna.ports.backend import Backend, Listener
from vecna.ports.clock import Clock

#: What a record begins with, so that one that cannot be read is known to be an end.
_FINAL: Final = b"1"
_GOES_ON: Final = b"0"


@checked
class DocumentBackend(DocumentPlans, Backend):
    """Keeps states and plans.

    Args:
        store: where they are kept.
        clock: time.
    """

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def put_states(self, states: Sequence[TaskState]) -> list[TaskState]:
        """See `vecna.ports.States`."""
        now = microseconds(self._clock.now())
        with self._store.step() as documents:
            _expire(documents, now)
            return [_put(documents, state, now) for state in states]

    def get_state(self, uuid: str) -> TaskState | None:
        """See `vecna.ports.States`."""
        return self.get_states([uuid])[0]

    def get_states(self, uuids: Sequence[str]) -> list[TaskState | None]:
        """See `vecna.ports.States`."""
        now = microseconds(self._clock.now())
        with self._store.step(reading=True) as documents:
            return [_read(documents.get("state", uuid), now) for uuid in uuids]

    def release(self, uuids: Sequence[str], keep: dt.timedelta) -> None:
        """See `vecna.ports.States`."""
        now = self._clock.now()
        with self._store.step() as documents:
            for uuid in uuids:
                record = documents.get("state", uuid)
                if documents.drop("unreleased", uuid) and record is not None:
                    documents.put("state", uuid, record.value, microseconds(after(now, keep)))
            _expire(documents, microseconds(now))

    def forget(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.States`."""
        with self._store.step() as documents:
            for uuid in uuids:
                documents.drop("state", uuid)
                documents.drop("unreleased", uuid)
                documents.drop("waiting", uuid)

    def unreleased(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.States`."""
        upto = microseconds(self._clock.now() - age)
        with self._store.step(reading=True) as documents:
            return [found.key for found in documents.scan("unreleased", -LAST, upto, max(0, limit))]

    def waiting_callbacks(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.States`."""
        upto = microseconds(self._clock.now() - age)
        with self._store.step(reading=True) as documents:
            return [found.key for found in documents.scan("waiting", -LAST, upto, max(0, limit))]

    def listen(self) -> Listener:
        """See `vecna.ports.Waiting`."""
        return PollingListener(self._store.another(), self._clock)

    def close(self) -> None:
        """See `vecna.ports.Backend`."""
        self._store.close()


def _put(documents: Documents, state: TaskState, now: int) -> TaskState:
    recorded = _read(documents.get("state", state.task_uuid), now)
    if recorded is not None and not recorded.gives_way_to(state):
        return recorded
    documents.put("state", state.task_uuid, (_FINAL if state.is_completed else _GOES_ON) + state.to_json())
    if state.is_waiting_callback:
        documents.put("waiting", state.task_uuid, at=now)
    elif recorded is not None and recorded.is_waiting_callback:
        documents.drop("waiting", state.task_uuid)
    if state.is_completed:
        documents.put("unreleased", state.task_uuid, at=now)
        tell(documents, state.task_uuid)
    return state


def _read(record: Document | None, now: int) -> TaskState | None:
    if record is None or (record.at is not None and record.at <= now):
        return None
    return read_state(record.key, record.value[1:], final=record.value[:1] == _FINAL)


def _expire(documents: Documents, now: int) -> None:
    """Drop what has had its time."""
    for record in documents.scan("state", -LAST, now, LAST):
        documents.drop("state", record.key)
