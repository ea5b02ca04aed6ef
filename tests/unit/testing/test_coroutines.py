"""Coroutine tasks, in tests with and without an event loop of their own."""

import asyncio
import datetime as dt
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.testing.app import START, Shop
from vecna import State, TaskContext, TaskTimeout, current_task
from vecna.testing import Harness

sleep = asyncio.sleep  # noqa: TID251  # what users write; here it moves the virtual clock


@pytest.fixture
def asleep(shop: Shop, harness: Harness) -> Callable[..., Any]:
    @shop.server.task(timeout=7200)
    async def asleep(ctx: TaskContext, seconds: float) -> str:
        assert current_task() is ctx
        await sleep(seconds)
        shop.calls.append(ctx.now())
        return threading.current_thread().name

    return asleep


def test_a_coroutine_runs_and_its_sleep_takes_virtual_time(shop: Shop, harness: Harness, asleep: Any) -> None:
    result = asleep.send(3600)
    assert harness.run() == 1
    assert result.get() == "MainThread"
    assert shop.calls == [START + dt.timedelta(hours=1)]


async def test_run_works_inside_a_running_loop(shop: Shop, harness: Harness, asleep: Any) -> None:
    result = await asleep.send_async(3600)
    assert harness.run() == 1
    assert (await result).startswith("vecna-harness")
    assert harness.clock.now() == START + dt.timedelta(hours=1)


async def test_the_harness_is_not_warned_of_blocking_the_loop(
    shop: Shop, harness: Harness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecna.app.twins._warned", set())  # each is said once a process
    await shop.note.send_async("a")
    harness.run()
    await harness.advance_async(days=1)
    assert caplog.messages == []


async def test_run_async_uses_the_loop_of_the_test(shop: Shop, harness: Harness) -> None:
    mine = asyncio.get_running_loop()
    future: asyncio.Future[int] = mine.create_future()

    @shop.server.task
    async def wait() -> int:
        return await future  # would be refused on any other loop

    result = await wait.options(delay=60).send_async()
    mine.call_later(0.001, future.set_result, 7)
    assert await harness.run_async() == 0
    assert await harness.advance_async(minutes=1) == 1
    assert await result == 7


async def test_functions_and_coroutines_of_an_async_test_keep_their_order(shop: Shop, harness: Harness) -> None:
    threads = set()
    shop.server.set_pre_publish_handler(lambda _: threads.add(threading.get_ident()))
    await asyncio.gather(*[shop.note.send_async(str(number)) for number in range(50)])
    assert await harness.run_async() == 50
    assert shop.calls == [str(number) for number in range(50)]
    assert len(threads) == 1  # one after the other, in the order of their begin


def test_after_a_year_the_loop_still_tells_moments_apart(shop: Shop, harness: Harness, asleep: Any) -> None:
    harness.advance(days=3000)
    for seconds in (0.001, 0.1, 3600):
        asleep.send(seconds)
        harness.run()
    assert len(shop.calls) == 3


def test_a_coroutine_is_cancelled_at_its_timeout_and_not_later(shop: Shop, harness: Harness, asleep: Any) -> None:
    result = asleep.send(100_000)
    with pytest.raises(TaskTimeout, match="asleep ran longer than its timeout of 7200 s"):
        harness.run()
    assert harness.clock.now() == START + dt.timedelta(hours=2)
    assert shop.calls == []
    assert result.get_state().state is State.FAILURE


async def test_a_coroutine_on_the_tests_loop_has_its_timeout_too(shop: Shop, harness: Harness) -> None:
    @shop.server.task(timeout=5)
    async def work() -> None:
        harness.clock.advance(10)
        await asyncio.Event().wait()

    await work.send_async()
    with pytest.raises(TaskTimeout):
        await harness.run_async()


def test_a_coroutine_that_moves_the_clock_past_its_timeout_has_timed_out(shop: Shop, harness: Harness) -> None:
    @shop.server.task(timeout=5)
    async def work() -> str:
        harness.clock.advance(10)
        return "done"

    work.send()
    with pytest.raises(TaskTimeout):
        harness.run()


def test_threads_and_sockets_are_waited_for(shop: Shop, harness: Harness) -> None:
    """They take real time, and the clock does not run away meanwhile."""
    ours, theirs = socket.socketpair()
    release = threading.Event()

    @shop.server.task
    async def work() -> str:
        assert await asyncio.wait_for(asyncio.to_thread(release.wait, 30), timeout=60)
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.sendall(b"hi\n")
        line = await asyncio.wait_for(reader.readline(), timeout=60)
        writer.close()
        await writer.wait_closed()
        return line.decode()

    result = work.send()
    timer = threading.Timer(0.05, release.set)
    timer.start()
    harness.run()
    assert result.get() == "hi\n"
    assert harness.clock.now() < START + dt.timedelta(seconds=1)
    theirs.close()
    timer.join()


def test_a_coroutine_that_waits_for_nothing_is_named(
    shop: Shop, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecna.testing.coroutines._PATIENCE", 0.01)

    @shop.server.task
    async def wait() -> None:
        await asyncio.Event().wait()

    result = wait.send()
    with pytest.raises(RuntimeError, match="coroutine task wait waits for something that nothing here will bring"):
        harness.run()
    assert harness.run() == 0
    assert result.get_state().error_type.endswith("CancelledError")


def test_what_a_coroutine_leaves_behind_ends_with_the_harness(shop: Shop) -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    @shop.server.task
    async def leave() -> None:
        shop.calls.append(asyncio.create_task(forever()))
        await sleep(0)

    with Harness(shop.server) as harness:
        leave.send()
        harness.run()
        assert ended == []
    assert ended == [True]


def test_what_a_coroutine_leaves_behind_does_not_keep_the_next_from_beginning(
    shop: Shop, harness: Harness, asleep: Any
) -> None:
    async def cancel_all() -> None:
        await sleep(0)  # until the next has a task, but has not begun
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    @shop.server.task
    async def leave() -> None:
        shop.calls.append(asyncio.create_task(cancel_all()))

    leave.send()
    harness.run()
    result = asleep.send(1)
    assert harness.run() == 1
    assert result.get() == "MainThread"


def test_a_planned_error_is_raised_by_a_coroutine_too(shop: Shop, harness: Harness, asleep: Any) -> None:
    harness.fail_next(asleep, OSError("away"))
    asleep.send(1)
    with pytest.raises(OSError, match="away"):
        harness.run()
    assert shop.calls == []
