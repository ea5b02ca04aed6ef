"""A whole worker in this process, on each kind of server: what was sent comes to its end."""

import asyncio
import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from vecna import TaskContext, current_task
from vecna.app.config import Config
from vecna.bootstrap import Server
from vecna.domain.errors import RetryTaskLater, TaskCanceled, TaskFailed
from vecna.domain.state import State

PATIENCE = 30.0
QUEUES = ["one", "two"]


class Application:
    """A server with tasks, and a worker for two queues."""

    def __init__(self, url: str, namespace: str) -> None:
        self.server = Server(
            Config(broker=url, namespace=namespace, default_queue="one", lease=4, heartbeat=0.2, results_expire_in=60)
        )
        self.fails = 2
        self.running = threading.Event()
        self.done = threading.Event()
        server = self.server

        @server.task
        def add(a: int, b: int) -> int:
            return a + b

        @server.task
        async def total(*numbers: int) -> int:
            await asyncio.tasks.sleep(0.001)
            return sum(numbers)

        @server.task(retry_count=3, retry=None, queue="two")
        def flaky() -> int:
            task = current_task()
            assert task is not None
            if task.attempt <= self.fails:
                raise RuntimeError(f"attempt {task.attempt}")
            return task.attempt

        @server.task
        def later(ctx: TaskContext) -> int:
            if ctx.attempt == 1:
                raise RetryTaskLater("not yet", 0.1)
            return ctx.attempt

        @server.task(queue="two")
        def tell(text: str, number: int) -> str:
            self.done.set()
            return f"{text} {number}"

        @server.task
        def fail() -> None:
            raise ValueError("no")

        @server.task
        def wait(ctx: TaskContext) -> None:
            self.running.set()
            while True:
                ctx.raise_if_canceled()
                threading.Event().wait(0.005)

        self.add, self.total, self.flaky, self.later = add, total, flaky, later
        self.tell, self.fail, self.wait = tell, fail, wait
        self.worker = server.new_worker("w1", 8, queues=QUEUES)


@pytest.fixture
def application(any_redis_url: str, namespace: str) -> Iterator[Application]:
    application = Application(any_redis_url, namespace)
    with application.server, application.worker:
        yield application


def counts(application: Application) -> dict[str, Any]:
    return {queue: application.server.broker.counts(queue) for queue in QUEUES}


def test_many_tasks_of_both_kinds_come_to_their_results(application):
    server = application.server
    handles = server.send_tasks(
        [
            signature
            for n in range(300)
            for signature in (application.add.signature(n, 1), application.total.signature(n, n))
        ]
    )

    values = [handle.get(timeout=PATIENCE) for handle in handles]

    assert values == [value for n in range(300) for value in (n + 1, 2 * n)]
    assert application.worker.quit(PATIENCE) is True
    for found in counts(application).values():
        assert (found.pending, found.leased, found.delayed, found.ending, found.dead) == (0, 0, 0, 0, 0)


def test_retries_run_until_one_succeeds(application):
    handle = application.flaky.options(retry_timeout=dt.timedelta(0)).send()

    assert handle.get(timeout=PATIENCE) == 3
    assert handle.get_state().attempt == 3


def test_retry_later_and_delays_wait_their_time(application):
    clock = application.server.clock
    before = clock.monotonic()
    later = application.later.send()
    delayed = application.add.options(delay=0.2).send(1, 2)

    assert (later.get(timeout=PATIENCE), delayed.get(timeout=PATIENCE)) == (2, 3)
    assert clock.monotonic() - before >= 0.2


def test_callbacks_cross_queues_with_results_and_errors(application):
    server = application.server
    success = application.tell.s("sum")
    server.send_task(application.add.signature(1, 2).replace(on_success=[success]))
    assert server.result(success.uuid).get(timeout=PATIENCE) == "sum 3"

    failure = application.tell.s(7)
    handle = server.send_task(application.fail.signature().replace(on_error=[failure]))
    assert server.result(failure.uuid).get(timeout=PATIENCE) == "ValueError: no 7"
    with pytest.raises(TaskFailed, match="ValueError: no"):
        handle.get(timeout=PATIENCE)


def test_a_running_task_is_cancelled(application):
    handle = application.wait.send()
    assert application.running.wait(PATIENCE)

    assert handle.cancel().running == (handle.uuid,)

    with pytest.raises(TaskCanceled):
        handle.get(timeout=PATIENCE)
    assert handle.get_state().state is State.CANCELED


def test_a_result_that_is_not_kept_leaves_nothing(application):
    handle = application.tell.options(keep_result=False).send("x", 1)
    assert application.done.wait(PATIENCE)
    application.worker.quit(PATIENCE)

    assert application.server.backend.get_state(handle.uuid) is None


def test_it_can_be_stopped_and_started_again(application):
    application.worker.quit(PATIENCE)
    handle = application.add.send(2, 3)
    application.worker.start()

    assert handle.get(timeout=PATIENCE) == 5
