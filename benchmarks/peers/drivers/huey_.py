"""Huey: a task is gone from Redis when a worker takes it. Results are the one thing that can be added."""

import sys
import time
from datetime import datetime

from huey import RedisHuey, chord

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, URL, Driver
from benchmarks.peers.drivers.tally import tally

# notify_result: a waiting program is woken (BLPOP); without it, it polls.
huey = RedisHuey("bench", url=URL, results=RESULTS, store_none=RESULTS, utc=False, notify_result=RESULTS)


@huey.task()
def noop(a: int, b: int) -> None:
    tally.noop()


@huey.task()
def wait(a: int, b: int) -> None:
    started = tally.started()
    time.sleep(0.05)
    tally.ended(started)


@huey.task()
def late(due: float) -> None:
    tally.late(due)


@huey.task()
def member(a: int, b: int) -> int:
    tally.noop()
    return a


@huey.task()
def callback(results: list[int]) -> None:
    tally.mark()


class Peer(Driver):
    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        consumer = [sys.executable, "-m", "huey.bin.huey_consumer", f"{__name__}.huey", "--quiet"]
        return [[*consumer, "-k", "thread", "-w", str(CONCURRENCY), "-s", "1"]] * processes

    def send(self, number: int, kind: str) -> None:
        noop(number, 1)

    def round_trip(self, number: int) -> None:
        noop(number, 1).get(blocking=True, timeout=PATIENCE)

    def wait(self, number: int, kind: str) -> None:
        wait(number, 1)

    def delay(self, due: float) -> None:
        late.schedule((due,), eta=datetime.fromtimestamp(due))  # noqa: DTZ006 - local and naive is what huey takes with utc=False

    def chord(self, count: int) -> None:
        huey.enqueue(chord([member.s(number, 1) for number in range(count)], callback.s()))
