"""RQ. fast: workers that run the job themselves. safe: the default, which forks for each job, and retries."""

import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from rq import Queue, Retry

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, SAFE, URL, Driver, Unsupported
from benchmarks.peers.drivers.tally import tally

OPTIONS: dict[str, Any] = {"result_ttl": 600 if RESULTS else 0, **({"retry": Retry(max=3)} if SAFE else {})}


def noop(a: int, b: int) -> None:
    tally.noop()


def wait(a: int, b: int) -> None:
    started = tally.started()
    time.sleep(0.05)
    tally.ended(started)


def late(due: float) -> None:
    tally.late(due)


def callback() -> None:
    """Takes no results: what depends on jobs has to fetch them."""
    tally.mark()


class Peer(Driver):
    def __init__(self) -> None:
        self._queue = Queue("bench", connection=Redis.from_url(URL))

    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        """A worker runs one job at a time: a pool of them is what is closest to a process with so many slots.

        Ten that run jobs themselves are in each other's way; one a core is fastest.
        """
        size = CONCURRENCY if SAFE else os.cpu_count() or 1
        kind = "rq.worker.Worker" if SAFE else "rq.worker.SimpleWorker"
        rq = [sys.executable, "-m", "rq.cli"]
        pool = [*rq, "worker-pool", "bench", "-u", URL, "-w", kind, "-l", "ERROR", "-q"]
        commands = [[*pool, "-n", str(size * processes)]]
        if delays:
            commands.append([*rq, "worker", "bench", "-u", URL, "-w", kind, "--with-scheduler", "-q"])
        return commands

    def send(self, number: int, kind: str) -> None:
        self._queue.enqueue(noop, number, 1, **OPTIONS)

    def bulk(self, first: int, count: int, kind: str) -> None:
        self._queue.enqueue_many(
            [Queue.prepare_data(noop, (number, 1), **OPTIONS) for number in range(first, first + count)]
        )

    def round_trip(self, number: int) -> None:
        self._queue.enqueue(noop, number, 1, **OPTIONS).latest_result(timeout=int(PATIENCE))

    def wait(self, number: int, kind: str) -> None:
        if CONCURRENCY > 10:
            raise Unsupported("runs one job at a time in a process")
        self._queue.enqueue(wait, number, 1, **OPTIONS)

    def delay(self, due: float) -> None:
        self._queue.enqueue_at(datetime.fromtimestamp(due, UTC), late, due, **OPTIONS)

    def chord(self, count: int) -> None:
        members = self._queue.enqueue_many(
            [Queue.prepare_data(noop, (number, 1), result_ttl=600) for number in range(count)]
        )
        self._queue.enqueue(callback, depends_on=members)
