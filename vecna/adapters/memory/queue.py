"""One queue: where each of its messages stands, and how it gets from one place to another.

A message stands in exactly one place: `pending` (a line for each priority), `delayed`, a lease, `ending` (it has a
verdict) or `dead`. Everything here happens under the store's lock.
"""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from vecna.adapters.memory.agenda import Agenda
from vecna.adapters.memory.bell import Bell
from vecna.adapters.memory.held import Call, Held, HeldLease, Hold
from vecna.adapters.memory.schedule_store import ScheduleStore
from vecna.domain.message import Message
from vecna.kit.rules import after, answer_to, due_at, is_forgiven, stopped, verdict_after_lease
from vecna.ports.values import (
    Answer,
    Canceling,
    Delivery,
    Extension,
    Lease,
    Purge,
    SettleAs,
    Settlement,
    Standing,
    Verdict,
)

#: How long the newest call of a silent worker is remembered. No duplicate of a call is that late.
_MEMORY_OF_CALLS = dt.timedelta(days=1)
_NOTHING = dt.timedelta(0)


class Queue:
    """The messages of one queue."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known = False
        self.messages: dict[str, Held] = {}
        self.pending: list[OrderedDict[str, Held]] = [OrderedDict() for _ in range(10)]
        self.ending: OrderedDict[str, Held] = OrderedDict()
        self.delayed: Agenda[str] = Agenda()
        self.dead: OrderedDict[str, Held] = OrderedDict()
        self.holds: OrderedDict[str, Hold] = OrderedDict()  # of workflows that are not all there; oldest first
        self.codes: dict[str, dict[str, Held]] = {}  # shared codes
        self.leases: dict[str, HeldLease] = {}
        self.deadlines: Agenda[str] = Agenda()  # of leases, by token
        self.outbox: deque[tuple[Message, dt.datetime]] = deque()  # follow-ups for other queues, since when
        self.bell = Bell()
        self._counter = 0  # of leases; the head of their tokens
        self._calls: OrderedDict[str, Call] = OrderedDict()  # by worker; who has called last stands last
        self._touched_at: dt.datetime | None = None
        self._news = False
        self._duration = _NOTHING  # of the latest lease call

    # -- accepting ---------------------------------------------------------------------------------------------------

    def accept(self, message: Message, now: dt.datetime, since: dt.datetime | None = None, hold: str = "") -> bool:
        """Take a message in, unless its id is here.

        Args:
            message: what to take in.
            now: the time.
            since: when the broker accepted it, if that was earlier.
            hold: hold it back under this name.
        """
        self.known = True
        if message.uuid in self.messages:
            return False
        accepted = since or now
        due = due_at(message, accepted)
        held = Held(message, accepted, due)
        self.messages[message.uuid] = held
        if message.code:
            self.codes.setdefault(message.code, {})[message.uuid] = held
        if hold:
            held.standing, held.hold = Standing.HELD, hold
            if hold not in self.holds:
                self.holds[hold] = Hold(now)
            self.holds[hold].messages[message.uuid] = held
        else:
            self._wait_until(held, due, now)
        return True

    def unstage(self, hold: str, now: dt.datetime, limit: int, *, canceled: bool) -> int:
        """Let messages that were held go; how many still are."""
        kept = self.holds.get(hold)
        if kept is None:
            return 0
        for _ in range(min(limit, len(kept.messages))):
            _, held = kept.messages.popitem(last=False)
            if canceled:
                self._to_ending(held, Verdict.CANCELED)
            else:
                self._wait_until(held, held.due_at, now)
        if not kept.messages:
            del self.holds[hold]
        return len(kept.messages)

    def drop(self, held: Held) -> None:
        """Forget a message that is over."""
        message = held.message
        del self.messages[message.uuid]
        if message.code:
            sharing = self.codes[message.code]
            del sharing[message.uuid]
            if not sharing:
                del self.codes[message.code]

    def _wait_until(self, held: Held, due: dt.datetime | None, now: dt.datetime) -> None:
        """Delayed until `due`; at once pending, behind the others of its priority, if that has come."""
        if due is None or due <= now:
            self._to_pending(held)
            return
        held.standing = Standing.DELAYED
        earliest = self.delayed.first()
        self.delayed.put(held.message.uuid, due)
        if earliest is None or due < earliest:
            self._news = True

    def _to_pending(self, held: Held, *, head: bool = False) -> None:
        held.standing = Standing.PENDING
        line = self.pending[held.message.priority]
        line[held.message.uuid] = held
        if head:
            line.move_to_end(held.message.uuid, last=False)
        self._news = True

    def _to_ending(self, held: Held, verdict: Verdict, *, head: bool = False) -> None:
        held.standing = Standing.ENDING
        held.flagged = False
        held.verdict = verdict
        self.ending[held.message.uuid] = held
        if head:
            self.ending.move_to_end(held.message.uuid, last=False)
        self._news = True

    def announce(self) -> None:
        """Wake a waiter if there is news; called at the end of each step, so that a step wakes one."""
        if self._news:
            self._news = False
            self.bell.ring()

    # -- leasing -----------------------------------------------------------------------------------------------------

    def lease(
        self,
        count: int,
        *,
        worker: str,
        call: int,
        duration: dt.timedelta,
        max_deliveries: int,
        verdicts_only: bool,
        now: dt.datetime,
    ) -> Lease:
        """Housekeeping, then take up to `count` messages, or give the same call's again."""
        self._duration = duration
        self.touch(now)
        for uuid in self.delayed.take_due(now):
            self._to_pending(self.messages[uuid])
        self._end_leases(now, max_deliveries)
        token, taken = self._take(count, worker, call, verdicts_only, now, duration)
        deliveries = tuple([self._deliver(held) for held in taken])
        pending = any(self.pending)
        # Whoever takes what is there has heard the bell; what it leaves behind is news for the next.
        if count > 0 and not verdicts_only:
            self.bell.rung = False
        self._news = pending or bool(self.ending)
        moments = [moment for moment in (self.delayed.first(), self.deadlines.first()) if moment is not None]
        return Lease(
            self.name,
            token if deliveries else "",
            deliveries,
            now,
            min(moments, default=None),
            bool(self.ending) or (pending and not verdicts_only),
        )

    def touch(self, now: dt.datetime) -> None:
        """Note a sign of life. After an outage, spare the leases that ran out or are about to.

        A lease is spared once, unless its holder extends it: else a queue that is looked at seldom would never get back
        what a dead worker held.
        """
        last, self._touched_at = self._touched_at, now
        if last is None or now - last <= self._duration / 2:
            return
        until = after(now, self._duration)
        for lease in self.leases.values():
            if not lease.spared and self.deadlines[lease.token] < until:
                lease.spared = True
                self.deadlines.put(lease.token, until, lease.number)

    def _end_leases(self, now: dt.datetime, max_deliveries: int) -> None:
        # The last one first, so that the messages of the first end up at the head.
        for token in reversed(list(self.deadlines.take_due(now))):
            lease = self.leases.pop(token)
            for held in reversed(lease.messages.values()):
                if is_forgiven(spared=lease.spared, forgiven=held.forgiven, crashes=held.crashes):
                    held.forgiven = True
                else:
                    held.crashes += 1
                held.token = ""
                is_dead = held.crashes >= max_deliveries
                self._go_back(held, verdict_after_lease(held.verdict, flagged=held.flagged, is_dead=is_dead))

    def _go_back(self, held: Held, verdict: Verdict | None) -> None:
        """From a lease back to the head, to be run again or to be ended."""
        if verdict is None:
            self._to_pending(held, head=True)
        else:
            self._to_ending(held, verdict, head=True)

    def _take(
        self, count: int, worker: str, call: int, verdicts_only: bool, now: dt.datetime, duration: dt.timedelta
    ) -> tuple[str, Sequence[Held]]:
        newest = self._calls.get(worker)
        if newest is not None and call <= newest.number:
            lease = self.leases.get(newest.token) if call == newest.number else None
            return (lease.token, list(lease.messages.values())) if lease else ("", ())
        token = ""
        taken = list(self._next(count, verdicts_only))
        if taken:
            self._counter += 1
            token = f"{self._counter}:{worker}:{call}"
            for held in taken:
                held.standing, held.token = Standing.LEASED, token
            self.leases[token] = HeldLease(self._counter, token, {held.message.uuid: held for held in taken})
            self.deadlines.put(token, after(now, duration), self._counter)
        self._remember(worker, Call(call, token, now))
        return token, taken

    def _next(self, count: int, verdicts_only: bool) -> Iterator[Held]:
        lines = [self.ending] if verdicts_only else [self.ending, *reversed(self.pending)]
        for line in lines:
            while line and count > 0:
                yield line.popitem(last=False)[1]
                count -= 1

    def _remember(self, worker: str, call: Call) -> None:
        self._calls[worker] = call
        self._calls.move_to_end(worker)
        while call.made_at - next(iter(self._calls.values())).made_at > _MEMORY_OF_CALLS:
            self._calls.popitem(last=False)

    def _deliver(self, held: Held) -> Delivery:
        return Delivery(
            held.message.uuid,
            self.name,
            held.message.body,
            held.token,
            held.attempts,
            held.crashes,
            held.enqueued_at,
            held.due_at,
            held.verdict,
        )

    def extend(self, token: str, duration: dt.timedelta, now: dt.datetime) -> Extension:
        """Make a lease last longer."""
        lease = self.leases.get(token)
        if lease is None:
            return Extension(token, alive=False)
        lease.spared = False
        self.deadlines.put(token, max(self.deadlines[token], after(now, duration)), lease.number)
        return Extension(token, True, tuple([uuid for uuid, held in lease.messages.items() if held.flagged]))

    def forfeit(self, tokens: Sequence[str], now: dt.datetime, max_deliveries: int) -> None:
        """End leases whose holder is dead, and with them all that have run out."""
        live = [self.leases[token] for token in tokens if token in self.leases]
        for lease in live:
            lease.spared = False
            self.deadlines.put(lease.token, min(self.deadlines[lease.token], now), lease.number)
        if live:
            self._end_leases(now, max_deliveries)

    # -- settling ----------------------------------------------------------------------------------------------------

    def check(self, settlement: Settlement) -> Answer:
        """What a settlement would get; OK: it can be done."""
        held = self.messages.get(settlement.uuid)
        if held is None:
            return Answer.GONE
        return answer_to(settlement, token=held.token, settled=held.settled, flagged=held.flagged)

    def settle(self, settlement: Settlement, now: dt.datetime, dead_letter_limit: int) -> None:
        """End the lease on a message, for which `check` has said OK."""
        held = self._drop_lease(settlement)
        verdict = verdict_after_lease(held.verdict, flagged=held.flagged, settle=settlement.settle)
        match settlement.settle:
            case SettleAs.DONE:
                self.drop(held)
            case SettleAs.DEAD:
                held.standing = Standing.DEAD
                held.reason, held.died_at = settlement.reason, now
                self.dead[settlement.uuid] = held
                while len(self.dead) > dead_letter_limit:
                    self.drop(self.dead.popitem(last=False)[1])
            case SettleAs.RETRY:
                held.attempts = settlement.attempts
                if verdict is not None:
                    self._to_ending(held, verdict)
                else:
                    self._wait_until(held, after(now, settlement.delay), now)
            case SettleAs.RETURN:
                self._go_back(held, verdict)

    def _drop_lease(self, settlement: Settlement) -> Held:
        lease = self.leases[settlement.token]
        held = lease.messages.pop(settlement.uuid)
        held.token = ""
        held.settled = (settlement.token, settlement.settle)
        if not lease.messages:
            del self.leases[settlement.token]
            self.deadlines.discard(settlement.token)
        return held

    def to_head(self, uuids: Sequence[str]) -> None:
        """Stand these messages, which were given back one by one, at the head in this order."""
        for uuid in reversed(uuids):
            held = self.messages[uuid]
            if held.standing is Standing.PENDING:
                self.pending[held.message.priority].move_to_end(uuid, last=False)
            elif held.standing is Standing.ENDING:
                self.ending.move_to_end(uuid, last=False)

    # -- cancelling --------------------------------------------------------------------------------------------------

    def cancel(self, uuid: str) -> Canceling:
        """Stop a message."""
        held = self.messages.get(uuid)
        if held is None or held.standing is Standing.DEAD:
            return Canceling.UNKNOWN
        if held.verdict is Verdict.CANCELED:
            return stopped(crashes=held.crashes, forgiven=held.forgiven)
        if held.standing is Standing.LEASED:
            held.flagged = True
            return Canceling.RUNNING
        if held.standing is not Standing.ENDING:
            self._stop(held, Verdict.CANCELED)
        return stopped(crashes=held.crashes, forgiven=held.forgiven)

    def purge(self, limit: int) -> Purge:
        """Stop what waits."""
        pending = itertools.chain.from_iterable(line.values() for line in reversed(self.pending))
        delayed = (self.messages[uuid] for uuid in self.delayed)
        holds = [hold for _, hold in sorted(self.holds.items(), key=lambda item: (item[1].began_at, item[0]))]
        held_back = itertools.chain.from_iterable(hold.messages.values() for hold in holds)
        waiting = list(itertools.islice(itertools.chain(pending, delayed, held_back), max(0, limit)))
        for held in waiting:
            self._stop(held, Verdict.PURGED)
        left = sum(map(len, self.pending)) + len(self.delayed) + sum(len(hold.messages) for hold in self.holds.values())
        return Purge(len(waiting), left)

    def _stop(self, held: Held, verdict: Verdict) -> None:
        """From where it waits to where it is ended."""
        uuid = held.message.uuid
        if held.standing is Standing.PENDING:
            del self.pending[held.message.priority][uuid]
        elif held.standing is Standing.DELAYED:
            self.delayed.discard(uuid)
        elif held.standing is Standing.HELD:
            hold = self.holds[held.hold]
            del hold.messages[uuid]
            if not hold.messages:
                del self.holds[held.hold]
        self._to_ending(held, verdict)


class Queues:
    """The store behind a `MemoryBroker`: queues by name, one lock for all."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_name: dict[str, Queue] = {}
        self.schedules = ScheduleStore()
        self.workers: dict[str, tuple[bytes, dt.datetime]] = {}  # what each says of itself, and until when it counts

    def queue(self, name: str) -> Queue:
        """The queue of this name, made when first asked for."""
        if (queue := self.by_name.get(name)) is None:
            queue = self.by_name[name] = Queue(name)
        return queue
