"""Laws of leases that run out."""

from __future__ import annotations

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.decide import Attempts
from vecna.ports.values import Answer, Canceling, SettleAs, Settlement, Standing, Verdict
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import LEASE, MILLISECOND, SECOND


class ExpiryLaws(BrokerCase):
    """`Queueing.lease`: leases past their deadline."""

    def test_a_lease_lasts_as_long_as_was_asked_for(self, queue: DrivenQueue) -> None:
        """Not a moment less: its holder trusts that nobody else runs the task."""
        queue.send("a")
        queue.take_one(worker="w1")

        queue.pass_time(LEASE - MILLISECOND)
        assert queue.take(worker="w2") == []

        queue.pass_time(2 * MILLISECOND)
        assert names(queue.take(worker="w2")) == ["a"]

    def test_what_a_dead_worker_held_goes_to_another(self, queue: DrivenQueue) -> None:
        """Nothing is lost with its worker; the new lease has a token of its own, and the crash is counted."""
        queue.send("a", body=b"body")
        first = queue.take_one(worker="w1")

        queue.pass_time(LEASE + SECOND)
        second = queue.take_one(worker="w2")

        assert (second.uuid, second.body, second.crashes) == ("a", b"body", 1)
        assert second.token != first.token
        assert second.enqueued_at == first.enqueued_at

    def test_a_crash_is_not_a_retry(self, queue: DrivenQueue) -> None:
        """A task is not to blame for its worker's end: what its retries count stays as it was."""
        queue.send("a")
        queue.settle(queue.take_one(), SettleAs.RETRY, attempts=Attempts(1, 2, 3))
        queue.take_one()

        queue.pass_time(LEASE + SECOND)
        delivery = queue.take_one()

        assert (delivery.attempts, delivery.crashes) == (Attempts(1, 2, 3), 1)

    def test_what_comes_back_goes_to_the_head_of_its_priority(self, queue: DrivenQueue) -> None:
        """It has waited longest; but it does not overtake what is more urgent."""
        queue.send("a", "b", priority=3)
        queue.take_one(worker="w1")
        queue.send("urgent", priority=5)
        queue.send("c", priority=3)

        queue.pass_time(LEASE + SECOND)

        assert names(queue.take(worker="w2")) == ["urgent", "a", "b", "c"]

    def test_what_comes_back_keeps_its_order(self, queue: DrivenQueue) -> None:
        """A batch that a dead worker held stands as it stood."""
        queue.send(*"abcd")
        queue.lease(3, worker="w1")

        queue.pass_time(LEASE + SECOND)

        assert names(queue.take(worker="w2")) == ["a", "b", "c", "d"]

    def test_what_was_settled_does_not_come_back(self, queue: DrivenQueue) -> None:
        """A lease that runs out gives back what it still holds."""
        queue.send("a", "b", "c")
        a, b, _ = queue.take(3, worker="w1")
        queue.settle(a)
        queue.settle(b, SettleAs.RETRY, delay=LEASE * 10)

        queue.pass_time(LEASE + SECOND)

        assert [(item.uuid, item.crashes) for item in queue.take(worker="w2")] == [("c", 1)]

    @pytest.mark.parametrize("limit", [1, 3])
    def test_a_message_that_crashes_too_often_gets_the_verdict_dead(self, queue: DrivenQueue, limit: int) -> None:
        """A message that kills its workers must not kill them all; it is leased out once more, to be ended."""
        queue.send("a")
        for crashes in range(limit):
            delivery = queue.take_one(max_deliveries=limit)
            assert (delivery.crashes, delivery.verdict) == (crashes, None)
            queue.pass_time(LEASE + SECOND)

        delivery = queue.take_one(max_deliveries=limit)

        assert (delivery.crashes, delivery.verdict) == (limit, Verdict.DEAD)

    def test_a_broker_never_ends_a_message_itself(self, queue: DrivenQueue) -> None:
        """The end must be recorded first, so a worker has to hear of it; if that one dies too, the next does."""
        queue.send("a")
        queue.take_one()
        queue.pass_time(LEASE + SECOND)
        queue.lease(0, max_deliveries=1)
        assert queue.standing("a") is Standing.ENDING

        assert queue.take_one(max_deliveries=1).verdict is Verdict.DEAD
        queue.pass_time(LEASE + SECOND)

        delivery = queue.take_one(max_deliveries=1)
        assert delivery.verdict is Verdict.DEAD
        assert queue.settle(delivery, SettleAs.DEAD, reason="crashed") is Answer.OK
        assert queue.counts().dead == 1

    @pytest.mark.parametrize("settle", [SettleAs.RETURN, SettleAs.RETRY])
    @pytest.mark.parametrize("canceled", [False, True])
    def test_a_verdict_stands(self, queue: DrivenQueue, settle: SettleAs, canceled: bool) -> None:
        """Whatever its lease comes to, and also if it is cancelled now: it is dead, and the next one hears the same."""
        queue.send("a")
        queue.take_one()
        queue.pass_time(LEASE + SECOND)
        delivery = queue.take_one(max_deliveries=1)
        if canceled:
            queue.cancel("a")

        assert queue.settle(delivery, settle, delay=SECOND) is Answer.OK

        assert queue.standing("a") is Standing.ENDING
        assert queue.cancel("a") == [Canceling.RUNNING]  # who went silent with it may be at it still
        assert queue.take_one().verdict is Verdict.DEAD

    def test_housekeeping_alone_ends_leases(self, queue: DrivenQueue) -> None:
        """`count` 0 is enough: full workers keep the queue in order too."""
        queue.send("a")
        queue.take_one(worker="w1")
        queue.pass_time(LEASE + SECOND)

        assert queue.lease(0, worker="w2").more
        assert queue.standing("a") is Standing.PENDING

    def test_a_repeated_call_does_not_bring_back_what_ran_out(self, queue: DrivenQueue) -> None:
        """The lease is over; another may hold the message."""
        queue.send("a")
        queue.lease(worker="w1", call=1)
        queue.pass_time(LEASE + SECOND)
        second = queue.take_one(worker="w2")

        assert queue.lease(worker="w1", call=1).deliveries == ()
        assert queue.extend(second.token)[0].alive

    def test_many_leases_end_together(self, queue: DrivenQueue) -> None:
        """However many messages a dead worker held: all come back, each once, a worker's few calls later."""
        uuids = [f"t{number}" for number in range(1_234)]
        queue.send(*uuids)
        queue.take(1_234, worker="w1")

        queue.pass_time(LEASE + SECOND)

        assert sorted(names(queue.take(2_000, worker="w2"))) == sorted(uuids)


