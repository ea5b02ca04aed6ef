"""Which workers are there, on Redis: one script to say so, one to ask."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from vecna.adapters.redis import keys, scripts, wire
from vecna.adapters.redis.connections import IMPATIENT, Connections
from vecna.domain.ids import check_id
from vecna.domain.presence import WorkerRecord, read_workers
from vecna.ports.presence import Presence

_PAGE: Final = 500


class RedisPresence(Presence):
    """The part of `RedisBroker` that knows of workers; it sets `_connections` and `_namespace`."""

    _connections: Connections
    _namespace: str

    def note_worker(self, noted: WorkerRecord, lasts: dt.timedelta) -> None:
        """See `vecna.ports.Presence`."""
        check_id(noted.uuid, "worker id")
        args = (wire.now_argument(self._connections.clock), noted.uuid, wire.milliseconds(lasts), noted.to_json())
        self._connections.run(scripts.NOTE_WORKER, keys.workers(self._namespace), args, patience=IMPATIENT)

    def workers(self) -> list[WorkerRecord]:
        """See `vecna.ports.Presence`."""
        now = wire.now_argument(self._connections.clock)
        found: list[Any] = []
        while True:
            args = (now, len(found), _PAGE)
            page = self._connections.run(scripts.WORKERS, keys.workers(self._namespace), args)
            found += page
            if len(page) < _PAGE:
                return read_workers([record for record in found if record is not None])
