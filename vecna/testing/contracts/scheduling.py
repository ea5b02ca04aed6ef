"""Laws of keeping schedules: what is stored, replaced, paused and listed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.domain.message import Message
from vecna.testing.contracts.driven_schedules import DrivenSchedules, ScheduleCase, content
from vecna.testing.contracts.values import HOSTILE


class ScheduleLaws(ScheduleCase):
    """`Schedules.put_schedule`, `pause_schedule` and the reading ones."""

    # -- storing -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"kind": "chord", "missed": "all", "overlap": False, "timezone": "Europe/Berlin", "spec": "0 6 * * *"},
            {"content": '["ü€😀\\u0000"]'.encode()},
            {"content": b"x" * 100_000},
            {"start": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "end": dt.datetime(9999, 12, 31, tzinfo=dt.UTC)},
            {"anchor": dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)},
            {"next_fire_at": dt.datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC), "version": 7},
            {"last_fire_at": dt.datetime(2025, 1, 1, tzinfo=dt.UTC), "last_uuid": "s@1", "skipped": 3},
            {"paused": True},
        ],
        ids=lambda fields: "-".join(fields) or "plain",
    )
    def test_a_schedule_is_kept_as_it_was_sent(self, schedules: DrivenSchedules, fields: dict[str, Any]) -> None:
        """It outlives who sent it, and says to every worker the same."""
        record = schedules.record(**fields)

        assert schedules.broker.put_schedule(record) == record
        assert schedules.get() == record
        assert schedules.broker.list_schedules() == [record]

    def test_schedules_are_read_by_code(self, schedules: DrivenSchedules) -> None:
        """In the order asked for, with None where there is none."""
        one, two = schedules.put("a"), schedules.put("b", 20)

        assert schedules.broker.get_schedules(["b", "x", "a", "b"]) == [two, None, one, two]
        assert schedules.broker.get_schedules([]) == []

    def test_the_same_sent_again_changes_nothing(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """A program does so at every start, and reckons its times anew: rhythm, pause and counts stay."""
        schedules.put()
        schedules.fire(schedules.call(schedules.stands()))
        schedules.broker.pause_schedule("s", paused=True)
        before = schedules.stands()
        clock.advance(3)

        assert schedules.put(due=99) == before
        assert schedules.get() == before
        assert before.version == 1

    @pytest.mark.parametrize(
        "change",
        [{"content": content("other")}, {"kind": "group"}, {"missed": "all"}, {"overlap": False}],
        ids=lambda change: next(iter(change)),
    )
    def test_a_changed_content_keeps_the_rhythm(self, schedules: DrivenSchedules, change: dict[str, Any]) -> None:
        """It replaces the old one in one step; when it is due, and what has been, stays."""
        schedules.put()
        schedules.fire(schedules.call(schedules.stands()))
        schedules.fire(schedules.skip(schedules.stands()))
        before = schedules.stands()

        after = schedules.put(due=95, **change)

        assert after == attrs.evolve(before, version=2, **change)
        assert (after.next_fire_at, after.skipped, after.last_uuid) == (schedules.at(30), 1, before.last_uuid)
        assert schedules.get() == after

    def test_a_changed_spec_begins_a_new_rhythm(self, schedules: DrivenSchedules) -> None:
        """From the sending of the new one; pause and counts stay."""
        schedules.put()
        schedules.fire(schedules.skip(schedules.stands()))
        schedules.broker.pause_schedule("s", paused=True)

        after = schedules.put(due=95, spec="@every 1m")

        assert (after.spec, after.next_fire_at, after.version) == ("@every 1m", schedules.at(95), 2)
        assert (after.paused, after.skipped) == (True, 1)
        assert schedules.get() == after

    def test_a_changed_spec_fires_nothing_twice(self, schedules: DrivenSchedules) -> None:
        """It was reckoned before the occurrence was fired that it names as its next."""
        schedules.put()
        record = schedules.stands()
        schedules.fire(schedules.call(record))

        after = schedules.put(spec="@every 20s", anchor=schedules.at(-10))

        assert after.last_fire_at == schedules.at(10)
        assert after.next_fire_at == schedules.at(30)
        assert schedules.get() == after

    def test_a_repeated_change_is_one(self, schedules: DrivenSchedules) -> None:
        """The reply was lost."""
        schedules.put()
        for _ in range(3):
            assert schedules.put(content=content("other")).version == 2

    def test_a_change_of_what_is_paused_leaves_it_paused(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """A program that starts again does not undo what an operator has done."""
        schedules.put(paused=True)
        schedules.put(content=content("other"))
        schedules.put(content=content("other"), spec="@every 5s")

        clock.advance(60)

        assert schedules.due() == []
        assert schedules.stands().paused

    # -- pausing -----------------------------------------------------------------------------------------------------

    def test_a_paused_schedule_is_not_due(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Nor does anybody wake up for it. Its due time stays to be seen."""
        before = schedules.put()

        after = schedules.broker.pause_schedule("s", paused=True)

        assert after == schedules.get() == attrs.evolve(before, paused=True)
        assert schedules.broker.due_schedules().next_due is None
        clock.advance(100)
        assert schedules.due() == []

    def test_a_resumed_schedule_goes_on(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """From the time that is given: time spent paused is not missed."""
        schedules.put()
        schedules.broker.pause_schedule("s", paused=True)
        clock.advance(95)

        after = schedules.broker.pause_schedule("s", paused=False, following=schedules.at(100))

        assert after == schedules.get()
        assert after is not None
        assert (after.paused, after.next_fire_at, after.version) == (False, schedules.at(100), 1)
        assert schedules.due() == []
        clock.advance(5)
        assert schedules.due() == ["s"]

    def test_without_a_time_the_old_one_stays(self, schedules: DrivenSchedules) -> None:
        """It was paused for a moment, and misses nothing."""
        before = schedules.put()
        schedules.broker.pause_schedule("s", paused=True, following=schedules.at(500))

        assert schedules.broker.pause_schedule("s", paused=False) == before

    def test_a_repeated_resume_does_not_turn_back(self, schedules: DrivenSchedules) -> None:
        """The reply was lost, and meanwhile it was fired, paused and resumed: nothing is due a second time."""
        schedules.put()
        schedules.broker.pause_schedule("s", paused=True)
        schedules.broker.pause_schedule("s", paused=False, following=schedules.at(10))
        schedules.fire(schedules.call(schedules.stands()))
        fired = schedules.stands()

        assert schedules.broker.pause_schedule("s", paused=False, following=schedules.at(10)) == fired
        schedules.broker.pause_schedule("s", paused=True)
        assert schedules.broker.pause_schedule("s", paused=False, following=schedules.at(10)) == fired

        assert schedules.get() == fired
        assert schedules.broker.due_schedules().next_due == schedules.at(20)

    def test_what_is_not_paused_is_not_resumed(self, schedules: DrivenSchedules) -> None:
        """A repeated call, or two operators at once: who comes second does not move what is on its way."""
        before = schedules.put()

        assert schedules.broker.pause_schedule("s", paused=False, following=schedules.at(90)) == before

        assert schedules.get() == before
        assert schedules.broker.due_schedules().next_due == schedules.at(10)
        paused = schedules.broker.pause_schedule("s", paused=True)
        assert schedules.broker.pause_schedule("s", paused=True, following=schedules.at(90)) == paused
        assert schedules.get() == paused

    def test_who_is_not_there_is_not_paused(self, schedules: DrivenSchedules) -> None:
        """Nor stored by that."""
        assert schedules.broker.pause_schedule("s", paused=True) is None
        assert schedules.broker.pause_schedule("s", paused=False, following=schedules.at(10)) is None
        assert schedules.every() == []

    # -- listing -----------------------------------------------------------------------------------------------------

    def test_the_list_begins_with_the_next_due(self, schedules: DrivenSchedules) -> None:
        """Then by code; paused ones come last, in the same order."""
        for code, due, paused in (
            ("d", 30, False),
            ("b", 20, False),
            ("a", 20, False),
            ("B", 20, False),
            ("y", 5, True),
            ("x", 5, True),
            ("z", 1, True),
            ("c", 10, False),
        ):
            schedules.put(code, due, paused=paused)
        schedules.fire(schedules.call(schedules.stands("c"), following=schedules.at(25)))

        assert schedules.every() == ["B", "a", "b", "c", "d", "z", "x", "y"]
        assert schedules.every(page=3) == schedules.every(page=1) == schedules.every()
        assert schedules.broker.list_schedules(offset=8) == []
        assert schedules.broker.list_schedules(limit=0) == []

    def test_many_are_listed_in_pages(self, schedules: DrivenSchedules) -> None:
        """Each once, however many there are."""
        codes = [f"s{number:04}" for number in range(1_100)]
        for number, code in enumerate(codes):
            schedules.put(code, number % 7, paused=number >= 1_000, content=content("t" * 200))

        expected = sorted(codes, key=lambda code: (int(code[1:]) >= 1_000, int(code[1:]) % 7, code))
        assert schedules.every(page=1_050) == expected
        assert schedules.every(page=400) == expected
        read = schedules.broker.get_schedules(codes)
        assert [record and record.code for record in read] == codes

    # -- hostile codes -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_schedule_outside_the_rule_is_refused(self, schedules: DrivenSchedules, hostile: str) -> None:
        """Before anything is done, and so are ids and queue names of what is to be fired."""
        broker, good = schedules.broker, schedules.put()
        message = schedules.message(good)
        bad: list[Callable[[], object]] = [
            lambda: broker.put_schedule(schedules.record(hostile)),
            lambda: broker.get_schedules(["s", hostile]),
            lambda: broker.pause_schedule(hostile, paused=True),
            lambda: broker.remove_schedule(hostile),
            lambda: broker.fire([schedules.call(good), schedules.call(good, messages=(Message(hostile, "q", b""),))]),
            lambda: broker.fire([schedules.call(good, messages=(message, Message("t", hostile, b"")))]),
            lambda: broker.fire([attrs.evolve(schedules.call(good), code=hostile)]),
        ]
        if hostile:  # "" means none
            bad += [
                lambda: broker.fire([schedules.call(good, uuid=hostile)]),
                lambda: broker.put_schedule(schedules.record("t", last_uuid=hostile)),
            ]
        for act in bad:
            with pytest.raises(InvalidArgument):
                act()

        assert broker.list_schedules() == [good]
        assert broker.relay_schedules() == 0
        assert broker.queues() == []
