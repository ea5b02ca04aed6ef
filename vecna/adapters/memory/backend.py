"""A backend in this process: what the port means, on dicts and a heap."""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Sequence

from vecna.adapters.memory.agenda import Agenda
from vecna.adapters.memory.plans import MemoryPlans, PlanStore
from vecna.domain.state import TaskState
from vecna.kit.rules import after, check_ids
from vecna.ports.backend import Backend, Listener
from vecna.ports.clock import Clock


class Records:
    """The store behind a `MemoryBackend`: what is known of each id, and who waits for its end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_id: dict[str, bytes] = {}
        self.ended_at: OrderedDict[str, dt.datetime] = OrderedDict()  # ends that were never released, oldest first
        self.waiting: OrderedDict[str, dt.datetime] = OrderedDict()  # callbacks, by when they were recorded so
        self.expiry: Agenda[str] = Agenda()  # ends that were released
        self.listeners: dict[str, dict[MemoryListener, None]] = {}
        self.plans = PlanStore()

    def tell(self, uuids: Sequence[str]) -> None:
        """Tell who listens that these have ended."""
        with self.lock:
            for uuid in uuids:
                for listener in self.listeners.get(uuid, ()):
                    listener.hear(uuid)

    def read(self, uuid: str) -> TaskState | None:
        """What is recorded for an id."""
        record = self.by_id.get(uuid)
        return None if record is None else TaskState.from_json(record)

    def put(self, state: TaskState, now: dt.datetime) -> TaskState:
        """Record a state if it may follow what is recorded; return what stands."""
        uuid = state.task_uuid
        recorded = self.read(uuid)
        if recorded is not None and not recorded.gives_way_to(state):
            return recorded
        self.by_id[uuid] = state.to_json()
        self.waiting.pop(uuid, None)
        if state.is_waiting_callback:
            self.waiting[uuid] = now
        if state.is_completed:
            self.ended_at[uuid] = now
            for listener in self.listeners.get(uuid, ()):
                listener.hear(uuid)
        return state

    def release(self, uuid: str, until: dt.datetime, now: dt.datetime) -> None:
        """Start the expiry of an end, once."""
        if self.ended_at.pop(uuid, None) is None:
            return
        if until <= now:
            del self.by_id[uuid]
        else:
            self.expiry.put(uuid, until)

    def forget(self, uuid: str) -> None:
        """Drop all about an id."""
        self.by_id.pop(uuid, None)
        self.ended_at.pop(uuid, None)
        self.waiting.pop(uuid, None)
        self.expiry.discard(uuid)

    def expire(self, now: dt.datetime) -> None:
        """Drop what has had its time; comes before everything else that is done."""
        for uuid in self.expiry.take_due(now):
            del self.by_id[uuid]


class MemoryBackend(MemoryPlans, Backend):
    """Keeps states in this process, and only as long as it lives.

    Args:
        clock: time.
        store: shared by all backends that are given the same; one of its own when left out.
    """

    def __init__(self, clock: Clock, store: Records | None = None) -> None:
        self._clock = clock
        self._store = Records() if store is None else store
        super().__init__(clock, self._store.plans, self._store.tell)

    def put_states(self, states: Sequence[TaskState]) -> list[TaskState]:
        """See `vecna.ports.States`."""
        check_ids([state.task_uuid for state in states], "task id")
        with self._store.lock:
            now = self._clock.now()
            self._store.expire(now)
            return [self._store.put(state, now) for state in states]

    def get_state(self, uuid: str) -> TaskState | None:
        """See `vecna.ports.States`."""
        return self.get_states([uuid])[0]

    def get_states(self, uuids: Sequence[str]) -> list[TaskState | None]:
        """See `vecna.ports.States`."""
        check_ids(uuids, "task id")
        with self._store.lock:
            self._store.expire(self._clock.now())
            return [self._store.read(uuid) for uuid in uuids]

    def release(self, uuids: Sequence[str], keep: dt.timedelta) -> None:
        """See `vecna.ports.States`."""
        check_ids(uuids, "task id")
        with self._store.lock:
            now = self._clock.now()
            self._store.expire(now)
            for uuid in uuids:
                self._store.release(uuid, after(now, keep), now)

    def forget(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.States`."""
        check_ids(uuids, "task id")
        with self._store.lock:
            for uuid in uuids:
                self._store.forget(uuid)

    def unreleased(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.States`."""
        return self._old(self._store.ended_at, age, limit)

    def waiting_callbacks(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.States`."""
        return self._old(self._store.waiting, age, limit)

    def _old(self, since: OrderedDict[str, dt.datetime], age: dt.timedelta, limit: int) -> list[str]:
        """Those of at least an age, the oldest first."""
        with self._store.lock:
            now = self._clock.now()
            found: list[str] = []
            for uuid, instant in since.items():
                if len(found) >= limit or now - instant < age:
                    break
                found.append(uuid)
            return found

    def listen(self) -> Listener:
        """See `vecna.ports.Waiting`."""
        return MemoryListener(self._clock, self._store)

    def close(self) -> None:
        """Nothing is open."""


class MemoryListener(Listener):
    """Hears of ends as they are recorded."""

    def __init__(self, clock: Clock, store: Records) -> None:
        self._clock = clock
        self._store = store
        self._news = threading.Event()  # set when there is a reason to end a poll
        self._heard: dict[str, None] = {}
        self._watched: set[str] = set()
        self._closed = False

    def hear(self, uuid: str) -> None:
        """Take note of an end; under the store's lock."""
        self._heard[uuid] = None
        self._news.set()

    def watch(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.Listener`."""
        check_ids(uuids, "task id")
        with self._store.lock:
            if not self._closed:
                self._watched.update(uuids)
                for uuid in uuids:
                    self._store.listeners.setdefault(uuid, {})[self] = None

    def unwatch(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.Listener`."""
        check_ids(uuids, "task id")
        with self._store.lock:
            self._unwatch(uuids)

    def _unwatch(self, uuids: Sequence[str]) -> None:
        for uuid in uuids:
            self._watched.discard(uuid)
            self._heard.pop(uuid, None)
            listeners = self._store.listeners.get(uuid, {})
            listeners.pop(self, None)
            if not listeners:
                self._store.listeners.pop(uuid, None)

    def poll(self, timeout: float) -> list[str]:
        """See `vecna.ports.Listener`."""
        self._clock.wait(self._news, timeout)
        with self._store.lock:
            heard = list(self._heard)
            self._heard.clear()
            if not self._closed:
                self._news.clear()
            return heard

    def wake(self) -> None:
        """See `vecna.ports.Listener`."""
        self._news.set()

    def close(self) -> None:
        """See `vecna.ports.Listener`; a poll after it returns at once."""
        with self._store.lock:
            self._closed = True
            self._unwatch(list(self._watched))
            self._news.set()
