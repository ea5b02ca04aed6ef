"""The same steps with schedules on memory and on real Redis: the same answers, and the same things stored."""

import datetime as dt

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from tests.contract.test_machine import EXAMPLES, STEPS, Machine, milliseconds, repeats
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord, firing, occurrence_id, template
from vecna.domain.signature import Signature
from vecna.ports.schedules import FireCall, Fired
from vecna.ports.values import Settlement

CODES = ("a", "b", "c")
QUEUES = ("q1", "q2")

codes = st.sampled_from(CODES)
contents = st.sampled_from([template(Signature("one")), template(Signature("two"))])
kinds = st.sampled_from(["fire", "fire", "fire", "fire", "skip", "last", "extra"])
numbers = st.sampled_from([0, 0, 0, 1, 2, 3])  # of what was read: the newest, or older
SECOND = dt.timedelta(seconds=1)


class ScheduleMachine(Machine):
    """Registers, fires, pauses, removes, with what was read now or long ago."""

    def __init__(self, url):
        super().__init__(url)
        self.read = []  # records, the latest last
        self.began = [self.clock.now()]
        self.calls = []  # of firings that were made
        self.worker = 0
        self.is_fired = False
        self.steps = 0
        for code in CODES[:2]:
            self.put(code, "@every 10s", template(Signature("one")), "once", None, dt.timedelta(0), 1)

    def stands(self):
        """Whether there is a schedule."""
        return bool(self.ours.broker.list_schedules(limit=1))

    def pick(self, number):
        return self.read[-1 - number % len(self.read)]

    @precondition(lambda self: self.steps % 3 == 0)
    @rule()
    def begin(self):
        """A registration begins: it reads the time."""
        self.began = [*self.began[-3:], self.both("broker", "due_schedules", 0).now]

    @rule(
        code=codes,
        spec=st.sampled_from(["@every 10s", "@every 10s", "@every 7s", "* * * * *"]),
        content=contents,
        missed=st.sampled_from(["once", "all"]),
        began=st.one_of(st.none(), st.integers(0, 3)),
        ago=milliseconds(0, 1, 5_000, 20_000),
        repeat=repeats,
    )
    def put(self, code, spec, content, missed, began, ago, repeat):
        anchor = self.clock.now() - ago
        record = ScheduleRecord(
            code=code,
            kind="task",
            spec=spec,
            timezone="UTC",
            missed=missed,
            overlap=True,
            start=None,
            end=None,
            content=content,
            anchor=anchor,
            next_fire_at=anchor,
        )
        first = record.rhythm.next_after(anchor, anchor)
        assert first is not None
        record = attrs.evolve(record, next_fire_at=first)
        began_at = None if began is None else self.began[-1 - began % len(self.began)]
        self.both("broker", "put_schedule", record, began_at, repeat=repeat)

    @rule(limit=st.sampled_from([1, 2, 100]))
    def look(self, limit):
        ours, theirs = self.ours.broker.due_schedules(limit), self.theirs.broker.due_schedules(limit)
        assert (ours.now, ours.next_due) == (theirs.now, theirs.next_due)
        # Which of several that are due at once comes first is nobody's promise.
        assert [record.next_fire_at for record in ours.records] == [record.next_fire_at for record in theirs.records]
        if limit == 100:
            assert sorted(ours.records, key=lambda record: record.code) == sorted(
                theirs.records, key=lambda record: record.code
            )
            self.read = [*self.read, *ours.records][-8:]

    @rule(code=codes)
    def get(self, code):
        """What is not due may be tried to be fired, too."""
        self.read += [record for record in self.both("broker", "get_schedules", [code]) if record is not None]

    @precondition(lambda self: self.read)
    @rule(
        data=st.data(),
        picks=st.lists(numbers, min_size=1, max_size=3),
        may_be_past=st.booleans(),
        repeat=repeats,
    )
    def fire(self, data, picks, may_be_past, repeat):
        calls = [self.firing_of(data, self.pick(number), may_be_past, data.draw(kinds)) for number in picks]
        self.calls = [*self.calls, *calls][-5:]
        self.is_fired |= Fired.FIRED in self.both("broker", "fire", calls, repeat=repeat)

    @precondition(stands)
    @rule(data=st.data(), kinds=st.lists(kinds, min_size=3, max_size=3), repeat=repeats)
    def fire_what_is_due(self, data, kinds, repeat):
        """The plain form of `fire`: what a worker does when the next one is due."""
        next_due = self.ours.broker.due_schedules().next_due
        if next_due is not None:
            self.clock.advance(max(next_due - self.clock.now(), dt.timedelta(0)))
        self.look(100)
        due = sorted(self.ours.broker.due_schedules().records, key=lambda record: record.code)
        calls = [self.firing_of(data, record, False, kind) for record, kind in zip(due, kinds, strict=False)]
        self.calls = [*self.calls, *calls][-5:]
        self.is_fired |= Fired.FIRED in self.both("broker", "fire", calls, repeat=1)
        if repeat > 1:
            self.both("broker", "fire", calls)

    def firing_of(self, data, record, may_be_past, kind):
        now = self.clock.now()
        plan = firing(record, max(now, record.next_fire_at), dt.timedelta(minutes=1))
        if kind == "skip":
            return FireCall(
                record.code, record.version, record.next_fire_at, plan.following, skipped=2, may_be_past=may_be_past
            )
        due = now if kind == "extra" or plan.due is None else plan.due
        uuid = occurrence_id(record.code, due)
        messages = [
            Message(uuid, queue, b"{}", delay=data.draw(st.sampled_from([None, SECOND])), code=record.code)
            for queue in data.draw(st.sampled_from([QUEUES[:1], QUEUES[1:], QUEUES]))
        ]
        following = {"last": None, "extra": record.next_fire_at}.get(kind, plan.following)
        return FireCall(
            record.code, record.version, record.next_fire_at, following, due, uuid, tuple(messages), 0, may_be_past
        )

    @precondition(lambda self: self.calls)
    @rule(number=numbers)
    def fire_again(self, number):
        """A call of a worker that was very slow."""
        self.both("broker", "fire", [self.calls[-1 - number % len(self.calls)]])

    @precondition(stands)
    @rule(code=codes, paused=st.booleans(), following=st.one_of(st.none(), st.integers(-20, 20)), repeat=repeats)
    def pause(self, code, paused, following, repeat):
        when = None if following is None else self.clock.now() + following * SECOND
        self.both("broker", "pause_schedule", code, paused=paused, following=when, repeat=repeat)

    @precondition(lambda self: self.stands() and self.steps % 4 == 0)
    @rule(code=codes, repeat=repeats)
    def remove(self, code, repeat):
        self.both("broker", "remove_schedule", code, repeat=repeat)

    @precondition(lambda self: self.is_fired)
    @rule(repeat=repeats)
    def relay(self, repeat):
        self.is_fired = False
        self.both("broker", "relay_schedules", repeat=repeat)

    @rule(queue=st.sampled_from(QUEUES))
    def work_off(self, queue):
        self.worker += 1
        kwargs = {"worker": "w", "call": self.worker, "duration": 30 * SECOND, "max_deliveries": 5}
        lease = self.both("broker", "lease", queue, 100, **kwargs)
        self.both("broker", "settle", queue, [Settlement(item.uuid, item.token) for item in lease.deliveries])

    @rule(page=st.sampled_from([1, 2, 500]))
    def pages(self, page):
        for offset in range(len(CODES) + 1):
            self.both("broker", "list_schedules", offset=offset, limit=page)

    @invariant()
    def the_same_is_stored(self):
        self.steps += 1
        self.both("broker", "get_schedules", CODES)
        self.both("broker", "list_schedules")
        for queue in QUEUES:
            self.both("broker", "counts", queue)

    def teardown(self):
        self.relay(repeat=1)
        for queue in QUEUES:
            self.both("broker", "counts", queue)
        super().teardown()


@pytest.mark.timeout(0)  # a difference takes its time to be made small
def test_memory_and_redis_do_the_same_with_schedules(any_redis_url):
    run_state_machine_as_test(
        lambda: ScheduleMachine(any_redis_url),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
