"""What the memory adapter remembers of schedules that were removed, and for how long."""

import datetime as dt

import pytest

from vecna.adapters.clock import START, ManualClock
from vecna.adapters.memory import MemoryBroker, schedule_store
from vecna.adapters.memory.queue import Queues
from vecna.testing.contracts.driven_schedules import DrivenSchedules


@pytest.fixture
def store():
    return Queues()


def schedules_at(store, now=START):
    clock = ManualClock(now)
    return DrivenSchedules(MemoryBroker(clock, store), clock)


def test_removals_are_forgotten_after_a_day(store):
    schedules = schedules_at(store)
    for number in range(50):
        schedules.broker.remove_schedule(f"old{number}")
    schedules.clock.advance(dt.timedelta(days=1, seconds=1))
    schedules.broker.remove_schedule("new")

    assert list(store.schedules.removed) == ["new"]


def test_no_more_than_so_many_are_kept(store, monkeypatch):
    monkeypatch.setattr(schedule_store, "_MOST_REMOVALS", 10)
    schedules = schedules_at(store)
    for number in range(15):
        schedules.broker.remove_schedule(f"s{number}")

    assert list(store.schedules.removed) == [f"s{number}" for number in range(5, 15)]


def test_a_clock_that_was_set_back_ends_the_memory_of_what_lies_ahead(store):
    """Otherwise nothing that was removed while it was wrong could be stored until it has caught up."""
    before, after = schedules_at(store, START + dt.timedelta(days=365)), schedules_at(store)
    before.put("s")
    before.broker.remove_schedule("s")

    began_at = after.now()

    assert began_at == START
    assert after.broker.put_schedule(after.record(), began_at) is not None
    assert after.broker.remove_schedule("s")
    assert after.broker.put_schedule(after.record(), began_at) is None


def test_a_clock_that_goes_back_a_little_lets_nothing_through(store):
    before, after = schedules_at(store, START + dt.timedelta(seconds=30)), schedules_at(store)
    began_at = before.now()
    before.broker.remove_schedule("s")

    assert after.broker.put_schedule(after.record(), began_at) is None
    assert after.now() > began_at
    assert after.broker.put_schedule(after.record(), after.now()) is not None
