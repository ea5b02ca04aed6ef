"""Real worker processes on a real Redis: killed, stopped, paused; nothing is lost."""

import datetime as dt
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.canary import watch
from tests.faults.redis.servers import eventually
from tests.servers import RedisServer
from vecna.adapters.clock import SystemClock
from vecna.app.config import Config
from vecna.bootstrap import Server
from vecna.domain.errors import TaskFailed
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.ports.values import Standing

ROOT = Path(__file__).parents[2]
QUEUE = "vecna_tasks"
LEASE = 2.0  # seconds; kept short, since what a killed worker held is there again after it
PATIENCE = 30.0


class WorkerProcess:
    """`vecna worker` in a process of its own; its log line by line."""

    target = "tests.faults.worker_app:server"
    options: tuple[str, ...] = ()
    awaited = "serves"

    def __init__(self, url: str, control: str, namespace: str, name: str, concurrency: int, **settings: Any) -> None:
        self.name = name
        variables = {"broker": url, "namespace": namespace, "lease": LEASE, "heartbeat": LEASE / 4, **settings}
        environment = {f"VECNA_{key.upper()}": str(value) for key, value in variables.items()}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vecna", "worker", self.target),
                *("--name", name, "--concurrency", str(concurrency), *self.options),
            ],
            cwd=ROOT,
            env={**os.environ, **environment, "CONTROL": control},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.until_line(self.awaited)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            watch.look(line, f"log of worker {self.name}")
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def until_line(self, text: str) -> str:
        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._news:
            assert self._news.wait_for(lambda: found() or self.process.poll() is not None, PATIENCE), self.lines
            line = found()
        assert line is not None, self.lines
        return line

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.ended()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Scene:
    """A namespace on one Redis, its workers, and the ends of the strings that their tasks hang on.

    Args:
        url: of the Redis that is vecna's.
        namespace: of its keys.
        control: of the Redis that the tasks of the test talk to; the same when left out.
    """

    def __init__(self, url: str, namespace: str, control: str = "") -> None:
        self.url = url
        self.control = control or url
        self.namespace = namespace
        self.server = Server(Config(broker=url, namespace=namespace, lease=LEASE, heartbeat=LEASE / 4))
        self.client = redis.Redis.from_url(self.control, decode_responses=True, socket_timeout=None)
        self.workers: list[WorkerProcess] = []

    def worker(self, name: str, concurrency: int = 4, **settings: Any) -> WorkerProcess:
        self.workers.append(WorkerProcess(self.url, self.control, self.namespace, name, concurrency, **settings))
        return self.workers[-1]

    def send(self, name: str, count: int, **options: Any) -> list[Any]:
        return self.server.send_tasks([Signature(name, [number], **options) for number in range(count)])

    def running(self) -> tuple[int, str, int]:
        """Wait for the next `hold` that runs: its number, worker and delivery."""
        taken = self.client.blpop([self._key("running")], PATIENCE)
        assert taken is not None
        number, worker, delivery = str(taken[1]).split()
        return int(number), worker, int(delivery)

    def go(self, count: int = 1) -> None:
        self.client.rpush(self._key("go"), *["go"] * count)

    def ran(self) -> list[int]:
        return sorted(int(number) for number in self.client.lrange(self._key("ran"), 0, -1))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.server.close()
        self.client.close()

    def _key(self, name: str) -> str:
        return f"control:{self.namespace}:{name}"


@pytest.fixture
def scene(redis_url: str, namespace: str) -> Iterator[Scene]:
    scene = Scene(redis_url, namespace)
    yield scene
    scene.close()


def where(scene: Scene, handle: Any) -> Standing | None:
    (place,) = scene.server.broker.locate([handle.uuid])
    return None if place is None else place.standing


def test_what_a_killed_worker_held_runs_elsewhere_within_the_lease(scene):
    victim = scene.worker("victim")
    handles = scene.send("hold", 3)
    assert {scene.running()[1] for _ in range(3)} == {"victim"}
    scene.worker("heir")  # a queue that nobody serves for long passes for one whose broker was away
    since = SystemClock().monotonic()
    victim.signal(signal.SIGKILL)

    again = [scene.running() for _ in range(3)]
    took = SystemClock().monotonic() - since
    scene.go(3)

    assert sorted(again) == [(number, "heir", 2) for number in range(3)]
    assert [handle.get(timeout=PATIENCE) for handle in handles] == ["heir"] * 3
    assert took < LEASE + 2  # the lease, and what a busy machine adds


def test_no_task_is_lost_when_a_worker_is_killed_in_the_middle_of_many(scene):
    victim = scene.worker("victim")
    scene.worker("heir")
    handles = scene.send("work", 600)
    handles[50].get(timeout=PATIENCE)
    victim.signal(signal.SIGKILL)

    results = [handle.get(timeout=PATIENCE) for handle in handles]

    assert results == list(range(600))
    ran = scene.ran()
    assert set(ran) == set(range(600))
    counts = scene.server.broker.counts(QUEUE)
    assert (counts.pending, counts.leased, counts.dead) == (0, 0, 0)


@pytest.mark.parametrize("task", ["hold", "ahold"])
def test_sigterm_finishes_what_runs_and_leaves_the_rest(scene, task):
    worker = scene.worker("w1", concurrency=1)
    handles = scene.send(task, 2)
    scene.running()
    worker.signal(signal.SIGTERM)
    worker.until_line("stops on SIGTERM")
    scene.go(1)

    assert worker.ended() == 0
    assert handles[0].get(timeout=PATIENCE) == "w1"
    assert where(scene, handles[1]) is Standing.PENDING


