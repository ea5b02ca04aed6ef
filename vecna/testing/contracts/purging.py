"""Laws of stopping all that waits in a queue."""

from __future__ import annotations

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.decide import Attempts
from vecna.domain.errors import InvalidArgument
from vecna.ports.values import Answer, Canceling, Purge, QueueCounts, SettleAs, Standing, Verdict
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, LEASE, SECOND

MANY = 1_234


def purge(queue: DrivenQueue, limit: int = 500) -> int:
    """Stop all that waits; how many that were."""
    total = 0
    while True:
        step = queue.broker.purge(queue.name, limit)
        assert step.purged <= limit
        total += step.purged
        if not step.left:
            return total
        assert step.purged, "a call stopped nothing"


class PurgeLaws(BrokerCase):
    """`Cancelling.purge`."""

    def test_all_that_waits_never_starts(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Pending, delayed, between two attempts, held: each is leased once more, to be recorded as purged."""
        queue.send("retry")
        queue.settle(queue.take_one(), SettleAs.RETRY, delay=SECOND)
        queue.send("pending", priority=3)
        queue.send("delayed", delay=SECOND)
        queue.broker.stage("h", [queue.message("held"), queue.message("held-delayed", delay=SECOND)])

        assert purge(queue) == 5

        assert queue.counts() == QueueCounts(ending=5)
        assert queue.broker.purge("q") == Purge(0, 0)
        clock.advance(10 * SECOND)
        taken = queue.take()
        assert {item.verdict for item in taken} == {Verdict.PURGED}
        assert sorted(names(taken)) == ["delayed", "held", "held-delayed", "pending", "retry"]
        assert queue.settle_all(taken) == [Answer.OK] * 5
        assert queue.broker.unstage("q", "h") == 0
        assert queue.broker.staged("q", LEASE - LEASE) == []
        clock.advance(10 * SECOND)
        assert queue.take() == []
        assert queue.counts() == QueueCounts()

    def test_what_would_come_first_is_stopped_first(self, queue: DrivenQueue) -> None:
        """By priority and age, then by time, then what is held; what is left still runs."""
        queue.broker.stage("h", [queue.message("held")])
        queue.send("later", delay=2 * SECOND)
        queue.send("soon", delay=SECOND)
        queue.send("low", "low2")
        queue.send("high", priority=9)

        assert queue.broker.purge("q", 2) == Purge(2, 4)
        assert [item.uuid for item in queue.take(verdicts_only=True)] == ["high", "low"]
        assert queue.broker.purge("q", 2) == Purge(2, 2)
        assert [item.uuid for item in queue.take(verdicts_only=True)] == ["low2", "soon"]
        assert queue.broker.purge("q", 0) == Purge(0, 2)
        assert queue.broker.purge("q", 2) == Purge(2, 0)
        assert [item.uuid for item in queue.take(verdicts_only=True)] == ["later", "held"]

    def test_what_does_not_wait_is_left_alone(self, queue: DrivenQueue) -> None:
        """What is leased runs on and may be repeated, what has a verdict keeps it, what is dead stays to be seen."""
        queue.send("dead", "canceled", "leased", "waits")
        queue.settle(queue.take_one(), SettleAs.DEAD, reason="why")
        queue.cancel("canceled")
        (ending, leased) = queue.take(2)
        queue.settle(ending, SettleAs.RETURN)
        queue.at("other").send("elsewhere")

        assert purge(queue) == 1

        assert queue.counts() == QueueCounts(leased=1, ending=2, dead=1)
        assert queue.at("other").counts() == QueueCounts(pending=1)
        assert queue.settle(leased, SettleAs.RETRY, delay=SECOND) is Answer.OK
        assert queue.standing("leased") is Standing.DELAYED
        verdicts = {item.uuid: item.verdict for item in queue.take(verdicts_only=True)}
        assert verdicts == {"canceled": Verdict.CANCELED, "waits": Verdict.PURGED}

    def test_what_was_cancelled_in_its_line_is_not_stopped_again(self, queue: DrivenQueue) -> None:
        """It is where it was, and counts once."""
        queue.send(*[f"t{number}" for number in range(20)])
        queue.cancel(*[f"t{number}" for number in range(0, 20, 2)])

        assert purge(queue, 3) == 10

        assert queue.counts() == QueueCounts(ending=20)
        assert queue.cancel("t0", "t1") == [Canceling.CANCELED] * 2
        assert len(queue.take()) == 20

    def test_many_are_stopped_step_by_step(self, queue: DrivenQueue) -> None:
        """A step is bounded, however much waits."""
        queue.send(*[f"t{number}" for number in range(MANY)])
        queue.send(*[f"d{number}" for number in range(MANY)], delay=SECOND)

        assert purge(queue) == 2 * MANY
        assert queue.counts() == QueueCounts(ending=2 * MANY)

    def test_what_comes_after_it_runs(self, queue: DrivenQueue) -> None:
        """Also under an id that was purged, once its end is recorded."""
        queue.send("a", code="c")
        purge(queue)
        assert queue.send("a") == [False]
        queue.settle_all(queue.take())

        queue.send("a", "b")

        assert [(item.uuid, item.verdict) for item in queue.take()] == [("a", None), ("b", None)]
        assert queue.broker.cancel_code("q", "c").canceled == ()

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_queue_outside_the_rule_cannot_be_purged(self, queue: DrivenQueue, hostile: str) -> None:
        """Before anything is done; one that nobody has used is empty."""
        with pytest.raises(InvalidArgument):
            queue.broker.purge(hostile)
        assert queue.broker.purge("nowhere") == Purge(0, 0)


class DropDeadLaws(BrokerCase):
    """`Cancelling.drop_dead`."""

    def test_a_dead_letter_is_removed_once(self, queue: DrivenQueue) -> None:
        """With all that was kept about it: under its id something new may come."""
        queue.send("a", "b", "c", code="code")
        for delivery in queue.take(3):
            queue.settle(delivery, SettleAs.DEAD, reason="why")

        assert queue.broker.drop_dead("q", ["c", "nobody", "a"]) == [True, False, True]
        assert queue.broker.drop_dead("q", ["a", "b"]) == [False, True]

        assert queue.counts() == QueueCounts()
        assert queue.broker.get_dead_tasks("q") == []
        assert queue.standing("a") is None
        assert queue.broker.cancel_code("q", "code").canceled == ()
        assert queue.send("a") == [True]
        delivery = queue.take_one()
        assert (delivery.uuid, delivery.crashes, delivery.attempts, delivery.verdict) == ("a", 0, Attempts(), None)

    def test_what_is_not_dead_is_not_removed(self, queue: DrivenQueue) -> None:
        """Nor what is dead in another queue."""
        queue.send("leased", "ending", "pending")
        queue.send("delayed", delay=SECOND)
        queue.take_one()
        queue.cancel("ending")
        queue.at("other").send("dead")
        queue.at("other").settle(queue.at("other").take_one(), SettleAs.DEAD)
        every = ["leased", "ending", "pending", "delayed", "dead"]

        assert queue.broker.drop_dead("q", every) == [False] * 5

        assert queue.counts() == QueueCounts(pending=1, delayed=1, leased=1, ending=1)
        assert queue.at("other").counts() == QueueCounts(dead=1)

    def test_many_are_removed(self, queue: DrivenQueue) -> None:
        """In as many steps as it takes; the others stay in their order."""
        uuids = [f"t{number}" for number in range(300)]
        queue.send(*uuids)
        queue.settle_all(queue.take(300), SettleAs.DEAD, reason="why")

        assert queue.broker.drop_dead("q", uuids[::2]) == [True] * 150

        assert [letter.uuid for letter in queue.broker.get_dead_tasks("q")] == uuids[1::2]
