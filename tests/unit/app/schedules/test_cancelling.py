"""After a cancel has returned nothing of a schedule starts any more, whoever is in the middle of what."""

import pytest

from tests.unit.app.doubles import logged
from tests.unit.app.schedules.rig import HOUR, MINUTE, START, Fate, Hand, Rig
from tests.unit.app.schedules.test_crashes import begin, chain, chord, group, part, task
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, TaskCanceled, UnknownSchedule
from vecna.domain.schedule import occurrence_id
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chord, Group

pytestmark = pytest.mark.slow  # left out by `make unit`

FIRST = "c@1767229200000"  # the occurrence that is due an hour after the start


@pytest.fixture
def rig() -> Rig:
    return Rig()


def tick(*args: object, **fields) -> Signature:
    return Signature("tick", args, **fields)


class Moment(Fate):
    """A worker's life, in which something else happens at one point."""

    def __init__(self, at, act):
        super().__init__()
        self._moment = at
        self._act = act

    def passed(self, name):
        super().passed(name)
        if len(self.points) - 1 == self._moment:
            self._act()


# -- what it answers ---------------------------------------------------------------------------------------------------


def test_it_removes_the_schedule_and_what_waits_of_it(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c", missed="all")
    rig.clock.advance(3 * 3600)
    rig.hand.fire()
    ids = [occurrence_id("c", START + hours * HOUR) for hours in (1, 2, 3)]

    answer = rig.server.cancel_periodic_task("c")

    assert sorted(answer.canceled) == ids
    assert (answer.running, answer.finished, answer.unknown, answer.schedules) == ((), (), (), ("c",))
    assert answer
    assert [rig.state(uuid).state for uuid in ids] == [State.CANCELED] * 3
    rig.forward(5 * HOUR)
    assert rig.runs == []
    assert rig.server.schedules() == []


def test_one_that_runs_is_told_and_causes_nothing_more(rig):
    rig.server.send_periodic_task("@hourly", tick(on_success=Signature("after")), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    answers: list = []
    rig.results["tick"] = lambda: answers.append(rig.server.cancel_periodic_task("c"))

    rig.hand.work()

    assert answers[0].running == (FIRST,)
    assert not answers[0]
    assert rig.state(FIRST).state is State.SUCCESS
    assert rig.ran("after") == []
    assert rig.state(f"{FIRST}/t2").state is State.CANCELED


def test_tasks_that_merely_share_the_code_are_left_alone(rig):
    one_off = rig.server.send_task(tick("one-off", code="c", delay=7200))
    rig.server.send_periodic_task("@hourly", tick("periodic"), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()

    answer = rig.server.cancel_periodic_task("c")

    assert answer.canceled == (FIRST,)
    rig.forward(2 * HOUR)
    assert [args for _, args, _, _ in rig.runs] == [("one-off",)]
    assert one_off.get() == "one-off"


def test_cancel_stops_the_schedule_and_all_other_work_with_the_code(rig):
    one_off = rig.server.send_task(tick("one-off", code="c", delay=7200))
    rig.server.send_periodic_task("@hourly", tick("periodic"), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()

    answer = rig.server.cancel("c")

    assert set(answer.canceled) == {FIRST, one_off.uuid}
    assert (answer.unknown, answer.schedules) == ((), ("c",))
    assert bool(answer)
    rig.forward(5 * HOUR)
    assert rig.runs == []


def test_cancel_of_a_schedule_without_occurrences_is_true(rig):
    schedule = rig.server.send_periodic_task("@hourly", tick(), code="c")

    answer = rig.server.cancel(schedule)

    assert (answer, answer.schedules) == (answer, ("c",))
    assert bool(answer)
    assert (answer.canceled, answer.unknown) == ((), ())


def test_cancel_of_nothing_names_it_and_that_of_a_schedule_raises(rig):
    assert rig.server.cancel("nobody").unknown == ("nobody",)
    with pytest.raises(UnknownSchedule, match="'nobody'"):
        rig.server.cancel_periodic_task("nobody")
    with pytest.raises(InvalidArgument, match="code of a schedule"):
        rig.server.cancel_periodic_task("no code at all")


def test_cancelled_twice_raises_unless_something_of_it_is_left(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c", end=START + HOUR)
    rig.clock.advance(3600)
    rig.hand.fire()  # the last one: the schedule is gone
    assert rig.server.schedules() == []

    answer = rig.server.cancel_periodic_task("c")

    assert (answer.canceled, answer.schedules) == ((FIRST,), ())
    rig.server.broker.locate([FIRST])
    with pytest.raises(UnknownSchedule):
        rig.server.cancel_periodic_task("c")


def test_one_that_was_broken_off_is_completed_by_a_repeated_call(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    broker, relay = rig.server.broker, rig.server.broker.relay_schedules

    def lost(*_):
        raise BrokerUnavailable("gone")

    broker.relay_schedules = lost
    with pytest.raises(BrokerUnavailable):
        rig.server.cancel_periodic_task("c")
    broker.relay_schedules = relay

    answer = rig.server.cancel_periodic_task("c")

    assert answer.canceled == (FIRST,)
    rig.forward(HOUR)
    assert rig.runs == []


# -- every moment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_at_once", [200, 1], ids=["at once", "held back"])
@pytest.mark.parametrize("scene", [task, group, chord, chain])
def test_at_whatever_moment_of_a_workers_life_it_comes(scene, most_at_once, monkeypatch):
    for module in ("launching", "conclusion"):
        monkeypatch.setattr(f"vecna.app.{module}.MOST_AT_ONCE", most_at_once)
    healthy = Fate()
    Hand(begin(scene).server, healthy).all()

    for at, point in enumerate(healthy.points):
        rig = begin(scene)
        answers: list = []
        before: list = []

        def cancel(rig=rig, answers=answers, before=before):
            answers.append(rig.server.cancel_periodic_task("c"))
            before.append(rig.counted())

        hand = Hand(rig.server, Moment(at, cancel))
        hand.all()
        rig.sweep(hand)
        rig.forward(5 * HOUR, hand)

        (answer,) = answers
        started = (rig.counted() - before[0]).keys()
        assert started <= set(answer.running), (at, point)
        assert rig.left() == [], (at, point)
        assert rig.server.schedules() == []
        (node,) = rig.server.backend.get_nodes([FIRST])
        assert node is None or node.status != "open", (at, point)


def test_a_worker_that_still_holds_the_old_record_cannot_fire_it(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.clock.advance(3600)
    late = Hand(rig.server)
    late.wiring.broker = _Held(rig.server.broker, lambda: rig.server.cancel_periodic_task("c"))
    late.firer = type(late.firer)(late.wiring)

    late.all()

    assert rig.runs == []
    assert rig.left() == []


def test_nor_one_that_looked_before_it_was_cancelled_and_sent_anew(rig):
    rig.server.send_periodic_task("@hourly", tick("old"), code="c")
    rig.clock.advance(3600)

    def anew():
        rig.server.cancel_periodic_task("c")
        rig.server.send_periodic_task("@hourly", tick("new"), code="c")

    late = Hand(rig.server)
    late.wiring.broker = _Held(rig.server.broker, anew)
    late.firer = type(late.firer)(late.wiring)
    late.all()
    rig.forward(HOUR)

    assert [args for _, args, _, _ in rig.runs] == [("new",)]


class _Held:
    """A broker at which something happens before each firing."""

    def __init__(self, broker, act):
        self._broker = broker
        self._act = act

    def fire(self, calls):
        self._act()
        return self._broker.fire(calls)

    def __getattr__(self, name):
        return getattr(self._broker, name)


def test_a_registration_that_began_earlier_cannot_bring_it_back_and_one_that_begins_later_does(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    put = rig.server.broker.put_schedule

    def slow(record, began_at=None):
        rig.server.broker.put_schedule = put
        rig.server.cancel_periodic_task("c")
        return put(record, began_at)

    rig.server.broker.put_schedule = slow
    rig.server.send_periodic_task("@daily", tick(), code="c")
    assert rig.server.schedules() == []

    rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.forward(HOUR)
    assert rig.ran("tick") == [START + HOUR]


def test_a_worker_that_starts_stores_its_schedules_unless_they_are_cancelled_meanwhile(rig):
    @rig.server.periodic("@hourly", code="c")
    def own() -> None: ...

    put = rig.server.broker.put_schedule

    def slow(record, began_at=None):
        rig.server.broker.remove_schedule("c")
        return put(record, began_at)

    rig.server.broker.put_schedule = slow
    rig.server.store_periodic_tasks()
    assert rig.server.schedules() == []


# -- workflows ---------------------------------------------------------------------------------------------------------


def test_an_occurrence_of_a_workflow_that_was_not_launched_yet_ends_with_all_its_tasks(rig):
    schedule = rig.server.send_periodic_chord("@hourly", Chord([part(1), part(2)], Signature("total")), code="c")
    result = schedule.trigger()

    answer = schedule.cancel()

    assert answer.schedules == ("c",)
    assert result.get_state().is_canceled
    with pytest.raises(TaskCanceled):
        result.get()
    rig.forward(HOUR)
    assert rig.runs == []


def test_a_late_launch_of_a_large_group_starts_nothing(rig):
    numbers = range(450)
    schedule = rig.server.send_periodic_group("@hourly", Group([part(n) for n in numbers]), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    rig.hand.once()  # the launcher has held all of them back, and will come again
    assert rig.server.broker.counts("vecna_tasks").held == 450

    answer = schedule.cancel()

    assert len(answer.canceled) == 451
    rig.forward(MINUTE)
    assert rig.runs == []
    assert rig.left() == []
    with logged() as lines:
        rig.forward(HOUR)
    assert lines.of("error") == []
