"""Which workers are there, on a store of documents."""

from __future__ import annotations

import datetime as dt

from vecna.domain.presence import WorkerRecord, read_workers
from vecna.kit.documents import LAST, DocumentStore
from vecna.kit.rules import after, microseconds
from vecna.ports.clock import Clock
from vecna.ports.presence import Presence


class DocumentPresence(Presence):
    """The part of a broker that knows of workers. The broker sets `_store` and `_clock`."""

    _store: DocumentStore
    _clock: Clock

    def note_worker(self, noted: WorkerRecord, lasts: dt.timedelta) -> None:
        """See `vecna.ports.Presence`."""
        now = self._clock.now()
        with self._store.step() as documents:
            documents.put("worker", noted.uuid, noted.to_json(), microseconds(after(now, lasts)))
            for gone in documents.scan("worker", -LAST, microseconds(now), LAST):
                documents.drop("worker", gone.key)

    def workers(self) -> list[WorkerRecord]:
        """See `vecna.ports.Presence`."""
        now = microseconds(self._clock.now())
        with self._store.step(reading=True) as documents:
            return read_workers([each.value for each in documents.scan("worker", now, LAST, LAST)])
