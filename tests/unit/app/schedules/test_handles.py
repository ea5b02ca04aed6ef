"""What can be done with a schedule: look, pause, resume, trigger."""

import contextlib
import datetime as dt
import itertools

import pytest

from tests.unit.app.schedules.rig import DAY, HOUR, MINUTE, SECOND, START, Hand, Rig
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature, UnknownSchedule
from vecna.domain.schedule import occurrence_id
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chain, Chord, Group


@pytest.fixture
def rig() -> Rig:
    return Rig()


def tick(*args: object, **fields) -> Signature:
    return Signature("tick", args, **fields)


def numbered(name: str, numbers) -> list[Signature]:
    return [Signature(name, [number]) for number in numbers]


# -- looking -----------------------------------------------------------------------------------------------------------


def test_schedules_are_listed_by_what_is_due_next_with_paused_ones_last(rig):
    for spec, code in (("@daily", "d"), ("@hourly", "h"), ("@weekly", "w"), ("@every 1m", "m")):
        rig.server.send_periodic_task(spec, tick(), code=code)
    rig.server.get_schedule("h").pause()

    found = rig.server.schedules()

    assert [schedule.code for schedule in found] == ["m", "d", "w", "h"]
    assert [schedule.next_fire_at for schedule in found] == [START + MINUTE, START + DAY, START + 3 * DAY, None]
    assert [schedule.paused for schedule in found] == [False, False, False, True]
    assert "next at 2026-01-01T00:01:00+00:00" in repr(found[0])
    assert "paused" in repr(found[3])


@pytest.mark.slow
def test_a_thousand_are_listed(rig):
    for number in range(1100):
        rig.server.send_periodic_task("@hourly", tick(number), code=f"c{number}")

    assert len({schedule.code for schedule in rig.server.schedules()}) == 1100


def test_a_handle_is_a_snapshot_until_it_is_refreshed(rig):
    schedule = rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.forward(HOUR)

    assert (schedule.next_fire_at, schedule.last_fire_at) == (START + HOUR, None)
    assert schedule.refresh() is schedule
    assert (schedule.next_fire_at, schedule.last_fire_at) == (START + 2 * HOUR, START + HOUR)
    assert rig.server.schedule("c").next_fire_at == START + 2 * HOUR


def test_what_is_not_there_is_named(rig):
    schedule = rig.server.send_periodic_task("@hourly", tick(), code="c")
    schedule.cancel()
    for act in (schedule.refresh, schedule.pause, schedule.resume, schedule.trigger, schedule.last_result):
        with pytest.raises(UnknownSchedule, match="'c'"):
            act()
    with pytest.raises(UnknownSchedule, match="'nobody'"):
        rig.server.get_schedule("nobody")
    with pytest.raises(InvalidArgument):
        rig.server.get_schedule("")


# -- pausing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missed", ["once", "all", "skip"])
def test_time_spent_paused_is_not_missed(rig, missed):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c", missed=missed)
    rig.forward(HOUR)
    schedule.pause()
    rig.forward(5 * HOUR + 10 * MINUTE)
    assert (schedule.paused, schedule.next_fire_at) == (True, None)
    schedule.resume()

    assert (schedule.paused, schedule.next_fire_at) == (False, START + 7 * HOUR)
    rig.forward(HOUR)
    assert rig.ran("tick") == [START + HOUR, START + 7 * HOUR]


