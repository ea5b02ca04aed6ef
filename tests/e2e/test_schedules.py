"""Schedules with a whole worker in this process, on each kind of server."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vecna import Chain, Chord, Group, TaskContext, UnknownSchedule
from vecna.app.config import Config
from vecna.app.launchers import MOST_AT_ONCE
from vecna.bootstrap import Server

PATIENCE = 60.0
MANY = MOST_AT_ONCE + 50


class Application:
    """A server with tasks, and what has run."""

    def __init__(self, url: str, namespace: str) -> None:
        self.server = server = Server(Config(broker=url, namespace=namespace, results_expire_in=60, heartbeat=1))
        self._changed = threading.Condition()
        self.runs: list[tuple[str, Any]] = []

        def note(ctx: TaskContext, *_: int) -> None:
            with self._changed:
                self.runs.append((ctx.signature.name, ctx.due_at))
                self._changed.notify_all()

        @server.task
        def tick(ctx: TaskContext) -> None:
            note(ctx)

        @server.task(queue="parts")
        def part(ctx: TaskContext, *numbers: int) -> int:
            note(ctx)
            return numbers[0]

        @server.task
        def total(ctx: TaskContext, *numbers: int) -> int:
            note(ctx)
            return sum(numbers)

        self.tick, self.part, self.total = tick, part, total

    def ran(self, name: str) -> list[Any]:
        return [due for ran, due in list(self.runs) if ran == name]

    def until(self, true: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(true, PATIENCE), self.runs


@pytest.fixture
def app(any_redis_url: str, namespace: str) -> Iterator[Application]:
    app = Application(any_redis_url, namespace)
    with app.server, app.server.new_worker("w", 8, queues=["vecna_tasks", "parts"]):
        yield app


def test_a_task_runs_each_time_and_not_after_a_cancel(app):
    schedule = app.tick.every("@every 1s", code="c", missed="all").send()
    app.until(lambda: len(app.ran("tick")) == 3)
    assert [each.code for each in app.server.schedules()] == ["c"]
    answer = schedule.cancel()

    dues = app.ran("tick")
    assert [(due - dues[0]).total_seconds() for due in dues[:3]] == [0, 1, 2]
    assert answer.schedules == ("c",)
    with pytest.raises(UnknownSchedule):
        schedule.refresh()


@pytest.mark.parametrize("count", [3, MANY])
def test_a_chord_calls_back_each_time(app, count):
    chord = Chord([app.part.s(number) for number in range(count)], app.total.s())
    schedule = app.server.send_periodic_chord("@every 1s", chord, code="c", missed="all", overlap=False)
    app.until(lambda: len(app.ran("total")) >= 2)
    schedule.pause()

    assert schedule.last_result().get(timeout=PATIENCE) == sum(range(count))
    totals = len(app.ran("total"))
    assert len(app.ran("part")) == totals * count
    assert len(set(app.ran("total"))) == totals
    schedule.cancel()


def test_a_triggered_chain_with_a_wide_step_has_its_handle(app):
    link = Chain(app.part.s(1000), Group([app.part.s(number) for number in range(MANY)]), app.total.s())
    schedule = app.server.send_periodic_chain("@yearly", link, code="c").pause()
    result = schedule.trigger()

    assert result.get(timeout=PATIENCE) == sum(range(MANY))
    assert schedule.last_result().get(timeout=PATIENCE) == sum(range(MANY))
    assert schedule.refresh().paused
    assert app.server.queue_counts()["parts"].held == 0


def test_an_occurrence_that_runs_is_told_and_the_wide_one_that_waits_never_starts(app):
    started, told = threading.Event(), threading.Event()

    @app.server.task
    def long(ctx: TaskContext) -> None:
        started.set()
        while not ctx.canceled:
            told.wait(0.01)
        told.set()

    running = long.every("@every 1s", code="running", overlap=False).send()
    assert started.wait(PATIENCE)
    waiting = app.server.send_periodic_group("@yearly", Group([app.part.s(n).replace(delay=3600) for n in range(MANY)]))
    group = waiting.trigger()
    app.server.clock.wait(threading.Event(), 0.2)

    answer = waiting.cancel()
    assert {leaf.uuid for leaf in group} <= {*answer.canceled}
    assert len(running.cancel().running) == 1
    assert told.wait(PATIENCE)
    assert app.ran("part") == []


SENDER = """
import sys
from vecna import Config, Server, Signature
with Server(Config(broker=sys.argv[1], namespace=sys.argv[2])) as server:
    server.send_periodic_task("@every 1s", Signature("tick"), code="c")
"""


def test_a_worker_that_hardly_looks_begins_at_once_what_another_process_stores(any_redis_url, namespace):
    config = Config(broker=any_redis_url, namespace=namespace, poll_interval=3600, lease=3600)
    late: list[float] = []
    ran, idle = threading.Event(), threading.Event()
    with Server(config) as server:

        @server.task
        def tick(ctx: TaskContext) -> None:
            assert ctx.due_at is not None
            late.append((ctx.now() - ctx.due_at).total_seconds())
            ran.set()

        broker: Any = server.broker
        due, looks = broker.due_schedules, iter([False])

        def looked(limit: int = 100) -> Any:
            found = due(limit)
            if next(looks, True):
                idle.set()
            return found

        broker.due_schedules = looked
        with server.new_worker("w", 2):
            assert idle.wait(PATIENCE)  # from here on it looks every thirty seconds
            subprocess.run([sys.executable, "-c", SENDER, any_redis_url, namespace], check=True, timeout=PATIENCE)
            assert ran.wait(PATIENCE)
            server.cancel("c")

    assert late[0] < 10  # a second, and what a busy machine adds
