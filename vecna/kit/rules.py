"""What every adapter decides in the same way: pure functions, for whoever writes one.

An adapter reads what its store holds, asks one of these what follows, and writes that, all in one atomic step. A store
that decides inside itself (the Lua scripts of the Redis adapter) repeats them; the contract suites see to it that it
comes to the same answers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import attrs

from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.ids import are_ids, check_id
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord
from vecna.domain.state import State, TaskState
from vecna.ports.plans import Following, NodeState, NodeStatus, Report
from vecna.ports.schedules import FireCall, Fired
from vecna.ports.values import Answer, Canceling, SettleAs, Settlement, Verdict

#: The last instant there is, for durations that lead beyond it.
NEVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


# -- names and times -------------------------------------------------------------------------------------------------


def check_ids(values: Iterable[object], what: str) -> None:
    """Refuse names that are not allowed, before anything is done.

    Args:
        values: ids, codes, queue names.
        what: how the error calls them, e.g. "task id".

    Raises:
        InvalidArgument: one of them is not 1 to 200 of the allowed characters.
    """
    values = list(values)
    try:
        if are_ids(values):  # type: ignore[arg-type]  # what is no str is named below
            return
    except TypeError:
        pass
    for value in values:
        check_id(value, what)


def check_messages(messages: Iterable[Message]) -> None:
    """Refuse messages whose names or priority are not allowed, before anything is done.

    Raises:
        InvalidArgument: one of them is not.
    """
    messages = list(messages)
    try:
        if (
            are_ids([message.uuid for message in messages])
            and are_ids(list({message.queue for message in messages} | {message.code or "0" for message in messages}))
            and all(0 <= message.priority <= 9 for message in messages)
        ):
            return
    except TypeError:  # what is no str is named below
        pass
    for message in messages:
        check_id(message.uuid, "task id")
        check_id(message.queue, "queue name")
        if message.code:
            check_id(message.code, "code")
        if not 0 <= message.priority <= 9:
            raise InvalidArgument(f"priority {message.priority} of task {message.uuid} is not allowed: use 0 to 9")


def after(now: dt.datetime, duration: dt.timedelta) -> dt.datetime:
    """`duration` from `now`, or the last instant there is."""
    try:
        return now + duration
    except OverflowError:
        return NEVER


def microseconds(instant: dt.datetime) -> int:
    """Microseconds since 1970: an instant as a whole number, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(microseconds: int) -> dt.datetime:
    """The instant that so many microseconds since 1970 are; beyond the last there is, that one."""
    try:
        return _EPOCH + dt.timedelta(microseconds=microseconds)
    except OverflowError:
        return NEVER


def due_at(message: Message, accepted: dt.datetime) -> dt.datetime | None:
    """When a message that was accepted then may be leased; None for at once. The later of `due` and `delay`."""
    if message.delay is None:
        return message.due
    counted = after(accepted, message.delay)
    return counted if message.due is None else max(message.due, counted)


# -- leases ----------------------------------------------------------------------------------------------------------


def answer_to(settlement: Settlement, *, token: str, settled: tuple[str, str] | None, flagged: bool) -> Answer:
    """What a settlement of a message that the queue holds gets; OK: do it.

    Args:
        settlement: what is asked for.
        token: of the lease that holds the message; "" if none does.
        settled: (token, `SettleAs`) of the settlement of this message that was done last, if any.
        flagged: whether it was cancelled while leased.
    """
    if not settlement.token or token != settlement.token:
        return Answer.ALREADY if settled == (settlement.token, settlement.settle) else Answer.LOST
    if flagged and settlement.follow_ups:
        return Answer.FLAGGED
    return Answer.OK


def verdict_after_lease(
    verdict: Verdict | None, *, flagged: bool, settle: SettleAs | None = None, is_dead: bool = False
) -> Verdict | None:
    """Under which verdict a message goes back from a lease; None: to be run again.

    Args:
        verdict: what it had; the first one stands.
        flagged: whether it was cancelled while leased.
        settle: RETRY or RETURN; None: the lease ran out.
        is_dead: whether it has now crashed too often.
    """
    if verdict is None and flagged:
        return Verdict.CANCELED
    if verdict is None and settle is None and is_dead:
        return Verdict.DEAD
    return verdict


def is_forgiven(*, spared: bool, forgiven: bool, crashes: int) -> bool:
    """Whether a lease that ran out does not count as a crash of a message that it held.

    Args:
        spared: whether an outage had made the lease last longer, and nobody has extended it since.
        forgiven: whether this message was forgiven before.
        crashes: how often it has crashed before.
    """
    return spared and not forgiven and not crashes


def stopped(*, crashes: int, forgiven: bool) -> Canceling:
    """What the cancel of a message answers that will not be leased out to be run any more.

    Args:
        crashes: how many leases of it ran out.
        forgiven: whether one that ran out was not counted.

    Returns:
        RUNNING if a lease of it ran out: who held that has gone silent, and may run it still.
    """
    return Canceling.RUNNING if crashes or forgiven else Canceling.CANCELED


# -- states ----------------------------------------------------------------------------------------------------------


