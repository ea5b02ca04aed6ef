"""Which workers are there."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod

from vecna.domain.presence import WorkerRecord


class Presence(ABC):
    """What workers say of themselves. For people: nothing else depends on it. Every call may be repeated."""

    @abstractmethod
    def note_worker(self, noted: WorkerRecord, lasts: dt.timedelta) -> None:
        """Say that a worker is there for `lasts` from now, by the store's clock, unless it says so again.

        It replaces what was said under its id before; 0 or less: it is there no more.
        """

    @abstractmethod
    def workers(self) -> list[WorkerRecord]:
        """All that are there, by name. Unreadable ones are left out."""
