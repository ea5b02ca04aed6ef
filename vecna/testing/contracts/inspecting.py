"""Laws of looking without changing."""

from __future__ import annotations

import itertools

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.decide import Attempts
from vecna.domain.errors import InvalidArgument
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.ports.broker import Broker
from vecna.ports.values import QueueCounts, SettleAs, Standing
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.enqueueing import STANDINGS
from vecna.testing.contracts.values import HOSTILE, MILLISECOND, SECOND


def _signature(uuid: str, **options: object) -> Message:
    return Message.of(Signature("task", [uuid], uuid=uuid, **options), "q")  # type: ignore[arg-type]  # by the tests below


class InspectLaws(BrokerCase):
    """`Inspection`."""

    def test_each_message_is_counted_where_it_stands(self, queue: DrivenQueue) -> None:
        """Once, and in one place."""
        queue.send(*[f"t{number}" for number in range(15)])
        queue.send("later", delay=SECOND)
        taken = queue.take(9)
        queue.settle_all(taken[:2], SettleAs.DEAD)
        queue.settle(taken[2])
        queue.settle(taken[3], SettleAs.RETRY, delay=SECOND)
        queue.cancel("t9", "t10", "t11")

        assert queue.counts() == QueueCounts(pending=3, delayed=2, leased=5, ending=3, dead=2)

    def test_a_queue_that_never_was_is_empty(self, queue: DrivenQueue) -> None:
        """No error: it may get its first message in a moment."""
        assert queue.counts() == QueueCounts()
        assert queue.broker.get_pending_tasks("q") == []
        assert queue.broker.get_delayed_tasks("q") == []
        assert queue.broker.get_dead_tasks("q") == []
        assert queue.broker.locate(["a"], ["q"]) == [None]

    def test_pending_tasks_are_listed_as_they_would_be_leased(self, broker: Broker, queue: DrivenQueue) -> None:
        """By priority, within one the oldest first; what is leased, delayed or ending is not among them."""
        broker.enqueue([_signature("leased", priority=9)])
        queue.take_one()
        sent = [_signature("low"), _signature("high1", priority=5), _signature("low2"), _signature("high2", priority=5)]
        broker.enqueue([*sent, _signature("later", delay=SECOND), _signature("ending")])
        queue.cancel("ending")

        listed = broker.get_pending_tasks("q")

        assert [signature.uuid for signature in listed] == ["high1", "high2", "low", "low2"]
        assert listed[2] == Signature.from_json(sent[0].body)

    def test_delayed_tasks_are_listed_by_their_time(
        self, broker: Broker, queue: DrivenQueue, clock: ManualClock
    ) -> None:
        """The earliest first, each with the instant that it waits for, be it an ETA, a delay or a retry."""
        start = clock.now()
        broker.enqueue([_signature("retry")])
        queue.settle(queue.take_one(), SettleAs.RETRY, delay=2 * SECOND)
        broker.enqueue(
            [_signature("delay", delay=3 * SECOND), _signature("eta", eta=start + SECOND), _signature("now")]
        )

        listed = broker.get_delayed_tasks("q")

        assert [signature.uuid for signature in listed] == ["eta", "retry", "delay"]
        for seconds, signature in enumerate(listed, start=1):
            assert signature.eta is not None
            assert abs(signature.eta - (start + seconds * SECOND)) <= MILLISECOND
            assert signature.delay is None

    def test_dead_tasks_are_listed_by_age(self, broker: Broker, queue: DrivenQueue, clock: ManualClock) -> None:
        """The oldest first, with the call that they hold; also one that cannot be read."""
        broker.enqueue([_signature("a"), queue.message("b", body=b"\xff"), _signature("c")])
        a, b, c = queue.take(3)
        for delivery in (c, b, a):
            clock.advance(SECOND)
            queue.settle(delivery, SettleAs.DEAD, reason=f"reason {delivery.uuid}")

        letters = broker.get_dead_tasks("q")

        assert [(item.uuid, item.name, item.reason) for item in letters] == [
            ("c", "task", "reason c"),
            ("b", "", "reason b"),
            ("a", "task", "reason a"),
        ]
        assert letters[0].signature == Signature.from_json(c.body)

    @pytest.mark.parametrize("listing", ["pending", "delayed", "dead"])
    def test_pages_add_up_to_the_whole(self, broker: Broker, queue: DrivenQueue, listing: str) -> None:
        """`limit` and `offset` cut it; beyond the end there is nothing."""
        for number in range(25):
            broker.enqueue([_signature(f"t{number}", delay=(number + 1) * SECOND if listing == "delayed" else None)])
        if listing == "dead":
            queue.settle_all(queue.take(25), SettleAs.DEAD)

        def page(limit: int | None, offset: int) -> list[str]:
            if listing == "dead":
                return [letter.uuid for letter in broker.get_dead_tasks("q", limit=limit, offset=offset)]
            get = broker.get_pending_tasks if listing == "pending" else broker.get_delayed_tasks
            return [signature.uuid for signature in get("q", limit=limit, offset=offset)]

        whole = [f"t{number}" for number in range(25)]
        assert page(None, 0) == whole
        assert [uuid for offset in range(0, 40, 10) for uuid in page(10, offset)] == whole
        assert page(None, 20) == whole[20:]
        assert page(0, 0) == page(10, 25) == []

    def test_pages_go_over_priorities(self, broker: Broker) -> None:
        """One list, however it is stored."""
        for priority in (1, 9, 5):
            broker.enqueue([_signature(f"p{priority}-{n}", priority=priority) for n in range(3)])
        whole = [f"p{priority}-{n}" for priority in (9, 5, 1) for n in range(3)]

        pages = [[item.uuid for item in broker.get_pending_tasks("q", limit=2, offset=at)] for at in range(0, 10, 2)]

        assert list(itertools.chain(*pages)) == whole

    @pytest.mark.parametrize("delay", [None, SECOND])
    def test_what_cannot_be_read_is_left_out(self, broker: Broker, queue: DrivenQueue, delay: object) -> None:
        """One bad message does not hide the others from the operator."""
        broker.enqueue([_signature("a", delay=delay)])
        queue.send("bad", body=b"{", delay=delay)
        broker.enqueue([_signature("b", delay=delay)])

        listed = broker.get_delayed_tasks("q") if delay else broker.get_pending_tasks("q")

        assert sorted(signature.uuid for signature in listed) == ["a", "b"]

    @pytest.mark.parametrize("standing", STANDINGS)
    def test_a_message_is_found_where_it_stands(
        self, queue: DrivenQueue, clock: ManualClock, standing: Standing
    ) -> None:
        """With what was sent and when it was accepted; where it waits for its time, with that time."""
        start = clock.now()
        STANDINGS[standing](queue)

        (place,) = queue.broker.locate(["a"])

        assert place is not None
        assert (place.queue, place.standing, place.body, place.attempts) == ("q", standing, b"a", Attempts())
        assert abs(place.enqueued_at - start) < MILLISECOND
        if standing is Standing.DELAYED:
            assert place.due_at is not None
            assert abs(place.due_at - (start + SECOND)) <= MILLISECOND
        else:
            assert place.due_at is None

    def test_a_retry_is_found_with_its_attempts_and_its_time(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """A state that nobody recorded is made of it."""
        queue.send("a")
        queue.settle(queue.take_one(), SettleAs.RETRY, delay=SECOND, attempts=Attempts(1, 2, 3))

        (place,) = queue.broker.locate(["a"])

        assert place is not None
        assert (place.standing, place.attempts) == (Standing.DELAYED, Attempts(1, 2, 3))
        assert place.due_at is not None
        assert abs(place.due_at - (clock.now() + SECOND)) <= MILLISECOND

    def test_messages_are_looked_for_where_it_was_said(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """In the queues given, or in all that are known; answers are in the order of the ids."""
        other = DrivenQueue(queue.broker, clock, "other")
        queue.send("a", "b")
        other.send("c")

        everywhere = queue.broker.locate(["c", "none", "a", "b"])
        here = queue.broker.locate(["c", "a"], ["q", "unknown"])

        assert [place and place.queue for place in everywhere] == ["other", None, "q", "q"]
        assert [place and place.queue for place in here] == [None, "q"]
        assert queue.broker.locate(["a"], []) == [None]
        assert queue.broker.locate([]) == []

    def test_many_can_be_looked_for(self, queue: DrivenQueue) -> None:
        """Batches may have any size."""
        uuids = [f"t{number}" for number in range(1_100)]
        queue.send(*uuids[::2])

        places = queue.broker.locate(uuids)

        assert [place is not None for place in places] == [True, False] * 550

    def test_looking_changes_nothing(self, broker: Broker, queue: DrivenQueue, clock: ManualClock) -> None:
        """Not even what is due: the operator's eye is not a worker's call."""
        broker.enqueue([_signature("a"), _signature("b", delay=SECOND), _signature("c", priority=3)])
        delivery = queue.take_one()
        clock.advance(2 * SECOND)

        for _ in range(2):
            broker.get_pending_tasks("q")
            broker.get_delayed_tasks("q")
            broker.get_dead_tasks("q")
            broker.locate(["a", "b", "c"])
            broker.counts("q")

        assert queue.extend(delivery.token)[0].alive
        assert names(queue.take()) == ["a", "b"]

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_look_at_a_wrong_name_is_refused(self, broker: Broker, hostile: str) -> None:
        """Names from a command line or a web page reach these calls."""
        for look in (broker.counts, broker.get_pending_tasks, broker.get_delayed_tasks, broker.get_dead_tasks):
            with pytest.raises(InvalidArgument):
                look(hostile)
        with pytest.raises(InvalidArgument):
            broker.locate([hostile])
        with pytest.raises(InvalidArgument):
            broker.locate(["a"], [hostile])
