"""What an onlooker knows of a history: what the stores were told and answered, what ran, what cancels were told.

It keeps its own books and asks the engine nothing. What must hold at every moment is checked here, the rest by `laws`
when the history has come to rest.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.simulation.plan_books import PlanBooks, ScheduleBooks
from vecna.domain.message import Message
from vecna.domain.state import FINAL, token_number
from vecna.ports.values import Answer, SettleAs, Verdict

#: How late an idle worker may take what is due, by the clock of the history.
_BOUND = dt.timedelta(seconds=0.05)
_NOTHING = dt.timedelta(0)


class Violation(AssertionError):
    """An invariant does not hold.

    Attributes:
        law: its name.
        said: what was seen.
    """

    def __init__(self, law: str, said: str) -> None:
        super().__init__(f"{law}: {said}")
        self.law = law
        self.said = said

    def __reduce__(self) -> Any:
        return Violation, (self.law, self.said)


class Held:
    """A lease on one message, as the onlooker counts."""

    __slots__ = ("deadline", "process", "queue", "spared", "token")

    def __init__(self, token: str, queue: str, process: Any, deadline: dt.datetime) -> None:
        self.token, self.queue, self.process, self.deadline = token, queue, process, deadline
        self.spared = False


class Witness:
    """Keeps the books of one history.

    Args:
        clock: time.
        max_deliveries: the crash limit.
    """

    def __init__(self, clock: Any, max_deliveries: int) -> None:
        self.clock = clock
        self.max_deliveries = max_deliveries
        self.log: list[tuple[Any, ...]] = []
        self.accepted: Counter[str] = Counter()  # how often a queue has taken an id in
        self.sent: set[str] = set()  # ids that senders have given to a broker
        self.early: dict[str, dt.datetime] = {}  # not to be leased before
        self.holders: dict[str, Held] = {}
        self.touched: dict[str, dt.datetime] = {}
        self.leased: dict[tuple[str, str], int] = {}  # (token, id): when
        self.expiries: Counter[str] = Counter()
        self.forgiven: set[str] = set()
        self.crashes: Counter[str] = Counter()  # of all messages under an id
        self.lost_leases: dict[tuple[str, str], str] = {}  # (who, queue): a token that it was not told
        self.retries: Counter[str] = Counter()
        self.runs: dict[str, list[tuple[int, str, Any]]] = {}  # id: (when, token, arguments)
        self.ends: dict[str, tuple[int, Any]] = {}  # id: (when, state)
        self.places: dict[str, tuple[int, int]] = {}  # id: (lease, rank) of what is recorded
        self.released: set[str] = set()
        self.cancels: list[tuple[int, int, str, Any]] = []  # (begun, answered, what, answer)
        self.tried_cancels: set[str] = set()
        self.first_sent: dict[str, dt.datetime] = {}  # when a sender began to send a shape first
        self.late: set[str] = set()  # shapes whose sending took longer than it may, and so passes for given up
        self.duplicate = False  # the call that is under way is a late copy: nobody hears the answer
        self.kills = self.lost_replies = self.lapsed = 0
        self.arrived: dict[str, dt.datetime] = {}  # when a queue has taken an id in
        self.staged: set[str] = set()
        self.resting_since: dt.datetime | None = None
        self.settled: dict[str, tuple[str, Any]] = {}  # id: (token, how) of its last settlement, while it lives
        self.durations: dict[str, dt.timedelta] = {}  # of each queue's latest lease call
        self.schedules = ScheduleBooks(self)
        self.violation: Violation | None = None
        self.watches = {
            "lease": self._leased,
            "extend": self._extended,
            "settle": self._settled,
            "put_states": self._put,
            "enqueue": self._enqueued,
            "stage": self._staged,
            "release": self._released,
            "forget": self._forgotten,
            **PlanBooks(self).watches,
            **self.schedules.watches,
        }

    def note(self, *what: Any) -> int:
        """Write a line; its number."""
        self.log.append((self.clock.now(), *what))
        return len(self.log)

    def takes(self, uuid: str) -> None:
        """A queue takes an id in; told on memory only."""
        self.accepted[uuid] += 1
        self.arrived[uuid] = self.clock.now()

    def violated(self, law: str, said: str) -> Violation:
        """Keep the first violation, in case that whoever is watched catches it."""
        if self.violation is None:
            self.violation = Violation(law, said)
        return self.violation

    # -- the broker --------------------------------------------------------------------------------------------------

    def _delay(self, messages: Iterable[Message], now: dt.datetime) -> None:
        for message in messages:
            due = message.due
            if message.delay is not None:
                counted = now + message.delay
                due = counted if due is None else max(due, counted)
            if due is not None:
                known = self.early.get(message.uuid)
                if known is None or due < known:
                    self.early[message.uuid] = due

    def _enqueued(self, process: Any, args: Any, answer: list[bool]) -> None:
        self._delay(args[0], self.clock.now())
        if process.identity[0] == "p":
            self.sent.update([message.uuid for message in args[0]])
        self.note(process, "enqueue", [(message.uuid, new) for message, new in zip(args[0], answer, strict=True)])

    def _staged(self, process: Any, args: Any, answer: list[bool]) -> None:
        self._delay(args[1], self.clock.now())
        self.staged.update([message.uuid for message in args[1]])
        if process.identity[0] == "p":
            self.sent.update([message.uuid for message in args[1]])
        self.note(process, "stage", args[0], [message.uuid for message in args[1]])

    def _touch(self, queue: str, now: dt.datetime) -> None:
        """A queue that nobody has touched for half a lease was out of reach: then leases last longer, once."""
        last = self.touched.get(queue)
        self.touched[queue] = now
        duration = self.durations.get(queue, _NOTHING)
        if last is None or now - last <= duration / 2:
            return
        until = now + duration
        for held in self.holders.values():
            if held.queue == queue and not held.spared and held.deadline < until:
                held.spared, held.deadline = True, until

    def _lapse(self, queue: str, now: dt.datetime) -> None:
        """A lease call ends the leases that have run out."""
        for uuid, held in list(self.holders.items()):
            if held.queue == queue and held.deadline <= now:
                del self.holders[uuid]
                self.lapsed += 1
                if held.spared and uuid not in self.forgiven and not self.expiries[uuid]:
                    self.forgiven.add(uuid)
                else:
                    self.expiries[uuid] += 1
                self.crashes[uuid] += 1

    def _leased(self, process: Any, args: Any, answer: Any, worker: str, duration: dt.timedelta, **_: Any) -> None:
        queue, now = args[0], self.clock.now()
        self.durations[queue] = duration
        self._touch(queue, now)
        self._lapse(queue, now)
        key = (worker, queue)
        if not self.duplicate:
            lost = self.lost_leases.pop(key, None)
            if lost is not None and answer.token != lost and self._is_held(queue, lost, now):
                raise self.violated(
                    "10 a repeated lease call gets the same", f"{process} got {answer.token!r}, not {lost}"
                )
        if not answer.deliveries:
            return
        seq = self.note(process, "lease", queue, [each.uuid for each in answer.deliveries], answer.token)
        for delivery in answer.deliveries:
            self._lease(process, delivery, now + duration, seq)

    def _is_held(self, queue: str, token: str, now: dt.datetime) -> bool:
        found = [held for held in self.holders.values() if held.queue == queue and held.token == token]
        return any(held.deadline > now for held in found)

    def _lease(self, process: Any, delivery: Any, deadline: dt.datetime, seq: int) -> None:
        uuid, token, now = delivery.uuid, delivery.token, self.clock.now()
        early = self.early.get(uuid)
        if early is not None and now < early and delivery.verdict is None:
            raise self.violated("6 nothing before its time", f"{uuid} is due at {early:%M:%S}, leased at {now:%M:%S}")
        self._is_in_time(uuid, early)
        held = self.holders.get(uuid)
        if held is not None:
            if held.token == token:
                return  # the same lease once more
            raise self.violated("10 one live lease", f"{uuid} is held under {held.token} until {held.deadline:%M:%S}")
        if self.duplicate:
            raise self.violated("10 a late duplicate takes nothing", f"{uuid} under {token}, which nobody hears of")
        if delivery.verdict is Verdict.DEAD and self.expiries[uuid] < self.max_deliveries:
            raise self.violated("1 dead only for crashes", f"{uuid} after {self.expiries[uuid]} leases that ran out")
        if delivery.verdict is None and self.expiries[uuid] >= self.max_deliveries:
            raise self.violated("12 the crash limit", f"{uuid} is run after {self.expiries[uuid]} leases that ran out")
        self.holders[uuid] = Held(token, delivery.queue, process.identity, deadline)
        self.leased[token, uuid] = seq

    def _is_in_time(self, uuid: str, early: dt.datetime | None) -> None:
        """Somebody idle takes what is due when it is; one that waits for its workflow, when that is there."""
        rest, arrived = self.resting_since, self.arrived.get(uuid)
        if rest is None or arrived is None or early is None or early <= rest or uuid in self.staged:
            return
        late = self.clock.now() - max(early, arrived)
        if late > _BOUND and not self.crashes[uuid]:
            raise self.violated("6 what is due is taken", f"{uuid} was due {late.total_seconds():g} s ago")

    def _extended(self, process: Any, args: Any, answer: Any) -> None:
        queue, tokens, duration = args
        now = self.clock.now()
        self._touch(queue, now)
        alive = {each.token for each in answer if each.alive}
        for uuid, held in self.holders.items():
            if held.queue == queue and held.token in alive:
                held.deadline, held.spared = max(held.deadline, now + duration), False
            elif held.queue == queue and held.token in tokens and now < held.deadline:
                raise self.violated("10 a live lease can be extended", f"{held.token} on {uuid} until {held.deadline}")

    def _settled(self, process: Any, args: Any, answer: Any) -> None:
        queue, settlements = args
        now = self.clock.now()
        self._touch(queue, now)
        told = [
            (each.uuid, str(each.settle), str(said), [message.uuid for message in each.follow_ups])
            for each, said in zip(settlements, answer, strict=True)
        ]
        self.note(process, "settle", told)
        for each, said in zip(settlements, answer, strict=True):
            if said is Answer.LOST and self.settled.get(each.uuid) == (each.token, each.settle):
                raise self.violated("10 a repeated settlement is known", f"{each.uuid} by {each.token} is lost")
            if said is not Answer.OK:
                continue
            self.settled[each.uuid] = each.token, each.settle
            held = self.holders.pop(each.uuid, None)
            if held is None or held.token != each.token:
                raise self.violated("10 an old lease cannot settle", f"{each.uuid} by {each.token}")
            if each.settle in (SettleAs.DONE, SettleAs.DEAD):  # the same id sent again begins anew
                self.expiries.pop(each.uuid, None)
                self.early.pop(each.uuid, None)
                self.forgiven.discard(each.uuid)
                self.settled.pop(each.uuid)
            if each.settle is SettleAs.RETRY:
                self.early[each.uuid] = now + each.delay
                self.retries[each.uuid] += 1
            self._delay(each.follow_ups, now)

    # -- the backend -------------------------------------------------------------------------------------------------

    def _put(self, process: Any, args: Any, answer: Any) -> None:
        for recorded in answer:
            uuid = recorded.task_uuid
            if len(uuid) == 36:
                continue  # the mark of a code
            end = self.ends.get(uuid)
            if end is not None and uuid not in self.released and recorded != end[1]:
                raise self.violated("5 ends are final", f"{uuid} was {end[1].state}, is {recorded.state}")
            if recorded.state in FINAL:
                if end is None:
                    seq = self.note(process, "end", uuid, str(recorded.state), recorded.error)
                    self.ends[uuid] = (seq, recorded)
                continue
            place = (token_number(recorded.token), recorded.state.rank)
            if place < self.places.get(uuid, place):
                raise self.violated("5 states go forward", f"{uuid} went back to {recorded.state} of {recorded.token}")
            self.places[uuid] = place

    def _released(self, process: Any, args: Any, _: Any) -> None:
        uuids = [uuid for uuid in args[0] if uuid in self.ends]
        self.released.update(uuids)

    def _forgotten(self, process: Any, args: Any, _: Any) -> None:
        self.released.update(args[0])

    # -- the processes -----------------------------------------------------------------------------------------------

    def ran(self, process: Any, uuid: str, token: str, args: Any) -> None:
        """A task has begun to run."""
        seq = self.note(process, "run", uuid, token, args)
        end = self.ends.get(uuid)
        # Who sends an id again when its result has expired sends a new task.
        again = uuid in self.released and (self.accepted[uuid] > 1 or (not self.accepted and uuid in self.sent))
        # So does one that stood still until the end of what was taken for given up has expired.
        again = again or (end is not None and uuid in self.released and "its sender died" in end[1].error)
        if end is not None and self.leased[token, uuid] > end[0] and not again:
            raise self.violated("2 not admitted once its end is recorded", f"{uuid} runs under {token}")
        self.runs.setdefault(uuid, []).append((seq, token, args))

    def canceled(self, begun: int, what: str, answer: Any) -> None:
        """A cancel was answered."""
        seq = self.note("canceller", "answer", what, answer)
        self.cancels.append((begun, seq, what, answer))