def test_a_second_signal_hands_back_at_once_and_exits_with_1(scene):
    worker = scene.worker("w1", concurrency=2)
    handles = scene.send("hold", 3)
    scene.running()
    scene.running()
    worker.signal(signal.SIGTERM)
    worker.until_line("stops on SIGTERM")
    worker.signal(signal.SIGTERM)

    assert worker.ended() == 1
    assert [where(scene, handle) for handle in handles] == [Standing.PENDING] * 3
    assert not any("Traceback" in line for line in worker.lines)
    scene.worker("w2")
    assert {scene.running()[2] for _ in range(3)} == {1}  # handed back: no crash was counted
    scene.go(3)
    assert [handle.get(timeout=PATIENCE) for handle in handles] == ["w2"] * 3


def test_a_worker_that_was_paused_for_longer_than_its_lease_is_refused_and_says_so(scene):
    paused = scene.worker("paused")
    signature: Signature = Signature("hold", [1], on_success=[Signature("work", uuid=f"{scene.namespace}-next")])
    handle = scene.server.send_task(signature)
    assert scene.running()[1] == "paused"
    scene.worker("heir")
    paused.signal(signal.SIGSTOP)
    assert scene.running() == (1, "heir", 2)

    paused.signal(signal.SIGCONT)
    paused.until_line("has lost the lease")
    scene.go(2)  # both end now

    assert handle.get(timeout=PATIENCE) == "heir"
    assert scene.server.result(f"{scene.namespace}-next").get_state().task_uuid.endswith("-next")
    paused.signal(signal.SIGTERM)
    assert paused.ended() == 0
    assert handle.get_state().worker == "heir"
    assert len([line for line in paused.lines if "has lost the lease" in line]) == 1


@pytest.fixture
def attended(scene: Scene) -> Iterator[None]:
    """Someone looks at the queue all the time, so that its silence does not pass for an outage of the broker."""
    done = threading.Event()

    def attend() -> None:
        numbers, duration = itertools.count(1), dt.timedelta(seconds=LEASE)
        while not done.wait(LEASE / 5):
            scene.server.broker.lease(
                QUEUE, 0, worker="attendant", call=next(numbers), duration=duration, max_deliveries=2
            )

    thread = threading.Thread(target=attend)
    thread.start()
    yield
    done.set()
    thread.join(PATIENCE)


@pytest.mark.usefixtures("attended")
def test_a_task_that_kills_its_worker_becomes_a_dead_letter_and_the_others_run(scene):
    (bad,) = scene.send("poison", 1)
    for number in range(2):
        scene.worker(f"victim-{number}", max_deliveries=2).ended()
    scene.worker("heir", max_deliveries=2)
    (good,) = scene.send("work", 1)

    with pytest.raises(TaskFailed, match="died or went silent 2 times"):
        bad.get(timeout=PATIENCE)
    assert good.get(timeout=PATIENCE) == 0
    eventually(lambda: scene.server.broker.get_dead_tasks(QUEUE), "the end, which is recorded, is settled")
    (letter,) = scene.server.broker.get_dead_tasks(QUEUE)
    assert letter.uuid == bad.uuid
    assert bad.get_state().dead_reason == letter.reason


# -- Redis goes away ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own_redis(server_of: Callable[[str], RedisServer]) -> Iterator[RedisServer]:
    # Every write is on disk before it is answered: what was accepted is there after a crash.
    binary = server_of("redis8").binary
    with RedisServer(binary, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def test_a_worker_survives_a_crash_of_redis_with_all_that_it_has_done(own_redis, redis_url, namespace):
    scene = Scene(own_redis.url, namespace, control=redis_url)
    try:
        worker = scene.worker("w1")
        (held,) = scene.send("hold", 1)
        scene.running()
        own_redis.kill()
        worker.until_line("cannot reach the broker")
        own_redis.restart()
        worker.until_line("reaches the broker again")
        scene.go(1)

        assert held.get(timeout=PATIENCE) == "w1"
        assert scene.send("work", 1)[0].get(timeout=PATIENCE) == 0
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
        assert len([line for line in worker.lines if "cannot reach the broker" in line]) == 1
        assert len([line for line in worker.lines if "reaches the broker again" in line]) == 1
        assert not any("Traceback" in line for line in worker.lines), "".join(worker.lines)
    finally:
        scene.close()


def test_a_worker_without_redis_does_not_spin(own_redis, redis_url, namespace):
    scene = Scene(own_redis.url, namespace, control=redis_url)
    try:
        worker = scene.worker("w1")
        own_redis.kill()
        worker.until_line("cannot reach the broker")
        before = _processor_seconds(worker.process.pid)

        with pytest.raises(subprocess.TimeoutExpired):  # it is still there after that time
            worker.process.wait(2)

        assert _processor_seconds(worker.process.pid) - before < 0.5
        assert len(worker.lines) <= 3
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
    finally:
        scene.close()


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_states_are_seen_from_outside_while_a_task_runs(scene):
    scene.worker("w1")
    (handle,) = scene.send("hold", 1)
    scene.running()
    listener = threading.Event()
    for _ in range(500):
        if handle.get_state().state is State.STARTED:
            break
        SystemClock().wait(listener, 0.01)

    state = handle.get_state()
    assert (state.state, state.worker, state.attempt) == (State.STARTED, "w1", 1)
    scene.go()
    assert handle.get(timeout=PATIENCE) == "w1"
