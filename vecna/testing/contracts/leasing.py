"""Laws of handing messages to workers."""

from __future__ import annotations

import datetime as dt

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.decide import Attempts
from vecna.domain.errors import InvalidArgument
from vecna.ports.broker import Broker
from vecna.ports.values import Answer, Verdict
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, LEASE, MILLISECOND, SECOND


class LeaseLaws(BrokerCase):
    """`Queueing.lease`, without leases that run out."""

    def test_within_a_priority_the_oldest_comes_first(self, queue: DrivenQueue) -> None:
        """A queue is a queue: what was accepted first starts first, over calls and batches."""
        queue.send("a", "b")
        queue.send("c")
        assert names(queue.take(1)) == ["a"]
        queue.send("d")

        assert names(queue.take()) == ["b", "c", "d"]

    def test_a_higher_priority_comes_first(self, queue: DrivenQueue) -> None:
        """9 before 8 before … 0, whatever is older."""
        for priority in (0, 5, 9, 1, 8, 3, 2, 7, 4, 6):
            queue.send(f"old{priority}", f"new{priority}", priority=priority)

        expected = [f"{age}{priority}" for priority in range(9, -1, -1) for age in ("old", "new")]
        assert names(queue.take()) == expected

    def test_no_more_are_given_than_were_asked_for(self, queue: DrivenQueue) -> None:
        """A worker asks for what it can start; more would lie in its hands while others are idle."""
        queue.send(*"abcde")

        lease = queue.lease(2)

        assert 1 <= len(lease.deliveries) <= 2
        assert queue.counts().leased == len(lease.deliveries)

    @pytest.mark.parametrize("count", [0, -1])
    def test_who_asks_for_nothing_gets_nothing(self, queue: DrivenQueue, count: int) -> None:
        """A full worker calls for the housekeeping only."""
        queue.send("a")

        lease = queue.lease(count)

        assert lease.deliveries == ()
        assert lease.more
        assert queue.counts().pending == 1

    def test_what_is_leased_is_not_leased_again(self, queue: DrivenQueue) -> None:
        """Never is a message in two leases: two workers would run it at once."""
        queue.send("a", "b")
        first = queue.take(1, worker="w1")

        assert names(first) == ["a"]
        assert names(queue.take(worker="w2")) == ["b"]
        assert queue.take(worker="w1") == []

    def test_a_delivery_says_what_it_is(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Id, queue, and when it was accepted by the broker's clock; all that the worker needs and nothing decoded."""
        accepted = clock.now()
        queue.send("a")
        clock.advance(SECOND)

        lease = queue.lease()

        (delivery,) = lease.deliveries
        assert (delivery.uuid, delivery.queue, delivery.body) == ("a", "q", b"a")
        assert (delivery.attempts, delivery.crashes, delivery.verdict) == (Attempts(), 0, None)
        assert abs(delivery.enqueued_at - accepted) < MILLISECOND
        assert delivery.due_at is None
        assert (lease.queue, lease.token) == ("q", delivery.token)
        assert abs(lease.now - clock.now()) < MILLISECOND

    def test_a_lease_has_a_token_of_its_own(self, queue: DrivenQueue) -> None:
        """`number:worker:call`: later leases of a queue have larger numbers, by which a backend knows a late writer."""
        queue.send("a", "b")

        first, second = queue.lease(1, worker="w1", call=4), queue.lease(1, worker="w2", call=9)

        assert first.token.partition(":")[2] == "w1:4"
        assert second.token.partition(":")[2] == "w2:9"
        assert int(first.token.partition(":")[0]) < int(second.token.partition(":")[0])

    def test_all_deliveries_of_a_lease_share_its_token(self, queue: DrivenQueue) -> None:
        """One heartbeat keeps the whole batch alive."""
        queue.send(*"abc")

        lease = queue.lease(3)

        assert {delivery.token for delivery in lease.deliveries} == {lease.token}

    def test_a_lease_of_nothing_has_no_token(self, queue: DrivenQueue) -> None:
        """There is nothing to extend."""
        lease = queue.lease()

        assert (lease.queue, lease.token, lease.deliveries) == ("q", "", ())
        assert (lease.next_due, lease.more) == (None, False)

    def test_what_is_left_behind_is_said(self, queue: DrivenQueue) -> None:
        """`more` lets a worker ask again at once instead of waiting."""
        queue.send("a", "b")

        assert queue.lease(1).more
        assert not queue.lease(1).more

    def test_many_can_be_taken(self, queue: DrivenQueue) -> None:
        """Batches may have any size; order and number stay."""
        uuids = [f"t{number}" for number in range(1_234)]
        queue.send(*uuids)

        taken = queue.take(1_200)

        assert names(taken) == uuids[:1_200]
        assert queue.counts().leased == 1_200
        assert names(queue.take()) == uuids[1_200:]

    # -- time --------------------------------------------------------------------------------------------------------

    def test_nothing_is_leased_before_its_time(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """An ETA is a promise: not a microsecond early, whatever the store rounds to."""
        due = clock.now() + dt.timedelta(seconds=1, microseconds=500)
        queue.send("a", due=due)
        assert queue.take() == []

        clock.advance(dt.timedelta(seconds=1, microseconds=499))
        assert queue.take() == []

        clock.advance(2 * MILLISECOND)
        assert names(queue.take()) == ["a"]

    @pytest.mark.parametrize("microseconds", [100, 1_000])
    def test_a_moment_is_not_at_once(self, queue: DrivenQueue, clock: ManualClock, microseconds: int) -> None:
        """However soon it is due: what has not come yet is not there."""
        moment = dt.timedelta(microseconds=microseconds)
        queue.send("eta", due=clock.now() + moment)
        queue.send("delay", delay=moment)

        assert queue.counts().delayed == 2
        assert queue.take() == []
        clock.advance(2 * MILLISECOND)
        assert names(queue.take()) == ["eta", "delay"]

    def test_a_delay_counts_from_when_the_message_was_accepted(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """By the broker's clock: the sender's may be wrong."""
        clock.advance(SECOND)
        queue.send("a", delay=SECOND)
        clock.advance(SECOND - MILLISECOND)
        assert queue.take() == []

        clock.advance(MILLISECOND)
        assert names(queue.take()) == ["a"]

    def test_a_time_that_has_passed_is_now(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """A late sender's task runs at once."""
        queue.send("a", due=clock.now() - SECOND)
        queue.send("b", due=clock.now())
        queue.send("c", delay=dt.timedelta(0))

        assert queue.counts().pending == 3
        assert names(queue.take()) == ["a", "b", "c"]

    def test_the_earliest_comes_first(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Of several that have become due, whatever the order in which they were sent."""
        for seconds in (3, 1, 2):
            queue.send(f"t{seconds}", delay=seconds * SECOND)
        clock.advance(3 * SECOND)

        assert names(queue.take()) == ["t1", "t2", "t3"]

    def test_waiting_does_not_cost_the_priority(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """What has become due stands with the others of its priority."""
        queue.send("urgent", delay=SECOND, priority=9)
        queue.send("plain", priority=1)
        clock.advance(SECOND)

        assert names(queue.take()) == ["urgent", "plain"]

    def test_a_delivery_says_for_when_it_was_sent(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """How late a task starts is counted from there, and so is a time after which it expires."""
        sent = clock.now()
        queue.send("eta", due=sent + 2 * SECOND)
        queue.send("delay", delay=3 * SECOND)
        clock.advance(5 * SECOND)

        due = {delivery.uuid: delivery.due_at for delivery in queue.take()}

        assert due["eta"] is not None
        assert due["delay"] is not None
        assert abs(due["eta"] - (sent + 2 * SECOND)) <= MILLISECOND
        assert abs(due["delay"] - (sent + 3 * SECOND)) <= MILLISECOND

    def test_the_next_moment_is_said(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Who waits need not ask before: the earliest delayed message, or the lease that runs out first."""
        start = clock.now()
        queue.send("later", delay=50 * SECOND)
        queue.send("now")
        queue.take_one()
        lease = queue.lease()
        assert lease.next_due is not None
        assert abs(lease.next_due - (start + LEASE)) <= MILLISECOND

        queue.send("soon", delay=SECOND)

        lease = queue.lease()
        assert lease.next_due is not None
        assert abs(lease.next_due - (start + SECOND)) <= MILLISECOND

    # -- repeated calls ----------------------------------------------------------------------------------------------

    def test_a_repeated_call_gives_the_same_messages_again(self, queue: DrivenQueue) -> None:
        """The reply was lost: what it said must not lie leased until it runs out, nor may others be taken."""
        queue.send(*"abcd")
        lease = queue.lease(2, call=7)

        again = queue.lease(2, call=7)

        assert (again.token, again.deliveries) == (lease.token, lease.deliveries)
        assert queue.counts().leased == len(lease.deliveries)

    def test_a_repeated_call_gives_what_is_still_held(self, queue: DrivenQueue) -> None:
        """What was settled meanwhile is over: it must not run again."""
        queue.send("a", "b")
        lease = queue.lease(2, call=1)
        assert queue.settle(lease.deliveries[0]) is Answer.OK

        assert queue.lease(2, call=1).deliveries == lease.deliveries[1:]

    def test_a_repeated_call_may_ask_for_none(self, queue: DrivenQueue) -> None:
        """So another learns what a silent caller got; and a call that has not arrived gets nothing any more."""
        queue.send("a", "b")
        lease = queue.lease(1, worker="w1", call=1)

        assert queue.lease(0, worker="w1", call=1).deliveries == lease.deliveries
        assert queue.lease(0, worker="w2", call=1).deliveries == ()
        assert queue.lease(1, worker="w2", call=1).deliveries == ()
        assert names(queue.take(worker="w3")) == ["b"]

    def test_a_repeated_call_that_got_nothing_gets_nothing(self, queue: DrivenQueue) -> None:
        """Its reply may have arrived: messages given to the repetition would be in nobody's hands."""
        assert queue.lease(call=1).deliveries == ()
        queue.send("a")

        assert queue.lease(call=1).deliveries == ()
        assert names(queue.lease(call=2).deliveries) == ["a"]

    @pytest.mark.parametrize("first_got_something", [True, False])
    def test_an_older_call_gives_nothing(self, queue: DrivenQueue, first_got_something: bool) -> None:
        """A late duplicate of a call that was answered long ago must not take messages that nobody waits for."""
        if first_got_something:
            queue.send("a")
        queue.lease(call=1)
        queue.send("newer")
        queue.lease(call=2)
        queue.send("b")

        # Nor what the newer call holds: it is in other hands already.
        assert queue.lease(call=1).deliveries == ()
        assert queue.counts().pending == 1

    def test_workers_count_their_calls_each_for_itself(self, queue: DrivenQueue) -> None:
        """A new worker starts at one; what others called does not matter."""
        queue.send("a", "b")
        queue.lease(1, worker="w1", call=100)

        assert names(queue.lease(1, worker="w2", call=1).deliveries) == ["b"]

    def test_calls_are_counted_for_each_queue(self, queue: DrivenQueue, broker: Broker, clock: ManualClock) -> None:
        """A worker counts its calls on each queue."""
        other = DrivenQueue(broker, clock, "other")
        queue.send("a")
        other.send("b")
        queue.lease(1, call=5)

        assert names(other.lease(1, call=1).deliveries) == ["b"]

    # -- verdicts ----------------------------------------------------------------------------------------------------

    def test_what_has_a_verdict_comes_first(self, queue: DrivenQueue) -> None:
        """Ending costs little, and somebody may wait for it."""
        queue.send("urgent", priority=9)
        queue.send("canceled", priority=0)
        queue.cancel("canceled")

        taken = queue.take()

        assert [(item.uuid, item.verdict) for item in taken] == [("canceled", Verdict.CANCELED), ("urgent", None)]

    def test_who_asks_for_verdicts_gets_nothing_to_run(self, queue: DrivenQueue) -> None:
        """A worker that knows none of the queue's tasks can still end what is to be ended."""
        queue.send("a", "b")
        queue.cancel("b")

        lease = queue.lease(verdicts_only=True)

        assert [(item.uuid, item.verdict) for item in lease.deliveries] == [("b", Verdict.CANCELED)]
        assert not lease.more
        assert queue.lease(verdicts_only=True).deliveries == ()
        assert queue.counts().pending == 1

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_lease_under_a_wrong_name_is_refused(self, broker: Broker, clock: ManualClock, hostile: str) -> None:
        """Queue names and worker names become keys and tokens."""
        with pytest.raises(InvalidArgument):
            DrivenQueue(broker, clock, hostile).lease()
        with pytest.raises(InvalidArgument):
            DrivenQueue(broker, clock).lease(worker=hostile)
