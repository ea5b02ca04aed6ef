"""Celery. fast: threads, acknowledged before the run. safe: processes, acknowledged after it."""

import sys
import time
from datetime import UTC, datetime

from celery import Celery, chord

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, SAFE, URL, Driver
from benchmarks.peers.drivers.tally import tally

app = Celery("bench", broker=URL, backend=URL)
app.conf.update(
    task_ignore_result=not RESULTS,
    result_expires=600,
    worker_prefetch_multiplier=1 if SAFE else 10,
    task_acks_late=SAFE,
    task_reject_on_worker_lost=SAFE,
    broker_transport_options={"visibility_timeout": 60} if SAFE else {},
    broker_connection_retry_on_startup=True,
    worker_disable_rate_limits=True,
)


@app.task
def noop(a: int, b: int) -> None:
    tally.noop()


@app.task
def wait(a: int, b: int) -> None:
    started = tally.started()
    time.sleep(0.05)
    tally.ended(started)


@app.task
def late(due: float) -> None:
    tally.late(due)


@app.task(ignore_result=False)
def member(a: int, b: int) -> int:
    tally.noop()
    return a


@app.task
def callback(results: list[int]) -> None:
    tally.mark()


class Peer(Driver):
    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        command = [sys.executable, "-m", "celery", "-A", f"{__name__}:app", "worker", "-l", "ERROR"]
        pool = ["-P", "prefork" if SAFE else "threads", "-c", str(CONCURRENCY)]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [[*command, *pool, *quiet, "-n", f"w{number}@%h"] for number in range(processes)]

    def send(self, number: int, kind: str) -> None:
        noop.delay(number, 1)

    def round_trip(self, number: int) -> None:
        noop.delay(number, 1).get(timeout=PATIENCE)

    def wait(self, number: int, kind: str) -> None:
        wait.delay(number, 1)

    def delay(self, due: float) -> None:
        late.apply_async((due,), eta=datetime.fromtimestamp(due, UTC))

    def chord(self, count: int) -> None:
        chord([member.s(number, 1) for number in range(count)])(callback.s())
