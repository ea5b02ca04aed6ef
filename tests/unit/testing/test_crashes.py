"""What goes wrong on purpose: workers die at each point of the engine, replies get lost, tasks fail."""

import datetime as dt
from collections import Counter
from typing import Any

import pytest

from tests.unit.testing.app import Shop
from vecna import BrokerUnavailable, InvalidArgument, State, TaskFailed, TaskNotRegistered
from vecna.domain.workflow import Chain, Chord, Group
from vecna.testing import CrashPoint, Harness
from vecna.testing.crashing import METHODS

pytestmark = pytest.mark.slow  # left out by `make unit`

LEASE = 30
OF_SCHEDULES = {CrashPoint.AFTER_FIRE, CrashPoint.AFTER_FIRE_RELAY}


def send_all(shop: Shop) -> list[Any]:
    """Something that passes every point: two queues, a chain, a chord, and a group too large for one settlement."""
    chain = shop.server.send_chain(
        Chain(shop.add.s(1000, 1), shop.add.options(queue="slow", immutable=True).s(2000), shop.mail.s("ada"))
    )
    chord = shop.server.send_chord(Chord(Group(shop.add.s(500 + i, 0) for i in range(3)), shop.total.s()))
    large = shop.server.send_chain(
        Chain(shop.note.options(immutable=True).s("first"), Group(shop.add.s(i, 7) for i in range(201)))
    )
    return [chain, chord, large]


@pytest.mark.parametrize("point", CrashPoint)
def test_work_comes_to_its_end_wherever_a_worker_dies(shop: Shop, harness: Harness, point: CrashPoint) -> None:
    shop.note.every(dt.timedelta(minutes=10), code="often").send("often")
    harness.crash_next(point)
    handles = send_all(shop)
    harness.run()
    harness.advance(minutes=19)
    assert harness.crashes == 1, "it was never reached"
    assert [handle.get() for handle in handles] == ["ada", 1503, [i + 7 for i in range(201)]]
    counts = Counter(map(repr, shop.calls))
    # Only a function that had run, and whose end nobody else knew, runs again.
    assert [count for count in counts.values() if count > 1] == ([2] if point is CrashPoint.AFTER_RUN else [])
    assert counts["'often'"] == 1
    left = shop.server.queue_counts()
    assert not any((count.pending, count.leased, count.ending, count.held) != (0, 0, 0, 0) for count in left.values())


@pytest.mark.parametrize("point", sorted(set(CrashPoint) - OF_SCHEDULES))
def test_nothing_is_left_behind(shop: Shop, harness: Harness, point: CrashPoint) -> None:
    """Also what is swept up later: outboxes, results that would never expire."""
    handles = send_all(shop)
    harness.crash_next(point)
    harness.advance(hours=3)
    assert harness.crashes == 1
    backend: Any = shop.server.backend
    assert backend.unreleased(dt.timedelta(0), 10) == []
    for handle in handles:
        assert all(state is None for state in backend.get_states([leaf.uuid for leaf in handle.leaves()]))


def test_the_lease_has_to_run_out(shop: Shop, harness: Harness) -> None:
    harness.crash_next("after_lease")
    result = shop.mail.send("ada")
    other = shop.note.send("not held up")
    harness.run()
    assert other.get() == "noted not held up"
    assert harness.advance(seconds=LEASE - 1) == 0
    assert result.touch() is None
    assert harness.advance(seconds=1) == 1
    assert shop.calls[-1] == ("ada", "hello", 1, 2)  # the first attempt, delivered twice


@pytest.mark.parametrize(("point", "arrived"), [("after_settle", 0), ("after_relay", 1)])
def test_a_follow_up_for_another_queue_has_arrived_or_not(
    shop: Shop, harness: Harness, point: str, arrived: int
) -> None:
    shop.server.send_chain(Chain(shop.add.s(1, 1), shop.add.options(queue="slow").s(2)))
    harness.crash_next(point)
    harness.run(limit=1)
    assert harness.crashes == 1
    assert shop.server.broker.counts("slow").pending == arrived
    harness.advance(minutes=1)
    assert shop.calls.count((2, 2)) == 1


def test_a_worker_may_die_while_it_sweeps(shop: Shop, harness: Harness) -> None:
    """It records the ends of a workflow whose sender was cut off."""
    for _ in range(3):
        harness.drop_next_reply("store_plan")
    chain = Chain(shop.add.s(1, 1), shop.add.s(2))
    with pytest.raises(BrokerUnavailable):
        shop.server.send_chain(chain)
    harness.crash_next(CrashPoint.AFTER_RECORD)
    harness.advance(minutes=10)
    assert harness.crashes == 1
    states = shop.server.backend.get_states([link.uuid for link in chain.signatures()])
    assert [state and state.state for state in states] == [State.CANCELED] * 2
    assert shop.calls == []


def test_a_task_that_kills_every_worker_is_dead_in_the_end(shop: Shop) -> None:
    with Harness(shop.server, raise_errors=False) as harness:
        for _ in range(5):
            harness.crash_next(CrashPoint.BEFORE_RUN)
        result = shop.note.send("deadly")
        harness.advance(minutes=10)
        assert harness.crashes == 5
        assert shop.calls == []
        with pytest.raises(TaskFailed, match="5 times"):
            result.get()
        assert [letter.name for letter in shop.server.get_dead_tasks()] == ["note"]