class OutageLaws(BrokerCase):
    """`Queueing.lease`: when the whole store was away."""

    def test_an_outage_ends_no_lease(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Its holders live and could not extend: running everything twice after each outage is no recovery."""
        queue.send("a")
        delivery = queue.take_one(worker="w1")

        clock.advance(LEASE * 3)

        assert queue.take(worker="w2") == []
        queue.pass_time(LEASE - SECOND)
        assert queue.take(worker="w2") == []
        assert queue.extend(delivery.token)[0].alive
        assert queue.settle(delivery) is Answer.OK

    def test_what_ends_after_an_outage_is_no_crash(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Three outages would make healthy messages dead."""
        queue.send("a")
        queue.take_one(worker="w1", max_deliveries=1)
        clock.advance(LEASE * 3)
        assert queue.take(worker="w2", max_deliveries=1) == []

        queue.pass_time(LEASE + SECOND)
        delivery = queue.take_one(worker="w2", max_deliveries=1)

        assert (delivery.crashes, delivery.verdict) == (0, None)

    def test_a_lease_about_to_run_out_is_spared_too(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Its holder has missed a heartbeat as well; it gets the same time to come back."""
        queue.send("a")
        queue.take_one(worker="w1", max_deliveries=1)
        clock.advance(LEASE - SECOND)

        assert queue.take(worker="w2", max_deliveries=1) == []
        queue.pass_time(2 * SECOND)
        assert queue.take(worker="w2", max_deliveries=1) == []
        queue.pass_time(LEASE - SECOND)
        assert queue.take_one(worker="w2", max_deliveries=1).crashes == 0

    @pytest.mark.parametrize("first_call", ["extend", "settle"])
    def test_whichever_call_comes_first_ends_the_outage(
        self, queue: DrivenQueue, clock: ManualClock, first_call: str
    ) -> None:
        """The first holder to come back must not take the others' time away."""
        queue.send("a", "b")
        first, second = queue.take_one(worker="w1"), queue.take_one(worker="w2")
        clock.advance(LEASE * 3)

        if first_call == "extend":
            assert queue.extend(first.token)[0].alive
        else:
            assert queue.settle(first) is Answer.OK

        assert queue.take(worker="w3") == []
        assert queue.extend(second.token)[0].alive

    @pytest.mark.parametrize("call", ["lease", "extend", "settle"])
    def test_every_call_of_a_worker_is_a_sign_of_life(self, queue: DrivenQueue, clock: ManualClock, call: str) -> None:
        """While any of them comes through, the store is there, and who is silent has crashed."""
        queue.send("a")
        queue.take_one(worker="w1")

        for _ in range(5):
            clock.advance(LEASE / 4)
            if call == "lease":
                queue.lease(0, worker="w2")
            elif call == "extend":
                queue.extend("0:nobody:1")
            else:
                queue.broker.settle("q", [Settlement("unknown", "0:nobody:1")])

        assert queue.take_one(worker="w2").crashes == 1

    def test_who_came_back_after_an_outage_can_crash_again(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Once extended, a lease is like any other."""
        queue.send("a")
        delivery = queue.take_one(worker="w1")
        clock.advance(LEASE * 3)
        assert queue.extend(delivery.token)[0].alive

        queue.pass_time(LEASE + SECOND)

        assert queue.take_one(worker="w2").crashes == 1

    def test_a_lease_is_spared_once(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """A queue that is looked at seldom would else never get back what a dead worker held."""
        queue.send("a")
        queue.take_one(worker="w1")

        clock.advance(LEASE * 3)
        assert queue.take(worker="w2") == []
        clock.advance(LEASE * 3)

        assert names(queue.take(worker="w2")) == ["a"]

    def test_a_message_is_forgiven_once(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """A task that kills the only worker looks like an outage each time; it must not do so for ever."""
        queue.send("a")
        found: list[tuple[int, Verdict | None]] = []
        for _ in range(4):
            delivery = queue.take_one(max_deliveries=2)
            found.append((delivery.crashes, delivery.verdict))
            clock.advance(LEASE * 3)
            assert queue.take() == []
            clock.advance(LEASE * 3)

        assert found == [(0, None), (0, None), (1, None), (2, Verdict.DEAD)]

    def test_an_outage_after_a_crash_forgives_nothing(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """What has crashed before is as likely the cause as the outage."""
        queue.send("a")
        queue.take_one()
        queue.pass_time(LEASE + SECOND)
        assert queue.take_one().crashes == 1

        clock.advance(LEASE * 3)
        assert queue.take() == []
        clock.advance(LEASE * 3)

        assert queue.take_one().crashes == 2

    def test_a_short_silence_is_no_outage(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Half of the lease and no more: idle workers look that often."""
        queue.send("a")
        queue.take_one(worker="w1")
        clock.advance(LEASE / 2)
        assert queue.take(worker="w2") == []
        clock.advance(LEASE / 2)
        queue.lease(0, worker="w2")
        clock.advance(MILLISECOND)

        assert queue.take_one(worker="w2").crashes == 1
