"""Handles of schedules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Protocol, Self

from vecna.app.twins import Pool, Twinned, blocking, twin
from vecna.domain.cancellation import Cancellation
from vecna.domain.schedule import Kind, Missed, ScheduleRecord


class ScheduleSource(Protocol):
    """What a handle needs of its server."""

    @property
    def pool(self) -> Pool:
        """Where twins make their calls."""

    @property
    def cancel(self) -> Callable[[str], Cancellation]:
        """Removes a schedule, and cancels its occurrences."""

    def read(self, code: str) -> ScheduleRecord:
        """What stands under a code."""

    def pause(self, code: str) -> ScheduleRecord:
        """Fire nothing any more; what stands then."""

    def resume(self, code: str) -> ScheduleRecord:
        """Fire from the next due time on; what stands then."""

    def trigger(self, code: str) -> Any:
        """Send one occurrence now; its handle."""

    def last(self, code: str) -> Any:
        """The handle of the last occurrence; None if there was none."""


class Schedule(Twinned):
    """The handle of a schedule. What it says of it is as it was when it was made or last refreshed.

    Attributes:
        code: what it is called, and cancelled by.
        kind: `task`, `group`, `chain` or `chord`.
        spec: when it is due, in canonical form.
        timezone: whose wall clock the spec means.
        missed: what is done about occurrences when no worker was there: `once`, `all` or `skip`.
        overlap: whether an occurrence may begin while an earlier one is not over.
        start, end: no occurrence is due before and after these; None for no bound.
        next_fire_at: when the next occurrence is due (UTC); None while it is paused.
        last_fire_at: when the last one was due, or was triggered; None before the first.
        paused: whether nothing is fired.
        skipped: how many occurrences were left out because an earlier one was not over.
    """

    code: str
    kind: Kind
    spec: str
    timezone: str
    missed: Missed
    overlap: bool
    start: dt.datetime | None
    end: dt.datetime | None
    next_fire_at: dt.datetime | None
    last_fire_at: dt.datetime | None
    paused: bool
    skipped: int

    def __init__(self, source: ScheduleSource, record: ScheduleRecord) -> None:
        self._source = source
        self._take(record)

    def __repr__(self) -> str:
        state = "paused" if self.next_fire_at is None else f"next at {self.next_fire_at.isoformat()}"
        return f"<Schedule {self.code} {self.spec!r} {self.timezone}, {state}>"

    @property
    def _pool(self) -> Pool:
        return self._source.pool

    @blocking
    def refresh(self) -> Self:
        """Read it again, and return this handle.

        Raises:
            UnknownSchedule: it was cancelled, or its last occurrence has been sent.
            BrokerUnavailable: the broker cannot be reached.
        """
        self._take(self._source.read(self.code))
        return self

    @blocking
    def cancel(self) -> Cancellation:
        """Remove it, and cancel its occurrences; see `Server.cancel_periodic_task`.

        Raises:
            UnknownSchedule: there is no such schedule (any more), and none of its occurrences is left.
            BrokerUnavailable: the broker cannot be reached; the call may be repeated.
        """
        return self._source.cancel(self.code)

    @blocking
    def pause(self) -> Self:
        """Fire nothing until `resume`. What was sent already runs.

        Raises:
            UnknownSchedule: there is no such schedule (any more). BrokerUnavailable: the broker cannot be reached.
        """
        self._take(self._source.pause(self.code))
        return self

    @blocking
    def resume(self) -> Self:
        """Fire again, from the next due time on: what would have been due meanwhile is not made up for.

        Raises:
            UnknownSchedule: there is no such schedule (any more), or nothing comes any more, which ends it.
            BrokerUnavailable: the broker cannot be reached.
        """
        self._take(self._source.resume(self.code))
        return self

    @blocking
    def trigger(self) -> Any:
        """Send one extra occurrence now, also while it is paused or another one runs. Its rhythm stays as it is.

        Returns:
            The handle of the occurrence: of a task its result's, of a workflow the workflow's.

        Raises:
            UnknownSchedule: there is no such schedule (any more).
            BrokerUnavailable: the broker could not be reached within `Config.send_timeout`. If it may have been sent
                all the same, it says under which id; the next call sends another one.
        """
        return self._source.trigger(self.code)

    @blocking
    def last_result(self) -> Any:
        """The handle of the last occurrence that was sent; None if there was none.

        Raises:
            UnknownSchedule: there is no such schedule (any more). BrokerUnavailable: the broker cannot be reached.
        """
        return self._source.last(self.code)

    refresh_async = twin(refresh)
    cancel_async = twin(cancel)
    pause_async = twin(pause)
    resume_async = twin(resume)
    trigger_async = twin(trigger)
    last_result_async = twin(last_result)

    def _take(self, record: ScheduleRecord) -> None:
        self.code = record.code
        self.kind = record.kind
        self.spec = record.spec
        self.timezone = record.timezone
        self.missed = record.missed
        self.overlap = record.overlap
        self.start = record.start
        self.end = record.end
        self.next_fire_at = None if record.paused else record.next_fire_at
        self.last_fire_at = record.last_fire_at
        self.paused = record.paused
        self.skipped = record.skipped
