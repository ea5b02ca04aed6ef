"""Laws of what was fired on its way to its queue."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.message import Message
from vecna.ports.broker import Waiter
from vecna.testing.contracts.driven import DrivenQueue, at_once, names
from vecna.testing.contracts.driven_schedules import DrivenSchedules, ScheduleCase
from vecna.testing.contracts.values import PATIENCE
from vecna.testing.contracts.waking import WakeLaws


class RelayScheduleLaws(ScheduleCase):
    """`Schedules.relay_schedules`."""

    def test_whoever_relays_carries_what_others_have_fired(
        self, schedules: DrivenSchedules, clock: ManualClock
    ) -> None:
        """Who fired it died before it could."""
        call = schedules.call(schedules.put(), messages=(Message("a", "q", b""), Message("b", "other", b"")))
        schedules.fire(call)
        schedules.broker.close()
        other = DrivenSchedules(self.make(clock), clock)

        assert other.broker.relay_schedules() == 0

        assert other.arrived() == ["a"]
        assert schedules.arrived("other") == ["b"]

    def test_who_looks_for_what_is_due_learns_of_what_waits(self, schedules: DrivenSchedules) -> None:
        """Whoever fired it may have died; others need not ask again and again. None says that they have to."""
        assert not schedules.broker.due_schedules().waiting
        schedules.fire(schedules.call(schedules.put(), messages=(Message("a", "q", b""), Message("b", "other", b""))))
        there = sum(schedules.broker.counts(queue).pending for queue in ("q", "other"))
        for limit in (0, 100):
            assert schedules.broker.due_schedules(limit).waiting is not False or there == 2

        while schedules.broker.relay_schedules(1):
            assert schedules.broker.due_schedules().waiting is not False

        assert not schedules.broker.due_schedules().waiting
        assert schedules.arrived() == ["a"]

    def test_a_relay_of_schedules_keeps_to_its_limit(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """It rides on other calls, and must not hold them up; it says what is left. What comes later comes behind."""
        record = schedules.put()
        schedules.fire(schedules.call(record, messages=tuple([Message(f"t{n}", "q", b"") for n in range(5)])))
        goal = DrivenQueue(schedules.broker, clock)
        there = goal.counts().pending  # with the firing, if the store's one step reaches all queues

        left = [schedules.broker.relay_schedules(2)]
        assert left[0] >= 3 - there
        assert 0 <= goal.counts().pending - there <= 2
        schedules.fire(schedules.call(schedules.stands(), messages=(Message("t5", "q", b""),)))
        while left[-1] and len(left) < 20:
            left.append(schedules.broker.relay_schedules(2))

        assert left[1:] == sorted(left[1:], reverse=True)
        assert schedules.arrived() == [f"t{n}" for n in range(6)]

    def test_a_repeated_relay_of_schedules_brings_nothing_twice(self, schedules: DrivenSchedules) -> None:
        """Also when what arrived first has long been done."""
        assert schedules.broker.relay_schedules() == 0
        record = schedules.put()
        for number in range(3):
            schedules.fire(schedules.call(record, messages=(Message("the-same", "q", b""),)))
            assert schedules.arrived() == ["the-same"], number
            for _ in range(3):
                assert schedules.broker.relay_schedules() == 0
            assert schedules.arrived() == []
            record = schedules.stands()

    def test_relays_at_the_same_time_carry_each_message_once(
        self, schedules: DrivenSchedules, clock: ManualClock
    ) -> None:
        """Every worker relays: what one has read and not yet removed, another must not bring again.

        What arrives is worked off at the same time, so that nothing at the queue tells what was there.
        """
        for number in range(40):
            messages = [Message(f"t{number}-{n}", f"q{n % 2}", b"") for n in range(6)]
            schedules.fire(schedules.call(schedules.put(f"s{number}"), messages=tuple(messages)))

        def relay() -> list[str]:
            broker = self.make(clock)
            for _ in range(1_000):
                if not broker.relay_schedules(7):
                    break
            return []

        def work(queue: str) -> list[str]:
            mine = DrivenSchedules(self.make(clock), clock)
            return [uuid for _ in range(30) for uuid in mine.arrived(queue)]

        done = at_once(relay, relay, relay, lambda: work("q0"), lambda: work("q1"))

        ended = [uuid for part in (*done, schedules.arrived("q0"), schedules.arrived("q1")) for uuid in part]
        assert sorted(ended) == sorted(f"t{number}-{n}" for number in range(40) for n in range(6))

    def test_schedules_and_settlements_do_not_disturb_each_other(
        self, schedules: DrivenSchedules, clock: ManualClock
    ) -> None:
        """Both send to the same queue, each in an order of its own; each message once."""
        source, record = DrivenQueue(schedules.broker, clock, "source"), schedules.put()
        for number in range(3):
            source.send("cause")
            source.settle(source.take_one(), follow_ups=(source.message(f"f{number}", queue="q"),))
            schedules.fire(schedules.call(record, messages=(Message(f"o{number}", "q", b""),)))
            record = schedules.stands()
            if number != 1:
                source.relay()
                schedules.relay()
        arrived = schedules.arrived()
        assert [uuid for uuid in arrived if uuid.startswith("f")] == ["f0", "f1", "f2"]
        assert [uuid for uuid in arrived if uuid.startswith("o")] == ["o0", "o1", "o2"]
        assert len(arrived) == 6


class ScheduleWakeLaws(WakeLaws):
    """Waiting for what is fired."""

    @pytest.mark.parametrize("code", ["", "s"])
    def test_what_is_fired_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]], code: str
    ) -> None:
        """An idle worker starts the occurrence with the relay, not with its next look."""
        schedules = DrivenSchedules(live_queue.broker, live_queue.clock)
        record = schedules.put(due=0)
        assert live_queue.take() == []
        _, future = waiting()

        schedules.fire(schedules.call(record, messages=(live_queue.message("a", code=code),)))
        schedules.relay()

        future.result(PATIENCE)
        assert names(live_queue.take()) == ["a"]
