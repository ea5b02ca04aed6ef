"""The part of the server that keeps schedules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs

from vecna import log
from vecna.app.cancelling import cancellation
from vecna.app.relaying import carry_all
from vecna.app.schedule_book import ScheduleBook, unknown
from vecna.app.schedule_draft import drafted
from vecna.app.schedule_handles import Schedule
from vecna.app.sending import Sending
from vecna.app.twins import blocking, twin
from vecna.app.when import When
from vecna.app.workflow_server import WorkflowServer, kinds
from vecna.domain.cancellation import Cancellation
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.ids import check_id
from vecna.domain.message import code_of_occurrences
from vecna.domain.schedule import Kind, Missed
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group, Link


class ScheduleServer(WorkflowServer):
    """Stores, lists and cancels schedules."""

    _sending: Sending

    # -- sending ---------------------------------------------------------------------------------------------------

    @blocking
    def send_periodic_task(
        self,
        spec: str | dt.timedelta,
        signature: Signature,
        *,
        code: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
        overlap: bool = True,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> Schedule:
        """Have a task run again and again. Any worker fires it; its occurrences are tasks with ids of their own.

        Under a code that exists it replaces what is sent and when, in one step; a program may call it at every start.
        Nothing changes if nothing has changed. Pause, count and history stay, the rhythm too where the times are the
        same.

        Args:
            spec: when: five fields (`0 6 * * *`), `@daily` and the like, `@every 90m`, or a timedelta.
            signature: what is sent; its uuid plays no part, and an `eta` is refused.
            code: what the schedule is called, and cancelled by; left out: the signature's if it was set by hand, else
                one that follows from spec, time zone, task and arguments.
            timezone: IANA name of the zone whose wall clock the fields mean.
            missed: what to do about occurrences when no worker was there: `once` makes up with one run, `all` with
                each, `skip` with none.
            overlap: False: an occurrence that is due while an earlier one is queued, running or waiting for a repeat is
                left out, and counted.
            start: no occurrence before this aware datetime.
            end: no occurrence after this aware datetime; the last one removes the schedule.

        Returns:
            The handle of the schedule.

        Raises:
            InvalidSpec: spec, timezone, missed, start or end; or nothing comes any more.
            InvalidSignature, InvalidArgument: the task cannot be sent so.
            BrokerUnavailable: the broker could not be reached within `Config.send_timeout`; the call may be repeated.
        """
        when = When.of(spec, code=code, timezone=timezone, missed=missed, overlap=overlap, start=start, end=end)
        return self._send_periodic("task", when, signature)

    @blocking
    def send_periodic_group(
        self,
        spec: str | dt.timedelta,
        group: Group,
        send_concurrency: int | None = 0,
        *,
        code: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
        overlap: bool = True,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> Schedule:
        """Have a group run again and again; its members get ids of their own each time.

        Args:
            spec: when; this and the other parameters as for `send_periodic_task`.
            group: what is sent; its ids play no part.
            send_concurrency: as for `send_group`; a worker that sends an occurrence sends batch by batch.
            code: what the schedule is called; left out: the group's if it was set by hand, else one that follows.
            timezone: whose wall clock the fields mean.
            missed: what to do about occurrences when no worker was there.
            overlap: whether an occurrence may begin while an earlier one is not over.
            start: no occurrence before this.
            end: no occurrence after this.

        Returns:
            The handle of the schedule.

        Raises:
            InvalidSpec, InvalidSignature, InvalidArgument, BrokerUnavailable: as for `send_periodic_task`.
        """
        self._workflows.concurrency(send_concurrency)
        when = When.of(spec, code=code, timezone=timezone, missed=missed, overlap=overlap, start=start, end=end)
        return self._send_periodic("group", when, group)

    @blocking
    def send_periodic_chain(
        self,
        spec: str | dt.timedelta,
        chain: Chain,
        *,
        code: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
        overlap: bool = True,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> Schedule:
        """Have a chain run again and again. As `send_periodic_group`, for a chain."""
        when = When.of(spec, code=code, timezone=timezone, missed=missed, overlap=overlap, start=start, end=end)
        return self._send_periodic("chain", when, chain)

    @blocking
    def send_periodic_chord(
        self,
        spec: str | dt.timedelta,
        chord: Chord,
        send_concurrency: int | None = 0,
        *,
        code: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
        overlap: bool = True,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> Schedule:
        """Have a chord run again and again; its callback runs each time. As `send_periodic_group`, for a chord."""
        self._workflows.concurrency(send_concurrency)
        when = When.of(spec, code=code, timezone=timezone, missed=missed, overlap=overlap, start=start, end=end)
        return self._send_periodic("chord", when, chord)

    send_periodic_task_async = twin(send_periodic_task)
    send_periodic_group_async = twin(send_periodic_group)
    send_periodic_chain_async = twin(send_periodic_chain)
    send_periodic_chord_async = twin(send_periodic_chord)

    @blocking
    def store_periodic_tasks(self) -> None:
        """Store the schedules that are declared with `@server.periodic`, as every worker does when it starts.

        One that cannot be stored, e.g. because its end has passed, is logged and left out.

        Raises:
            BrokerUnavailable: the broker could not be reached within `Config.send_timeout`; the call may be repeated.
        """
        self._insist(self.storing_periodic_tasks())

    def storing_periodic_tasks(self) -> Callable[[], None]:
        """What does `store_periodic_tasks`, to be called until it works.

        Its calls count as one: a schedule that is removed after the first is not stored by a later one.
        """
        return partial(self._store_declared, self._book)

    store_periodic_tasks_async = twin(store_periodic_tasks)

    # -- looking ---------------------------------------------------------------------------------------------------

    @blocking
    def schedules(self) -> list[Schedule]:
        """All schedules, the next due first; paused ones last.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
        """
        return [Schedule(self._book, record) for record in self._book.every()]

    @blocking
    def get_schedule(self, code: str) -> Schedule:
        """The schedule under a code.

        Raises:
            UnknownSchedule: there is none.
            InvalidArgument: no code can be written so. InvalidSignature: what is stored of it cannot be read.
            BrokerUnavailable: the broker cannot be reached.
        """
        return Schedule(self._book, self._book.read(check_id(code, "code of a schedule")))

    schedules_async = twin(schedules)
    get_schedule_async = twin(get_schedule)
    #: The same under a shorter name.
    schedule = get_schedule
    schedule_async = get_schedule_async

    # -- inside ----------------------------------------------------------------------------------------------------

    def _send_periodic(self, kind: Kind, when: When, link: Link) -> Schedule:
        draft = drafted(kind, when, link, self._sending)
        book = self._book
        signatures = (link,) if isinstance(link, Signature) else tuple(link.signatures())
        return Schedule(book, self._insist(partial(book.put, draft), signatures))

    def _insist(self, attempt: Callable[[], Any], signatures: Sequence[Signature] = ()) -> Any:
        here = self._here()
        return self._sending.insisting.insist(attempt, signatures, here.adapters.clock, here.closing)

    def _store_declared(self, book: ScheduleBook) -> None:
        for each in self.registry.declared():
            book.begin()  # the first counts
            try:
                book.put(drafted("task", each.when, each.task.signature(), self._sending))
            except BrokerUnavailable:
                raise
            except Exception as exc:  # noqa: BLE001  # also what the pre-publish handler raises
                log.error(f"the schedule of task {each.task.name} is not stored: {exc}", task=each.task.name)

    @property
    def _book(self) -> ScheduleBook:
        return ScheduleBook(self, self._cancel_schedule, self._insist)

    # -- cancelling ------------------------------------------------------------------------------------------------

    @blocking
    def cancel_periodic_task(self, code: str | Schedule) -> Cancellation:
        """Remove a schedule, of a task or of a workflow, and stop its occurrences.

        When it returns, no further occurrence starts: none is fired any more, whoever still holds the old definition;
        one that was sent and has not started never will; one that runs is told to stop and causes nothing more. Tasks
        that were sent by other calls under the same code are left alone. Only a call that begins after it stores the
        schedule anew.

        Args:
            code: of the schedule; also its handle.

        Returns:
            What became of its occurrences, with `.schedules` naming the code.

        Raises:
            UnknownSchedule: there is no such schedule, and nothing is left of its occurrences.
            InvalidArgument: no code can be written so.
            BrokerUnavailable: the store cannot be reached; part of it may have been done, the call may be repeated. If
                it is UnknownSchedule that it raises then, all was done before.
        """
        return self._cancel_schedule(code.code if isinstance(code, Schedule) else check_id(code, "code of a schedule"))

    @blocking
    def cancel(self, what: object) -> Cancellation:
        """Stop the task with this id, all work with this code and the schedule with this code, whatever it is.

        What nobody knows is no error. Work that was sent before is stopped with all that it would still cause; what is
        sent later under the same code runs.

        Args:
            what: an id or code, or a signature, workflow or handle.

        Raises:
            InvalidArgument: no id or code can be written so.
            BrokerUnavailable: the store cannot be reached; part of it may have been done, the call may be repeated.
        """
        named = what.code if isinstance(what, Schedule) else what
        if not isinstance(named, str):
            return self._cancel(named)
        check_id(named, "id or code")
        removed, occurrences = self._cancel_occurrences(named)
        rest = self._cancel(named)
        found = {uuid: kind for each in (occurrences, rest) for uuid, kind in kinds(each)}
        if (removed or list(kinds(occurrences))) and found.get(named) == "unknown":
            del found[named]
        return attrs.evolve(cancellation(found, found), schedules=(named,) if removed else ())

    cancel_periodic_task_async = twin(cancel_periodic_task)
    cancel_async = twin(cancel)

    def _cancel_schedule(self, code: str) -> Cancellation:
        removed, found = self._cancel_occurrences(code)
        if not removed and not list(kinds(found)):
            raise unknown(code)
        return attrs.evolve(found, schedules=(code,) if removed else ())

    def _cancel_occurrences(self, code: str) -> tuple[bool, Cancellation]:
        """Remove a schedule, and stop all that it has sent; whether it was there."""
        removed = self._book.remove(code)
        carry_all(self.broker.relay_schedules)
        canceller = self._canceller()
        found = canceller.code(code_of_occurrences(code))
        self._end(canceller.touched)
        return removed, found
