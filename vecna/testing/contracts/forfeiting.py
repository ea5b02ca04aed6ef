"""Laws of leases whose holder is known to be dead."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from vecna.adapters.clock import ManualClock
from vecna.domain.decide import Attempts
from vecna.ports.broker import Broker, Waiter
from vecna.ports.values import Answer, Canceling, SettleAs, Standing, Verdict
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, LEASE, PATIENCE, SECOND
from vecna.testing.contracts.waking import WakeLaws


class ForfeitLaws(BrokerCase):
    """`Queueing.forfeit`."""

    def test_what_was_forfeited_is_there_at_once_and_the_crash_is_counted(self, queue: DrivenQueue) -> None:
        """Who knows of a death need not wait for the lease to run out; all else is as if it had."""
        queue.send(*"abc", "late")
        queue.settle(queue.take_one(worker="w1"), SettleAs.RETRY, attempts=Attempts(1, 2, 3))
        first = queue.lease(2, worker="w1")

        queue.forfeit(first.token)

        again = queue.take(worker="w2")
        assert [(item.uuid, item.crashes, item.attempts.attempt) for item in again[:2]] == [("b", 1, 1), ("c", 1, 1)]
        assert names(again[2:]) == ["late", "a"]
        assert (again[3].attempts, again[3].crashes) == (Attempts(1, 2, 3), 0)
        assert queue.settle(first.deliveries[0]) is Answer.LOST
        assert not queue.extend(first.token)[0].alive

    def test_a_forfeit_may_be_repeated_and_touches_no_other_lease(
        self, queue: DrivenQueue, broker: Broker, clock: ManualClock
    ) -> None:
        """Its reply may be lost; and tokens are valid in their queue only."""
        queue.send("a", "b")
        first, other = queue.take_one(worker="w1"), queue.take_one(worker="w2")
        DrivenQueue(broker, clock, "other").forfeit(first.token)
        assert queue.extend(first.token)[0].alive

        for _ in range(3):
            queue.forfeit("999:nobody:1", first.token, "x", "", *HOSTILE)
        second = queue.take_one(worker="w3")
        queue.forfeit(first.token)
        queue.forfeit()

        assert (second.uuid, second.crashes) == ("a", 1)
        assert [item.alive for item in queue.extend(second.token, other.token)] == [True, True]

    def test_one_forfeited_too_often_gets_the_verdict_dead(self, queue: DrivenQueue) -> None:
        """A message that kills its workers must not kill them all."""
        queue.send("a")
        for _ in range(2):
            queue.forfeit(queue.take_one().token, max_deliveries=2)

        assert queue.standing("a") is Standing.ENDING
        delivery = queue.take_one()
        assert (delivery.crashes, delivery.verdict) == (2, Verdict.DEAD)

    def test_one_that_was_cancelled_is_ended_after_its_forfeit(self, queue: DrivenQueue) -> None:
        """The cancel said that it runs; it must not be begun again."""
        queue.send("a")
        delivery = queue.take_one()
        assert queue.cancel("a") == [Canceling.RUNNING]

        queue.forfeit(delivery.token)

        assert queue.take_one().verdict is Verdict.CANCELED

    def test_what_was_settled_before_stays_settled(self, queue: DrivenQueue) -> None:
        """The holder has died with a part of its lease done."""
        queue.send("a", "b", "c")
        a, b, _ = queue.take(3, worker="w1")
        queue.settle(a)
        queue.settle(b, SettleAs.RETRY, delay=LEASE)

        queue.forfeit(a.token)

        assert names(queue.take(worker="w2")) == ["c"]
        assert (queue.standing("a"), queue.standing("b")) == (None, Standing.DELAYED)

    def test_an_outage_does_not_spare_what_is_forfeited(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """It is known that its holder is dead, and not only silent."""
        queue.send("a")
        token = queue.take_one().token
        clock.advance(LEASE - SECOND)  # nobody calls meanwhile

        queue.forfeit(token)

        assert queue.take_one(worker="w2").crashes == 1


class ForfeitWakeLaws(WakeLaws):
    """Waiting for what is forfeited."""

    def test_what_is_forfeited_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """It is there at once, and so is who takes it."""
        live_queue.send("a")
        token = live_queue.take_one().token
        _, future = waiting()

        live_queue.forfeit(token)

        future.result(PATIENCE)
        assert names(live_queue.take(worker="w2")) == ["a"]
