"""Firing what is due: any worker, any number of them, each occurrence once.

A firing is one compare-and-set step at the broker: the schedule goes on to its next due time and the occurrence's
message is laid in its outbox, or neither. The message's id is made of code and due time. Whoever dies anywhere leaves
either a schedule that is still due or a message that the next worker carries to its queue.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from vecna import log
from vecna.app.delivery_values import Wiring, with_options
from vecna.app.launchers import dated, occurrence_launcher
from vecna.app.sending import waiting_callbacks
from vecna.app.signing import message_of
from vecna.domain.codec import MAX_MESSAGE
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature
from vecna.domain.message import Message
from vecna.domain.schedule import CATCH_UP, ScheduleRecord, firing, occurrence
from vecna.domain.signature import Signature
from vecna.domain.signing import distrusted, is_sealed
from vecna.domain.state import TaskState
from vecna.ports.plans import NodeState, NodeStatus
from vecna.ports.schedules import FireCall, Fired
from vecna.ports.values import Place, Standing

#: Schedules that are looked at in one step, and occurrences that are fired in it.
_MOST: Final = 100
_MOST_FIRED: Final = 500
#: Relays in one step; what is left is the next one's.
_RELAYS: Final = 20
#: Seconds after which what another worker may have left in the outbox is carried over, where the broker does not say.
_LOOK: Final = 10.0
_PAGE: Final = 500
#: So many records of what occurrences may cause are kept while they cannot be written.
_MOST_OWED: Final = 5000
#: So many versions are remembered as logged.
_MOST_LOGGED: Final = 1000
#: A message that stands so is not over.
_UNFINISHED: Final = frozenset({Standing.HELD, Standing.PENDING, Standing.DELAYED, Standing.LEASED})


@attrs.frozen
class _Shot:
    """One firing that is to be tried.

    Attributes:
        call: for the broker.
        later: records of what the occurrence may cause, to be written when it is fired.
    """

    call: FireCall
    later: tuple[TaskState, ...] = ()


class Firer:
    """Fires what is due. For one thread at a time; any number of them in any number of processes.

    Args:
        wiring: of the server.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._broker = wiring.broker
        self._backend = wiring.backend
        self._next: dt.datetime | None = None
        self._undecided = 0
        self._owed: dict[str, TaskState] = {}
        self._faults: list[Exception] = []
        self._relayed = -_LOOK
        #: When, by the monotonic clock, there is more to do, also after a step that has raised; None: unknown.
        self.due_at: float | None = None
        self._logged: set[tuple[str, int]] = set()

    def step(self) -> dt.timedelta | None:
        """Fire what is due now, in bounded time.

        Returns:
            How long until there is more to do: nothing if there is some left now; None if nothing is planned.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached, or not all of them; what that does not hinder was
                done. What was begun, the next step of any worker ends.
        """
        clock = self._wiring.clock
        self._faults, self.due_at = [], None
        found = self._broker.due_schedules(_MOST + self._undecided)  # who has to wait takes nobody's place
        looked = clock.monotonic()
        came = self._next is not None and self._next <= found.now
        records, unfinished = self._decidable(found.records)
        self._undecided = len(found.records) - len(records)
        share = max(1, _MOST_FIRED // max(1, len(records)))
        shots = [
            shot
            for record in records
            for shot in self._aim(record, found.now, share, is_free=record.last_uuid not in unfinished)
        ]
        again = self._fire(shots)
        following = [shot.call.following for shot in shots if shot.call.following is not None]
        self._next = min([*following, *([found.next_due] if found.next_due else [])], default=None)
        if again:
            self.due_at = looked
        elif self._next is not None:
            self.due_at = looked + (self._next - found.now).total_seconds()
        waits = found.waiting if found.waiting is not None else came or looked - self._relayed >= _LOOK
        if shots or (waits and not self._faults):
            with self._bearing():
                self._relay()
        if self._faults:
            raise self._faults[0]
        if self._undecided:
            return dt.timedelta(0)
        return None if self.due_at is None else dt.timedelta(seconds=max(self.due_at - clock.monotonic(), 0))

    @contextlib.contextmanager
    def _bearing(self) -> Iterator[None]:
        """Go on in spite of whatever a port raises, until the end of the step: it must not hinder all the rest."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001  # it is raised then
            self._faults.append(exc)

    # -- what to fire ------------------------------------------------------------------------------------------------

    def _aim(self, record: ScheduleRecord, now: dt.datetime, share: int, *, is_free: bool) -> list[_Shot]:
        """What is to be done about a schedule that is due; nothing if it is in a state that nobody has thought of."""
        try:
            if record.overlap or is_free:
                return list(self._shots(record, now, share if record.overlap else 1))
            return [_Shot(_skipped(record, now))]
        except BrokerUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001  # whatever is wrong with one schedule must not stop the others
            self._unreadable(record, now, exc)
            return []

    def _shots(self, record: ScheduleRecord, now: dt.datetime, most: int) -> Iterator[_Shot]:
        """The firings of a schedule that is due, at most so many."""
        grace = dt.timedelta(seconds=self._wiring.config.lease)
        for _ in range(most):
            plan = firing(record, now, grace)
            yield self._shot(record, plan.due, plan.following)
            if plan.following is None or plan.following > now:
                return
            record = attrs.evolve(record, next_fire_at=plan.following)

    def _shot(self, record: ScheduleRecord, due: dt.datetime | None, following: dt.datetime | None) -> _Shot:
        past = record.missed == "all"
        if due is None:
            return _Shot(FireCall(record.code, record.version, record.next_fire_at, following))
        message, later = self.occurrence(record, due)
        call = FireCall(
            record.code,
            record.version,
            record.next_fire_at,
            following,
            occurred_at=due,
            uuid=message.uuid,
            messages=(message,),
            may_be_past=past,
        )
        return _Shot(call, later)

    def occurrence(self, record: ScheduleRecord, due: dt.datetime) -> tuple[Message, tuple[TaskState, ...]]:
        """The message of one occurrence, and the records of the callbacks that it may cause.

        One that cannot be made goes out as a launcher: whoever gets that finds it just as unreadable, and records the
        occurrence as failed, where it can be seen.
        """
        config = self._wiring.config
        if not is_sealed(record.content, record.code, config.signing_keys):
            self._log_once(record, f"what schedule {record.code} sends is not signed; its occurrences fail")
            return message_of(distrusted(occurrence_launcher(record, due)), config), ()
        if record.kind == "task":
            try:
                return self._task(record, due)
            except Exception as exc:  # noqa: BLE001  # whatever is wrong with what it sends
                self._log_once(record, f"what schedule {record.code} sends cannot be read; its occurrences fail: {exc}")
        return message_of(occurrence_launcher(record, due), config), ()

    def _task(self, record: ScheduleRecord, due: dt.datetime) -> tuple[Message, tuple[TaskState, ...]]:
        link = occurrence(record.content, record.code, due, record.spec)
        if not isinstance(link, Signature):
            raise InvalidSignature(f"it is a {type(link).__name__}, and should be a task")
        complete = dated(with_options(link, self._wiring.registry.get(link.name)), due)
        message = message_of(complete, self._wiring.config)
        if len(message.body) > MAX_MESSAGE:
            raise InvalidArgument(f"its message has {len(message.body)} bytes; at most {MAX_MESSAGE}")
        return message, tuple(waiting_callbacks([complete], self._wiring.clock))

    def _unreadable(self, record: ScheduleRecord, now: dt.datetime, exc: Exception) -> None:
        """Leave it to workers that can read it; when none has for a while, pause it, so that it is in nobody's way."""
        self._log_once(record, f"schedule {record.code} cannot be fired here: {type(exc).__name__}: {exc}")
        if now - record.next_fire_at > dt.timedelta(seconds=self._wiring.config.lease):
            log.error(f"schedule {record.code} is paused, because no worker could fire it: {exc}", code=record.code)
            self._broker.pause_schedule(record.code, paused=True)

    def _log_once(self, record: ScheduleRecord, text: str) -> None:
        if (record.code, record.version) not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add((record.code, record.version))
            log.error(text, code=record.code)

    # -- whether the last one is over --------------------------------------------------------------------------------

    def _decidable(self, records: Sequence[ScheduleRecord]) -> tuple[Sequence[ScheduleRecord], set[str]]:
        """Those that can be fired or left out now, and which of their last occurrences are not over.

        Others have to wait: where the last one stands can only be seen when it has arrived, and can be looked for.
        """
        free = [record for record in records if record.overlap or not record.last_uuid]
        if len(free) < len(records):
            with self._bearing():
                if self._relay():
                    return records, self._unfinished([record.last_uuid for record in records if not record.overlap])
        return free, set()

    def _unfinished(self, uuids: Sequence[str]) -> set[str]:
        """Those occurrences that are queued, run or wait for a repeat."""
        last = [uuid for uuid in uuids if uuid]
        if not last:
            return set()
        places = self._broker.locate(last)
        # A task, or the launcher of a workflow.
        found = {uuid for uuid, place in zip(last, places, strict=True) if _stands(place)}
        rest = [uuid for uuid in last if uuid not in found]
        nodes = self._backend.get_nodes(rest) if rest else ()
        return found | {node.node.uuid for node in nodes if node is not None and self._goes_on(node)}

    def _goes_on(self, node: NodeState) -> bool:
        if node.status is NodeStatus.OPEN:
            return True
        # A group has failed with its first member; others may still run.
        return node.status is NodeStatus.FAILED and any(map(_stands, self._members(node.node.uuid)))

    def _members(self, root: str) -> Iterator[Place | None]:
        offset = 0
        while uuids := self._backend.get_tasks(root, every=True, offset=offset, limit=_PAGE):
            yield from self._broker.locate(uuids)
            offset += len(uuids)

    # -- firing ------------------------------------------------------------------------------------------------------

    def _fire(self, shots: Sequence[_Shot]) -> bool:
        """Fire; whether there is more to be done at once."""
        owed = dict(self._owed)
        self._owe(shots)  # it may have its effect although the answer gets lost; what was not fired then is swept
        answers = self._broker.fire([shot.call for shot in shots]) if shots else []
        self._owed = owed
        self._owe([shot for shot, answer in zip(shots, answers, strict=True) if answer is Fired.FIRED])
        if self._owed:
            with self._bearing():
                self._backend.put_states(list(self._owed.values()))
                self._owed = {}
        return Fired.STALE in answers

    def _owe(self, shots: Sequence[_Shot]) -> None:
        """Keep the records of what these may cause until they are written."""
        for shot in shots:
            if len(self._owed) < _MOST_OWED:
                self._owed.update({state.task_uuid: state for state in shot.later})

    def _relay(self) -> bool:
        """Carry over what was fired, by whomever; whether that is all."""
        left = 1
        for _ in range(_RELAYS):
            left = self._broker.relay_schedules()
            if not left:
                break
        self._relayed = self._wiring.clock.monotonic()
        return not left


def _stands(place: Place | None) -> bool:
    return place is not None and place.standing in _UNFINISHED


def _skipped(record: ScheduleRecord, now: dt.datetime) -> FireCall:
    """Leave out what is due: the earlier one is not over."""
    due, rhythm = record.next_fire_at, record.rhythm
    missed = rhythm.between(due, now, record.anchor, limit=CATCH_UP)
    following = rhythm.next_after(missed[-1] if missed else due, record.anchor)
    # Of what was missed, what would have been made up for with one run counts once.
    count = 1 + len(missed) if record.missed == "all" else 1
    return FireCall(record.code, record.version, due, following, skipped=count, may_be_past=True)
