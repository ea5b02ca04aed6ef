"""A sender dies at every single step of sending a workflow: all of it runs, or nothing of it, and nothing is left."""

import datetime as dt
import itertools
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.faults.producer_app import STEPS, send, workflow
from tests.servers import RedisServer, redis8_binary
from vecna import Config, Server
from vecna.domain.errors import ResultTimeout, TaskCanceled, TaskFailed, UnknownTask

ROOT = Path(__file__).parents[2]
PATIENCE = 40
#: Seconds after which what a dead sender began is given up.
GIVEN_UP = 0.6
MOST = 30
NAMES = {
    "task": {"single", "after"},
    "group": {"left", "right", "middle", "after"},
    "chord": {"left", "right", "middle", "after", "back"},
    "chain": {"first", "left", "right", "middle", "after", "last"},
}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(redis8_binary()) as server:
        yield server


class Senders:
    """The process that forks senders."""

    def __init__(self, url: str, namespace: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.producer_app"],
            cwd=ROOT,
            env={**os.environ, "BROKER": url, "NAMESPACE": namespace},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def die(self, scene: str, kind: str, method: str, nth: int) -> bool:
        """Whether it died at this call; it comes to its end otherwise."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{scene} {kind} {method} {nth}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer in {"sent", f"died at {method}"}, answer
        return answer != "sent"

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


@attrs.frozen
class Scene:
    """One sender, and whether it died, and whether the same is sent again after that."""

    name: str
    kind: str
    died: bool
    again: bool


def kill_senders(senders: Senders, kinds: list[str]) -> Iterator[Scene]:
    """A sender of each workflow for each step on its way, once for what is given up, once for what is sent again."""
    numbers = itertools.count(1)
    for kind in kinds:
        for method in [name for names in STEPS.values() for name in names]:
            for nth in range(1, MOST):
                name = f"s{next(numbers)}"
                if not senders.die(name, kind, method, nth):
                    yield Scene(name, kind, died=False, again=False)
                    break
                yield Scene(name, kind, died=True, again=False)
                name = f"s{next(numbers)}"
                yield Scene(name, kind, died=senders.die(name, kind, method, nth), again=True)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [["chord"], pytest.param(list(NAMES), marks=pytest.mark.long)], ids=["chord", "all"])
def test_a_sender_may_die_at_any_step(server: RedisServer, namespace: str, kinds: list[str]) -> None:
    ran: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    def step(scene: str, name: str, *_: int) -> int:
        with lock:
            ran[scene, name] += 1
        return 1

    senders = Senders(server.url, namespace)
    try:
        scenes = list(kill_senders(senders, kinds))
    finally:
        senders.close()
    options: dict[str, Any] = {"lease": 3, "heartbeat": 0.1, "poll_interval": 0.1, "publish_timeout": GIVEN_UP}
    outcomes: Counter[tuple[str, str]] = Counter()
    with Server(Config(broker=server.url, namespace=namespace, **options)) as receiver:
        receiver.register_task("step", step)
        with receiver.new_worker("w1", 4, queues=["one", "two"]), receiver.new_worker("w2", 4, queues=["one", "two"]):
            for scene in scenes:
                if scene.again:
                    send(receiver, workflow(scene.name, scene.kind))
            with ThreadPoolExecutor(64) as threads:  # who is unknown is waited for a little
                for scene, outcome in zip(scenes, threads.map(partial(_outcome, receiver), scenes), strict=True):
                    outcomes[scene.kind, outcome] += 1
        assert set(ran.values()) == {1}
        counts = list(receiver.queue_counts().values())
    # Both happen with each kind, else the scenario shows nothing.
    assert {kind for kind, outcome in outcomes if outcome == "all"} == set(kinds)
    assert {kind for kind, outcome in outcomes if outcome == "nothing"} >= {*kinds} - {"task"}
    assert sum(scene.died for scene in scenes) >= 10 * len(kinds)
    assert all((c.pending, c.delayed, c.leased, c.ending, c.held, c.dead) == (0,) * 6 for c in counts), counts


def test_callbacks_of_a_sender_that_died_before_it_sent_their_parent_are_forgotten(
    redis_url: str, namespace: str
) -> None:
    senders = Senders(redis_url, namespace)
    try:
        assert senders.die("s", "task", "put_states", 1)
    finally:
        senders.close()
    options: dict[str, Any] = {"lease": 0.2, "heartbeat": 0.05, "publish_timeout": 0.2}
    with Server(Config(broker=redis_url, namespace=namespace, **options)) as server:
        assert server.result("s-after").get_state().state == "PENDING"
        with server.new_worker("w", 1), pytest.raises(UnknownTask):
            server.result("s-after").get(timeout=PATIENCE)
        assert server.backend.waiting_callbacks(dt.timedelta(0), 10) == []
        # Sent at last, it is as if nothing had been.
        send(server, workflow("s", "task"))
        assert server.result("s-after").get_state().state == "PENDING"


def _outcome(server: Server, scene: Scene) -> str:
    """Wait for all of it. What was said to be sent can be relied on; of the rest all happens or nothing."""
    names = sorted(NAMES[scene.kind])
    ends = [_end(server, f"{scene.name}-{name}") for name in names]
    assert len(set(ends)) == 1, (scene, dict(zip(names, ends, strict=True)))
    assert scene.died or ends[0] == "all", scene
    assert ends[0] != "hangs", scene
    return ends[0]


def _end(server: Server, uuid: str) -> str:
    try:
        server.result(uuid).get(timeout=15)
    except ResultTimeout:
        return "hangs"
    except (TaskCanceled, TaskFailed, UnknownTask):
        return "nothing"
    return "all"
