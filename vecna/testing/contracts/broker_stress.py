"""A broker under histories of many clients."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.message import Message
from vecna.ports.broker import Broker
from vecna.ports.values import Answer, Canceling, Delivery, SettleAs, Settlement, Verdict
from vecna.testing.contracts.driven import BrokerCase
from vecna.testing.contracts.stressing import History
from vecna.testing.contracts.values import LEASE, SECOND

_QUEUES: Final = ("q", "p")
_CODE: Final = "shared"
_LIMIT: Final = 4
_REPEATED: Final = {Answer.OK: {Answer.ALREADY, Answer.GONE}}
_ENDS: Final = {SettleAs.DONE, SettleAs.DEAD}


@attrs.define(eq=False)
class _Known:
    """What the ledger knows of a message that was accepted."""

    message: Message
    due: dt.datetime
    hold: str = ""  # nothing has let it go yet
    holder: str = ""  # the token of its lease
    deadline: dt.datetime | None = None  # until then the holder has it for sure
    lapsed: bool = False  # a lease of it ran out
    verdict: Verdict | None = None  # with which it was leased last
    flagged: bool = False
    stopped: bool = False  # it will not start any more
    ended: bool = False


class _Worker:
    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = dict.fromkeys(_QUEUES, 0)
        self.hand: dict[str, Delivery] = {}


class _Run:
    """One history: what happens, and whether it may."""

    def __init__(self, brokers: Sequence[Broker], history: History) -> None:
        self.brokers = brokers
        self.history = history
        self.draw, self.clock = history.draw, history.clock
        self.known: dict[str, _Known] = {}
        self.workers = [_Worker(f"w{number}") for number in range(3)]
        self.holds: list[str] = []

    @property
    def broker(self) -> Broker:
        return self.draw.choice(self.brokers)

    def living(self) -> list[str]:
        return [uuid for uuid, known in self.known.items() if not known.ended]

    def new(self, hold: str = "") -> Message:
        delay = self.draw.choice([None, None, None, self.draw.random() * LEASE])
        code, priority = self.draw.choice(["", "", _CODE]), self.draw.choice([0, 0, 5])
        uuid = f"t{len(self.known)}"
        message = Message(uuid, self.draw.choice(_QUEUES), b"", priority=priority, delay=delay, code=code)
        self.known[uuid] = _Known(message, self.clock.now() + (delay or dt.timedelta(0)), hold)
        return message

    # -- what clients do -----------------------------------------------------------------------------------------------

    def send(self) -> None:
        again = [self.known[uuid].message for uuid in self.living()[-2:] if self.draw.random() < 0.2]
        again = [message for message in again if self.broker.locate([message.uuid]) != [None]]
        new = [self.new() for _ in range(self.draw.randint(1, 3))]
        broker = self.broker
        answer, repeated = self.history.call(
            f"enqueue {[each.uuid for each in new + again]}", lambda: broker.enqueue(new + again)
        )
        assert answer == [True] * len(new) + [False] * len(again)
        assert repeated is None or repeated == [False] * len(answer)

    def stage(self) -> None:
        hold = f"h{len(self.holds)}"
        self.holds.append(hold)
        messages = [self.new(hold) for _ in range(self.draw.randint(1, 4))]
        broker = self.broker
        answer, _ = self.history.call(f"stage {hold}", lambda: broker.stage(hold, messages))
        assert answer == [True] * len(messages)

    def unstage(self) -> None:
        if not self.holds:
            return
        hold, queue, canceled = self.draw.choice(self.holds), self.draw.choice(_QUEUES), self.draw.random() < 0.3
        held = [each for each in self.known.values() if each.hold == hold and each.message.queue == queue]
        for known in held:
            known.hold = ""
        broker = self.broker
        self.history.note(f"unstage {hold} in {queue}, canceled={canceled}")
        while broker.unstage(queue, hold, canceled=canceled, limit=2):
            pass
        for known in held:
            known.stopped = known.stopped or canceled

    def lease(self, worker: _Worker, queue: str, count: int) -> None:
        worker.calls[queue] += 1
        call, broker = worker.calls[queue], self.broker

        def act() -> Sequence[Delivery]:
            return broker.lease(
                queue, count, worker=worker.name, call=call, duration=LEASE, max_deliveries=_LIMIT
            ).deliveries

        answer, repeated = self.history.call(f"{worker.name} leases {count} of {queue}, call {call}", act)
        assert len(answer) <= max(count, 0)
        assert repeated is None or repeated == answer, "a repeated lease call gave something else"
        for delivery in answer:
            self.deliver(delivery)
            worker.hand[delivery.uuid] = delivery

    def deliver(self, delivery: Delivery) -> None:
        known, now = self.known.get(delivery.uuid), self.clock.now()
        assert known is not None, f"{delivery.uuid} was never sent"
        assert not known.ended, f"{delivery.uuid} was leased after its end"
        assert known.deadline is None or known.deadline <= now, f"{delivery.uuid} is in two leases"
        if delivery.verdict is None:
            assert not known.stopped, f"{delivery.uuid} was stopped and starts"
            assert not known.flagged, f"{delivery.uuid} was cancelled while it was held and starts again"
            assert not known.hold, f"{delivery.uuid} starts before its workflow is let go"
            assert known.due <= now, f"{delivery.uuid} is early"
        else:
            known.stopped, known.flagged = True, False
        known.lapsed = known.lapsed or known.holder not in {"", delivery.token}
        known.holder, known.deadline, known.verdict = delivery.token, now + LEASE, delivery.verdict

    def extend(self, worker: _Worker, queue: str) -> None:
        mine = [each for each in worker.hand.values() if each.queue == queue]
        tokens, broker, now = sorted({each.token for each in mine}), self.broker, self.clock.now()
        answer, _ = self.history.call(f"{worker.name} extends {tokens}", lambda: broker.extend(queue, tokens, LEASE))
        for extension in answer:
            held = {each.uuid: self.known[each.uuid] for each in mine if each.token == extension.token}
            held = {uuid: known for uuid, known in held.items() if known.holder == extension.token}
            sure = any(known.deadline is not None and known.deadline > now for known in held.values())
            assert extension.alive or not sure, f"{extension.token} has time left and is not alive"
            if extension.alive:
                flagged = {uuid for uuid, known in held.items() if known.flagged}
                assert set(extension.canceled) == flagged, "the holder is not told of a cancel"
                for known in held.values():
                    known.deadline = now + LEASE
            else:
                for uuid in [each.uuid for each in mine if each.token == extension.token]:
                    del worker.hand[uuid]

    def settle(self, worker: _Worker, queue: str) -> None:
        mine = [each for each in worker.hand.values() if each.queue == queue]
        if not mine:
            return
        batch = [self.settlement(each) for each in self.history.some(mine, 3)]
        broker, shown = self.broker, [f"{each.uuid} {each.settle}" for each in batch]
        answer, repeated = self.history.call(f"{worker.name} settles {shown}", lambda: broker.settle(queue, batch))
        for number, (settlement, each) in enumerate(zip(batch, answer, strict=True)):
            if repeated is not None:
                assert repeated[number] in _REPEATED.get(each, {each}), f"{settlement.uuid}: {each}, {repeated[number]}"
            self.settled(settlement, each)
            if each is not Answer.FLAGGED:
                del worker.hand[settlement.uuid]

    def settlement(self, delivery: Delivery) -> Settlement:
        settle = self.draw.choice([SettleAs.DONE, SettleAs.DONE, *SettleAs])
        caused: tuple[Message, ...] = ()
        if settle in _ENDS and delivery.verdict is None and self.draw.random() < 0.5:
            before = len(self.known)
            caused = tuple([self.new() for _ in range(self.draw.randint(1, 2))])
            for number in range(before, len(self.known)):
                self.known[f"t{number}"].ended = True  # not there unless the settlement is done
        delay = self.draw.random() * 10 * SECOND
        return Settlement(delivery.uuid, delivery.token, settle, delay=delay, follow_ups=caused)

    def settled(self, settlement: Settlement, answer: Answer) -> None:
        known, now = self.known[settlement.uuid], self.clock.now()
        is_mine = known.holder == settlement.token and not known.ended
        sure = is_mine and known.deadline is not None and known.deadline > now
        if answer is Answer.FLAGGED:
            assert known.flagged
            assert settlement.follow_ups
            return
        assert answer is Answer.OK or not sure, f"{settlement.uuid} was held and could not be settled: {answer}"
        if answer is not Answer.OK:
            return
        assert is_mine, f"{settlement.uuid} was settled by who does not hold it"
        assert not (known.flagged and settlement.follow_ups), "what was cancelled causes something"
        known.stopped = known.stopped or (known.flagged and settlement.settle not in _ENDS)
        known.ended = settlement.settle in _ENDS
        known.holder, known.deadline, known.flagged = "", None, False
        if settlement.settle is SettleAs.RETRY:
            known.due = now + settlement.delay
        for message in settlement.follow_ups:
            self.known[message.uuid].ended = False

    def cancel(self) -> None:
        living = self.living()
        queue = self.draw.choice(_QUEUES)
        uuids = self.history.some([each for each in living if self.known[each].message.queue == queue], 3)
        for name in _QUEUES:
            self.relay(name)
        broker = self.broker
        answer, repeated = self.history.call(f"cancel {uuids}", lambda: broker.cancel(queue, uuids))
        assert repeated is None or repeated == answer, "a repeated cancel answers something else"
        self.told_of_cancel(dict(zip(uuids, answer, strict=True)))

    def cancel_code(self) -> None:
        for name in _QUEUES:
            self.relay(name)
        sharing = {uuid for uuid in self.living() if self.known[uuid].message.code == _CODE}
        found: dict[str, Canceling] = {}
        for name in _QUEUES:
            broker, cursor = self.broker, None
            while cursor != "":
                self.history.note(f"cancel by code in {name}")
                page = broker.cancel_code(name, _CODE, cursor or "")
                found |= dict.fromkeys(page.canceled, Canceling.CANCELED)
                found |= dict.fromkeys(page.running, Canceling.RUNNING)
                cursor = page.cursor
        assert set(found) == sharing, "a cancel by code found others than share it"
        self.told_of_cancel(found)

    def told_of_cancel(self, answers: dict[str, Canceling]) -> None:
        for uuid, answer in answers.items():
            known = self.known[uuid]
            assert answer is not Canceling.UNKNOWN, f"{uuid} is there and unknown"
            if answer is Canceling.CANCELED:
                may_run = not known.stopped and (known.holder or known.lapsed)
                assert not may_run, f"{uuid} was said not to start, and whoever held it may run it"
                known.stopped, known.hold = True, ""
            else:
                assert known.holder or known.lapsed, f"{uuid} runs, and nobody ever held it"
                known.flagged = known.verdict is not Verdict.CANCELED

    def crash(self) -> None:
        worker = self.draw.choice(self.workers)
        self.history.note(f"{worker.name} dies")
        self.workers[self.workers.index(worker)] = _Worker(f"{worker.name}x")

    def relay(self, queue: str) -> None:
        while self.broker.relay(queue):
            pass

    def pass_time(self) -> None:
        away = self.draw.random() < 0.05
        step = 3 * LEASE if away else self.draw.random() * LEASE / 4
        self.history.note(f"{step.total_seconds():.3f} s pass")
        self.clock.advance(step)

    def look(self) -> None:
        for name in _QUEUES:
            self.relay(name)
        counts = [self.broker.counts(name) for name in _QUEUES]
        there = sum(each.pending + each.delayed + each.leased + each.ending + each.held for each in counts)
        assert there == len(self.living()), "messages were lost or doubled"

    # -- a run ---------------------------------------------------------------------------------------------------------

    def go(self, steps: int) -> None:
        for _ in range(steps):
            worker, queue = self.draw.choice(self.workers), self.draw.choice(_QUEUES)
            match self.draw.choices(range(11), (4, 1, 1, 6, 2, 6, 1, 0.3, 0.4, 3, 1))[0]:
                case 0:
                    self.send()
                case 1:
                    self.stage()
                case 2:
                    self.unstage()
                case 3:
                    self.lease(worker, queue, self.draw.randint(0, 4))
                case 4:
                    self.extend(worker, queue)
                case 5:
                    self.settle(worker, queue)
                case 6:
                    self.cancel()
                case 7:
                    self.cancel_code()
                case 8:
                    self.crash()
                case 9:
                    self.pass_time()
                case _:
                    self.look()

    def drain(self) -> None:
        """All that is there comes to its end, once."""
        for hold in self.holds:
            for name in _QUEUES:
                while self.broker.unstage(name, hold):
                    pass
        for known in self.known.values():
            known.hold = ""
        last = _Worker("last")
        for _ in range(200):
            for name in _QUEUES:
                self.relay(name)
                self.lease(last, name, 50)
                for delivery in [each for each in last.hand.values() if each.queue == name]:
                    settlement = Settlement(delivery.uuid, delivery.token)
                    self.settled(settlement, self.broker.settle(name, [settlement])[0])
                    del last.hand[delivery.uuid]
            if not self.living():
                break
            self.clock.advance(LEASE / 4)
        assert self.living() == [], "not all came to an end"
        self.look()


class BrokerStressLaws(BrokerCase):
    """What holds in every history of many clients, whatever they repeat, lose or forget.

    Attributes:
        stress_steps: how many things happen in one history.
    """

    stress_steps = 300

    @pytest.mark.parametrize("seed", range(8))
    def test_in_any_history_each_message_ends_once(self, clock: ManualClock, seed: int) -> None:
        """Nothing is lost, doubled, early, in two hands, or started after it was stopped.

        Senders, workers, cancellers and launchers take turns at two brokers of one store; replies are lost and calls
        repeated, workers die, the store is away for a while.
        """
        history = History(seed, clock)
        brokers = [self.make(clock) for _ in range(2)]
        run = _Run(brokers, history)
        with history.told():
            run.go(self.stress_steps)
            run.drain()
        for broker in brokers:
            broker.close()
