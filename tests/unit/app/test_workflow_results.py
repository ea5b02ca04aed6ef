"""Handles of groups, chords and chains: what they give, when they raise, and that nobody waits for nothing."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.app.doubles import end, server_with
from tests.unit.app.workflow_outcomes import Tasks, Workers
from vecna.adapters.clock import ManualClock
from vecna.app.context import TaskContext, running_task
from vecna.app.workflow_results import ChainAsyncResult, ChordAsyncResult, GroupAsyncResult
from vecna.bootstrap import Server
from vecna.domain.errors import (
    InvalidArgument,
    ResultTimeout,
    TaskCanceled,
    TaskFailed,
    UnknownTask,
)
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chain, Chord, Group

PATIENCE = 20


@pytest.fixture
def server():
    """In real time; the test records the ends itself."""
    with server_with() as server:
        yield server


@pytest.fixture
def still():
    """With a clock that stands still, and tasks that can be run."""
    with server_with(clock=ManualClock(), lease=5) as server:
        server.tasks = Tasks(server)  # type: ignore[attr-defined]  # kept for the test
        yield server


def call(name="task", **options):
    return Signature(name, [1], **options)


def run(server):
    from random import Random

    Workers(server, Random(1)).run()


def waiters(server: Any) -> int:
    return len(server.waiting_room._awaited)


def until_waited(server: Any, count: int) -> None:
    for _ in range(int(PATIENCE / 0.01)):
        if waiters(server) >= count:
            return
        server.clock.wait(threading.Event(), 0.01)
    raise AssertionError("nobody waits")


# -- what they are -----------------------------------------------------------------------------------------------------


def test_handles_have_the_shape_of_what_was_sent(still):
    a, b, c, d, e = (call("one") for _ in range(5))
    chord = Chord(Group(a, Chain(b, c)), d)
    handle = still.send_chain(Chain(chord, e))

    assert isinstance(handle, ChainAsyncResult)
    first, last = handle.links
    assert isinstance(first, ChordAsyncResult)
    assert isinstance(first.group, GroupAsyncResult)
    assert (handle.uuid, first.uuid, first.group.uuid, last.uuid) == (e.uuid, d.uuid, chord.group_uuid, e.uuid)
    assert [len(first.group), first.group[0].uuid, first.group[1].uuid] == [2, a.uuid, c.uuid]
    assert [each.uuid for each in first.group] == [a.uuid, c.uuid]
    assert first.group[:1][0].uuid == a.uuid
    assert [leaf.uuid for leaf in handle.leaves()] == [each.uuid for each in (a, b, c, d, e)]
    assert [final.uuid for final in handle.finals()] == [e.uuid]
    assert [final.uuid for final in first.group.finals()] == [a.uuid, c.uuid]
    new: list[Any] = [handle, first, first.group, *handle.leaves()]
    assert all(each.is_new for each in new)
    for shown in (handle, first, first.group):
        assert type(shown).__name__ in repr(shown)


def test_results_come_as_they_were_returned(still):
    """One item per member, a tuple as a tuple, nothing as None; nested groups as lists."""
    inner = Group(call("none"), call("one"))
    group = Group(call("two"), call("none"), Chain(call("none"), call("two")), inner)
    handle = still.send_group(group)
    run(still)

    pair, nothing, chained, nested = handle.get()

    assert (type(pair), len(pair), nothing, type(chained)) == (tuple, 2, None, tuple)
    assert (nested[0], type(nested[1])) == (None, int)
    assert handle.touch() == handle.get() == [pair, nothing, chained, nested]
    assert handle.completed == len(handle) == 4


def test_progress_counts_members(server):
    a, b, c, d = (call() for _ in range(4))
    handle = server.send_group(Group(a, Chain(b, c), d))
    seen = [(handle.completed, handle.get_state().state, handle.get_state().progress)]
    for each in (a, b, c, d):
        end(server, each.uuid, 1)
        seen.append((handle.completed, handle.get_state().state, handle.get_state().progress))

    assert [done for done, _, _ in seen] == [0, 1, 1, 2, 3]
    assert [state for _, state, _ in seen] == [State.PENDING, *[State.STARTED] * 3, State.SUCCESS]
    assert [progress for *_, progress in seen] == [(done, 4) for done in range(5)]


# -- waiting in real time ----------------------------------------------------------------------------------------------


def waiting(server, *actions):
    """Start these in threads; the futures."""
    threads = ThreadPoolExecutor(len(actions))
    futures = [threads.submit(action) for action in actions]
    threads.shutdown(wait=False)
    return futures


def test_all_members_are_waited_for(server):
    members = [call() for _ in range(3)]
    handle = server.send_group(Group(members))
    (future,) = waiting(server, handle.get)
    until_waited(server, 3)

    for number, member in enumerate(members):
        assert not future.done()
        end(server, member.uuid, number)

    assert future.result(PATIENCE) == [0, 1, 2]
    assert waiters(server) == 0


@pytest.mark.parametrize("state", [State.FAILURE, State.CANCELED])
def test_a_member_that_goes_wrong_is_heard_of_at_once(server, state):
    """The others still run: who waits for the whole learns what it will not get."""
    members = [call(name=f"task{number}") for number in range(3)]
    group = server.send_group(Group(members[:2]))
    chord = server.send_chord(Chord(Group(members[2], call()), call()))
    futures = waiting(server, group.get, chord.get, chord.group.get)
    until_waited(server, 5)

    for member in members[1:]:
        end(server, member.uuid, state=state, name=member.name, error="RuntimeError: boom", error_type="RuntimeError")

    for future, member in zip(futures, (members[1], members[2], members[2]), strict=True):
        with pytest.raises(TaskFailed if state is State.FAILURE else TaskCanceled, match="boom") as caught:
            future.result(PATIENCE)
        assert member.uuid in f"{caught.value}{getattr(caught.value, 'task_uuid', '')}"
    assert waiters(server) == 0
    with pytest.raises((TaskFailed, TaskCanceled)):
        group.touch()
    assert group.get_state().state is state
    assert members[1].uuid in group.get_state().error


def test_the_cause_is_raised_and_not_what_suffered_from_it(server):
    """The end of a later link may be recorded, and heard of, before one looks at the link that has failed."""
    first, second, third = (call(name=name) for name in "abc")
    handle = server.send_chain(Chain(first, second, third))
    end(server, second.uuid, state=State.CANCELED, error=f"task {first.uuid} failed")
    end(server, third.uuid, state=State.CANCELED, error=f"task {first.uuid} failed")
    end(server, first.uuid, state=State.FAILURE, error="RuntimeError: boom")

    for get in (handle.get, handle.touch, lambda: asyncio.run(handle.get_async())):
        with pytest.raises(TaskFailed, match="boom") as caught:
            get()
        assert caught.value.task_uuid == first.uuid


def test_errors_may_take_the_place_of_results(server):
    """Every member is waited for, and the cause of each is given."""
    good, wrong, first, second, stopped = (call(name=name) for name in "abcde")
    handle = server.send_group(Group(good, wrong, Chain(first, second), stopped))
    (future,) = waiting(server, lambda: handle.get(return_exceptions=True))
    until_waited(server, 4)

    end(server, wrong.uuid, state=State.FAILURE, error="RuntimeError: boom")
    end(server, stopped.uuid, state=State.CANCELED, error="canceled")
    end(server, first.uuid, state=State.FAILURE, error="ValueError: deep")
    end(server, second.uuid, state=State.CANCELED, error="suffered")
    assert not future.done()
    end(server, good.uuid, 5)

    for values in (future.result(PATIENCE), asyncio.run(handle.get_async(return_exceptions=True))):
        assert values[0] == 5
        assert [type(each) for each in values[1:]] == [TaskFailed, TaskFailed, TaskCanceled]
        assert [each.task_uuid for each in values[1:3]] == [wrong.uuid, first.uuid]
    assert waiters(server) == 0


def test_a_wait_ends_with_its_timeout(server):
    handle = server.send_group(Group(call(), call()))

    with pytest.raises(ResultTimeout, match=r"did not end within 0\.05 s"):
        handle.get(timeout=0.05)
    with pytest.raises(ResultTimeout):
        asyncio.run(handle.get_async(timeout=0.05))
    assert waiters(server) == 0


async def test_an_abandoned_await_leaves_nothing(server):
    handle = server.send_chord(Chord(Group(call(), call()), call()))
    waits = [asyncio.ensure_future(handle.get_async()), asyncio.ensure_future(asyncio.wait_for(handle, 1000))]
    await asyncio.to_thread(until_waited, server, 3)

    for wait in waits:
        wait.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*waits, return_exceptions=True)
    )
    assert waiters(server) == 0


@pytest.mark.slow
async def test_many_members_cost_one_thread(server):
    """Ten thousand of them, awaited as a whole and one by one."""
    others = set(threading.enumerate())
    members = [call() for _ in range(10_000)]
    handle = server.send_group(Group(members))
    whole = asyncio.ensure_future(handle.get_async())
    each = asyncio.gather(*[member.get_async() for member in handle[:100]])
    await asyncio.to_thread(until_waited, server, 10_000)
    new = [thread.name for thread in threading.enumerate() if thread not in others]
    assert [name for name in new if not name.startswith(("vecna-async", "vecna-pool", "asyncio", "vecna-send"))] == [
        "vecna-results"
    ]

    for number, member in enumerate(members):
        end(server, member.uuid, number)

    assert await whole == list(range(10_000))
    assert await each == list(range(100))
    assert waiters(server) == 0


def test_a_server_that_is_closed_tells_who_waits():
    server: Server = server_with()
    handle = server.send_group(Group(call(), call()))
    (future,) = waiting(server, handle.get)
    until_waited(server, 2)

    server.close()

    with pytest.raises(ResultTimeout, match="closed"):
        future.result(PATIENCE)


# -- with a clock that stands still ------------------------------------------------------------------------------------


def test_what_has_not_ended_is_said_at_once(still):
    handle = still.send_chain(Chain(call("one"), call("one")))

    for get in (handle.get, lambda: handle.get(timeout=100), lambda: asyncio.run(handle.get_async())):
        with pytest.raises(ResultTimeout, match=rf"{handle.uuid} \(one\), which is PENDING, .* run\(\)"):
            get()
    assert handle.touch() is None
    assert handle.touch("not yet") == "not yet"
    run(still)
    assert handle.get() == handle.touch() == asyncio.run(handle.get_async())


def test_a_task_that_waits_for_a_workflow_is_refused(still):
    """With all slots waiting, nothing would be left to run what they wait for."""
    handle = still.send_group(Group(call("one")))
    signature = call("waits")
    context = TaskContext(signature, still.clock, attempt=1, delivery=1, worker="w", deadline=None, due_at=None)
    token = running_task.set(context)
    try:
        with pytest.raises(RuntimeError, match="waits"):
            handle.get()
    finally:
        running_task.reset(token)


# -- known by id -------------------------------------------------------------------------------------------------------


def test_a_group_can_be_found_by_its_id(still):
    group: Any = Group(call("one"), Chain(call("one"), call("one")), Group(call("one"), call("none")))
    still.send_chord(Chord(group, call("none")))
    found = still.group_result(group.group_uuid)
    uuids = [each.uuid for each in (group.tasks[0], group.tasks[1].tasks[1], *group.tasks[2].tasks)]
    assert [each.uuid for each in found] == uuids

    meta = still.get_group_meta(group.group_uuid)
    assert (meta.task_uuids, meta.chord_triggered, meta.lock) == (tuple(uuids), False, False)
    assert meta.created_at == still.clock.now()
    run(still)

    meta = still.get_group_meta(group.group_uuid)
    assert (meta.chord_triggered, meta.lock) == (True, True)
    assert [type(each) for each in found.get()] == [int, int, int, type(None)]
    assert not found.is_new


def test_what_is_no_group_is_unknown(still):
    chain = Chain(call("one"), call("one"))
    still.send_chain(chain)

    for wrong in ("never", chain.chain_uuid, chain.tasks[0].uuid):
        with pytest.raises(UnknownTask, match="no group"):
            still.group_result(wrong)
        with pytest.raises(UnknownTask, match="no group"):
            still.get_group_meta(wrong)
    with pytest.raises(InvalidArgument):
        still.group_result("a b")


def test_what_was_forgotten_is_unknown(still):
    handle = still.send_group(Group(call("one"), call("one")))
    run(still)

    handle.forget()

    for ask in (handle.get, handle.touch, handle.get_state):
        with pytest.raises(UnknownTask):
            ask()


def test_a_handle_cancels_all_of_it(still):
    for link in (
        Group(call("one"), call("one")),
        Chain(call("one"), call("one")),
        Chord(Group(call("one")), call("one")),
    ):
        handle = getattr(still, f"send_{type(link).__name__.lower()}")(link)
        answer = handle.cancel()
        assert sorted(answer.canceled) == sorted(each.uuid for each in link.signatures())
        with pytest.raises(TaskCanceled, match="canceled"):
            handle.get()
    run(still)
    assert still.tasks.runs == []
