"""Laws of stopping what has not started."""

from __future__ import annotations

import datetime as dt

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.ports.broker import Broker
from vecna.ports.values import Answer, Canceling, SettleAs, Standing, Verdict
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, LEASE, SECOND


class CancelLaws(BrokerCase):
    """`Cancelling.cancel`."""

    @pytest.mark.parametrize("delay", [None, SECOND])
    def test_what_waits_never_starts(self, queue: DrivenQueue, clock: ManualClock, delay: dt.timedelta | None) -> None:
        """CANCELED is a promise: no worker runs it, ever. It is leased once more, to be recorded as cancelled."""
        queue.send("a", delay=delay)

        assert queue.cancel("a") == [Canceling.CANCELED]

        assert queue.standing("a") is Standing.ENDING
        clock.advance(SECOND)
        delivery = queue.take_one()
        assert (delivery.uuid, delivery.body, delivery.verdict) == ("a", b"a", Verdict.CANCELED)
        assert queue.settle(delivery) is Answer.OK
        assert queue.counts() == type(queue.counts())()
        clock.advance(SECOND)
        assert queue.take() == []

    def test_a_retry_that_waits_never_starts(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """Between two attempts it is as any delayed message."""
        queue.send("a")
        queue.settle(queue.take_one(), SettleAs.RETRY, delay=SECOND)

        assert queue.cancel("a") == [Canceling.CANCELED]

        clock.advance(SECOND)
        assert [item.verdict for item in queue.take()] == [Verdict.CANCELED]

    @pytest.mark.parametrize("delay", [None, SECOND])
    def test_a_repeated_cancel_gives_the_same_answer(self, queue: DrivenQueue, delay: dt.timedelta | None) -> None:
        """Until its end is recorded; one ending comes of it."""
        queue.send("a", delay=delay)
        queue.cancel("a")

        assert queue.cancel("a", "a") == [Canceling.CANCELED] * 2

        assert queue.counts().ending == 1
        delivery = queue.take_one()
        assert queue.cancel("a") == [Canceling.CANCELED]
        assert queue.settle(delivery) is Answer.OK
        assert queue.take() == []

    def test_what_is_leased_is_flagged(self, queue: DrivenQueue) -> None:
        """Its worker learns of it with each heartbeat, so also when a reply is lost; it tells the task to stop."""
        queue.send("a", "b")
        lease = queue.lease(2)

        assert queue.cancel("a") == [Canceling.RUNNING]
        assert queue.cancel("a") == [Canceling.RUNNING]

        assert queue.standing("a") is Standing.LEASED
        told = [uuid for token in (lease.token,) for uuid in queue.extend(token)[0].canceled]
        assert told == ["a"]
        assert queue.extend(lease.token)[0].canceled == ("a",)

    def test_each_lease_hears_of_its_own(self, queue: DrivenQueue) -> None:
        """What others hold is no business of this one."""
        queue.send("a", "b")
        first, second = queue.take_one(worker="w1"), queue.take_one(worker="w2")

        queue.cancel("b")

        assert [item.canceled for item in queue.extend(first.token, second.token)] == [(), ("b",)]

    def test_what_is_no_longer_held_is_not_told(self, queue: DrivenQueue) -> None:
        """A settled message is over, flagged or not."""
        queue.send("a", "b")
        taken = queue.take(2, worker="w1")
        queue.cancel("a", "b")
        queue.settle(taken[0])

        assert [uuid for item in queue.extend(taken[1].token) for uuid in item.canceled] == ["b"]

    @pytest.mark.parametrize("settle", [SettleAs.RETRY, SettleAs.RETURN])
    def test_what_was_cancelled_while_leased_does_not_run_again(
        self, queue: DrivenQueue, clock: ManualClock, settle: SettleAs
    ) -> None:
        """Whether its worker wanted to retry it or had not even started it: it ends as cancelled."""
        queue.send("a")
        delivery = queue.take_one()
        queue.cancel("a")

        assert queue.settle(delivery, settle, delay=SECOND) is Answer.OK
        assert queue.settle(delivery, settle, delay=SECOND) is Answer.ALREADY

        assert queue.standing("a") is Standing.ENDING
        assert queue.cancel("a") == [Canceling.CANCELED]
        clock.advance(SECOND)
        assert [item.verdict for item in queue.take()] == [Verdict.CANCELED]

    @pytest.mark.parametrize("settle", [SettleAs.DONE, SettleAs.DEAD])
    def test_what_was_cancelled_while_leased_may_end(self, queue: DrivenQueue, settle: SettleAs) -> None:
        """It ran to its end before it heard: that end counts."""
        queue.send("a")
        delivery = queue.take_one()
        queue.cancel("a")

        assert queue.settle(delivery, settle, reason="x") is Answer.OK

        assert queue.standing("a") is (None if settle is SettleAs.DONE else Standing.DEAD)

    @pytest.mark.parametrize("target", ["q", "other"])
    def test_what_was_cancelled_while_leased_causes_nothing(
        self, queue: DrivenQueue, clock: ManualClock, target: str
    ) -> None:
        """FLAGGED, and nothing has changed: the worker decides again, and ends what would follow as cancelled."""
        goal = queue.at(target)
        queue.send("a")
        delivery = queue.take_one()
        queue.cancel("a")

        for _ in range(2):
            assert queue.settle(delivery, follow_ups=(goal.message("b"),)) is Answer.FLAGGED
        queue.relay()

        assert queue.standing("a") is Standing.LEASED
        assert goal.standing("b") is None
        assert queue.extend(delivery.token)[0].alive
        assert queue.settle(delivery) is Answer.OK
        queue.relay()
        assert goal.take() == []

    def test_a_refused_settlement_holds_up_no_other(self, queue: DrivenQueue) -> None:
        """FLAGGED is an answer for one id."""
        queue.send("a", "b")
        taken = queue.take(2)
        queue.cancel("a")

        answers = queue.settle_all(taken, follow_ups=(queue.message("c"),))

        assert answers == [Answer.FLAGGED, Answer.OK]
        assert names(queue.take()) == ["c"]

    def test_what_was_cancelled_and_then_lost_by_its_worker_does_not_start(self, queue: DrivenQueue) -> None:
        """The flag outlives the lease."""
        queue.send("a")
        queue.take_one(worker="w1")
        queue.cancel("a")

        queue.pass_time(LEASE + SECOND)
        queue.lease(0)

        assert queue.standing("a") is Standing.ENDING
        assert queue.cancel("a") == [Canceling.RUNNING]
        assert [item.verdict for item in queue.take(worker="w2")] == [Verdict.CANCELED]

    @pytest.mark.parametrize("after", ["outage", "crash", "retry"])
    def test_what_a_silent_worker_may_have_begun_is_running(
        self, queue: DrivenQueue, clock: ManualClock, after: str
    ) -> None:
        """It will not be handed out again, but who held it may be at it still: "canceled" would be a lie."""
        queue.send("a", "b", code="c")
        queue.take_one(worker="w1")
        if after == "outage":
            clock.advance(LEASE + SECOND)
            queue.lease(0)
            queue.pass_time(LEASE + SECOND)
        else:
            queue.pass_time(LEASE + SECOND)
        if after == "retry":
            queue.settle(queue.take_one(worker="w2"), SettleAs.RETRY, delay=SECOND)
        queue.lease(0)

        assert queue.cancel("a", "b") == [Canceling.RUNNING, Canceling.CANCELED]
        assert queue.cancel("a", "b") == [Canceling.RUNNING, Canceling.CANCELED]
        found = queue.broker.cancel_code(queue.name, "c")
        assert (found.canceled, found.running) == (("b",), ("a",))
        assert {item.uuid: item.verdict for item in queue.take(worker="w2")} == {
            "a": Verdict.CANCELED,
            "b": Verdict.CANCELED,
        }

    def test_what_has_a_verdict_keeps_it_until_it_is_settled(self, queue: DrivenQueue) -> None:
        """The worker that was to record the end died, or gave it back: another hears the same."""
        queue.send("a")
        queue.cancel("a")
        queue.take_one(worker="w1")
        queue.pass_time(LEASE + SECOND)
        delivery = queue.take_one(worker="w2")
        assert (delivery.verdict, delivery.crashes) == (Verdict.CANCELED, 1)

        queue.settle(delivery, SettleAs.RETURN)
        assert queue.standing("a") is Standing.ENDING
        delivery = queue.take_one(worker="w2")
        assert delivery.verdict is Verdict.CANCELED

        queue.settle(delivery, SettleAs.RETRY, delay=SECOND)
        assert queue.take_one(worker="w2").verdict is Verdict.CANCELED

    def test_what_is_not_there_is_unknown(self, queue: DrivenQueue, broker: Broker, clock: ManualClock) -> None:
        """Never sent, done, dead, or in another queue: there is nothing here to stop."""
        DrivenQueue(broker, clock, "other").send("elsewhere")
        queue.send("done", "dead")
        done, dead = queue.take(2)
        queue.settle(done)
        queue.settle(dead, SettleAs.DEAD)

        answers = queue.cancel("never", "done", "dead", "elsewhere")

        assert answers == [Canceling.UNKNOWN] * 4
        assert queue.standing("dead") is Standing.DEAD
        assert broker.counts("other").pending == 1

    @pytest.mark.parametrize("died_of", ["crashes", "cancel"])
    def test_a_dead_letter_is_unknown_whatever_it_died_of(self, queue: DrivenQueue, died_of: str) -> None:
        """Its end is recorded; the verdict that led to it says nothing any more."""
        queue.send("a")
        if died_of == "cancel":
            queue.cancel("a")
        else:
            queue.take_one()
            queue.pass_time(LEASE + SECOND)
        delivery = queue.take_one(max_deliveries=1)
        assert delivery.verdict is not None
        assert queue.settle(delivery, SettleAs.DEAD) is Answer.OK

        assert queue.cancel("a") == [Canceling.UNKNOWN]

    def test_a_cancel_covers_what_was_accepted_before(self, queue: DrivenQueue) -> None:
        """An id that is sent again later is a new task: it runs."""
        queue.send("a")
        queue.cancel("a")
        queue.settle(queue.take_one())
        queue.cancel("a")

        queue.send("a")
        assert queue.take_one().verdict is None
        assert queue.cancel("a") == [Canceling.RUNNING]

    def test_a_flag_dies_with_its_message(self, queue: DrivenQueue) -> None:
        """What is sent later under the id of a flagged message is not flagged."""
        queue.send("a")
        delivery = queue.take_one()
        queue.cancel("a")
        queue.settle(delivery)

        queue.send("a")
        again = queue.take_one()

        assert queue.extend(again.token)[0].canceled == ()
        assert queue.settle(again, follow_ups=(queue.message("b"),)) is Answer.OK

    def test_ids_are_answered_in_order(self, queue: DrivenQueue) -> None:
        """One answer an id, in batches of any size."""
        queue.send(*[f"t{number}" for number in range(1_000)])
        taken = set(names(queue.take(300)))
        uuids = [f"t{number}" for number in range(999, -200, -1) if number >= 0 or number % 2]

        answers = queue.cancel(*[uuid.replace("-", "none") for uuid in uuids])

        expected = [
            Canceling.UNKNOWN if "-" in uuid else Canceling.RUNNING if uuid in taken else Canceling.CANCELED
            for uuid in uuids
        ]
        assert answers == expected
        assert (queue.counts().ending, queue.counts().leased) == (700, 300)
        assert queue.cancel() == []

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_an_id_outside_the_rule_is_refused_before_any_is_stopped(self, queue: DrivenQueue, hostile: str) -> None:
        """Nothing of such a call is done."""
        queue.send("a")

        with pytest.raises(InvalidArgument):
            queue.cancel("a", hostile)
        with pytest.raises(InvalidArgument):
            queue.broker.cancel(hostile, ["a"])

        assert queue.standing("a") is Standing.PENDING
