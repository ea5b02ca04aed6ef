"""Laws of many at once: threads at the same broker."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from functools import partial

from vecna.adapters.clock import ManualClock
from vecna.ports.broker import Broker
from vecna.ports.values import Answer, Canceling, QueueCounts, SettleAs, Verdict
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, at_once, names
from vecna.testing.contracts.values import LEASE, SECOND


class RaceLaws(BrokerCase):
    """What holds however calls fall together."""

    def test_no_message_is_in_two_leases(self, clock: ManualClock) -> None:
        """Workers take and settle while senders send: each message is delivered once, and none is lost."""
        held: Counter[str] = Counter()
        delivered: Counter[str] = Counter()
        guard = threading.Lock()
        sending = threading.Semaphore(0)

        def send(name: str) -> None:
            queue = DrivenQueue(self.make(clock), clock)
            for number in range(0, 100, 10):
                assert queue.send(*[f"{name}-{number + n}" for n in range(10)]) == [True] * 10
            sending.release()

        def work(name: str) -> None:
            queue, idle = DrivenQueue(self.make(clock), clock), 0
            while idle < 2:
                lease = queue.lease(7, worker=name)
                mine = names(lease.deliveries)
                with guard:
                    held.update(mine)
                    delivered.update(mine)
                    assert [uuid for uuid in mine if held[uuid] > 1] == [], "in two leases at once"
                with guard:
                    held.subtract(mine)
                assert queue.settle_all(lease.deliveries) == [Answer.OK] * len(lease.deliveries)
                if not lease.deliveries and sending.acquire(blocking=False):
                    sending.release()
                    idle += 1

        at_once(*[partial(send, f"s{n}") for n in range(3)], *[partial(work, f"w{n}") for n in range(4)])
        rest = DrivenQueue(self.make(clock), clock)
        delivered.update(names(rest.take(1_000, worker="rest")))

        assert delivered == Counter({f"s{n}-{number}": 1 for n in range(3) for number in range(100)})

    def test_one_broker_serves_many_threads(self, broker: Broker, clock: ManualClock) -> None:
        """A worker's threads lease, settle, extend and send with the same object, and all at once."""
        done: Counter[str] = Counter()
        guard = threading.Lock()

        def work(name: str) -> None:
            queue = DrivenQueue(broker, clock)
            for number in range(20):
                assert queue.send(f"{name}-{number}") == [True]
                lease = queue.lease(2, worker=name)
                assert not lease.token or [item.alive for item in queue.extend(lease.token)] == [True]
                assert queue.settle_all(lease.deliveries) == [Answer.OK] * len(lease.deliveries)
                with guard:
                    done.update(names(lease.deliveries))
                queue.counts()

        at_once(*[partial(work, f"w{n}") for n in range(6)])
        done.update(names(DrivenQueue(broker, clock).take(1_000, worker="rest")))

        assert done == Counter({f"w{n}-{number}": 1 for n in range(6) for number in range(20)})

    def test_one_of_two_settlements_counts(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """A call that is repeated while the first is still under way: one effect."""
        queue.send(*[f"t{number}" for number in range(50)])

        for delivery in queue.take(50):
            brokers = [DrivenQueue(self.make(clock), clock) for _ in range(3)]
            follow_ups = (queue.message(f"{delivery.uuid}-next", queue="next"),)
            answers = at_once(*[partial(b.settle, delivery, follow_ups=follow_ups) for b in brokers])
            assert sorted(answers) == [Answer.GONE, Answer.GONE, Answer.OK]
        queue.relay()

        assert queue.broker.counts("next") == QueueCounts(pending=50)

    def test_one_of_two_enqueues_counts(self, clock: ManualClock) -> None:
        """Two senders of the same id: one is new."""
        queues = [DrivenQueue(self.make(clock), clock) for _ in range(4)]
        for number in range(50):
            answers = at_once(*[partial(queue.send, f"t{number}") for queue in queues])
            assert sorted(itertools.chain(*answers)) == [False, False, False, True]

        assert queues[0].counts().pending == 50

    def test_a_cancel_and_a_lease_agree(self, clock: ManualClock) -> None:
        """CANCELED: no worker gets it to run. RUNNING: one has it. Whoever of the two was first."""
        sender = DrivenQueue(self.make(clock), clock)
        uuids = [f"t{number}" for number in range(200)]
        sender.send(*uuids)
        started: set[str] = set()
        ended: set[str] = set()

        def work(name: str) -> list[Canceling]:
            queue = DrivenQueue(self.make(clock), clock)
            while taken := queue.lease(3, worker=name).deliveries:
                started.update(item.uuid for item in taken if item.verdict is None)
                ended.update(item.uuid for item in taken if item.verdict is Verdict.CANCELED)
            return []

        def cancel(mine: list[str]) -> list[Canceling]:
            queue = DrivenQueue(self.make(clock), clock)
            return [answer for start in range(0, len(mine), 5) for answer in queue.cancel(*mine[start : start + 5])]

        there, back, *_ = at_once(
            partial(cancel, uuids), partial(cancel, uuids[::-1]), partial(work, "w1"), partial(work, "w2")
        )
        ended.update(names(sender.take(1_000, worker="rest")))

        assert not started & ended
        assert started | ended == set(uuids)
        for uuid, answer, other in zip(uuids, there, reversed(back), strict=True):
            assert {answer, other} == {Canceling.RUNNING if uuid in started else Canceling.CANCELED}

    def test_an_extension_and_the_end_of_a_lease_agree(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Alive: nobody else has it. Not alive: somebody will."""
        for number in range(30):
            queue.send("a")
            delivery = queue.take_one(worker="w1")
            queue.pass_time(LEASE + SECOND)
            holder, rival = (DrivenQueue(self.make(clock), clock) for _ in range(2))

            extended, taken = at_once(
                lambda: [item.alive for item in holder.extend(delivery.token)],  # noqa: B023  # called before the next turn
                lambda: [True for _ in rival.take(1, worker=f"rival{number}")],  # noqa: B023  # same
            )

            assert (extended, taken) in [([True], []), ([False], [True])]
            queue.broker.cancel("q", ["a"])
            queue.pass_time(LEASE + SECOND)
            assert queue.settle(queue.take_one(worker="end")) is Answer.OK

    def test_messages_given_back_are_not_lost(self, clock: ManualClock, broker: Broker) -> None:
        """Workers that return and retry all the time lose and double nothing."""
        sender = DrivenQueue(broker, clock)
        uuids = [f"t{number}" for number in range(60)]
        sender.send(*uuids)

        def churn(name: str) -> None:
            queue = DrivenQueue(self.make(clock), clock)
            for number in range(40):
                taken = queue.lease(4, worker=name).deliveries
                settle = SettleAs.RETURN if number % 2 else SettleAs.RETRY
                assert queue.settle_all(taken, settle) == [Answer.OK] * len(taken)

        at_once(*[partial(churn, f"w{n}") for n in range(4)])

        assert sorted(names(sender.take(1_000, worker="rest"))) == sorted(uuids)