def read_state(uuid: str, record: bytes, *, final: bool) -> TaskState | None:
    """The state that `TaskState.to_json` wrote. One that cannot be read must not hold up those read with it.

    Args:
        uuid: the task's id.
        record: what is stored.
        final: whether it was stored as an end.

    Returns:
        The state; of what cannot be read, a FAILURE that says so if it was an end, else None.
    """
    try:
        return TaskState.from_json(record)
    except InvalidSignature as exc:
        return TaskState(task_uuid=uuid, state=State.FAILURE, error=f"its end is unknown: {exc}") if final else None


# -- workflows -------------------------------------------------------------------------------------------------------


def reported(state: NodeState, report: Report, *, counted: bool) -> tuple[Following, NodeState]:
    """What a report leads to.

    Args:
        state: the group or chain that it is made to.
        report: that a member or step has ended.
        counted: whether this member of a group was counted before.

    Returns:
        The answer, and what stands now: `state` itself if nothing has changed. Where `done` has grown in a group, the
        member is counted.
    """
    node, index = state.node, report.index
    if state.status is NodeStatus.FAILED:
        is_mine = not report.succeeded and state.ended_by == index
        return Following.FAIL if is_mine else Following.CLOSED, state
    if not report.succeeded:
        if state.status is NodeStatus.COMPLETE or (counted and not node.is_chain):
            return Following.CLOSED, state
        failed = attrs.evolve(
            state, status=NodeStatus.FAILED, ended_by=index, canceled=report.canceled, reason=report.reason
        )
        return Following.FAIL, failed
    if node.is_chain:
        reached = min(index + 1, node.size)
        if state.done < reached:
            state = attrs.evolve(state, done=reached)
        if index + 1 < node.size:
            return Following.ADVANCE, state
        return Following.COMPLETE, _completed(state, index)
    if not counted and index < node.size:
        state = attrs.evolve(state, done=state.done + 1)
    if state.status is NodeStatus.OPEN:
        if state.done < node.size:
            return Following.NOTHING, state
        state = _completed(state, index)
    return Following.COMPLETE if state.ended_by == index else Following.CLOSED, state


def _completed(state: NodeState, index: int) -> NodeState:
    if state.status is NodeStatus.COMPLETE:
        return state
    return attrs.evolve(state, status=NodeStatus.COMPLETE, ended_by=index)


# -- schedules -------------------------------------------------------------------------------------------------------


def read_schedules(records: Iterable[bytes]) -> list[ScheduleRecord]:
    """The schedules that `ScheduleRecord.to_json` wrote; those that cannot be read are left out."""
    found: list[ScheduleRecord] = []
    for record in records:
        with suppress(InvalidSignature):
            found.append(ScheduleRecord.from_json(record))
    return found


def fired(record: ScheduleRecord | None, call: FireCall, now: dt.datetime) -> tuple[Fired, ScheduleRecord | None]:
    """What becomes of a firing.

    Args:
        record: what stands under its code; None if nothing does.
        call: the firing.
        now: the store's clock.

    Returns:
        The answer, and what stands then. FIRED and None: the schedule is removed. FIRED and `record` itself: the call
        is a repeated one, and its messages were enqueued before.
    """
    if record is None or (record.version, record.next_fire_at) != (call.version, call.due):
        return Fired.LOST, record
    if record.paused and call.following != call.due:
        return Fired.LOST, record
    if call.following is not None and call.following <= now and not call.may_be_past:
        return Fired.STALE, record
    if call.following == call.due and call.uuid and call.uuid == record.last_uuid:
        return Fired.FIRED, record  # an extra occurrence leaves the due time as it is
    if call.following is None:
        return Fired.FIRED, None
    return Fired.FIRED, attrs.evolve(
        record,
        next_fire_at=call.following,
        last_fire_at=call.occurred_at or record.last_fire_at,
        last_uuid=call.uuid or record.last_uuid,
        skipped=record.skipped + call.skipped,
    )


def paused_as(record: ScheduleRecord, paused: bool, following: dt.datetime | None) -> ScheduleRecord:
    """What stands after a schedule was paused, or resumed to be due at `following`: itself if it was so already."""
    if record.paused == paused:
        return record
    due = record.next_fire_at
    if not paused and following is not None:
        due = max(due, following)  # what was due before may have been fired
    return attrs.evolve(record, paused=paused, next_fire_at=due)


def registered(
    stands: ScheduleRecord | None,
    record: ScheduleRecord,
    began_at: dt.datetime | None,
    removed_at: dt.datetime | None,
    version: int,
) -> ScheduleRecord | None:
    """What stands after `put_schedule`.

    Args:
        stands: what stood under the code.
        record: what is to be stored.
        began_at: when the caller began; None: at no particular time.
        removed_at: when the code was removed last; None if that is not remembered.
        version: of what was removed then; 0 if nothing was.

    Returns:
        What stands now; None if it was removed meanwhile.
    """
    if began_at is not None and removed_at is not None and removed_at >= began_at:
        return None
    if stands is not None:
        return stands.replaced_by(record)
    # Versions go on over a removal: a firing that was decided before it must not hit what came after.
    return attrs.evolve(record, version=max(record.version, version + 1))
