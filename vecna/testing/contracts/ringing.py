"""Laws of waking without a message, for brokers that offer it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from vecna.adapters.clock import SystemClock
from vecna.domain.errors import InvalidArgument
from vecna.ports.broker import Broker, Waiter
from vecna.ports.ringing import Ringing
from vecna.ports.values import QueueCounts
from vecna.testing.contracts.driven import DrivenQueue
from vecna.testing.contracts.values import HOSTILE, PATIENCE
from vecna.testing.contracts.waking import LONG, WakeLaws


def ring(broker: Broker, queue: str, otherwise: Waiter) -> None:
    """Ring as a sender does; where it is not offered, who waits looks by itself some time: here at once."""
    if isinstance(broker, Ringing):
        broker.ring(queue)
    else:
        otherwise.wake()


class RingLaws(WakeLaws):
    """`Ringing.ring`, or a waiter that looks by itself."""

    def test_a_ring_wakes_who_waits(self, live: Broker, waiting: Callable[..., tuple[Waiter, Future[None]]]) -> None:
        """A worker hears of a schedule when it is stored; also when another process has stored it."""
        waiter, future = waiting()
        sender = self.make(SystemClock())

        ring(sender, "q", waiter)

        future.result(PATIENCE)
        sender.close()

    def test_a_ring_wakes_the_next_who_waits(self, live: Broker) -> None:
        """All were busy for a moment. However often it is rung meanwhile, it wakes one, once."""
        waiter, clock = live.waiter(), SystemClock()
        for _ in range(3):
            ring(live, "q", waiter)

        with ThreadPoolExecutor(1) as threads:
            threads.submit(waiter.wait, ["q"], LONG).result(PATIENCE)
            begin = clock.monotonic()
            threads.submit(waiter.wait, ["q"], 0.05).result(PATIENCE)

        assert clock.monotonic() - begin >= 0.03
        waiter.close()

    def test_a_ring_is_heard_at_its_queue_only(
        self, live: Broker, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """Others have nothing to do with it."""
        waiter, future = waiting("q")
        _, elsewhere = waiting("other")

        ring(live, "q", waiter)

        future.result(PATIENCE)
        assert not elsewhere.done()

    def test_a_ring_changes_nothing_else(self, live: Broker, live_queue: DrivenQueue) -> None:
        """There is nothing more to lease, and no queue that never held a message."""
        ring(live, "q", live.waiter())

        assert live.queues() == []
        assert live_queue.counts() == QueueCounts()
        assert live_queue.take() == []
        live_queue.send("a")
        assert [item.uuid for item in live_queue.take()] == ["a"]

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_ring_at_a_wrong_name_is_refused(self, live: Broker, hostile: str) -> None:
        """The queue's name becomes a key."""
        if isinstance(live, Ringing):
            with pytest.raises(InvalidArgument):
                live.ring(hostile)
