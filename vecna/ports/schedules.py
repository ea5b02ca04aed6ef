"""Schedules, and firing them."""

from __future__ import annotations

import datetime as dt
import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence

import attrs

from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord


class Fired(enum.StrEnum):
    """What became of a firing.

    FIRED: done. LOST: the schedule is gone, paused, was changed, or another worker has fired this occurrence; nothing
    was changed. STALE: the next occurrence proposed lies in the past, and that was not wanted; look again.
    """

    FIRED = "fired"
    LOST = "lost"
    STALE = "stale"


@attrs.frozen
class FireCall:
    """One occurrence to be fired, or left out.

    Attributes:
        code: the schedule.
        version: of it, as it was read.
        due: its `next_fire_at`, as it was read.
        following: what becomes its `next_fire_at`; None: it was the last, and the schedule is removed. The same as
            `due`: an extra occurrence, fired also while the schedule is paused; by its `uuid` a repeated call is known,
            which is FIRED and adds nothing.
        occurred_at: when the occurrence was due; None: none is sent.
        uuid: the id under which the occurrence can be followed; "" if none is sent.
        messages: what is enqueued; for any queue.
        skipped: how many occurrences are left out because an earlier one is not over.
        may_be_past: whether `following` may lie in the past.
    """

    code: str
    version: int
    due: dt.datetime
    following: dt.datetime | None
    occurred_at: dt.datetime | None = None
    uuid: str = ""
    messages: tuple[Message, ...] = ()
    skipped: int = 0
    may_be_past: bool = False


@attrs.frozen
class DueSchedules:
    """What is due.

    Attributes:
        records: schedules that are due and not paused, the earliest first.
        now: the store's clock during the call.
        next_due: when the next further one is due; None if there is none.
        waiting: whether something that was fired waits for `relay_schedules`; None: look there.
    """

    records: tuple[ScheduleRecord, ...]
    now: dt.datetime
    next_due: dt.datetime | None = None
    waiting: bool | None = attrs.field(default=None, eq=False)


class Schedules(ABC):
    """Schedules by code. Every call is atomic per schedule, and may be repeated without a second effect."""

    @abstractmethod
    def put_schedule(self, record: ScheduleRecord, began_at: dt.datetime | None = None) -> ScheduleRecord | None:
        """Store a schedule, or replace the one under its code as `ScheduleRecord.replaced_by` says, in one step.

        Args:
            record: what to store.
            began_at: when, by the store's clock (`due_schedules(0).now`), the caller began; a schedule that was removed
                after that, by hand or with its last occurrence, is not stored again. None: store it in any case.

        Returns:
            What stands now; None if it was removed meanwhile. Under a code that was removed before, its `version` is
            larger than the one then: a firing of what was removed does not hit it.
        """

    @abstractmethod
    def get_schedules(self, codes: Sequence[str]) -> list[ScheduleRecord | None]:
        """The schedule under each code; None where there is none. One that cannot be read raises InvalidSignature."""

    @abstractmethod
    def list_schedules(self, *, offset: int = 0, limit: int = 500) -> list[ScheduleRecord]:
        """A page of all schedules, the next due first, then by code; paused ones last. Unreadable ones are left out."""

    @abstractmethod
    def due_schedules(self, limit: int = 100) -> DueSchedules:
        """Schedules that are due, at most `limit`; O(log n) each. One that cannot be read is left out.

        With `limit` 0 only the times; `now` is then later than every removal so far, even if the clock stands still.
        """

    @abstractmethod
    def fire(self, calls: Sequence[FireCall]) -> list[Fired]:
        """Fire occurrences; each one compare-and-set on version and due time, together with its messages.

        The messages arrive in their queues at the latest after `relay_schedules`, each exactly once.
        """

    @abstractmethod
    def pause_schedule(self, code: str, *, paused: bool, following: dt.datetime | None = None) -> ScheduleRecord | None:
        """Pause or resume a schedule; nothing changes if it is paused, or not, already.

        Args:
            code: the schedule.
            paused: whether to pause it.
            following: resumed: its new `next_fire_at`, unless the one that it has is later.

        Returns:
            What stands now; None if there is none.
        """

    @abstractmethod
    def remove_schedule(self, code: str) -> bool:
        """Remove a schedule; no firing and no registration that began before can bring it back. Whether it was there.

        What it has fired is left alone. Removals are remembered for a day, the latest 100,000 of them.
        """

    @abstractmethod
    def relay_schedules(self, limit: int = 500) -> int:
        """Carry what was fired over to its queues, at most `limit` messages; how many are still waiting.

        Where one step reaches all queues they may arrive with the firing already; then nothing is ever waiting.
        """
