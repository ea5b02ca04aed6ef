"""Which workers are there."""

from __future__ import annotations

import datetime as dt

from vecna.adapters.memory.queue import Queues
from vecna.domain.ids import check_id
from vecna.domain.presence import WorkerRecord, read_workers
from vecna.kit.rules import after
from vecna.ports.clock import Clock
from vecna.ports.presence import Presence


class MemoryPresence(Presence):
    """The part of `MemoryBroker` that knows of workers; it sets `_store` and `_clock`."""

    _store: Queues
    _clock: Clock

    def note_worker(self, noted: WorkerRecord, lasts: dt.timedelta) -> None:
        """See `vecna.ports.Presence`."""
        check_id(noted.uuid, "worker id")
        with self._store.lock:
            now = self._clock.now()
            self._store.workers[noted.uuid] = noted.to_json(), after(now, lasts)
            gone = [uuid for uuid, (_, until) in self._store.workers.items() if until <= now]
            for uuid in gone:
                del self._store.workers[uuid]

    def workers(self) -> list[WorkerRecord]:
        """See `vecna.ports.Presence`."""
        with self._store.lock:
            now = self._clock.now()
            return read_workers([record for record, until in self._store.workers.values() if until > now])