def test_an_unknown_point_names_the_nearest(harness: Harness) -> None:
    with pytest.raises(
        InvalidArgument, match=r"unknown crash point 'after_leese': did you mean 'after_lease'\? They are"
    ):
        harness.crash_next("after_leese")


# -- lost replies ------------------------------------------------------------------------------------------------------

#: What server and worker call for the work of `send_all`.
CALLED = [
    *["enqueue", "lease", "settle", "relay", "unstage", "queues", "stage", "due_schedules", "fire", "relay_schedules"],
    *["put_states", "release", "get_states", "report", "get_step", "get_tasks", "get_nodes"],
    *["store_plan", "commit_plan", "release_plan"],
]


@pytest.mark.parametrize("method", CALLED)
def test_a_lost_reply_is_made_up_for(shop: Shop, harness: Harness, method: str) -> None:
    shop.note.every(dt.timedelta(minutes=10), code="often").send("often")
    harness.drop_next_reply(method)
    handles = send_all(shop)
    harness.advance(minutes=19)
    assert [handle.get() for handle in handles] == ["ada", 1503, [i + 7 for i in range(201)]]
    counts = Counter(map(repr, shop.calls))
    assert max(counts.values()) == 1
    # It was lost: nothing lies in wait any more.
    assert method not in vars(shop.server.broker)
    assert method not in vars(shop.server.backend)


@pytest.mark.parametrize("method", ["unreleased", "uncommitted", "staged", "locate"])
def test_a_lost_reply_to_a_sweep_is_made_up_for(shop: Shop, harness: Harness, method: str) -> None:
    harness.crash_next(CrashPoint.AFTER_SETTLE)
    harness.drop_next_reply(method)
    result = shop.note.send("a")
    harness.advance(minutes=2)
    assert method not in {**vars(shop.server.broker), **vars(shop.server.backend)}
    harness.advance(hours=1)
    assert shop.server.backend.get_state(result.uuid) is None


def test_a_store_that_stays_away_is_an_error_of_the_sender(shop: Shop, harness: Harness) -> None:
    for _ in range(3):
        harness.drop_next_reply("broker.enqueue")
    signature = shop.note.signature("a")
    with pytest.raises(BrokerUnavailable, match=r"could not be sent .* broker.enqueue was lost") as raised:
        shop.server.send_task(signature)
    assert raised.value.signatures == (signature,)
    assert not shop.server.send_task(signature).is_new  # it had its effect
    assert harness.run() == 1


def test_an_unknown_method_names_the_nearest(harness: Harness) -> None:
    with pytest.raises(InvalidArgument, match="no port has a method 'setle': did you mean 'settle'"):
        harness.drop_next_reply("setle")
    with pytest.raises(InvalidArgument, match="no port has a method 'close'"):
        harness.drop_next_reply("close")


def test_every_method_of_a_port_can_lose_a_reply(shop: Shop, harness: Harness) -> None:
    for name in [name for name in METHODS if "." in name]:
        harness.drop_next_reply(name)
    with pytest.raises(BrokerUnavailable, match=r"lock\.acquire was lost"):
        shop.server.lock.acquire("name", "owner", dt.timedelta(seconds=1))
    grant = shop.server.lock.acquire("name", "owner", dt.timedelta(seconds=1))
    assert grant is not None


# -- planned errors ----------------------------------------------------------------------------------------------------


def test_the_next_runs_fail_as_planned_and_then_no_more(shop: Shop, harness: Harness) -> None:
    harness.fail_next("add", OSError("one"))
    harness.fail_next(shop.add, KeyError)
    result = shop.add.send(1, 2)
    harness.run()
    assert result.get_state().error == "OSError: one"
    harness.advance(seconds=1)
    assert result.get_state().error.startswith("KeyError")
    harness.advance(seconds=2)
    assert result.get() == 3
    assert shop.calls == [(1, 2)]


def test_only_the_named_task_fails(shop: Shop, harness: Harness) -> None:
    harness.fail_next("fail", OSError("away"))
    shop.note.send("a")
    harness.run()
    assert shop.calls == ["a"]


def test_what_cannot_be_planned_is_refused(shop: Shop, harness: Harness) -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'note'"):
        harness.fail_next("notee", OSError())
    with pytest.raises(TaskNotRegistered, match="registered are: add"):
        harness.fail_next("xyzzy", OSError())
    with pytest.raises(InvalidArgument, match="takes an exception, not str"):
        harness.fail_next("note", "boom")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InvalidArgument, match="times takes an int of 1 or more"):
        harness.fail_next("note", OSError(), times=0)


def test_on_error_is_sent_after_a_failure(shop: Shop) -> None:
    with Harness(shop.server, raise_errors=False) as harness:
        shop.server.send_task(shop.fail.signature("x").replace(on_error=[shop.note.s()]))
        harness.run()
        assert shop.calls == ["x", "ValueError: x"]


def test_a_crash_can_be_asked_for_inside_a_task(shop: Shop, harness: Harness) -> None:
    @shop.server.task
    def deadly() -> None:
        shop.calls.append("deadly")
        if len(shop.calls) == 1:
            harness.crash_next(CrashPoint.AFTER_RECORD)

    result = deadly.send()
    shop.note.send("a")
    harness.advance(minutes=1)
    assert result.get_state().state is State.SUCCESS
    assert (shop.calls, harness.crashes) == (["deadly", "a"], 1)
