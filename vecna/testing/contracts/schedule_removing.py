"""Laws of removing schedules."""

from __future__ import annotations

import datetime as dt

import pytest

from vecna.adapters.clock import ManualClock
from vecna.ports.schedules import DueSchedules, Fired
from vecna.testing.contracts.driven_schedules import DrivenSchedules, ScheduleCase, content
from vecna.testing.contracts.values import MILLISECOND, SECOND

_MICROSECOND = dt.timedelta(microseconds=1)


class RemovedScheduleLaws(ScheduleCase):
    """`Schedules.remove_schedule`: what is gone is gone for good."""

    @pytest.mark.parametrize("paused", [False, True])
    def test_a_removed_schedule_is_gone(self, schedules: DrivenSchedules, clock: ManualClock, paused: bool) -> None:
        """From everywhere, at once, and alone. That it was there is said once."""
        schedules.put(paused=paused)
        other = schedules.put("other", 1_000)

        assert schedules.broker.remove_schedule("s")
        assert not schedules.broker.remove_schedule("s")
        assert not schedules.broker.remove_schedule("unknown")

        clock.advance(100)
        assert schedules.broker.due_schedules() == DueSchedules((), clock.now(), other.next_fire_at)
        assert schedules.get() is None
        assert schedules.broker.list_schedules() == [other]
        assert schedules.broker.pause_schedule("s", paused=False, following=schedules.at(200)) is None
        assert schedules.every() == ["other"]

    def test_a_late_firing_does_not_revive_it(self, schedules: DrivenSchedules) -> None:
        """A worker still holds what it has read; it fires nothing, and stores nothing."""
        call = schedules.call(schedules.put())
        schedules.broker.remove_schedule("s")

        assert schedules.fire(call) == [Fired.LOST]

        assert schedules.arrived() == []
        assert schedules.every() == []

    def test_what_was_fired_is_left_alone(self, schedules: DrivenSchedules) -> None:
        """The schedule ends; its occurrences are messages like any other, on their way or not."""
        schedules.put()
        schedules.fire(schedules.call(schedules.stands()))
        schedules.broker.remove_schedule("s")

        assert len(schedules.arrived()) == 1

    def test_a_registration_that_began_before_does_not_revive_it(
        self, schedules: DrivenSchedules, clock: ManualClock
    ) -> None:
        """It raced with the cancel, which said that nothing would come any more. Whether it was there before or not."""
        schedules.put("known")
        began_at = schedules.now()
        for code in ("known", "unknown"):
            schedules.broker.remove_schedule(code)
            clock.advance(1)

            assert schedules.broker.put_schedule(schedules.record(code), began_at) is None

        assert schedules.every() == []

    def test_a_registration_that_began_later_is_stored(self, schedules: DrivenSchedules) -> None:
        """A program may cancel a schedule and send it again in one breath, over and over, while no clock moves."""
        for _ in range(3):
            before = schedules.now()
            assert schedules.broker.put_schedule(schedules.record(), before) is not None
            assert schedules.broker.remove_schedule("s")
            began_at = schedules.now()
            assert began_at > before
            assert abs(began_at - schedules.at(0)) < MILLISECOND

            after = schedules.broker.put_schedule(schedules.record(), began_at)

            assert after is not None
            assert schedules.get() == after
            assert schedules.broker.put_schedule(schedules.record(content=content("old")), before) is None
            assert schedules.get() == after

    def test_a_registration_without_a_beginning_is_stored(self, schedules: DrivenSchedules) -> None:
        """Who does not say when it began wants it in any case."""
        schedules.put()
        schedules.broker.remove_schedule("s")

        assert schedules.put() == schedules.get()

    def test_a_firing_from_before_does_not_hit_what_came_after(self, schedules: DrivenSchedules) -> None:
        """The same code, due at the same time, and another life: what is fired is not what it sends any more."""
        for _ in range(3):
            old = schedules.call(schedules.put(content=content("old")))
            schedules.broker.remove_schedule("s")
            schedules.broker.remove_schedule("s")
            new = schedules.put(content=content("new"))

            assert schedules.fire(old) == [Fired.LOST]

            assert schedules.get() == new
            assert new.version > old.version
            schedules.broker.remove_schedule("s")
        assert schedules.arrived() == []

    def test_a_removal_is_remembered_for_a_day(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Longer than any call is under way; other removals do not shorten it."""
        began_at = schedules.now()
        schedules.broker.remove_schedule("s")
        for number in range(24):
            clock.advance(3_599)
            schedules.broker.remove_schedule(f"other-{number}")

        assert schedules.broker.put_schedule(schedules.record(), began_at) is None

    def test_time_and_the_time_after_removals_agree(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """What is due is judged by the clock, however many were removed while it stood still."""
        schedules.put("due", 1)
        for number in range(50):
            schedules.broker.remove_schedule(f"s{number}")
        clock.advance(SECOND - 25 * _MICROSECOND)

        found = schedules.broker.due_schedules()

        assert found == DueSchedules((), clock.now(), schedules.at(1))
        assert schedules.now() >= found.now
