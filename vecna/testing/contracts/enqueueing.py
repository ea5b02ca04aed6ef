"""Laws of accepting messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.ports.broker import Broker
from vecna.ports.values import SettleAs, Standing
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import BODIES, HOSTILE, SECOND


def _delayed(queue: DrivenQueue) -> None:
    queue.send("a", delay=SECOND)


def _pending(queue: DrivenQueue) -> None:
    queue.send("a")


def _leased(queue: DrivenQueue) -> None:
    queue.send("a")
    queue.take_one()


def _ending(queue: DrivenQueue) -> None:
    queue.send("a")
    queue.cancel("a")


def _dead(queue: DrivenQueue) -> None:
    queue.send("a")
    queue.settle(queue.take_one(), SettleAs.DEAD, reason="broken")


#: How to bring message "a" where it stands.
STANDINGS: dict[Standing, Callable[[DrivenQueue], None]] = {
    Standing.DELAYED: _delayed,
    Standing.PENDING: _pending,
    Standing.LEASED: _leased,
    Standing.ENDING: _ending,
    Standing.DEAD: _dead,
}


class EnqueueLaws(BrokerCase):
    """`Queueing.enqueue`."""

    @pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
    def test_a_body_comes_back_byte_for_byte(self, queue: DrivenQueue, body: bytes) -> None:
        """The body is opaque: a broker that reads or re-encodes it breaks messages that it does not understand."""
        queue.send("a", body=body)

        assert queue.take_one().body == body

    def test_each_message_is_answered_in_order(self, queue: DrivenQueue) -> None:
        """One answer a message, in order: a sender tells its handles by it which tasks are new."""
        queue.send("b")

        assert queue.send("a", "b", "c") == [True, False, True]
        assert queue.broker.enqueue([]) == []

    def test_what_is_accepted_is_seen_by_every_process(self, queue: DrivenQueue, clock: ManualClock) -> None:
        """When `enqueue` returns, the store has it, not the object that was called: the sender may exit now."""
        queue.send("a")

        assert names(DrivenQueue(self.make(clock), clock).take()) == ["a"]

    def test_a_message_may_have_a_mebibyte(self, queue: DrivenQueue) -> None:
        """As much as any signature may be written in; alone, and as the last of a batch."""
        body = bytes(range(256)) * 4096
        queue.send("alone", body=body)
        queue.broker.enqueue([queue.message("small"), queue.message("large", body=body)])

        assert {item.uuid: len(item.body) for item in queue.take()} == {"alone": 2**20, "small": 5, "large": 2**20}
        assert queue.standing("large") is Standing.LEASED

    def test_a_repeated_enqueue_adds_nothing(self, queue: DrivenQueue) -> None:
        """A call whose reply was lost is made again: the task must still run once."""
        assert queue.send("a", "b") == [True, True]
        assert queue.send("a", "b") == [False, False]
        assert names(queue.take()) == ["a", "b"]

    def test_an_id_twice_in_one_call_is_one_message(self, queue: DrivenQueue) -> None:
        """The id is what counts, also inside a batch."""
        assert queue.send("a", "a") == [True, False]
        assert names(queue.take()) == ["a"]

    @pytest.mark.parametrize("standing", STANDINGS)
    def test_an_id_that_the_queue_holds_is_not_accepted_again(self, queue: DrivenQueue, standing: Standing) -> None:
        """Wherever the message stands: a second one under its id would run, or end, what is under way already."""
        STANDINGS[standing](queue)
        assert queue.standing("a") is standing
        before = queue.counts()

        assert queue.send("a") == [False]
        assert queue.counts() == before

    def test_a_message_that_is_refused_changes_nothing(self, queue: DrivenQueue) -> None:
        """The first stands, with its body, its priority and its time."""
        queue.send("a", body=b"first", priority=1)
        queue.send("b", priority=2)

        queue.send("a", body=b"second", priority=9, delay=SECOND)

        assert [(item.uuid, item.body) for item in queue.take()] == [("b", b"b"), ("a", b"first")]

    def test_an_id_is_free_again_once_its_message_is_done(self, queue: DrivenQueue) -> None:
        """The broker remembers what it holds, no more: it must not grow with what is finished."""
        queue.send("a")
        queue.settle(queue.take_one())

        assert queue.send("a") == [True]
        assert names(queue.take()) == ["a"]

    @pytest.mark.parametrize(("due", "delay"), [(1, 2), (2, 1)])
    def test_a_message_with_a_time_and_a_delay_waits_for_both(
        self, queue: DrivenQueue, clock: ManualClock, due: int, delay: int
    ) -> None:
        """Nothing is leased before its time, whichever of the two says so."""
        queue.send("a", due=clock.now() + due * SECOND, delay=delay * SECOND)

        clock.advance(1.5 * SECOND)
        assert names(queue.take()) == []
        clock.advance(0.5 * SECOND)
        assert names(queue.take()) == ["a"]

    def test_queues_hold_ids_each_for_itself(self, queue: DrivenQueue, broker: Broker, clock: ManualClock) -> None:
        """`enqueue` is atomic per queue, and asks that queue only."""
        other = DrivenQueue(broker, clock, "other")
        queue.send("a")

        assert other.send("a") == [True]
        assert names(queue.take()) == ["a"]
        assert names(other.take()) == ["a"]

    def test_one_call_may_fill_several_queues(self, queue: DrivenQueue, broker: Broker, clock: ManualClock) -> None:
        """A batch goes where each of its messages says; answers stay in the order of the batch."""
        other = DrivenQueue(broker, clock, "other")
        other.send("b")

        answers = broker.enqueue([queue.message("a"), other.message("b"), queue.message("c"), other.message("d")])

        assert answers == [True, False, True, True]
        assert names(queue.take()) == ["a", "c"]
        assert names(other.take()) == ["b", "d"]

    def test_a_batch_may_have_any_size(self, queue: DrivenQueue) -> None:
        """The adapter splits what its store cannot take at once; nothing is lost and the order stays."""
        uuids = [f"t{number}" for number in range(1_234)]
        queue.send("t7", "t1000")

        answers = queue.send(*uuids)

        assert [uuid for uuid, new in zip(uuids, answers, strict=True) if not new] == ["t7", "t1000"]
        assert queue.counts().pending == 1_234
        assert names(queue.take(2_000)) == ["t7", "t1000", *[uuid for uuid in uuids if uuid not in {"t7", "t1000"}]]

    def test_a_queue_is_known_once_it_held_a_message(self, broker: Broker, clock: ManualClock) -> None:
        """`queues` is how a cancel and the operator find all work; it stays when the queue is empty again."""
        assert broker.queues() == []
        for name in ("b", "a:1", "C"):
            queue = DrivenQueue(broker, clock, name)
            queue.send("x")
            queue.settle(queue.take_one())

        assert broker.queues() == ["C", "a:1", "b"]

    def test_looking_at_a_queue_does_not_make_it_known(self, queue: DrivenQueue, broker: Broker) -> None:
        """A worker that was given a wrong name must not fill the registry for ever."""
        queue.lease()
        queue.counts()
        queue.cancel("a")

        assert broker.queues() == []

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_an_id_outside_the_rule_is_refused_before_anything_is_done(
        self, queue: DrivenQueue, broker: Broker, hostile: str
    ) -> None:
        """Ids come from outside: one that could leave its key, or end a line, must not reach the store.

        Nor may the rest of its batch: a batch that fails for a mistake of its sender is not half sent.
        """
        with pytest.raises(InvalidArgument):
            broker.enqueue([queue.message("good"), queue.message(hostile)])
        with pytest.raises(InvalidArgument):
            broker.enqueue([queue.message("good"), queue.message("bad", queue=hostile)])

        assert broker.queues() == []
        assert queue.take() == []
