"""Schedules on documents: one that cannot be read, e.g. of a newer version, is in nobody's way."""

import datetime as dt

import attrs
import pytest

from tests.contract.test_kit import DictStore
from vecna.adapters.clock import ManualClock
from vecna.app.schedule_draft import Draft
from vecna.app.when import When
from vecna.domain.errors import InvalidSignature
from vecna.domain.schedule import template
from vecna.domain.signature import Signature
from vecna.kit.schedules import DocumentSchedules
from vecna.ports.schedules import FireCall, Fired

SECOND = dt.timedelta(seconds=1)


class DictSchedules(DocumentSchedules):
    def __init__(self):
        self.clock = self._clock = ManualClock()
        self._store = DictStore()
        self.sent = []
        self.start = self.clock.now()

    def enqueue_inside(self, documents, messages):
        self.sent += messages

    def put(self, code, due):
        content = template(Signature("tick"))
        record = Draft(code, "task", When.of("@every 1h"), content).record(self.start)
        at = self.start + due * SECOND
        return self.put_schedule(attrs.evolve(record, next_fire_at=at))

    def damage(self, *codes):
        with self._store.step() as documents:
            for code in codes:
                (found,) = [each for each in documents.under("schedule", code) if each.key == code]
                documents.put("schedule", code, b'{"of":"a newer version"}', found.at)


@pytest.fixture
def schedules():
    return DictSchedules()


def call(record):
    return FireCall(record.code, record.version, record.next_fire_at, record.next_fire_at + 3600 * SECOND)


@pytest.mark.parametrize("bad", [1, 2, 30])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_others_are_found_behind_it(schedules, bad, limit):
    for number in range(bad):
        schedules.put(f"bad{number}", 1 + number % 2)  # at one instant, too
    good = [schedules.put(f"good{number}", 1 + number) for number in range(3)]
    later = schedules.put("later", 60)
    schedules.damage(*[f"bad{number}" for number in range(bad)])
    schedules.clock.advance(10)

    due = schedules.due_schedules(limit)

    assert due.records == tuple(good[:limit])
    assert due.next_due == [*good, later][len(due.records)].next_fire_at


def test_others_are_fired_with_it(schedules):
    records = [schedules.put("bad", 1), schedules.put("good", 1)]
    schedules.damage("bad")
    schedules.clock.advance(10)

    assert schedules.fire(list(map(call, records))) == [Fired.LOST, Fired.FIRED]


def test_it_can_be_removed(schedules):
    schedules.put("bad", 1)
    schedules.damage("bad")

    assert schedules.remove_schedule("bad")

    assert schedules.get_schedules(["bad"]) == [None]
    assert not schedules.remove_schedule("bad")


@pytest.mark.parametrize("removed", [False, True])
def test_it_can_be_sent_again_and_no_firing_of_before_hits_that(schedules, removed):
    before = schedules.put("bad", 1)
    schedules.damage("bad")
    schedules.clock.advance(10)
    if removed:
        schedules.remove_schedule("bad")

    after = schedules.put("bad", 1)

    assert schedules.get_schedules(["bad"]) == [after]
    assert schedules.fire([call(before)]) == [Fired.LOST]
    assert schedules.fire([call(after)]) == [Fired.FIRED]


def test_a_registration_from_before_its_removal_does_not_bring_it_back(schedules):
    began_at = schedules.due_schedules(0).now
    record = schedules.put("bad", 1)
    schedules.damage("bad")
    schedules.clock.advance(1)
    schedules.remove_schedule("bad")

    assert schedules.put_schedule(record, began_at) is None


def test_who_asks_for_it_is_told_what_to_do(schedules):
    schedules.put("bad", 1)
    schedules.damage("bad")

    for ask in (lambda: schedules.get_schedules(["bad"]), lambda: schedules.pause_schedule("bad", paused=True)):
        with pytest.raises(InvalidSignature, match=r"schedule bad: .*; send it again, or cancel it"):
            ask()
