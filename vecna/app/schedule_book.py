"""What can be done with a schedule that is stored: read, pause, resume, trigger, look at its last occurrence."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any, Final

from vecna import log
from vecna.app.firing import Firer
from vecna.app.relaying import carry_all
from vecna.app.results import AsyncResult
from vecna.app.schedule_draft import Draft
from vecna.app.twins import Pool
from vecna.app.workflow_results import ChainAsyncResult, GroupAsyncResult, handle
from vecna.app.workflow_sending import Workflow, leaf_records
from vecna.app.workflow_server import WorkflowServer
from vecna.domain.cancellation import Cancellation
from vecna.domain.errors import BrokerUnavailable, UnknownSchedule
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord, occurrence, occurrence_id
from vecna.domain.signature import Signature
from vecna.domain.workflow import Link
from vecna.ports.broker import Broker
from vecna.ports.plans import NodeState
from vecna.ports.ringing import Ringing
from vecna.ports.schedules import FireCall, Fired

_PAGE: Final = 500
#: Times that triggering is tried while the schedule goes on under its hands.
_TRIES: Final = 100
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
#: Workers look for schedules at least twice in this time.
_SOON: Final = dt.timedelta(seconds=60)


class ScheduleBook:
    """Schedules in the broker of a server.

    Args:
        server: whose they are.
        cancel: removes a schedule and cancels its occurrences.
        insist: makes an attempt again and again while the broker is away, as long as the server is patient.
    """

    def __init__(
        self,
        server: WorkflowServer,
        cancel: Callable[[str], Cancellation],
        insist: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._server = server
        self._insist = insist
        #: Removes a schedule and cancels its occurrences.
        self.cancel = cancel
        self._began_at: dt.datetime | None = None

    @property
    def pool(self) -> Pool:
        """Where twins make their calls."""
        return self._server.pool

    @property
    def _broker(self) -> Broker:
        return self._server.broker

    # -- reading and storing -----------------------------------------------------------------------------------------

    def now(self) -> dt.datetime:
        """The store's time."""
        return self._broker.due_schedules(0).now

    def begin(self) -> dt.datetime:
        """The store's time when this was called first: what is removed from then on, `put` does not store again."""
        if self._began_at is None:
            self._began_at = self.now()
        return self._began_at

    def put(self, draft: Draft) -> ScheduleRecord:
        """Store a schedule, unless it was removed since `begin`; what stands then, or would.

        It may be called until it works: a removal between two of its attempts holds.
        """
        began_at = self.begin()
        record = draft.record(began_at)
        stands = self._broker.put_schedule(record, began_at) or record
        self._announce(stands, self.now())  # it may have taken long to store
        return stands

    def read(self, code: str) -> ScheduleRecord:
        """What stands under a code.

        Raises:
            UnknownSchedule: nothing.
        """
        record = self._broker.get_schedules([code])[0]
        if record is None:
            raise unknown(code)
        return record

    def every(self) -> list[ScheduleRecord]:
        """All schedules, the next due first; paused ones last."""
        found: dict[str, ScheduleRecord] = {}
        offset = 0
        while page := self._broker.list_schedules(offset=offset, limit=_PAGE):
            found.update({record.code: record for record in page})
            offset += len(page)
        return list(found.values())

    # -- pausing and removing ------------------------------------------------------------------------------------------

    def pause(self, code: str) -> ScheduleRecord:
        """Fire nothing any more; what stands then."""
        record = self._broker.pause_schedule(code, paused=True)
        if record is None:
            raise unknown(code)
        return record

    def resume(self, code: str) -> ScheduleRecord:
        """Fire from the next due time on; what stands then."""
        paused = self.read(code)
        if not paused.paused:
            return paused
        now = self.now()
        following = paused.rhythm.next_after(now, paused.anchor)
        if following is None:
            self._broker.remove_schedule(code)
            raise UnknownSchedule(f"schedule {code!r} has come to its end while it was paused: it is removed")
        record = self._broker.pause_schedule(code, paused=False, following=following)
        if record is None:
            raise unknown(code)
        self._announce(record, now)
        return record

    def remove(self, code: str) -> bool:
        """Remove a schedule; whether it was there, or may have been: the answer of a first attempt may get lost."""
        attempts = itertools.count()

        def attempt() -> bool:
            again = next(attempts) > 0
            return self._broker.remove_schedule(code) or again

        return bool(self._insist(attempt))

    def _announce(self, record: ScheduleRecord, now: dt.datetime) -> None:
        """Have a worker look for a schedule that is due before each looks by itself; a hint, which may get lost."""
        broker = self._broker
        if record.paused or record.next_fire_at - now > _SOON or not isinstance(broker, Ringing):
            return
        try:
            message, _ = Firer(self._server).occurrence(record, record.next_fire_at)
            broker.ring(message.queue)
        except Exception as exc:  # noqa: BLE001  # it is stored, and workers find it all the same
            log.debug(f"no worker was told of schedule {record.code}: {exc}", code=record.code)

    # -- triggering --------------------------------------------------------------------------------------------------

    def trigger(self, code: str) -> Any:
        """Send one occurrence now; its handle."""
        begun: list[dt.datetime] = []

        def attempt() -> Any:
            again = bool(begun)
            if not again:
                begun.append(self._free_instant(self.read(code)))
            return self._trigger(code, begun[0], again=again)

        try:
            return self._insist(attempt)
        except BrokerUnavailable as exc:
            if not begun:
                raise
            sent = occurrence_id(code, begun[0])
            raise BrokerUnavailable(f"schedule {code} may have been triggered or not, as {sent}: {exc}") from exc

    def _trigger(self, code: str, due: dt.datetime, *, again: bool) -> Any:
        """Send the occurrence of an instant, unless an attempt before has; its handle."""
        firer = Firer(self._server)
        for _ in range(_TRIES):
            record = self.read(code)
            link = occurrence(record.content, code, due, record.spec)
            message, _ = firer.occurrence(record, due)
            if (again and self._is_known(message.uuid)) or self._fire(record, message, due):
                self._server.backend.put_states(leaf_records(link, message.uuid, self._server.clock))
                with contextlib.suppress(BrokerUnavailable):  # else a worker does, at its next look
                    carry_all(self._broker.relay_schedules)
                return self._handle(link, message.queue)
        raise BrokerUnavailable(f"schedule {code} changes faster than an occurrence of it can be triggered")

    def _fire(self, record: ScheduleRecord, message: Message, due: dt.datetime) -> bool:
        """Send it as an extra occurrence, in one step with the look at the schedule."""
        stays = record.next_fire_at
        call = FireCall(record.code, record.version, stays, stays, due, message.uuid, (message,), may_be_past=True)
        return self._broker.fire([call]) == [Fired.FIRED]

    def _free_instant(self, record: ScheduleRecord) -> dt.datetime:
        """The latest instant up to now that no occurrence has or will have: their ids are made of it."""
        now = self.now()
        due = now.replace(microsecond=now.microsecond // 1000 * 1000)
        while self._is_taken(record, due):
            due -= _MILLISECOND
        return due

    def _is_taken(self, record: ScheduleRecord, due: dt.datetime) -> bool:
        if record.rhythm.next_after(due - _MILLISECOND, record.anchor) == due:
            return True
        uuid = occurrence_id(record.code, due)
        return uuid == record.last_uuid or self._is_known(uuid)

    def _is_known(self, uuid: str) -> bool:
        """Whether an occurrence has arrived, as far as anything is left of it."""
        known = self._server.backend.get_state(uuid), self._broker.locate([uuid])[0], self._node(uuid)
        return known != (None, None, None)

    # -- looking at occurrences --------------------------------------------------------------------------------------

    def last(self, code: str) -> Any:
        """The handle of the last occurrence; None if there was none."""
        record = self.read(code)
        if not record.last_uuid or record.last_fire_at is None:
            return None
        node = self._node(record.last_uuid)
        if node is None and record.kind == "task":
            return AsyncResult(self._server, record.last_uuid)
        link = occurrence(record.content, code, record.last_fire_at, record.spec)
        if node is not None:
            return self._of_node(node, link)
        (place,) = self._broker.locate([record.last_uuid])
        if place is not None:
            # Its launcher has not run yet: from here on its tasks are known as waiting, as they will be then.
            self._server.backend.put_states(leaf_records(link, record.last_uuid, self._server.clock))
        return self._handle(link)

    def _of_node(self, node: NodeState, link: Link) -> Any:
        """The handle of a workflow that was launched. What the schedule sends may have been replaced since."""
        uuids = self._every(node.node.uuid)
        if not uuids or (not isinstance(link, Signature) and self._is_of(link, set(uuids))):
            return self._handle(link)
        leaves = [AsyncResult[Any](self._server, uuid) for uuid in uuids]
        if node.node.is_chain:
            return ChainAsyncResult(self._server, leaves, is_new=False)
        return GroupAsyncResult(self._server, node.node.uuid, leaves, is_new=False)

    def _is_of(self, link: Workflow, uuids: set[str]) -> bool:
        """Whether these are the tasks of a workflow, with or without their callbacks."""
        own = {leaf.uuid for leaf in link.signatures()}
        return own <= uuids <= own | {state.task_uuid for state in leaf_records(link, "", self._server.clock)}

    def _every(self, root: str) -> list[str]:
        found: list[str] = []
        while page := self._server.backend.get_tasks(root, every=True, offset=len(found), limit=_PAGE):
            found += page
        return found

    def _node(self, uuid: str) -> NodeState | None:
        return self._server.backend.get_nodes([uuid])[0]

    def _handle(self, link: Link, queue: str = "") -> Any:
        """The handle of an occurrence; of one task that was sent just now, with its queue."""
        if isinstance(link, Signature):
            return AsyncResult(self._server, link.uuid, link, is_new=bool(queue), queue=queue)
        new = frozenset([leaf.uuid for leaf in link.signatures()]) if queue else frozenset[str]()
        return handle(self._server, link, {}, new, is_new=bool(queue))


def unknown(code: str) -> UnknownSchedule:
    """The error for a code that no schedule has."""
    return UnknownSchedule(
        f"no schedule has the code {code!r}: it was never stored, was cancelled, or has come to its end; "
        "server.schedules() lists those that there are"
    )
