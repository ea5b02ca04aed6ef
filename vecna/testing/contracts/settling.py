"""Laws of ending leases."""

from __future__ import annotations

import datetime as dt

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.decide import Attempts
from vecna.domain.errors import InvalidArgument
from vecna.ports.values import Answer, SettleAs, Settlement, Standing
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, LEASE, MILLISECOND, SECOND

EVERY_END = pytest.mark.parametrize("settle", list(SettleAs))


class SettleLaws(BrokerCase):
    """`Queueing.settle`, without follow-ups and cancelling."""

    def test_what_is_done_is_gone(self, queue: DrivenQueue) -> None:
        """Nothing of it stays in the broker."""
        queue.send("a")

        assert queue.settle(queue.take_one()) is Answer.OK

        assert queue.counts() == type(queue.counts())()
        assert queue.standing("a") is None
        assert queue.take() == []

    def test_a_repeated_done_finds_nothing(self, queue: DrivenQueue) -> None:
        """The reply was lost; GONE says that the message is over, which is what DONE wanted."""
        queue.send("a")
        delivery = queue.take_one()
        queue.settle(delivery)

        assert queue.settle(delivery) is Answer.GONE

    @EVERY_END
    def test_an_id_that_is_not_there_is_gone(self, queue: DrivenQueue, settle: SettleAs) -> None:
        """The same for a message that another has ended long ago."""
        assert queue.broker.settle("q", [Settlement("a", "1:w:1", settle)]) == [Answer.GONE]

    @EVERY_END
    @pytest.mark.parametrize("taken_again", [True, False])
    def test_an_old_lease_settles_nothing(self, queue: DrivenQueue, settle: SettleAs, taken_again: bool) -> None:
        """Its holder was silent too long. Whoever has the message now decides, alone."""
        queue.send("a")
        old = queue.take_one(worker="w1")
        queue.pass_time(LEASE + SECOND)
        queue.lease(1 if taken_again else 0, worker="w2")
        before = queue.counts()

        assert queue.settle(old, settle, delay=SECOND, attempts=Attempts(9, 9, 9)) is Answer.LOST

        assert queue.counts() == before
        queue.pass_time(LEASE + SECOND)
        assert queue.take_one(worker="w3").attempts == Attempts()

    @EVERY_END
    def test_a_token_that_nobody_has_settles_nothing(self, queue: DrivenQueue, settle: SettleAs) -> None:
        """Not for what waits, and not for what is leased."""
        queue.send("a", "b")
        queue.take_one()
        before = queue.counts()
        tokens = ["", "x", "2:w:1", *HOSTILE]

        answers = queue.broker.settle("q", [Settlement(uuid, token, settle) for uuid in "ab" for token in tokens])

        assert set(answers) == {Answer.LOST}
        assert queue.counts() == before

    @EVERY_END
    def test_a_lease_settles_its_own_messages_only(self, queue: DrivenQueue, settle: SettleAs) -> None:
        """A live token is no key to what another lease holds."""
        queue.send("a", "b")
        first, second = queue.take_one(worker="w1"), queue.take_one(worker="w2")

        assert queue.broker.settle("q", [Settlement(second.uuid, first.token, settle)]) == [Answer.LOST]
        assert queue.counts().leased == 2

    def test_a_late_settlement_is_in_time_while_nobody_has_ended_the_lease(self, queue: DrivenQueue) -> None:
        """The work is done and nobody else has the message: to refuse would only run it twice."""
        queue.send("a")
        delivery = queue.take_one()
        queue.pass_time(LEASE + SECOND)

        assert queue.settle(delivery) is Answer.OK
        assert queue.take() == []

    # -- retry -------------------------------------------------------------------------------------------------------

    def test_a_retry_waits(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """For the delay that was decided, and no less; with what is to be kept of its attempts."""
        queue.send("a", body=b"body", priority=4)
        delivery = queue.take_one()

        assert queue.settle(delivery, SettleAs.RETRY, delay=SECOND, attempts=Attempts(1, 2, 3)) is Answer.OK

        assert queue.standing("a") is Standing.DELAYED
        clock.advance(SECOND - MILLISECOND)
        assert queue.take() == []
        clock.advance(MILLISECOND)
        again = queue.take_one()
        assert (again.uuid, again.body, again.attempts, again.crashes) == ("a", b"body", Attempts(1, 2, 3), 0)
        assert again.enqueued_at == delivery.enqueued_at

    def test_a_retry_without_delay_is_there_at_once(self, queue: DrivenQueue) -> None:
        """Behind what waits already."""
        queue.send("a", "b")
        queue.settle(queue.take_one(), SettleAs.RETRY, attempts=Attempts(1, 1, 0))

        assert [(item.uuid, item.attempts) for item in queue.take()] == [("b", Attempts()), ("a", Attempts(1, 1, 0))]

    def test_a_retry_keeps_its_priority(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """It is the same message."""
        queue.send("a", priority=9)
        queue.settle(queue.take_one(), SettleAs.RETRY, delay=SECOND)
        queue.send("b", priority=8)
        clock.advance(SECOND)

        assert names(queue.take()) == ["a", "b"]

    def test_a_repeated_retry_does_nothing(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """The reply was lost: one retry, counted once, and its time does not start anew."""
        queue.send("a")
        delivery = queue.take_one()
        queue.settle(delivery, SettleAs.RETRY, delay=SECOND, attempts=Attempts(1, 1, 0))
        clock.advance(SECOND - MILLISECOND)

        assert queue.settle(delivery, SettleAs.RETRY, delay=SECOND, attempts=Attempts(1, 1, 0)) is Answer.ALREADY

        clock.advance(MILLISECOND)
        assert [(item.uuid, item.attempts) for item in queue.take()] == [("a", Attempts(1, 1, 0))]

    # -- return ------------------------------------------------------------------------------------------------------

    def test_what_is_returned_stands_as_if_it_had_not_been_leased(self, queue: DrivenQueue) -> None:
        """At the head of its priority, nothing counted: a worker gives back what it cannot start soon."""
        queue.send("a", "b", priority=3)
        queue.send("urgent", priority=9)
        queue.settle(queue.take_one())
        delivery = queue.take_one()

        assert queue.settle(delivery, SettleAs.RETURN) is Answer.OK

        assert queue.counts().pending == 2
        assert [(item.uuid, item.attempts, item.crashes) for item in queue.take()] == [
            ("a", Attempts(), 0),
            ("b", Attempts(), 0),
        ]

    def test_a_return_changes_neither_attempts_nor_crashes(self, queue: DrivenQueue) -> None:
        """What was counted before stays counted."""
        queue.send("a")
        queue.settle(queue.take_one(), SettleAs.RETRY, attempts=Attempts(1, 2, 3))
        queue.take_one()
        queue.pass_time(LEASE + SECOND)

        queue.settle(queue.take_one(), SettleAs.RETURN, attempts=Attempts(7, 7, 7))

        delivery = queue.take_one()
        assert (delivery.attempts, delivery.crashes) == (Attempts(1, 2, 3), 1)

    def test_several_that_are_returned_stand_in_the_order_given(self, queue: DrivenQueue) -> None:
        """A worker that gives back its batch leaves the queue as it was."""
        queue.send(*"abcdef")
        a, b, c, d = queue.take(4)

        queue.broker.settle(
            "q",
            [
                Settlement(b.uuid, b.token, SettleAs.RETURN),
                Settlement(a.uuid, a.token, SettleAs.RETURN),
                Settlement(d.uuid, d.token, SettleAs.DONE),
                Settlement(c.uuid, c.token, SettleAs.RETURN),
            ],
        )

        assert names(queue.take()) == ["b", "a", "c", "e", "f"]

    def test_a_repeated_return_does_nothing(self, queue: DrivenQueue) -> None:
        """The reply was lost: the message is there once, and does not move again."""
        queue.send("a", "b")
        a, b = queue.take(2)
        queue.settle(a, SettleAs.RETURN)
        queue.settle(b, SettleAs.RETURN)

        assert queue.settle(a, SettleAs.RETURN) is Answer.ALREADY

        assert names(queue.take()) == ["b", "a"]

    @pytest.mark.parametrize("settle", [SettleAs.RETRY, SettleAs.RETURN])
    def test_a_late_repetition_does_not_touch_the_next_lease(self, queue: DrivenQueue, settle: SettleAs) -> None:
        """Another has the message by now; the repetition belongs to a lease that is over."""
        queue.send("a")
        first = queue.take_one(worker="w1")
        queue.settle(first, settle)
        second = queue.take_one(worker="w2")

        assert queue.settle(first, settle) in {Answer.ALREADY, Answer.LOST}
        assert queue.settle(first) is Answer.LOST

        assert queue.extend(second.token)[0].alive
        assert queue.settle(second) is Answer.OK

    # -- dead --------------------------------------------------------------------------------------------------------

    def test_a_dead_letter_is_kept_with_its_reason(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """For the operator: what it was, why it died and when. It is not leased any more."""
        queue.send("a", body=b"\x00\xff")
        clock.advance(SECOND)

        assert queue.settle(queue.take_one(), SettleAs.DEAD, reason="cannot be read: é") is Answer.OK

        (letter,) = queue.broker.get_dead_tasks("q")
        assert (letter.uuid, letter.queue, letter.reason, letter.body) == ("a", "q", "cannot be read: é", b"\x00\xff")
        assert abs(letter.died_at - clock.now()) < MILLISECOND
        assert queue.counts().dead == 1
        clock.advance(dt.timedelta(days=400))
        assert queue.take() == []

    def test_a_repeated_dead_changes_nothing(self, queue: DrivenQueue) -> None:
        """One dead letter, with its first reason."""
        queue.send("a")
        delivery = queue.take_one()
        queue.settle(delivery, SettleAs.DEAD, reason="first")

        assert queue.settle(delivery, SettleAs.DEAD, reason="second") is Answer.ALREADY

        assert [letter.reason for letter in queue.broker.get_dead_tasks("q")] == ["first"]

    @pytest.mark.parametrize("settle", [SettleAs.DONE, SettleAs.RETRY, SettleAs.RETURN])
    def test_a_dead_letter_stays_dead(self, queue: DrivenQueue, settle: SettleAs) -> None:
        """Its lease is over and cannot decide otherwise."""
        queue.send("a")
        delivery = queue.take_one()
        queue.settle(delivery, SettleAs.DEAD)

        assert queue.settle(delivery, settle) is Answer.LOST
        assert queue.standing("a") is Standing.DEAD

    # -- batches -----------------------------------------------------------------------------------------------------

    def test_settlements_are_answered_in_order(self, queue: DrivenQueue) -> None:
        """Each for itself: one that comes too late does not keep the others from ending."""
        queue.send("a", "b", "c")
        a, b, c = queue.take(3)

        answers = queue.broker.settle(
            "q",
            [
                Settlement("unknown", a.token),
                Settlement(b.uuid, "77:w:1"),
                Settlement(c.uuid, c.token, SettleAs.DEAD, reason="x"),
                Settlement(a.uuid, a.token),
                Settlement(a.uuid, a.token),
                Settlement(b.uuid, b.token, SettleAs.RETURN),
                Settlement(b.uuid, b.token, SettleAs.RETURN),
            ],
        )

        assert answers == [
            Answer.GONE,
            Answer.LOST,
            Answer.OK,
            Answer.OK,
            Answer.GONE,
            Answer.OK,
            Answer.ALREADY,
        ]
        assert queue.broker.settle("q", []) == []

    def test_a_batch_of_settlements_may_have_any_size(self, queue: DrivenQueue) -> None:
        """The adapter splits it; each message ends as was said."""
        queue.send(*[f"t{number}" for number in range(1_234)])
        taken = queue.take(1_234)
        kinds = [list(SettleAs)[number % 4] for number in range(1_234)]

        answers = queue.broker.settle(
            "q",
            [Settlement(item.uuid, item.token, kind, delay=SECOND) for item, kind in zip(taken, kinds, strict=True)],
        )

        assert answers == [Answer.OK] * 1_234
        counts = queue.counts()
        assert (counts.delayed, counts.pending, counts.dead, counts.leased) == (
            kinds.count(SettleAs.RETRY),
            kinds.count(SettleAs.RETURN),
            kinds.count(SettleAs.DEAD),
            0,
        )

    def test_a_large_batch_is_returned_in_order(self, queue: DrivenQueue) -> None:
        """The order holds over the splits that an adapter makes."""
        uuids = [f"t{number}" for number in range(1_234)]
        queue.send(*uuids)

        queue.settle_all(queue.take(1_234), SettleAs.RETURN)

        assert names(queue.take(1_234)) == uuids

    def test_what_is_returned_beside_large_follow_ups_stands_in_order(self, queue: DrivenQueue) -> None:
        """Also where what the others cause is too large for one step."""
        queue.send(*"abcd")
        a, b, c, d = queue.take(4)
        large = [queue.message(uuid, body=b"x" * 700_000) for uuid in ("after-b", "after-c")]

        queue.broker.settle(
            "q",
            [
                Settlement(a.uuid, a.token, SettleAs.RETURN),
                Settlement(b.uuid, b.token, follow_ups=(large[0],)),
                Settlement(c.uuid, c.token, follow_ups=(large[1],)),
                Settlement(d.uuid, d.token, SettleAs.RETURN),
            ],
        )

        assert names(queue.take(2)) == ["a", "d"]

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_an_id_outside_the_rule_is_refused_before_any_is_settled(self, queue: DrivenQueue, hostile: str) -> None:
        """A mistake of the caller leaves all as it was."""
        queue.send("a")
        delivery = queue.take_one()
        good = Settlement(delivery.uuid, delivery.token)

        for follow_up in (queue.message(hostile), queue.message("b", queue=hostile)):
            with pytest.raises(InvalidArgument):
                queue.broker.settle("q", [good, Settlement("a", delivery.token, follow_ups=(follow_up,))])
        with pytest.raises(InvalidArgument):
            queue.broker.settle("q", [good, Settlement(hostile, delivery.token)])
        with pytest.raises(InvalidArgument):
            queue.broker.settle(hostile, [good])

        assert queue.counts().leased == 1
