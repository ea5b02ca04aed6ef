"""Occurrences of workflows, and steps that begin with many tasks: unfolded by whichever worker gets the launcher."""

import datetime as dt
from typing import Any

import pytest

from tests.unit.app.doubles import logged
from tests.unit.app.schedules.rig import HOUR, START, Rig
from vecna.app.delivery import is_own_failure
from vecna.app.launchers import LAUNCH, MOST_AT_ONCE, STEP, occurrence_launcher
from vecna.domain.arg import Arg
from vecna.domain.errors import BrokerUnavailable, InvalidSignature, TaskCanceled, TaskFailed
from vecna.domain.message import Message
from vecna.domain.plan import Step
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.values import Standing

pytestmark = pytest.mark.slow  # left out by `make unit`

FIRST = "c@1767229200000"
MANY = 3 * MOST_AT_ONCE + 7


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.results["part"] = lambda *numbers: numbers[0]
    rig.results["total"] = lambda *numbers: sum(numbers)
    return rig


def parts(count: int, queues=("",)) -> list[Signature]:
    return [
        Signature("part", [number], **({"queue": queue} if (queue := queues[number % len(queues)]) else {}))
        for number in range(count)
    ]


# -- each kind, each time ----------------------------------------------------------------------------------------------


def test_a_group_gets_fresh_ids_each_time(rig):
    schedule = rig.server.send_periodic_group("@hourly", Group(parts(3)), code="c")
    rig.forward(HOUR)
    first = schedule.last_result()
    assert first.get() == [0, 1, 2]
    rig.forward(HOUR)
    second = schedule.last_result()

    assert second.get() == [0, 1, 2]
    assert not {leaf.uuid for leaf in first} & {leaf.uuid for leaf in second}
    assert set(rig.counted().values()) == {1}
    assert {due for _, _, due, _ in rig.runs} == {START + HOUR, START + 2 * HOUR}


@pytest.mark.parametrize("count", [2, MANY])
def test_a_chord_calls_back_each_time(rig, count):
    schedule = rig.server.send_periodic_chord("@every 20m", Chord(parts(count), Signature("total")), code="c")
    for _ in range(3):
        rig.forward(dt.timedelta(minutes=20))
        assert schedule.last_result().get() == sum(range(count))

    assert rig.ran("total") == [START + dt.timedelta(minutes=20 * number) for number in (1, 2, 3)]
    assert set(rig.counted().values()) == {1}
    assert rig.left() == []


def test_a_chain_with_a_wide_step_passes_what_it_has_to_each(rig):
    link = Chain(Signature("part", [1000]), Group(parts(MANY)), Signature("total", [5]))
    schedule = rig.server.send_periodic_chain("@hourly", link, code="c")
    rig.forward(HOUR)

    assert schedule.last_result().get() == 5 + sum(range(MANY))
    assert [args for name, args, _, _ in rig.runs if name == "part"][1:] == [(n, 1000) for n in range(MANY)]
    assert {due for _, _, due, _ in rig.runs} == {START + HOUR}  # a link that comes later is still of this occurrence
    assert len(rig.counted()) == MANY + 2


def test_a_wide_step_of_a_workflow_that_was_sent_once_goes_the_same_way(rig):
    result = rig.server.send_chain(Chain(Group(parts(3)), Group(parts(MANY)), Signature("total")))
    rig.hand.all()

    assert result.get() == sum(range(MANY))
    assert (len(rig.runs), rig.left()) == (3 + MANY + 1, [])


