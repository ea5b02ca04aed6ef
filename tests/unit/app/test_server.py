import asyncio
import contextlib
import datetime as dt
import os
import random
import threading
from typing import Any

import pytest

from tests.unit.app.doubles import drain, end, server_with
from vecna.adapters.clock import ManualClock, SystemClock
from vecna.adapters.memory import MemoryBackend, MemoryBroker
from vecna.app.config import Config
from vecna.app.server import Server as Core
from vecna.bootstrap import Server, prepare
from vecna.domain.cancellation import Cancellation
from vecna.domain.errors import InvalidArgument, ResultTimeout
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.ports.values import Adapters, QueueCounts, SettleAs, Settlement


@pytest.fixture
def server() -> Server:
    return Server("memory://")


class Counted:
    """Makes the ports and counts how often."""

    def __init__(self) -> None:
        self.config = Config(broker="memory://")
        self.made = 0
        self._make = prepare(self.config)

    def __call__(self) -> Adapters:
        self.made += 1
        return self._make()


def test_nothing_is_opened_until_first_use_and_then_once() -> None:
    connect = Counted()
    server = Core(connect.config, connect)
    task = server.register_task("add", lambda: 1)
    server.set_pre_publish_handler(None)
    server.result("x")
    assert task() == 1
    assert connect.made == 0

    start = threading.Barrier(8)
    seen: list[object] = []

    def use() -> None:
        start.wait()
        seen.append(server.broker)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert connect.made == 1
    assert len({id(broker) for broker in seen}) == 1
    assert len({id(port) for port in (server.broker, server.backend, server.lock)}) == 3
    assert connect.made == 1


def test_it_says_what_it_is_wired_with(server: Server) -> None:
    clock, broker = ManualClock(), MemoryBroker(SystemClock())
    server = server_with(clock=clock, broker=broker)

    assert server.config.default_queue == "vecna_tasks"
    assert server.clock is clock
    assert server.broker is broker
    assert isinstance(server.random, random.Random)
    assert "memory" not in repr(server)


def test_its_name_shows_no_password() -> None:
    assert "s3cr3t" not in repr(Server("redis://:s3cr3t@localhost"))


def test_unnamed_memory_is_private_and_survives_a_close() -> None:
    first, second = Server("memory://"), Server("memory://")
    with first:
        first.send_task(Signature("a"))
    first.close()

    assert len(first.get_pending_tasks()) == 1
    assert second.get_pending_tasks() == []


async def test_it_can_be_closed_by_a_coroutine() -> None:
    async with Server("memory://") as server:
        await server.send_task_async(Signature("a"))
        await server.queue_counts_async()
        assert any(thread.name.startswith("vecna-io") for thread in threading.enumerate())
        pool = server.pool
    await server.close_async()

    assert pool._executor is None
    assert len(await server.get_pending_tasks_async()) == 1
    server.close()


def test_closing_what_was_never_opened_opens_nothing() -> None:
    connect = Counted()
    server = Core(connect.config, connect)

    server.close()
    with server:
        pass

    assert connect.made == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own() -> None:
    connect = Counted()
    server = Core(connect.config, connect)
    handle = server.send_task(Signature("a"))

    def wait() -> None:
        with contextlib.suppress(ResultTimeout):
            handle.get()

    threading.Thread(target=wait, daemon=True).start()
    while not server.waiting_room._awaited:
        pass
    server._lock.acquire()  # as another thread may at the moment of the fork

    child = os.fork()
    if child == 0:
        status = 1
        try:
            fresh = server.get_pending_tasks() == [] and connect.made == 2 and not server.waiting_room._awaited
            other = server.send_task(Signature("b"))
            end(server, other.uuid, 5)
            status = 0 if fresh and other.get(timeout=30) == 5 and asyncio.run(other.get_async(30)) == 5 else 2
        finally:
            os._exit(status)
    server._lock.release()
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(server.get_pending_tasks()) == 1
    assert connect.made == 1
    end(server, handle.uuid, 1)
    assert handle.get(timeout=30) == 1
    server.close()


def test_queues_are_looked_into_by_name_and_in_pages(server: Server) -> None:
    server.send_tasks([Signature(f"t{number}") for number in range(5)])
    server.send_tasks([Signature("u", queue="other"), Signature("late", queue="other", delay=100)])

    assert [signature.name for signature in server.get_pending_tasks(limit=2)] == ["t0", "t1"]
    assert [signature.name for signature in server.get_pending_tasks("other")] == ["u"]
    assert [signature.name for signature in server.broker.get_pending_tasks("other")] == ["u"]
    (late,) = server.get_delayed_tasks("other", limit=1)
    assert late.eta is not None
    assert server.get_pending_tasks("none-such") == []
    assert server.get_pending_tasks(limit=0) == []
    assert server.queue_counts() == {
        "other": QueueCounts(pending=1, delayed=1), "vecna_tasks": QueueCounts(pending=5),
    }  # fmt: skip