def test_pause_and_resume_may_be_repeated(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
    rig.clock.advance(3600)  # due, and nobody there
    schedule.resume()
    assert schedule.next_fire_at == START + HOUR
    schedule.pause().pause()
    schedule.resume().resume()
    assert schedule.next_fire_at == START + 2 * HOUR


def test_a_firing_that_was_decided_before_the_pause_fires_nothing(rig):
    schedule = rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.clock.advance(3600)
    hand = Hand(rig.server)
    fire = hand.wiring.broker.fire

    class Broker:
        def __getattr__(self, name):
            return getattr(rig.server.broker, name)

        def fire(self, calls):
            schedule.pause()
            return fire(calls)

    hand.wiring.broker = Broker()
    hand.firer = type(hand.firer)(hand.wiring)
    hand.all()

    assert rig.runs == []


def test_one_that_comes_to_its_end_while_paused_is_removed_when_it_is_resumed(rig):
    schedule = rig.server.send_periodic_task("@hourly", tick(), code="c", end=START + 3 * HOUR)
    schedule.pause()
    rig.clock.advance(4 * 3600)

    with pytest.raises(UnknownSchedule, match="come to its end"):
        schedule.resume()
    assert rig.server.schedules() == []


# -- triggering --------------------------------------------------------------------------------------------------------


def test_trigger_sends_one_extra_run_now_and_the_rhythm_stays(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick(5), code="c")
    rig.clock.advance(100.5)
    result = schedule.trigger()
    rig.hand.work()

    assert (result.get(), result.is_new) == (5, True)
    assert rig.ran("tick") == [START + 100.5 * SECOND]
    assert rig.contexts[0].schedule_code == "c"
    schedule.refresh()
    assert (schedule.next_fire_at, schedule.last_fire_at) == (START + HOUR, START + 100.5 * SECOND)
    assert schedule.last_result().uuid == result.uuid
    rig.forward(HOUR)
    assert rig.ran("tick")[1:] == [START + HOUR]


def test_each_trigger_is_a_run_of_its_own_even_while_the_clock_stands_still_on_a_due_time(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
    rig.clock.advance(3600)
    results = [schedule.trigger() for _ in range(3)]
    rig.hand.all()
    results += [schedule.trigger() for _ in range(3)]
    rig.hand.all()

    assert len({result.uuid for result in results}) == 6
    assert len(rig.counted()) == 7
    assert set(rig.counted().values()) == {1}


def test_a_paused_one_can_be_triggered(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick("x"), code="c").pause()
    result = schedule.trigger()
    rig.hand.work()
    assert result.get() == "x"
    rig.forward(2 * HOUR)

    assert [args for _, args, _, _ in rig.runs] == [("x",)]
    assert schedule.refresh().paused


@pytest.mark.parametrize("paused", [True, False])
def test_a_trigger_that_meets_a_cancel_starts_nothing_after_it(rig, paused):
    for number in itertools.count():
        schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
        if paused:
            schedule.pause()
        reached: list = []

        def cancel(reached=reached):
            reached.append(rig.server.cancel_periodic_task("c"))

        before_call(rig.server.broker, number, cancel)
        with contextlib.suppress(UnknownSchedule):
            schedule.trigger()
        if not reached:
            break
        rig.forward(2 * HOUR)
        assert (rig.runs, rig.left()) == ([], []), number

    assert number > 5


def before_call(broker, number: int, act) -> None:
    """Have something happen before the n-th call of a broker."""
    methods = {name: getattr(broker, name) for name in dir(broker) if not name.startswith("_")}
    calls = itertools.count()

    def watched(name):
        def call(*args, **kwargs):
            if next(calls) == number:
                for each in methods:
                    delattr(broker, each)
                act()
            return methods[name](*args, **kwargs)

        return call

    for name in methods:
        setattr(broker, name, watched(name))


def test_a_triggered_run_counts_as_one_that_may_not_be_overlapped(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c", overlap=False)
    rig.clock.advance(3599)
    schedule.trigger()
    rig.clock.advance(1)
    rig.hand.fire()

    assert schedule.refresh().skipped == 1


def test_trigger_goes_on_when_a_regular_firing_comes_between(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
    rig.clock.advance(3600)
    fire = rig.server.broker.fire

    def beaten(calls):
        rig.server.broker.fire = fire
        rig.hand.fire()
        return fire(calls)

    rig.server.broker.fire = beaten
    schedule.trigger()
    rig.hand.all()

    assert len(rig.counted()) == 2


def lose(rig, monkeypatch, port, method, *, meanwhile=lambda: None, times=1):
    """Have replies to a call get lost."""
    kept = getattr(rig.server, port)
    act, left = getattr(kept, method), iter(range(times))

    def lost(*args):
        answer = act(*args)
        if next(left, None) is not None:
            meanwhile()
            raise BrokerUnavailable("reply lost")
        return answer

    monkeypatch.setattr(kept, method, lost)


@pytest.mark.parametrize(
    ("port", "method"), [("broker", "fire"), ("backend", "put_states"), ("broker", "relay_schedules")]
)
def test_a_trigger_whose_reply_gets_lost_sends_one_run(rig, monkeypatch, port, method):
    schedule = rig.server.send_periodic_chain("@every 1h", Chain(tick(1), tick(2)), code="c")
    lose(rig, monkeypatch, port, method)
    result = schedule.trigger()
    assert [leaf.get_state().state for leaf in result.leaves()] == [State.PENDING] * 2
    rig.hand.all()

    assert [args for _, args, _, _ in rig.runs] == [(1,), (2, 1)]
    assert result.get() == 2


def test_a_trigger_whose_reply_gets_lost_sends_one_run_also_if_that_is_over_by_then(rig, monkeypatch):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
    rig.clock.advance(3599)

    def meanwhile():
        rig.hand.all()
        rig.clock.advance(1)
        rig.hand.all()  # a regular one is the last one then

    lose(rig, monkeypatch, "broker", "fire", meanwhile=meanwhile)
    result = schedule.trigger()
    monkeypatch.undo()
    counts = rig.server.broker.counts("vecna_tasks")
    rig.hand.all()

    assert rig.counted() == {result.uuid: 1, occurrence_id("c", START + HOUR): 1}
    assert counts.pending == 0


def test_a_trigger_that_gives_up_says_what_it_may_have_sent(rig, monkeypatch):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
    lose(rig, monkeypatch, "broker", "fire", times=100)
    with pytest.raises(BrokerUnavailable, match=rf"triggered or not, as {occurrence_id('c', START)}: "):
        schedule.trigger()


@pytest.mark.parametrize("cancel", ["cancel_periodic_task", "cancel"])
def test_a_cancel_whose_reply_gets_lost_says_what_it_has_done(rig, monkeypatch, cancel):
    rig.server.send_periodic_task("@hourly", tick(), code="c")
    lose(rig, monkeypatch, "broker", "remove_schedule")

    assert getattr(rig.server, cancel)("c").schedules == ("c",)
    with pytest.raises(UnknownSchedule):
        rig.server.cancel_periodic_task("c")


def test_trigger_gives_up_on_a_schedule_that_does_not_stand_still(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
    rig.server.broker.fire = lambda calls: ["lost"]
    with pytest.raises(BrokerUnavailable, match="changes faster"):
        schedule.trigger()


def test_trigger_of_what_cannot_be_read_says_so(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick(), code="c")
    rig.tamper("c", content=b'{"tusk":1}')
    with pytest.raises(InvalidSignature, match="cannot be read"):
        schedule.trigger()


def test_a_triggered_workflow_is_known_before_it_is_launched(rig):
    schedule = rig.server.send_periodic_chord(
        "@hourly", Chord(numbered("part", [1, 2]), Signature("total", on_success=Signature("after"))), code="c"
    )
    rig.results["total"] = lambda *numbers: sum(numbers)
    result = schedule.trigger()

    assert result.get_state().state is State.PENDING
    assert [member.get_state().state for member in result.group] == [State.PENDING] * 2
    rig.hand.work()
    assert result.get() == 3
    assert schedule.last_result().get() == 3
    assert [name for name, _, _, _ in rig.runs] == ["part", "part", "total", "after"]


# -- the last occurrence -----------------------------------------------------------------------------------------------


def test_the_last_result_of_a_workflow_is_its_handle_also_while_its_launcher_waits(rig):
    schedule = rig.server.send_periodic_group("@hourly", Group(numbered("part", [1, 2, 3])), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    waiting = schedule.last_result()
    assert [member.get_state().state for member in waiting] == [State.PENDING] * 3
    rig.hand.work()

    assert waiting.get() == schedule.last_result().get() == [1, 2, 3]
    assert rig.server.group_result(waiting.uuid).get() == [1, 2, 3]


def test_the_last_result_is_that_of_what_was_sent_though_the_content_was_replaced_since(rig):
    chain = Chain(numbered("part", [1, 2]))
    rig.server.send_periodic_chain("@hourly", chain, code="chain")
    rig.server.send_periodic_group("@hourly", Group(numbered("part", [1, 2])), code="group")
    rig.results["part"] = lambda number, *_: number
    rig.forward(HOUR)
    chain_now = rig.server.send_periodic_task("@hourly", tick(), code="chain")
    group_now = rig.server.send_periodic_group("@hourly", Group(numbered("part", [7, 8, 9])), code="group")

    assert chain_now.last_result().get() == 2
    assert group_now.last_result().get() == [1, 2]


def test_chains_and_nested_workflows_are_handles_of_their_shape(rig):
    rig.results["part"] = lambda *numbers: sum(numbers)
    rig.results["total"] = lambda *numbers: sum(numbers)
    link = Chain(Signature("part", [1]), Group(numbered("part", [10, 20])), Signature("total", [100]))
    schedule = rig.server.send_periodic_chain("@hourly", link, code="c")
    rig.forward(HOUR)

    assert schedule.last_result().get() == 100 + 11 + 21
    assert [len(schedule.last_result().links), schedule.kind] == [3, "chain"]


def test_callbacks_of_members_do_not_hide_whose_handle_it_is(rig):
    group = Group(Signature("part", [1], on_success=Signature("after")), Signature("part", [2]))
    schedule = rig.server.send_periodic_group("@hourly", group, code="c")
    rig.forward(HOUR)

    assert schedule.last_result().get() == [1, 2]
    assert len(schedule.last_result()) == 2


def test_an_instant_of_a_trigger_is_a_whole_millisecond(rig):
    schedule = rig.server.send_periodic_task("@hourly", tick(), code="c")
    rig.clock.advance(dt.timedelta(microseconds=1999))
    schedule.trigger()
    rig.hand.work()

    assert rig.ran("tick") == [START + dt.timedelta(milliseconds=1)]
