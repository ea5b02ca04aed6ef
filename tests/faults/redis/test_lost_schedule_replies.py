"""The reply to a call about schedules is lost, and the call is made again by itself: each script in turn."""

import pytest

from vecna.adapters.clock import ManualClock
from vecna.adapters.redis import scripts
from vecna.ports.schedules import Fired
from vecna.testing.contracts.driven_schedules import DrivenSchedules, content


@pytest.fixture
def schedules(proxy, drive, namespace):
    clock = ManualClock()
    schedules = DrivenSchedules(drive(proxy.url, clock, namespace=namespace).broker, clock)
    schedules.put("warm-up", 1_000)
    return schedules


@pytest.mark.parametrize("script", [scripts.SCHEDULE_GET, scripts.SCHEDULE_PUT], ids=lambda script: script.name)
def test_put(schedules, losing, script):
    schedules.broker.remove_schedule("unknown")
    losing(script)
    assert schedules.put().version == 1
    losing(script)
    assert schedules.put(content=content("other")).version == 2
    schedules.broker.remove_schedule("s")
    losing(script)
    assert schedules.put(content=content("third")).version == 3
    assert schedules.stands().content == content("third")


@pytest.mark.parametrize("following", [True, False])
def test_fire(schedules, losing, following):
    schedules.fire(schedules.skip(schedules.put("other")))
    call = schedules.call(schedules.put(), **({} if following else {"following": None}))
    losing(scripts.SCHEDULE_FIRE)

    # That it was this very call that has fired it nobody can know.
    assert schedules.fire(call) == [Fired.LOST]

    assert schedules.arrived() == [call.uuid]
    assert (schedules.get() is None) is not following


def test_pause_and_resume(schedules, losing):
    schedules.put()
    losing(scripts.SCHEDULE_PAUSE)
    assert schedules.broker.pause_schedule("s", paused=True).paused
    losing(scripts.SCHEDULE_PAUSE)
    resumed = schedules.broker.pause_schedule("s", paused=False, following=schedules.at(20))
    assert (resumed.paused, resumed.next_fire_at) == (False, schedules.at(20))


def test_remove(schedules, losing):
    schedules.put()
    schedules.broker.remove_schedule("unknown")
    losing(scripts.SCHEDULE_REMOVE)

    assert schedules.broker.remove_schedule("s"), "it was there, and is not any more"

    assert not schedules.broker.remove_schedule("s")


@pytest.mark.parametrize("script", [scripts.OUTBOX_READ, scripts.ACCEPT, scripts.OUTBOX_DROP], ids=lambda it: it.name)
def test_relay(schedules, losing, script):
    schedules.fire(schedules.call(schedules.put("other")))
    assert len(schedules.arrived()) == 1
    call = schedules.call(schedules.put())
    schedules.fire(call)
    losing(script)

    assert schedules.broker.relay_schedules() == 0
    assert schedules.broker.relay_schedules() == 0
    assert schedules.arrived() == [call.uuid]


def test_looking(schedules, losing):
    record = schedules.put(due=0)
    for script, look in (
        (scripts.SCHEDULE_DUE, lambda: schedules.due() == ["s"]),
        (scripts.SCHEDULE_LIST, lambda: schedules.every() == ["s", "warm-up"]),
        (scripts.SCHEDULE_GET, lambda: schedules.get() == record),
    ):
        losing(script)
        assert look()