def test_dead_letters_show_their_reason(server: Server) -> None:
    dead = server.send_task(Signature("a"))
    lease = server.broker.lease(
        "vecna_tasks", 1, worker="w", call=1, duration=dt.timedelta(seconds=30), max_deliveries=5
    )
    server.broker.settle("vecna_tasks", [Settlement(dead.uuid, lease.token, SettleAs.DEAD, reason="unreadable")])

    (letter,) = server.get_dead_tasks()

    assert (letter.uuid, letter.reason, letter.name) == (dead.uuid, "unreadable", "a")
    # What was recorded about it may expire; the letter itself still says that it has ended.
    assert dead.get_state().is_failure
    assert "dead letter of queue vecna_tasks" in dead.get_state().error
    assert server.cancel_delayed_task(dead) == Cancellation(finished=(dead.uuid,))


async def test_inspection_has_twins(server: Server) -> None:
    await server.send_tasks_async([Signature("a"), Signature("b", delay=100)])

    assert [signature.name for signature in await server.get_pending_tasks_async(limit=5)] == ["a"]
    assert [signature.name for signature in await server.get_delayed_tasks_async("vecna_tasks")] == ["b"]
    assert await server.get_dead_tasks_async() == []
    assert await server.queue_counts_async() == {"vecna_tasks": QueueCounts(pending=1, delayed=1)}


@pytest.mark.parametrize("limit", [-1, "5", True, 1.5])
def test_a_bad_page_is_refused(server: Server, limit: Any) -> None:
    for look in (server.get_pending_tasks, server.get_delayed_tasks, server.get_dead_tasks):
        with pytest.raises(InvalidArgument, match="limit must be an int of 0 or more"):
            look(limit=limit)
        with pytest.raises(InvalidArgument, match="queue name 'a b' is not allowed"):
            look("a b")


def test_cancelling_answers_for_each(server: Server) -> None:
    pending, delayed, other, running, finished, canceled = server.send_tasks(
        [
            Signature("pending"), Signature("delayed", delay=100), Signature("other", queue="other"),
            Signature("running", queue="busy"), Signature("finished", queue="done"),
            Signature("canceled", queue="done"),
        ]
    )  # fmt: skip
    server.broker.lease("busy", 1, worker="w", call=1, duration=dt.timedelta(seconds=30), max_deliveries=5)
    end(server, finished.uuid, 1)
    end(server, canceled.uuid, state=State.CANCELED)
    drain(server, "done")
    assert delayed.signature is not None

    answer = server.cancel_delayed_task(
        pending.uuid, delayed.signature, [server.result(other.uuid), running], (finished, canceled), {"nobody"}
    )

    assert answer == Cancellation(
        canceled=(pending.uuid, delayed.uuid, other.uuid, canceled.uuid),
        running=(running.uuid,),
        finished=(finished.uuid,),
        unknown=("nobody",),
    )
    assert not answer
    assert server.cancel_delayed_task(pending, delayed, other)  # what was cancelled before counts as canceled
    assert server.get_pending_tasks() == server.get_delayed_tasks() == server.get_pending_tasks("other") == []
    assert server.cancel_delayed_task() == Cancellation()


async def test_a_handle_cancels_its_task(server: Server) -> None:
    first, second = await server.send_tasks_async([Signature("a"), Signature("b")])

    assert await first.cancel_async() == Cancellation(canceled=(first.uuid,))
    assert await server.cancel_delayed_task_async(second.uuid) == Cancellation(canceled=(second.uuid,))
    assert server.get_pending_tasks() == []


@pytest.mark.parametrize("wrong", ["no id", 5, None, [None], [["a b"]]])
def test_what_is_no_task_cannot_be_cancelled(server: Server, wrong: Any) -> None:
    pending = server.send_task(Signature("a"))

    with pytest.raises(InvalidArgument):
        server.cancel_delayed_task(pending, wrong)
    assert len(server.get_pending_tasks()) == 1


def test_a_task_that_ends_while_it_is_cancelled_has_finished() -> None:
    backend = MemoryBackend(SystemClock())

    class Ending(MemoryBroker):
        """The task is leased, run and settled between the look and the cancel."""

        def cancel(self, queue: str, uuids: Any) -> Any:
            lease = self.lease(queue, 10, worker="w", call=1, duration=dt.timedelta(seconds=30), max_deliveries=5)
            for delivery in lease.deliveries:
                end(mine, delivery.uuid, 5)
                self.settle(queue, [Settlement(delivery.uuid, lease.token)])
            return super().cancel(queue, uuids)

    mine = server_with(broker=Ending(SystemClock()), backend=backend)
    handle = mine.send_task(Signature("a"))

    assert handle.cancel() == Cancellation(finished=(handle.uuid,))
