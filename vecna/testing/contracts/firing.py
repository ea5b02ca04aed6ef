"""Laws of firing schedules."""

from __future__ import annotations

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.message import Message
from vecna.ports.schedules import DueSchedules, FireCall, Fired
from vecna.testing.contracts.driven import DrivenQueue, names
from vecna.testing.contracts.driven_schedules import DrivenSchedules, ScheduleCase, occurrences
from vecna.testing.contracts.values import BODIES, MILLISECOND, SECOND


class DueLaws(ScheduleCase):
    """`Schedules.due_schedules`."""

    def test_nothing_is_due_before_its_time(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """To the millisecond; and who asks learns when to ask again."""
        record = schedules.put()
        clock.advance(10 * SECOND - MILLISECOND)
        assert schedules.broker.due_schedules() == DueSchedules((), clock.now(), schedules.at(10))

        clock.advance(MILLISECOND)

        assert schedules.broker.due_schedules() == DueSchedules((record,), clock.now(), None)

    def test_the_earliest_is_fired_first(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Whatever the order in which they were sent; and a limit keeps to that order."""
        for code, due in (("c", 3), ("a", 5), ("d", 1), ("b", 4), ("later", 60), ("e", 2)):
            schedules.put(code, due)
        schedules.put("paused", 1, paused=True)
        clock.advance(10)

        assert schedules.due() == ["d", "e", "c", "b", "a"]
        assert schedules.broker.due_schedules().next_due == schedules.at(60)
        assert schedules.due(2) == ["d", "e"]
        assert schedules.broker.due_schedules(2).next_due == schedules.at(3)
        assert schedules.due(5) == ["d", "e", "c", "b", "a"]
        assert schedules.broker.due_schedules(5).next_due == schedules.at(60)

    def test_without_schedules_there_are_the_times(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """What a registration wants to know."""
        assert schedules.broker.due_schedules(0) == DueSchedules((), clock.now(), None)
        schedules.put("a", 10)
        schedules.put("b", 5)
        assert schedules.broker.due_schedules(0) == DueSchedules((), clock.now(), schedules.at(5))
        clock.advance(100)
        assert schedules.broker.due_schedules(0) == DueSchedules((), clock.now(), schedules.at(5))

    def test_who_was_fired_takes_its_new_place(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Among the others, by its next due time."""
        one, two = schedules.put("a", 1), schedules.put("b", 2)
        clock.advance(5)
        schedules.fire(schedules.call(one, following=schedules.at(11)))
        assert schedules.due() == ["b"]

        schedules.fire(schedules.call(two, following=schedules.at(7)))

        assert schedules.broker.due_schedules() == DueSchedules((), clock.now(), schedules.at(7))
        clock.advance(10)
        assert schedules.due() == ["b", "a"]

    def test_few_are_due_among_many(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """What is not due is not looked at; all of what is comes in the end."""
        for number in range(700):
            schedules.put(f"s{number}", 1 if number % 2 else 1_000 + number)
        clock.advance(1)

        fired: list[str] = []
        while (found := schedules.broker.due_schedules(100).records) and len(fired) < 700:
            assert schedules.fire(*map(schedules.call, found)) == [Fired.FIRED] * len(found)
            fired += [record.code for record in found]

        assert sorted(fired) == sorted(f"s{number}" for number in range(1, 700, 2))
        assert schedules.broker.due_schedules().next_due == schedules.at(11)


class FireLaws(ScheduleCase):
    """`Schedules.fire`."""

    def test_an_occurrence_is_fired(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """The schedule moves on, and says what its last occurrence was; the message comes with the relay."""
        before = schedules.put()
        clock.advance(10)
        call = schedules.call(before)

        assert schedules.fire(call) == [Fired.FIRED]

        assert schedules.get() == attrs.evolve(
            before, next_fire_at=schedules.at(20), last_fire_at=schedules.at(10), last_uuid=call.uuid
        )
        schedules.relay()
        assert schedules.broker.queues() == ["q"]
        assert schedules.arrived() == [call.uuid]

    @pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
    def test_what_is_fired_keeps_its_bytes(self, schedules: DrivenSchedules, clock: ManualClock, body: bytes) -> None:
        """Its body is as opaque as any."""
        schedules.fire(schedules.call(schedules.put(), messages=(Message("a", "q", body),)))
        schedules.relay()

        assert DrivenQueue(schedules.broker, clock).take_one().body == body

    def test_what_is_fired_is_a_message_like_any_other(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """With priority, time and code; its age and its delay count from the firing."""
        goal = DrivenQueue(schedules.broker, clock)
        messages = (
            goal.message("low"),
            goal.message("high", priority=9),
            goal.message("delay", delay=2 * SECOND),
            goal.message("due", due=schedules.at(1), code="shared"),
            goal.message("coded", code="shared"),
            goal.message("there", queue="other"),
        )
        schedules.fire(schedules.call(schedules.put(), messages=messages))
        clock.advance(SECOND - MILLISECOND)
        schedules.relay()

        taken = goal.take()
        assert names(taken) == ["high", "low", "coded"]
        assert all(abs(item.enqueued_at - schedules.at(0)) < MILLISECOND for item in taken)
        clock.advance(MILLISECOND)
        assert names(goal.take()) == ["due"]
        clock.advance(SECOND)
        assert names(goal.take()) == ["delay"]
        assert names(goal.at("other").take()) == ["there"]
        assert set(schedules.broker.cancel_code("q", "shared").running) == {"due", "coded"}

    def test_what_the_queue_has_is_not_added(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """The id is what counts, as with `enqueue`."""
        goal = DrivenQueue(schedules.broker, clock)
        goal.send("a", body=b"first")
        schedules.fire(schedules.call(schedules.put(), messages=(goal.message("a", body=b"second"),)))
        schedules.relay()

        assert [item.body for item in goal.take()] == [b"first"]

    # -- compare and set ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("change", ["version", "due", "earlier", "paused", "gone", "unknown"])
    def test_a_schedule_that_has_changed_is_not_fired(self, schedules: DrivenSchedules, change: str) -> None:
        """Whoever fires acts on what it has read; if that is no longer so, nothing happens."""
        record = schedules.put()
        call = schedules.call(record)
        if change == "version":
            schedules.put(missed="all")
        elif change == "due":
            schedules.fire(schedules.skip(record))
        elif change == "earlier":
            call = attrs.evolve(call, due=record.next_fire_at - MILLISECOND)
        elif change == "paused":
            schedules.broker.pause_schedule("s", paused=True)
        elif change == "gone":
            schedules.broker.remove_schedule("s")
        else:
            call = attrs.evolve(call, code="unknown")
        before = schedules.broker.list_schedules()

        assert schedules.fire(call) == [Fired.LOST]

        assert schedules.broker.list_schedules() == before
        assert schedules.broker.relay_schedules() == 0
        assert schedules.broker.queues() == []

    @pytest.mark.parametrize("messages", [1, 0])
    def test_a_repeated_firing_adds_nothing(self, schedules: DrivenSchedules, messages: int) -> None:
        """The reply was lost, and the occurrence has run and is done: it must not run again."""
        record = schedules.put()
        call = schedules.call(record) if messages else schedules.skip(record)
        schedules.fire(call)
        assert len(schedules.arrived()) == messages
        fired = schedules.get()

        assert schedules.fire(call, call) == [Fired.LOST, Fired.LOST]

        assert schedules.arrived() == []
        assert schedules.get() == fired

    def test_a_next_time_that_has_passed_is_refused(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Whoever reckoned it was slow; it is to look again how many were missed."""
        record = schedules.put()
        call = schedules.call(record)
        clock.advance(20)
        assert schedules.fire(call) == [Fired.STALE]
        assert schedules.get() == record
        assert schedules.arrived() == []

        assert schedules.fire(attrs.evolve(call, following=clock.now() + MILLISECOND)) == [Fired.FIRED]

    def test_a_next_time_that_has_passed_may_be_wanted(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """To make up for each that was missed, one after the other, also in one call."""
        record = schedules.put()
        clock.advance(35)
        calls: list[FireCall] = []
        for _ in range(3):
            calls.append(schedules.call(record, may_be_past=True))
            record = attrs.evolve(record, next_fire_at=record.next_fire_at + 10 * SECOND)

        assert schedules.fire(*calls[:2], calls[1], calls[2]) == [Fired.FIRED, Fired.FIRED, Fired.LOST, Fired.FIRED]

        assert schedules.arrived() == occurrences("s", [schedules.at(10), schedules.at(20), schedules.at(30)])
        assert schedules.stands().next_fire_at == schedules.at(40)

    def test_an_occurrence_may_be_left_out(self, schedules: DrivenSchedules) -> None:
        """Counted if an earlier one was not over; what the last occurrence was stays."""
        fired = schedules.put()
        schedules.fire(schedules.call(fired))
        before = schedules.stands()

        schedules.fire(schedules.skip(before))
        schedules.fire(schedules.skip(schedules.stands(), count=0))
        schedules.fire(schedules.skip(schedules.stands(), count=41))

        assert schedules.get() == attrs.evolve(before, next_fire_at=schedules.at(50), skipped=42)
        assert len(schedules.arrived()) == 1

    def test_an_extra_occurrence_leaves_the_rhythm(self, schedules: DrivenSchedules) -> None:
        """It is fired between two of them, once, even when the reply is lost and it has long run."""
        record = schedules.put()
        extra = Message("extra", "q", b"{}")
        call = schedules.call(
            record, following=record.next_fire_at, occurred_at=schedules.at(0), uuid="extra", messages=(extra,)
        )
        assert schedules.fire(call) == [Fired.FIRED]
        assert schedules.arrived() == ["extra"]

        assert schedules.fire(call, call) == [Fired.FIRED, Fired.FIRED]

        assert schedules.arrived() == []
        assert schedules.stands().next_fire_at == record.next_fire_at
        assert schedules.fire(schedules.call(record)) == [Fired.FIRED]
        assert len(schedules.arrived()) == 1

    def test_an_extra_occurrence_is_fired_while_paused(self, schedules: DrivenSchedules) -> None:
        """Whoever sends one by hand wants it now. The schedule stays paused, and a removal still wins."""
        schedules.put()
        record = schedules.broker.pause_schedule("s", paused=True)
        assert record is not None
        extra = Message("extra", "q", b"{}")
        call = schedules.call(
            record, following=record.next_fire_at, occurred_at=schedules.at(0), uuid="extra", messages=(extra,)
        )

        assert schedules.fire(call, call) == [Fired.FIRED, Fired.FIRED]

        assert schedules.arrived() == ["extra"]
        stands = schedules.stands()
        assert (stands.paused, stands.next_fire_at, stands.last_uuid) == (True, record.next_fire_at, "extra")
        assert schedules.due() == []
        assert schedules.broker.due_schedules().next_due is None
        schedules.broker.remove_schedule("s")
        assert schedules.fire(attrs.evolve(call, uuid="other")) == [Fired.LOST]

    # -- the last one ------------------------------------------------------------------------------------------------

    def test_the_last_occurrence_removes_the_schedule(self, schedules: DrivenSchedules) -> None:
        """It is sent as any other, and there is nothing more to do."""
        call = schedules.call(schedules.put(), following=None)

        assert schedules.fire(call) == [Fired.FIRED]
        assert schedules.fire(call) == [Fired.LOST]

        assert schedules.every() == []
        assert schedules.due() == []
        assert schedules.broker.due_schedules().next_due is None
        assert schedules.arrived() == [call.uuid]

    def test_what_has_come_to_its_end_is_not_stored_by_a_repeat(self, schedules: DrivenSchedules) -> None:
        """The reply to the registration was lost, and its one occurrence fired meanwhile. A new one may come."""
        began_at = schedules.now()
        record = schedules.broker.put_schedule(schedules.record(), began_at)
        assert record is not None
        schedules.fire(schedules.call(record, following=None))

        assert schedules.broker.put_schedule(schedules.record(), began_at) is None
        assert schedules.broker.put_schedule(schedules.record(), schedules.now()) is not None

    # -- many --------------------------------------------------------------------------------------------------------

    def test_many_are_fired_in_one_call(self, schedules: DrivenSchedules) -> None:
        """Each for itself, with an answer of its own."""
        calls = [schedules.call(schedules.put(f"s{number}")) for number in range(600)]
        schedules.broker.remove_schedule("s7")

        answers = schedules.fire(*calls)

        assert answers == [Fired.LOST if call.code == "s7" else Fired.FIRED for call in calls]
        assert sorted(schedules.arrived()) == sorted(call.uuid for call in calls if call.code != "s7")
        assert schedules.fire() == []

    def test_one_occurrence_may_have_many_messages(self, schedules: DrivenSchedules) -> None:
        """It is one step all the same."""
        messages = [Message(f"t{number}", f"q{number % 3}", b"x" * 3_000) for number in range(1_200)]
        assert schedules.fire(schedules.call(schedules.put(), messages=tuple(messages))) == [Fired.FIRED]

        for queue in range(3):
            mine = [message.uuid for message in messages if message.queue == f"q{queue}"]
            assert schedules.arrived(f"q{queue}") == mine
