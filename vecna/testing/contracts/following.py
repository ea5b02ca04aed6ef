"""Laws of what the end of a message causes."""

from __future__ import annotations

import itertools

import pytest

from vecna.adapters.clock import ManualClock
from vecna.ports.broker import Broker
from vecna.ports.values import Answer, SettleAs, Settlement, Standing
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, at_once, names
from vecna.testing.contracts.values import BODIES, LEASE, MILLISECOND, SECOND


class FollowUpLaws(BrokerCase):
    """`Queueing.settle` with follow-ups, and `Queueing.relay`."""

    @pytest.fixture
    def other(self, broker: Broker, clock: ManualClock) -> DrivenQueue:
        """Another queue, to which follow-ups go."""
        return DrivenQueue(broker, clock, "other")

    @pytest.mark.parametrize("settle", [SettleAs.DONE, SettleAs.DEAD])
    def test_follow_ups_for_the_same_queue_are_there_at_once(self, queue: DrivenQueue, settle: SettleAs) -> None:
        """The end and what it causes are one step: a chain is not cut by a worker's death in between.

        A dead letter too has an end that may cause something.
        """
        queue.send("a")

        answer = queue.settle(queue.take_one(), settle, follow_ups=(queue.message("b"), queue.message("c", priority=1)))

        assert answer is Answer.OK
        assert names(queue.take()) == ["c", "b"]

    @pytest.mark.parametrize("settle", [SettleAs.RETRY, SettleAs.RETURN])
    def test_what_goes_on_causes_nothing(self, queue: DrivenQueue, other: DrivenQueue, settle: SettleAs) -> None:
        """Only an end has follow-ups: what runs again would cause them again."""
        queue.send("a")
        follow_ups = (queue.message("b"), other.message("c"))

        answer = queue.settle(queue.take_one(), settle, follow_ups=follow_ups)
        queue.relay()

        assert answer is Answer.OK
        assert names(queue.take()) == ["a"]
        assert names(other.take()) == []

    @pytest.mark.parametrize("settle", [SettleAs.DONE, SettleAs.DEAD])
    def test_follow_ups_for_other_queues_arrive_with_the_relay(
        self, queue: DrivenQueue, other: DrivenQueue, settle: SettleAs
    ) -> None:
        """They are safe from the settlement on, and there at the latest after their queue's `relay`."""
        queue.send("a")
        queue.settle(queue.take_one(), settle, follow_ups=(other.message("b"), other.message("c", queue="third")))

        queue.relay()

        assert names(other.take()) == ["b"]
        assert names(queue.at("third").take()) == ["c"]
        assert queue.broker.queues() == ["other", "q", "third"]

    @pytest.mark.parametrize("target", ["q", "other"])
    @pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
    def test_a_follow_up_keeps_its_bytes(
        self, queue: DrivenQueue, clock: ManualClock, body: bytes, target: str
    ) -> None:
        """Its body is as opaque as any."""
        queue.send("a")
        queue.settle(queue.take_one(), follow_ups=(queue.message("b", body=body, queue=target),))
        queue.relay()

        assert queue.at(target).take_one().body == body

    @pytest.mark.parametrize("target", ["q", "other"])
    def test_a_follow_up_keeps_its_priority_and_its_time(
        self, queue: DrivenQueue, clock: ManualClock, target: str
    ) -> None:
        """It is a message like any other."""
        goal = queue.at(target)
        queue.send("a")
        queue.settle(
            queue.take_one(),
            follow_ups=(
                goal.message("low", priority=0),
                goal.message("high", priority=9),
                goal.message("delay", delay=2 * SECOND),
                goal.message("due", due=clock.now() + SECOND),
            ),
        )
        queue.relay()

        assert names(goal.take()) == ["high", "low"]
        clock.advance(SECOND - MILLISECOND)
        assert goal.take() == []
        clock.advance(MILLISECOND)
        assert names(goal.take()) == ["due"]
        clock.advance(SECOND)
        assert names(goal.take()) == ["delay"]

    @pytest.mark.parametrize("target", ["q", "other"])
    def test_a_follow_up_is_accepted_with_the_settlement(
        self, queue: DrivenQueue, clock: ManualClock, target: str
    ) -> None:
        """Its age and its delay count from there: how long it lay on its way is no business of the task."""
        start = clock.now()
        goal = queue.at(target)
        queue.send("a")
        queue.settle(queue.take_one(), follow_ups=(goal.message("b", delay=2 * SECOND),))
        clock.advance(2 * SECOND)
        queue.relay()

        delivery = goal.take_one()

        assert abs(delivery.enqueued_at - start) < MILLISECOND
        assert delivery.due_at is not None
        assert abs(delivery.due_at - (start + 2 * SECOND)) <= MILLISECOND

    @pytest.mark.parametrize("target", ["q", "other"])
    def test_a_repeated_settlement_causes_nothing_more(
        self, queue: DrivenQueue, clock: ManualClock, target: str
    ) -> None:
        """The reply was lost, and the follow-up has run and is done: it must not run again."""
        goal = queue.at(target)
        queue.send("a")
        delivery = queue.take_one()
        follow_ups = (goal.message("b"),)
        queue.settle(delivery, follow_ups=follow_ups)
        queue.relay()
        goal.settle(goal.take_one())

        assert queue.settle(delivery, follow_ups=follow_ups) is Answer.GONE
        queue.relay()

        assert goal.take() == []

    @pytest.mark.parametrize("target", ["q", "other"])
    def test_a_settlement_that_is_refused_causes_nothing(
        self, queue: DrivenQueue, clock: ManualClock, target: str
    ) -> None:
        """Neither one without the other, in no direction."""
        goal = queue.at(target)
        queue.send("a")
        old = queue.take_one(worker="w1")
        queue.pass_time(LEASE + SECOND)
        queue.take_one(worker="w2")

        assert queue.settle(old, follow_ups=(goal.message("b"),)) is Answer.LOST
        queue.broker.settle("q", [Settlement("unknown", old.token, follow_ups=(goal.message("b"),))])
        queue.relay()

        assert goal.take(worker="w3") == []

    @pytest.mark.parametrize("target", ["q", "other"])
    def test_a_follow_up_whose_id_exists_is_not_added(
        self, queue: DrivenQueue, clock: ManualClock, target: str
    ) -> None:
        """As with `enqueue`: the id is what counts."""
        goal = queue.at(target)
        queue.send("a", priority=9)
        goal.send("b", body=b"first")

        answer = queue.settle(queue.take_one(), follow_ups=(goal.message("b", body=b"second"),))
        queue.relay()

        assert answer is Answer.OK
        assert [item.body for item in goal.take()] == [b"first"]

    def test_a_relay_carries_no_more_than_it_was_told_to(self, queue: DrivenQueue, other: DrivenQueue) -> None:
        """It rides on other calls, and must not hold them up; it says what is left.

        A store whose one step reaches all queues may bring them with the settlement: nothing is left then.
        """
        queue.send("a")
        queue.settle(queue.take_one(), follow_ups=tuple([other.message(f"f{number}") for number in range(5)]))
        there = other.counts().pending

        left = [queue.broker.relay("q", 2)]
        assert 0 <= other.counts().pending - there <= 2
        while left[-1]:
            left.append(queue.broker.relay("q", 2))

        assert left[0] >= 3 - there
        assert left == sorted(left, reverse=True)
        assert sorted(names(other.take())) == ["f0", "f1", "f2", "f3", "f4"]

    def test_a_relay_with_nothing_to_carry_does_nothing(self, queue: DrivenQueue) -> None:
        """Workers call it whenever they might have to."""
        assert queue.broker.relay("q") == 0
        queue.send("a")
        assert queue.broker.relay("q") == 0
        assert queue.broker.queues() == ["q"]

    def test_a_repeated_relay_brings_nothing_twice(self, queue: DrivenQueue, other: DrivenQueue) -> None:
        """Also when what arrived first has long been done, and nothing of it is left to compare with."""
        queue.send("a", "b")
        first, second = queue.take(2)
        queue.settle(first, follow_ups=(other.message("f1"),))
        queue.relay()
        other.settle(other.take_one())

        queue.relay()
        assert other.take() == []
        queue.settle(second, follow_ups=(other.message("f2"),))
        queue.relay()
        queue.relay()

        assert names(other.take()) == ["f2"]

    def test_follow_ups_of_several_queues_meet(self, queue: DrivenQueue, other: DrivenQueue) -> None:
        """Each queue's relay carries its own; targets keep them apart."""
        queue.send("a")
        other.send("b")
        queue.settle(queue.take_one(), follow_ups=(other.message("from-q"), other.message("x", queue="third")))
        other.settle(other.take_one(), follow_ups=(queue.message("from-other"), queue.message("y", queue="third")))

        queue.relay()
        other.relay()

        assert names(queue.take()) == ["from-other"]
        assert names(other.take()) == ["from-q"]
        assert names(queue.at("third").take()) == ["x", "y"]

    def test_relays_at_the_same_time_carry_each_follow_up_once(
        self, queue: DrivenQueue, other: DrivenQueue, clock: ManualClock
    ) -> None:
        """Every worker may relay: what one has read and not yet removed, another must not bring again.

        The follow-ups are worked off at the same time, so that nothing at the target tells which have arrived.
        """
        queue.send(*[f"t{number}" for number in range(40)])
        for delivery in queue.take(40):
            queue.settle(delivery, follow_ups=tuple([other.message(f"{delivery.uuid}-f{n}") for n in range(5)]))

        def relay() -> list[str]:
            broker = self.make(clock)
            while broker.relay("q", 7):
                pass
            return []

        def work(name: str) -> list[str]:
            mine, done = DrivenQueue(self.make(clock), clock, "other"), list[str]()
            for _ in range(100):
                taken = mine.take(3, worker=name)
                mine.settle_all(taken)
                done += names(taken)
            return done

        done = at_once(relay, relay, relay, lambda: work("w1"), lambda: work("w2"))
        queue.relay()

        ended = [*itertools.chain(*done), *names(other.take(1_000, worker="w3"))]
        assert sorted(ended) == sorted(f"t{number}-f{n}" for number in range(40) for n in range(5))

    def test_a_settlement_may_have_many_follow_ups(self, queue: DrivenQueue, other: DrivenQueue) -> None:
        """A task may cause as many as it likes; an adapter splits what follows, not the step."""
        queue.send("a")
        follow_ups = [queue.message(f"s{n}") for n in range(600)] + [other.message(f"o{n}") for n in range(600)]

        assert queue.settle(queue.take_one(), follow_ups=tuple(follow_ups)) is Answer.OK
        queue.relay()

        assert sorted(names(queue.take(1_000))) == sorted(f"s{n}" for n in range(600))
        assert sorted(names(other.take(1_000))) == sorted(f"o{n}" for n in range(600))

    def test_a_chain_over_queues_ends_once(self, queue: DrivenQueue, other: DrivenQueue) -> None:
        """To and fro, every call made twice: each link runs once."""
        queue.send("t0")
        seen = []
        for number in range(20):
            here, there = (queue, other) if number % 2 == 0 else (other, queue)
            delivery = here.take_one()
            seen.append(delivery.uuid)
            follow_ups = (there.message(f"t{number + 1}"),)
            assert here.settle(delivery, follow_ups=follow_ups) is Answer.OK
            assert here.settle(delivery, follow_ups=follow_ups) is Answer.GONE
            here.relay()
            here.relay()

        assert seen == [f"t{number}" for number in range(20)]
        assert queue.standing("t20") is Standing.PENDING
