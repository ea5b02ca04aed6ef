"""Laws of waiting for work. They wait in real time, for what must happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from vecna.adapters.clock import SystemClock
from vecna.domain.errors import InvalidArgument
from vecna.ports.broker import Broker, Waiter
from vecna.ports.leaving import Leaving
from vecna.ports.values import SettleAs
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, PATIENCE, SECOND

#: Longer than anybody waits: a wait that ends by its timeout is seen to be broken.
LONG = PATIENCE * 3


def leave(waiter: Waiter) -> bool:
    """Have a waiter take back what it asks for; where that is not offered, it asks for nothing beyond its wait."""
    return isinstance(waiter, Leaving) and waiter.leave()


class WakeLaws(BrokerCase):
    """`Wakeup` and `Waiter`."""

    @pytest.fixture
    def live(self) -> Iterator[Broker]:
        """The broker under test, in real time."""
        broker = self.make(SystemClock())
        yield broker
        broker.close()

    @pytest.fixture
    def live_queue(self, live: Broker) -> DrivenQueue:
        """A queue of it."""
        return DrivenQueue(live, SystemClock())

    @pytest.fixture
    def waiting(self, live: Broker) -> Iterator[Callable[..., tuple[Waiter, Future[None]]]]:
        """Lets a new waiter wait in a thread of its own."""
        waiters: list[Waiter] = []
        threads = ThreadPoolExecutor(8)

        def start(*queues: str) -> tuple[Waiter, Future[None]]:
            waiter = live.waiter()
            waiters.append(waiter)
            begun = threading.Event()

            def act() -> None:
                begun.set()
                waiter.wait(queues or ("q",), LONG)

            future = threads.submit(act)
            assert begun.wait(PATIENCE)
            return waiter, future

        yield start
        for waiter in waiters:
            waiter.close()
        threads.shutdown()

    def test_a_wait_ends_with_its_timeout(self, live: Broker) -> None:
        """Nothing happened; the worker looks anyway, for a hint may be lost."""
        waiter = live.waiter()
        clock = SystemClock()
        begin = clock.monotonic()

        waiter.wait(["q"], 0.05)

        assert 0.03 <= clock.monotonic() - begin < PATIENCE
        waiter.close()

    def test_an_enqueue_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """An idle worker starts at once, not with its next look."""
        _, future = waiting()

        live_queue.send("a")

        future.result(PATIENCE)
        assert names(live_queue.take()) == ["a"]

    def test_an_enqueue_of_another_process_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """Senders and workers are seldom one process: the news goes through the store."""
        _, future = waiting()
        sender = self.make(SystemClock())

        DrivenQueue(sender, SystemClock()).send("a")

        future.result(PATIENCE)
        assert names(live_queue.take()) == ["a"]
        sender.close()

    def test_work_that_is_there_needs_no_waking(self, live_queue: DrivenQueue) -> None:
        """It came between the lease call and the wait: nobody was there to be woken."""
        live_queue.lease()
        live_queue.send("a")

        with ThreadPoolExecutor(1) as threads:
            waiter = live_queue.broker.waiter()
            threads.submit(waiter.wait, ["q"], LONG).result(PATIENCE)
            waiter.close()

    def test_a_wait_covers_all_its_queues(
        self, live: Broker, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """One thread waits for all that its worker serves, and for no other."""
        _, future = waiting("q1", "q2", "q3")

        DrivenQueue(live, SystemClock(), "q2").send("a")

        future.result(PATIENCE)

    def test_what_a_lease_leaves_behind_wakes_the_next(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """A batch wakes one worker; it takes what it can, and so wakes the next, until all is in hands."""
        futures = {waiting()[1] for _ in range(3)}
        live_queue.send("a", "b", "c")

        for number in range(3):
            done, futures = wait(futures, PATIENCE, return_when="FIRST_COMPLETED")
            assert done, f"nobody was woken for message {number}"
            live_queue.lease(1)

    @pytest.mark.parametrize("settle", [SettleAs.RETURN, SettleAs.RETRY])
    def test_what_comes_back_wakes_who_waits(
        self,
        live_queue: DrivenQueue,
        waiting: Callable[..., tuple[Waiter, Future[None]]],
        settle: SettleAs,
    ) -> None:
        """A message that one worker gives back is work for another."""
        live_queue.send("a")
        delivery = live_queue.take_one()
        assert live_queue.take() == []
        _, future = waiting()

        live_queue.settle(delivery, settle)

        future.result(PATIENCE)
        assert names(live_queue.take()) == ["a"]

    def test_a_follow_up_wakes_who_waits(
        self, live: Broker, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """In the same queue with the settlement, in another with the relay."""
        live_queue.send("a")
        delivery = live_queue.take_one()
        assert live_queue.take() == []
        _, here = waiting("q")
        _, there = waiting("other")

        live_queue.settle(delivery, follow_ups=(live_queue.message("b"), live_queue.message("c", queue="other")))
        live_queue.relay()

        here.result(PATIENCE)
        there.result(PATIENCE)

    def test_a_cancel_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """Somebody may wait for the end of what was cancelled: any worker records it."""
        live_queue.send("a", delay=1000 * SECOND)
        live_queue.lease()
        _, future = waiting()

        live_queue.cancel("a")

        future.result(PATIENCE)

    def test_an_earlier_time_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """It sleeps until the earliest time that it knows of, and must learn of one before that."""
        live_queue.send("later", delay=1000 * SECOND)
        live_queue.lease()
        _, future = waiting()

        live_queue.send("sooner", delay=500 * SECOND)

        future.result(PATIENCE)
        assert live_queue.lease().next_due is not None

    @pytest.mark.parametrize("fields", [{"count": 0}, {"verdicts_only": True}], ids=["full", "verdicts"])
    def test_who_takes_nothing_takes_no_wake_up(self, live_queue: DrivenQueue, fields: dict[str, Any]) -> None:
        """A worker that is full, or sweeps: one that is about to wait must still learn of an earlier time."""
        live_queue.lease()
        live_queue.send("a", delay=1000 * SECOND)

        live_queue.lease(worker="full", **fields)

        with ThreadPoolExecutor(1) as threads:
            waiter = live_queue.broker.waiter()
            threads.submit(waiter.wait, ["q"], LONG).result(PATIENCE)
            waiter.close()

    @pytest.mark.parametrize("act", ["wake", "close"])
    def test_any_thread_can_end_a_wait(self, waiting: Callable[..., tuple[Waiter, Future[None]]], act: str) -> None:
        """A worker that is told to stop, or has a free slot again, must not sit out its timeout."""
        waiter, future = waiting()

        getattr(waiter, act)()

        future.result(PATIENCE)

    def test_a_wake_without_a_wait_ends_the_next(self, live: Broker) -> None:
        """It came a moment too early: it must not be lost. It ends one wait, not all."""
        waiter = live.waiter()
        clock = SystemClock()
        waiter.wake()
        waiter.wake()
        begin = clock.monotonic()

        with ThreadPoolExecutor(1) as threads:
            threads.submit(waiter.wait, ["q"], LONG).result(PATIENCE)
            begin = clock.monotonic()
            threads.submit(waiter.wait, ["q"], 0.05).result(PATIENCE)

        assert clock.monotonic() - begin >= 0.03
        waiter.close()

    def test_a_waiter_can_be_closed_again(self, live: Broker) -> None:
        """Also one that never waited."""
        waiter = live.waiter()

        waiter.close()
        waiter.close()

    def test_a_waiter_that_is_gone_wakes_nobody_else_less(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """A wake-up goes to one who waits, not to one who has left."""
        gone, future = waiting()
        gone.wake()
        future.result(PATIENCE)
        gone.close()
        _, stays = waiting()

        live_queue.send("a")

        stays.result(PATIENCE)

    def test_who_has_left_after_a_wake_up_takes_none_at_its_other_queues(
        self, live: Broker, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """Its worker was woken for one queue and is full: another, which began to wait later, gets what comes next."""
        first, future = waiting("one", "two", "three")
        DrivenQueue(live, SystemClock(), "two").send("a")
        future.result(PATIENCE)

        leave(first)
        _, then = waiting("one")
        DrivenQueue(live, SystemClock(), "one").send("b")

        then.result(PATIENCE)
        assert not (isinstance(first, Leaving) and first.lingers())
        with ThreadPoolExecutor(1) as threads:  # and it can wait again, for all of them
            again = threads.submit(first.wait, ["one", "two", "three"], LONG)
            DrivenQueue(live, SystemClock(), "three").send("c")
            again.result(PATIENCE)

    def test_a_wake_up_that_came_before_it_left_is_told(
        self, live: Broker, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """It is told so that it can pass it on; or it has not taken it, and another is woken."""
        first, future = waiting("one", "two")
        DrivenQueue(live, SystemClock(), "two").send("a")
        future.result(PATIENCE)
        DrivenQueue(live, SystemClock(), "one").send("b")

        if not leave(first):
            waiting("one")[1].result(PATIENCE)

    def test_who_waits_is_not_disturbed_by_leaving(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """It came too late, from another thread: there is a free slot again."""
        waiter, future = waiting()

        leave(waiter)
        live_queue.send("a")

        future.result(PATIENCE)

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_wait_at_a_wrong_name_is_refused(self, live: Broker, hostile: str) -> None:
        """What is waited for becomes a key or a channel."""
        waiter = live.waiter()
        with pytest.raises(InvalidArgument):
            waiter.wait(["q", hostile], 0)
        waiter.close()
