"""Laws of making leases last."""

from __future__ import annotations

from vecna.adapters.clock import ManualClock
from vecna.ports.broker import Broker
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, LEASE, SECOND


class ExtendLaws(BrokerCase):
    """`Queueing.extend`."""

    def test_an_extended_lease_lasts(self, queue: DrivenQueue) -> None:
        """A heartbeat makes it last from then on, as often as it comes."""
        queue.send("a")
        delivery = queue.take_one(worker="w1")
        for _ in range(5):
            queue.pass_time(LEASE - SECOND)
            (extension,) = queue.extend(delivery.token)
            assert (extension.token, extension.alive, extension.canceled) == (delivery.token, True, ())
            assert queue.take(worker="w2") == []

        queue.pass_time(LEASE + SECOND)
        assert names(queue.take(worker="w2")) == ["a"]

    def test_an_extension_never_shortens(self, queue: DrivenQueue) -> None:
        """A heartbeat that was late on its way must not take time away that was given since."""
        queue.send("a")
        delivery = queue.take_one(worker="w1")

        assert queue.extend(delivery.token, duration=SECOND)[0].alive
        queue.pass_time(LEASE - SECOND)

        assert queue.take(worker="w2") == []
        assert queue.extend(delivery.token)[0].alive

    def test_a_late_extension_is_in_time_while_nobody_has_ended_the_lease(self, queue: DrivenQueue) -> None:
        """Nobody else has the message: to refuse would only run it twice."""
        queue.send("a")
        delivery = queue.take_one()
        queue.pass_time(LEASE + SECOND)

        assert queue.extend(delivery.token)[0].alive
        queue.pass_time(LEASE - SECOND)
        assert queue.take() == []

    def test_a_lease_that_has_ended_cannot_be_extended(self, queue: DrivenQueue) -> None:
        """Its holder learns it, and does not disturb the one who has the message now."""
        queue.send("a")
        first = queue.take_one(worker="w1")
        queue.pass_time(LEASE + SECOND)
        second = queue.take_one(worker="w2")

        assert not queue.extend(first.token, duration=LEASE * 10)[0].alive

        assert queue.extend(second.token)[0].alive
        queue.pass_time(LEASE + SECOND)
        assert queue.take_one(worker="w3").crashes == 2

    def test_a_lease_that_holds_nothing_is_over(self, queue: DrivenQueue) -> None:
        """All is settled: there is nothing to keep."""
        queue.send("a", "b")
        lease = queue.lease(2)
        *others, last = lease.deliveries
        queue.settle_all(others)
        assert queue.extend(lease.token)[0].alive

        queue.settle(last)
        assert not queue.extend(lease.token)[0].alive

    def test_tokens_are_answered_in_order(self, queue: DrivenQueue) -> None:
        """One answer a token, whatever the token is: a wrong one is not an error, and spoils no other."""
        queue.send("a", "b")
        first, second = queue.take_one(worker="w1"), queue.take_one(worker="w2")
        tokens = [second.token, "999:nobody:1", first.token, "x", "", *HOSTILE, second.token]

        extensions = queue.extend(*tokens)

        assert [item.token for item in extensions] == tokens
        assert [item.alive for item in extensions] == [token in {first.token, second.token} for token in tokens]
        assert queue.extend() == []

    def test_a_token_is_valid_in_its_queue(self, queue: DrivenQueue, broker: Broker, clock: ManualClock) -> None:
        """Queues count their leases each for itself; the same token may exist in two."""
        other = DrivenQueue(broker, clock, "other")
        queue.send("a")
        delivery = queue.take_one()

        assert not other.extend(delivery.token)[0].alive

    def test_many_leases_can_be_extended_at_once(self, queue: DrivenQueue) -> None:
        """A batch may have any size."""
        uuids = [f"t{number}" for number in range(1_111)]
        queue.send(*uuids)
        tokens = [queue.take_one(worker=f"w{number}").token for number in range(1_111)]
        queue.pass_time(LEASE - SECOND)

        assert all(item.alive for item in queue.extend(*tokens))

        queue.pass_time(2 * SECOND)
        assert queue.take() == []
