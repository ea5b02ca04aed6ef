"""What is fired when, how often, and what it looks like."""

import datetime as dt

import attrs
import pytest

from tests.unit.app.doubles import logged
from tests.unit.app.schedules.rig import DAY, HOUR, MINUTE, SECOND, START, Fate, Hand, Rig
from vecna.domain.errors import BrokerUnavailable, InvalidSpec, TaskCanceled, UnknownSchedule
from vecna.domain.schedule import firing, occurrence_id
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.ports.values import Standing


@pytest.fixture
def rig() -> Rig:
    return Rig()


def tick(*args: object, **fields) -> Signature:
    return Signature("tick", args, **fields)


def times(first: dt.datetime, step: dt.timedelta, count: int) -> list[dt.datetime]:
    return [first + number * step for number in range(count)]


# -- the plain case ----------------------------------------------------------------------------------------------------


def test_each_occurrence_runs_once_when_it_is_due(rig):
    schedule = rig.server.send_periodic_task("*/10 * * * *", tick("x"), code="tens")

    rig.forward(HOUR)

    assert rig.runs == [("tick", ("x",), due, due) for due in times(START + 10 * MINUTE, 10 * MINUTE, 6)]
    assert rig.left() == []
    schedule.refresh()
    assert (schedule.last_fire_at, schedule.next_fire_at) == (START + HOUR, START + HOUR + 10 * MINUTE)


def test_an_occurrence_knows_what_it_is_of(rig):
    rig.server.send_periodic_task("@every 1m", tick(), code="minutely")

    rig.forward(MINUTE)

    (context,) = rig.contexts
    assert (context.schedule_code, context.due_at) == ("minutely", START + MINUTE)
    assert context.signature.uuid == occurrence_id("minutely", START + MINUTE)
    assert context.signature.spec == "@every 1m"


def test_an_interval_counts_from_the_first_sending_whenever_a_worker_looks(rig):
    rig.clock.advance(1.5)
    rig.server.send_periodic_task("@every 1m", tick(), code="c")
    for _ in range(5):
        rig.clock.advance(61)
        rig.hand.all()

    assert rig.ran("tick") == times(START + 1.5 * SECOND + MINUTE, MINUTE, 5)


def test_a_firing_is_on_time_when_the_worker_waits_for_what_it_says(rig):
    rig.server.send_periodic_task("@every 7s", tick(), code="a")
    rig.server.send_periodic_task("@every 11s", tick(), code="b")

    rig.forward(10 * MINUTE)

    assert {now - due for _, _, due, now in rig.runs} == {dt.timedelta(0)}
    assert len(rig.runs) == 600 // 7 + 600 // 11


def test_nothing_is_planned_and_nothing_asked_for(rig):
    assert rig.hand.fire() is None
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    assert rig.hand.fire() == HOUR


def test_many_workers_fire_each_occurrence_once(rig):
    rig.server.send_periodic_task("@every 1s", tick(), code="c")
    hands = [Hand(rig.server, name=f"w{number}") for number in range(8)]
    for _ in range(60):
        rig.clock.advance(1)
        for hand in hands:
            hand.fire()
        for hand in hands:
            hand.work()

    assert rig.ran("tick") == times(START + SECOND, SECOND, 60)


def test_one_that_looked_before_and_fires_after_another_adds_nothing(rig):
    rig.server.send_periodic_task("@every 1s", tick(), code="c")
    slow = Hand(rig.server, name="slow")
    rig.clock.advance(1)
    looked = slow.wiring.broker.due_schedules(100)
    slow.wiring.broker = _Looked(rig.server.broker, looked)
    slow.firer = type(slow.firer)(slow.wiring)
    rig.hand.all()

    slow.fire()
    rig.hand.work()

    assert rig.ran("tick") == [START + SECOND]


class _Looked:
    """A broker that gives an answer of before, once."""

    def __init__(self, broker, answer):
        self._broker = broker
        self._answers = [answer]

    def due_schedules(self, limit=100):
        return self._answers.pop() if self._answers else self._broker.due_schedules(limit)

    def __getattr__(self, name):
        return getattr(self._broker, name)