def test_it_goes_where_its_tasks_go_and_each_to_its_queue(rig):
    rig.register("wide", queue="wide")
    group = Group([Signature("wide"), *parts(MANY, queues=("a", "b"))])
    rig.server.send_periodic_group("@hourly", group, code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    assert [each.name for each in rig.server.get_pending_tasks("wide")] == [LAUNCH]
    rig.hand.work()

    assert len(rig.runs) == MANY + 1
    assert rig.server.broker.queues() == ["a", "b", "wide"]


def test_what_the_worker_registers_holds_where_the_sender_says_nothing(rig):
    rig.server.send_periodic_chain("@hourly", Chain(parts(1)[0], Signature("slow")), code="c")
    rig.register("slow", retry_count=4)
    rig.forward(HOUR)

    assert rig.contexts[-1].signature.retry_count == 4


def test_nothing_begins_before_all_is_there(rig):
    rig.server.send_periodic_group("@hourly", Group(parts(MANY)), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    rig.hand.once()
    counts = rig.server.broker.counts("vecna_tasks")
    assert (counts.held, counts.pending) == (MANY, 1)
    rig.hand.once()

    assert rig.server.broker.counts("vecna_tasks").pending == MANY


def test_a_launcher_leaves_no_record_and_calls_no_handler(rig):
    told: list[Any] = []
    rig.hand.deliveries._runner._hooks.before = told.append
    rig.server.send_periodic_group("@hourly", Group(parts(2)), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    batch = rig.hand.deliveries.lease("vecna_tasks", 10)
    runnable, _ = rig.hand.deliveries.admit(batch)
    assert rig.hand.deliveries.notes(runnable) == []
    rig.hand.deliveries.run(runnable[0])
    rig.hand.deliveries.finish(runnable)

    assert told == []
    assert rig.server.backend.get_states([FIRST]) == [None]
    assert rig.server.backend.unreleased(dt.timedelta(0), 10) == []


# -- when it cannot ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["store_plan", "put_states", "stage", "unstage", "commit_plan"])
def test_it_is_put_back_while_the_store_is_out_of_reach_and_goes_on_after(rig, method):
    rig.server.send_periodic_chord("@hourly", Chord(parts(MANY), Signature("total")), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    port = rig.hand.wiring.broker if hasattr(rig.hand.wiring.broker, method) else rig.hand.wiring.backend
    good = getattr(port, method)
    fails = iter([True, True])

    def flaky(*args, **kwargs):
        if next(fails, False):
            raise BrokerUnavailable("away")
        return good(*args, **kwargs)

    setattr(port, method, flaky)
    rig.hand.work()
    place = rig.server.broker.locate([FIRST])[0]
    assert (place.standing, place.attempts.parks) == (Standing.DELAYED, 1)
    delattr(port, method)
    rig.clock.advance(2)
    rig.hand.work()

    assert rig.server.get_schedule("c").last_result().get() == sum(range(MANY))
    assert set(rig.counted().values()) == {1}


def test_a_holder_that_is_not_trusted_any_more_stops_and_the_next_completes_it(rig):
    rig.server.send_periodic_group("@hourly", Group(parts(MANY, queues=("a", "b"))), code="c")
    rig.clock.advance(3600)
    rig.hand.fire()
    stage = rig.server.broker.stage
    staged: list[int] = []

    def slow(hold, messages):
        staged.append(len(messages))
        rig.clock.advance(28)
        return stage(hold, messages)

    rig.server.broker.stage = slow
    rig.hand.once("a")
    del rig.server.broker.stage
    assert len(staged) == 1
    assert rig.server.broker.locate([FIRST])[0].standing is Standing.PENDING
    rig.hand.work()

    assert (len(rig.runs), set(rig.counted().values())) == (MANY, {1})


def test_one_that_cannot_be_unfolded_ends_as_failure_with_all_that_can_be_named(rig):
    group = Group(Signature("part", ["x" * 100_000]), Signature("after", on_success=Signature("tock")))
    schedule = rig.server.send_periodic_group("@hourly", group, code="c")
    (record,) = rig.server.broker.get_schedules(["c"])
    fat = record.content.replace(b"x" * 100_000, b"x" * 1_048_480)
    rig.tamper("c", content=fat)
    with logged() as lines:
        rig.forward(HOUR)

    (letter,) = rig.server.get_dead_tasks()
    assert (letter.uuid, letter.name) == (FIRST, LAUNCH)
    assert "cannot be launched: the message of task part has 1048" in letter.reason
    members = [f"{FIRST}/t{number}" for number in (2, 3, 4)]
    assert [rig.state(uuid).state for uuid in (FIRST, *members)] == [State.FAILURE] * 3 + [State.CANCELED]
    with pytest.raises(TaskFailed, match="it was not launched"):
        rig.server.result(members[0]).get()
    assert (rig.runs, rig.left(), lines.of("critical")) == ([], [], [])
    assert schedule.refresh().next_fire_at == START + 2 * HOUR
    rig.clock.advance(3601)
    assert rig.server.backend.get_states([FIRST, *members]) == [None] * 4  # nothing of it stays for ever


def test_its_failure_is_reported_like_a_tasks(rig):
    rig.server.send_periodic_group("@hourly", Group(parts(2)), code="c")
    rig.tamper("c", content=b'{"group":[]}')
    rig.clock.advance(3600)
    rig.hand.fire()
    runnable, ended = rig.hand.deliveries.admit(rig.hand.deliveries.lease("vecna_tasks", 10))
    for item in runnable:
        rig.hand.deliveries.run(item)
    rig.hand.deliveries.finish([*runnable, *ended])

    assert is_own_failure(runnable[0])
    assert isinstance(runnable[0].exception, InvalidSignature)


def test_the_launcher_of_a_step_that_is_cancelled_ends_the_chain(rig):
    link = Chain(Signature("part", [1]), Group(parts(MANY)), Signature("total"))
    result = rig.server.send_chain(link)
    rig.hand.once()
    (launcher,) = [each for each in rig.server.get_pending_tasks() if each.name == STEP]

    answer = rig.server.cancel(result.links[0].signature.code)
    rig.hand.all()

    assert launcher.uuid in answer.canceled
    assert len(rig.runs) == 1
    assert [leaf.get_state().state for leaf in result.leaves()] == [State.SUCCESS] + [State.CANCELED] * (MANY + 1)
    with pytest.raises(TaskCanceled):
        result.get()
    assert rig.left() == []


def test_the_launcher_of_a_step_whose_workflow_has_expired_launches_nothing(rig):
    link = Chain(Signature("part", [1]), Group(parts(MANY)))
    rig.server.send_chain(link)
    rig.hand.once()
    rig.server.backend.release_plan(link.chain_uuid, dt.timedelta(0))
    rig.hand.all()

    assert (len(rig.runs), rig.left()) == (1, [])


@pytest.mark.parametrize("args", [[], [1, 2, 3, 4], ["c", "soon", "s", "{}"], ["c", 1e300, "s", "{}"]])
@pytest.mark.parametrize("name", [LAUNCH, STEP])
def test_a_launcher_that_nobody_made_so_is_a_dead_letter(rig, name, args):
    rig.server.broker.enqueue([Message.of(Signature(name, args, uuid="forged"), "vecna_tasks")])
    rig.hand.all()

    (letter,) = rig.server.get_dead_tasks()
    assert letter.uuid == "forged"
    assert rig.state("forged").state is State.FAILURE


# -- the message -------------------------------------------------------------------------------------------------------


def test_large_content_travels_compressed_and_comes_back_whole(rig):
    rig.server.send_periodic_group("@hourly", Group(parts(3000)), code="c")
    (record,) = rig.server.broker.get_schedules(["c"])
    launcher = occurrence_launcher(record, START)
    assert len(record.content) > 100_000
    assert len(launcher.to_json()) < 40_000
    rig.forward(HOUR)

    assert sorted(args[0] for _, args, _, _ in rig.runs) == list(range(3000))


@pytest.mark.parametrize("packed", ["zlib:", "zlib:eJwDAAAAAAE", "zlib:AAAA"])
def test_compressed_content_that_is_cut_short_is_refused(rig, packed):
    launcher = Signature(LAUNCH, ["c", 0, "@hourly", packed], uuid="forged")
    rig.server.broker.enqueue([Message.of(launcher, "vecna_tasks")])
    rig.hand.all()

    assert "cannot be launched" in rig.server.get_dead_tasks()[0].reason


def test_a_step_launcher_holds_what_is_passed_by_value():
    from vecna.app.launchers import step_launcher, step_of

    first = tuple(parts(2))
    launcher = step_launcher(Step("chain", 3, first, ()), (Arg.of(1), Arg.of("x")))

    assert step_of(launcher) == ("chain", 3, (Arg.of(1), Arg.of("x")))
    assert step_launcher(Step("chain", 3, first, ()), ()).uuid == launcher.uuid
