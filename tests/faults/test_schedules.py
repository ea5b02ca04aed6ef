"""Schedules on a real Redis with real worker processes that are killed, and a Redis that is."""

import itertools
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import attrs
import pytest
import redis

from tests.faults.test_worker_processes import WorkerProcess
from tests.servers import RedisServer, binaries
from vecna.adapters.clock import SystemClock
from vecna.app.config import Config
from vecna.bootstrap import Server
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chord

#: Seconds for which workers are killed; a minute when asked for.
KILLING: Final = float(os.environ.get("VECNA_TEST_KILLING", "20"))
WORKERS: Final = 8
LEASE: Final = 3.0
PATIENCE: Final = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(KILLING + 180)]


class ScheduleWorker(WorkerProcess):
    """A worker of the schedules' app."""

    target = "tests.faults.schedule_app:server"


@attrs.frozen
class Run:
    """One run of a task of a schedule."""

    uuid: str
    delivery: int
    late: float

    @property
    def due(self) -> int:
        """Milliseconds."""
        return int(self.uuid.rpartition("@")[2].partition("/")[0])


class Scene:
    """A namespace, its workers, and what has run."""

    def __init__(self, url: str, control: str, namespace: str) -> None:
        self._settings: dict[str, Any] = {"lease": LEASE, "heartbeat": LEASE / 4}
        self.url, self.control, self.namespace = url, control, namespace
        self.server = Server(Config(broker=url, namespace=namespace, **self._settings))
        self.client = redis.Redis.from_url(control, decode_responses=True)
        self.clock = SystemClock()
        self.workers: list[WorkerProcess] = []
        self._numbers = itertools.count(1)

    def worker(self) -> WorkerProcess:
        name = f"w{next(self._numbers)}"
        worker = ScheduleWorker(self.url, self.control, self.namespace, name, 4, **self._settings)
        self.workers.append(worker)
        return worker

    def ran(self, code: str) -> list[Run]:
        found = [str(line).split() for line in self.client.lrange(f"ran:{self.namespace}:{code}", 0, -1)]
        return [Run(uuid, int(delivery), float(late)) for uuid, delivery, late in found]

    def until_more(self, code: str, count: int) -> None:
        """Wait for further runs."""
        wanted = len(self.ran(code)) + count
        self.until(lambda: len(self.ran(code)) >= wanted)

    def until(self, true: Callable[[], Any]) -> None:
        """Look again and again until something is true."""
        never = threading.Event()
        deadline = self.clock.monotonic() + PATIENCE
        while not true():
            assert self.clock.monotonic() < deadline, [worker.lines[-3:] for worker in self.workers]
            self.clock.wait(never, 0.05)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.server.close()
        self.client.close()


@pytest.fixture
def scene(redis_url: str, namespace: str) -> Iterator[Scene]:
    scene = Scene(redis_url, redis_url, namespace)
    yield scene
    scene.close()


def check_each_once(runs: list[Run], step: int = 1000) -> None:
    """Every occurrence between the first and the last ran, each as one task: again only after its worker was killed."""
    dues = sorted({run.due for run in runs})
    assert dues == list(range(dues[0], dues[-1] + 1, step))
    deliveries = defaultdict(list)
    for run in runs:
        deliveries[run.due].append(run.delivery)
    assert not [due for due, numbers in deliveries.items() if len(set(numbers)) != len(numbers)]
    assert len({run.uuid for run in runs}) == len(dues)


def test_workers_are_killed_at_random_and_each_occurrence_is_there_once_and_none_after_a_cancel(scene):
    chance = Random(os.environ.get("VECNA_TEST_SEED", "vecna"))
    for _ in range(WORKERS):
        scene.worker()
    schedule = scene.server.send_periodic_task("@every 1s", Signature("tick"), code="c", missed="all")
    scene.server.send_periodic_task("@every 1s", Signature("tick"), code="witness", missed="all")
    scene.until(lambda: scene.ran("c"))
    end = scene.clock.monotonic() + KILLING
    killed = 0
    while scene.clock.monotonic() < end:
        victim = chance.choice([worker for worker in scene.workers if worker.process.poll() is None])
        victim.signal(signal.SIGKILL)
        victim.ended()
        killed += 1
        scene.worker()
    scene.until(lambda: len(scene.ran("c")) >= KILLING * 0.8)

    answer = schedule.cancel()
    before, witnessed = scene.ran("c"), len(scene.ran("witness"))

    # Leases of the killed run out, and the other schedule shows that time goes on.
    scene.until(lambda: len(scene.ran("witness")) >= witnessed + 2 * LEASE)
    after = scene.ran("c")[len(before) :]
    assert {run.uuid for run in after} <= set(answer.running)
    check_each_once([*before, *after])
    check_each_once(scene.ran("witness"))
    assert killed >= KILLING / 5
    assert [each.code for each in scene.server.schedules()] == ["witness"]
    scene.server.cancel("witness")


def test_redis_is_killed_and_restarted_with_its_log_and_the_schedule_goes_on(redis_url, namespace):
    with RedisServer(binaries()["redis8"], "--appendonly", "yes", "--appendfsync", "always") as server:
        scene = Scene(server.url, redis_url, namespace)
        try:
            for _ in range(3):
                scene.worker()
            schedule = scene.server.send_periodic_task("@every 1s", Signature("tick"), code="c", missed="all")
            scene.until_more("c", 3)
            for _ in range(3):
                server.kill()
                server.restart()
                scene.until_more("c", 3)
            assert schedule.refresh().last_fire_at is not None
            answer = schedule.cancel()
            runs = scene.ran("c")
            check_each_once(runs)
            assert answer.schedules == ("c",)
            assert len(runs) >= 12
        finally:
            scene.close()


def test_a_chord_calls_back_each_time_though_workers_die(scene):
    for _ in range(3):
        scene.worker()
    chord = Chord([Signature("part", [number]) for number in range(3)], Signature("total"))
    schedule = scene.server.send_periodic_chord("@every 2s", chord, code="c", missed="all")
    for _ in range(2):
        scene.until_more("c", 1)
        scene.workers[-1].signal(signal.SIGKILL)
        scene.workers[-1].ended()
        scene.worker()
    scene.until(lambda: len(scene.ran("c")) >= 4 * 6)
    schedule.pause()
    scene.until(lambda: _is_over(schedule))

    by_due: dict[int, set[str]] = defaultdict(set)
    for run in scene.ran("c"):
        by_due[run.due].add(run.uuid)
    assert sorted(by_due) == list(range(min(by_due), max(by_due) + 1, 2000))
    assert {len(uuids) for uuids in by_due.values()} == {4}
    schedule.cancel()


def _is_over(schedule: Any) -> bool:
    return schedule.last_result().touch() == 3