def test_what_a_worker_has_fired_and_not_carried_over_the_others_do_at_once(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    heir = Hand(rig.server)
    heir.fire()
    rig.clock.advance(3600)
    rig.hand.firer._relay = lambda: None  # dies before it relays
    rig.hand.firer.step()

    heir.all()

    assert rig.ran("tick") == [START + HOUR]


def test_what_a_worker_has_left_behind_is_found_by_the_next_look_of_one_that_knew_of_nothing(rig):
    heir = Hand(rig.server)
    heir.fire()
    rig.server.send_periodic_task("@every 1s", tick(), code="c")
    rig.clock.advance(1)
    rig.hand.firer._relay = lambda: None  # dies before it relays
    rig.hand.firer.step()

    heir.all()

    assert rig.ran("tick") == [START + SECOND]


def test_where_the_broker_does_not_say_what_waits_it_is_looked_for_once_in_a_while(rig):
    broker, fate = rig.server.broker, Fate()
    hand = Hand(rig.server, fate)
    due = broker.due_schedules
    broker.due_schedules = lambda limit=100: attrs.evolve(due(limit), waiting=None)
    for _ in range(25):
        hand.fire()
        rig.clock.advance(1)
    assert fate.points.count("relay_schedules") == 3
    del broker.due_schedules
    for _ in range(25):
        hand.fire()
        rig.clock.advance(1)

    assert fate.points.count("relay_schedules") == 3


def test_the_next_occurrence_does_not_depend_on_this_one(rig):
    rig.results["tick"] = lambda: 1 / 0
    rig.server.send_periodic_task("@every 1m", tick(), code="fails")
    rig.server.send_periodic_task("@every 1m", Signature("nowhere"), code="unknown")

    rig.forward(5 * MINUTE)

    assert len(rig.ran("tick")) == 5
    ids = [occurrence_id("unknown", due) for due in times(START + MINUTE, MINUTE, 5)]
    assert [place.standing for place in rig.server.broker.locate(ids)] == [Standing.DELAYED] * 5  # parked, visible
    assert rig.state(occurrence_id("fails", START + MINUTE)).state is State.FAILURE


@pytest.mark.slow
def test_hundreds_that_are_due_at_once_are_fired_in_one_go(rig):
    for number in range(350):
        rig.server.send_periodic_task("@hourly", tick(number), code=f"c{number}")

    rig.forward(HOUR)

    assert sorted(args[0] for _, args, _, _ in rig.runs) == list(range(350))
    assert rig.hand.fire() == HOUR


@pytest.mark.slow
def test_what_is_not_due_costs_nothing(rig):
    broker = rig.server.broker
    for number in range(3000):
        rig.server.send_periodic_task("@daily", tick(), code=f"c{number}")
    rig.server.send_periodic_task("@hourly", tick(), code="due")
    fate = Fate()
    hand = Hand(rig.server, fate)
    hand.fire()
    rig.clock.advance(3600)
    fate.points.clear()
    found: list[int] = []
    due = broker.due_schedules

    def counted(limit):
        answer = due(limit)
        found.append(len(answer.records))
        return answer

    broker.due_schedules = counted

    assert hand.fire() == HOUR

    assert fate.points == ["due_schedules", "fire", "relay_schedules"]
    assert found == [1]


# -- options -----------------------------------------------------------------------------------------------------------


def test_options_of_the_registration_hold_the_senders_first(rig):
    rig.register("slow", queue="slow", retry_count=2, priority=3)
    rig.server.send_periodic_task("@hourly", Signature("slow", priority=5), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()

    (signature,) = rig.server.get_pending_tasks("slow")
    assert (signature.priority, signature.retry_count) == (5, 2)


def test_a_delay_counts_from_the_occurrence(rig):
    rig.server.send_periodic_task("@hourly", tick(delay=90), code="c")

    rig.forward(HOUR + 89 * SECOND)
    assert rig.runs == []
    rig.forward(SECOND)

    assert rig.ran("tick") == [START + HOUR + 90 * SECOND]


def test_what_is_late_for_longer_than_it_may_expires(rig):
    rig.server.send_periodic_task("@hourly", tick(expires=60), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    rig.clock.advance(61)
    rig.hand.work()

    assert rig.runs == []
    assert rig.state(occurrence_id("c", START + HOUR)).state is State.CANCELED


def test_callbacks_run_each_time_and_are_known_while_they_wait(rig):
    signature = tick("x", on_success=Signature("after"))
    rig.server.send_periodic_task("@hourly", signature, code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    callback = occurrence_id("c", START + HOUR, "/t2")
    assert rig.state(callback).state is State.PENDING
    rig.hand.work()
    rig.forward(HOUR)

    assert [(name, args) for name, args, _, _ in rig.runs] == [("tick", ("x",)), ("after", ("x",))] * 2
    assert rig.ran("after") == [START + HOUR, START + 2 * HOUR]
    assert len(rig.counted()) == 4


@pytest.mark.parametrize("port", ["broker", "backend"])
def test_callbacks_are_known_though_a_reply_got_lost_when_it_was_fired(rig, monkeypatch, port):
    rig.server.send_periodic_task("@hourly", tick("x", on_success=Signature("after")), code="c")
    rig.clock.advance(3600)
    kept, method = getattr(rig.server, port), {"broker": "fire", "backend": "put_states"}[port]
    act, lost = getattr(kept, method), iter([BrokerUnavailable("lost")])

    def flaky(*args):
        answers = act(*args) if port == "broker" else ()
        for error in lost:
            raise error
        return answers or act(*args)

    monkeypatch.setattr(kept, method, flaky)
    with pytest.raises(BrokerUnavailable):
        rig.hand.fire()
    rig.hand.fire()

    assert rig.state(occurrence_id("c", START + HOUR, "/t2")).state is State.PENDING
    rig.hand.all()
    assert [name for name, *_ in rig.runs] == ["tick", "after"]


# -- missed ------------------------------------------------------------------------------------------------------------


def test_missed_once_makes_up_with_one_run_for_the_latest(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.clock.advance(5 * 3600 + 600)
    rig.forward(HOUR)

    assert rig.ran("tick") == [START + 5 * HOUR, START + 6 * HOUR]


@pytest.mark.slow
def test_missed_all_makes_up_with_each_in_bounded_steps(rig):
    rig.server.send_periodic_task("@every 1m", tick(), code="c", missed="all")
    rig.server.send_periodic_task("@every 1h", tick("other"), code="d")
    rig.clock.advance(DAY)
    rig.hand.firer.step()
    first = rig.server.broker.counts("vecna_tasks").pending
    assert 1 < first <= 500  # the other one did not have to wait for all of them
    assert "other" in [arg.value for each in rig.server.get_pending_tasks() for arg in each.args]
    rig.hand.all()

    dues = [due for _, args, due, _ in rig.runs if not args]
    assert dues == times(START + MINUTE, MINUTE, 1440)


def test_missed_skip_makes_up_for_none_but_counts_a_slow_worker_as_there(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c", missed="skip")
    rig.clock.advance(5 * 3600 + 600)
    rig.hand.all()
    assert rig.runs == []
    assert rig.server.get_schedule("c").next_fire_at == START + 6 * HOUR

    rig.clock.advance(50 * 60 + 29)  # a lease is 30 seconds
    rig.hand.all()
    assert rig.ran("tick") == [START + 6 * HOUR]


# -- overlap -----------------------------------------------------------------------------------------------------------


def leased(rig: Rig, hand: Hand) -> list:
    runnable, _ = hand.deliveries.admit(hand.deliveries.lease("vecna_tasks", 10))
    return runnable


def test_without_overlap_one_that_is_queued_or_runs_or_waits_for_a_repeat_is_left_out_and_counted(rig):
    rig.results["tick"] = lambda: 1 / 0
    schedule = rig.server.send_periodic_task(
        "@every 1m", tick(retry_count=1, retry_timeout=100), code="c", overlap=False
    )
    other = Hand(rig.server, name="other")
    rig.clock.advance(60)
    rig.hand.fire()  # fired: queued from now on
    rig.clock.advance(60)
    rig.hand.fire()
    assert schedule.refresh().skipped == 1
    items = leased(rig, other)  # leased: runs
    rig.clock.advance(25)
    other.deliveries.extend()
    rig.clock.advance(35)
    rig.hand.fire()
    assert schedule.refresh().skipped == 2
    other.deliveries.extend()
    for item in items:
        other.deliveries.run(item)
    other.deliveries.finish(items)  # waits for its repeat
    rig.clock.advance(60)
    rig.hand.fire()
    assert schedule.refresh().skipped == 3
    rig.clock.advance(90)
    rig.hand.work()  # failed for good
    del rig.results["tick"]
    rig.forward(MINUTE)

    assert schedule.refresh().skipped == 3
    assert [uuid for uuid, _ in rig.counted().items()] == [
        occurrence_id("c", START + minutes * MINUTE) for minutes in (1, 5, 6)
    ]


def test_without_overlap_a_fired_one_that_has_not_arrived_counts_as_queued(rig):
    schedule = rig.server.send_periodic_task("@every 1m", tick(), code="c", overlap=False)
    rig.clock.advance(60)
    rig.hand.firer._relay = lambda: True  # dies before it relays
    rig.hand.firer.step()
    assert rig.server.broker.counts("vecna_tasks").pending == 0
    rig.clock.advance(60)
    Hand(rig.server).fire()

    assert schedule.refresh().skipped == 1
    assert rig.server.broker.counts("vecna_tasks").pending == 1


def test_without_overlap_one_whose_last_is_on_its_way_in_a_crowd_waits_for_it_to_arrive(rig, monkeypatch):
    monkeypatch.setattr("vecna.app.firing._RELAYS", 1)
    schedule = rig.server.send_periodic_task("@every 1m", tick(), code="c", overlap=False)
    rig.server.send_periodic_task("@every 1m", tick("flood"), code="flood", missed="all")
    relay = rig.server.broker.relay_schedules
    rig.server.broker.relay_schedules = lambda: relay(1)
    rig.clock.advance(600)
    rig.hand.firer.step()  # eleven are on their way, and one has arrived
    rig.clock.advance(60)
    steps = 1
    while rig.hand.firer.step() == dt.timedelta(0):
        steps += 1
    assert steps > 5
    assert schedule.refresh().skipped == 1
    rig.hand.work()

    assert len([args for _, args, _, _ in rig.runs if not args]) == 1
    assert len(rig.runs) == 12


@pytest.mark.parametrize(("missed", "skipped"), [("all", 4), ("once", 1), ("skip", 1)])
def test_without_overlap_what_was_missed_while_one_ran_is_counted_as_it_would_have_been_made_up_for(
    rig, missed, skipped
):
    schedule = rig.server.send_periodic_task("@every 1m", tick(), code="c", overlap=False, missed=missed)
    rig.clock.advance(60)
    rig.hand.fire()
    rig.clock.advance(4 * 60)
    rig.hand.fire()

    assert schedule.refresh().skipped == skipped
    assert schedule.next_fire_at == START + 6 * MINUTE


def test_an_ended_one_does_not_hold_up_the_next(rig):
    schedule = rig.server.send_periodic_task("@every 1m", tick(), code="c", overlap=False)
    rig.forward(10 * MINUTE)

    assert (len(rig.runs), schedule.refresh().skipped) == (10, 0)


def failing(error):
    def method(*_, **__):
        raise error

    return method


@pytest.mark.parametrize("port", ["relay_schedules", "locate"])
@pytest.mark.parametrize("error", [BrokerUnavailable("one node is away"), ValueError("an adapter's fault")])
def test_what_cannot_be_decided_while_a_queue_is_out_of_reach_stops_no_other(rig, monkeypatch, port, error):
    single = rig.server.send_periodic_task("@every 1m", tick("single"), code="single", overlap=False)
    plain = rig.server.send_periodic_task("@every 1m", tick("plain"), code="plain")
    rig.forward(MINUTE)
    with monkeypatch.context() as patch:
        patch.setattr(rig.server.broker, port, failing(error))
        for minute in (2, 3):
            rig.clock.advance(60)
            with pytest.raises(type(error)):
                rig.hand.firer.step()

            assert plain.refresh().last_fire_at == START + minute * MINUTE
            assert single.refresh().last_fire_at == START + MINUTE
            # The next look is due with the plain one, and not after a pause for the fault.
            assert rig.hand.firer.due_at == rig.clock.monotonic() + 60
    rig.hand.all()

    assert single.refresh().last_fire_at == START + 3 * MINUTE
    assert sorted(args for _, args, _, _ in rig.runs) == [("plain",)] * 3 + [("single",)] * 2


def test_those_that_wait_for_a_queue_out_of_reach_take_no_place_of_others(rig, monkeypatch):
    monkeypatch.setattr("vecna.app.firing._MOST", 2)
    for number in range(3):
        rig.server.send_periodic_task("@every 1m", tick(), code=f"a{number}", overlap=False)
    plain = rig.server.send_periodic_task("@every 1m", tick(), code="plain")
    rig.forward(MINUTE)
    rig.clock.advance(60)
    monkeypatch.setattr(rig.server.broker, "relay_schedules", failing(BrokerUnavailable("one node is away")))
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            rig.hand.firer.step()

    assert plain.refresh().last_fire_at == START + 2 * MINUTE


# -- start and end -----------------------------------------------------------------------------------------------------


def test_start_and_end_bound_it_and_the_last_occurrence_removes_it(rig):
    schedule = rig.server.send_periodic_task(
        "@hourly", tick(), code="c", start=START + 150 * MINUTE, end=START + 5 * HOUR
    )
    rig.forward(DAY)

    assert rig.ran("tick") == [START + 3 * HOUR, START + 4 * HOUR, START + 5 * HOUR]
    assert rig.server.schedules() == []
    with pytest.raises(UnknownSchedule, match="'c'"):
        schedule.refresh()


def test_a_schedule_whose_end_has_passed_is_refused(rig):
    with pytest.raises(InvalidSpec, match="never comes any more"):
        rig.server.send_periodic_task("@hourly", tick(), end=START - DAY)


# -- what cannot be read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"{not json", b'{"task":{}}', b'{"tusk":1}', b'{"group":[]}', b"[]", b'{"task":5}']
)
def test_content_that_cannot_be_read_ends_each_occurrence_as_a_visible_failure_and_stops_nothing(rig, content):
    rig.server.send_periodic_task("@every 20m", tick("good"), code="good")
    rig.server.send_periodic_task("@every 20m", tick(), code="bad")
    rig.tamper("bad", content=content)

    with logged() as lines:
        rig.forward(HOUR)

    assert rig.ran("tick") == times(START + 20 * MINUTE, 20 * MINUTE, 3)
    failed = [occurrence_id("bad", due) for due in times(START + 20 * MINUTE, 20 * MINUTE, 3)]
    assert [rig.state(uuid).state for uuid in failed] == [State.FAILURE] * 3
    assert [letter.uuid for letter in rig.server.get_dead_tasks()] == failed
    assert "cannot be" in rig.server.get_dead_tasks()[0].reason
    assert len([line for line in lines.of("error") if "schedule bad" in line]) == 1
    assert rig.left() == []


def test_a_spec_that_no_worker_can_read_is_paused_and_stops_nothing(rig):
    rig.server.send_periodic_task("@hourly", tick("good"), code="good")
    rig.server.send_periodic_task("@hourly", tick("bad"), code="bad")
    rig.tamper("bad", timezone="Mars/Olympus")

    with logged() as lines:
        rig.forward(HOUR)
        assert not rig.server.get_schedule("bad").paused  # another worker may know better
        assert rig.hand.fire() == HOUR  # and nobody spins for it
        rig.clock.advance(31)
        rig.forward(HOUR)

    assert rig.server.get_schedule("bad").paused
    assert [args for _, args, _, _ in rig.runs] == [("good",)] * 2
    assert len([line for line in lines.of("error") if "Mars/Olympus" in line]) == 2


def test_one_in_a_state_that_nobody_has_thought_of_stops_nothing(rig, monkeypatch):
    rig.server.send_periodic_task("@hourly", tick("good"), code="good")
    rig.server.send_periodic_task("@hourly", tick("bad"), code="bad")

    def faulty(record, now, grace):
        if record.code == "bad":
            raise RecursionError("who would have thought")
        return firing(record, now, grace)

    monkeypatch.setattr("vecna.app.firing.firing", faulty)
    with logged() as lines:
        rig.forward(HOUR)
        rig.clock.advance(31)
        rig.forward(HOUR)

    assert [args for _, args, _, _ in rig.runs] == [("good",)] * 2
    assert rig.server.get_schedule("bad").paused
    assert all("RecursionError" in line or "who would have thought" in line for line in lines.of("error"))


def test_the_spec_of_one_that_others_can_read_is_left_to_them(rig):
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.tamper("c", timezone="Mars/Olympus")
    rig.clock.advance(3600)
    rig.hand.fire()
    rig.tamper("c", timezone="UTC")
    rig.hand.all()

    assert rig.ran("tick") == [START + HOUR]


# -- the results of occurrences ----------------------------------------------------------------------------------------


def test_last_result_is_that_of_the_last_occurrence(rig):
    schedule = rig.server.send_periodic_task("@hourly", tick(7), code="c")
    assert schedule.last_result() is None
    rig.forward(HOUR)

    assert schedule.last_result().get() == 7
    rig.clock.advance(3600)
    rig.hand.fire()
    assert schedule.last_result().get_state().state is State.PENDING
    rig.server.cancel_periodic_task("c")
    with pytest.raises(UnknownSchedule):
        schedule.last_result()
    with pytest.raises(TaskCanceled):
        rig.server.result(occurrence_id("c", START + 2 * HOUR)).get()
