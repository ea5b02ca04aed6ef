"""What is measured, on the server of `benchmarks.tasks`."""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.tasks import nothing, nothing_async, server
from vecna import Task

CONCURRENCY = 10
COROUTINES = 100  # that send at the same time
BATCH = 1000  # signatures in one send_tasks
WARM_UP = 50
PATIENCE = 120.0  # seconds for a queue to become empty

TASKS: dict[str, Task[[int, int], None, Any]] = {"functions": nothing, "coroutines": nothing_async}


def send_one_by_one(count: int, queue: str) -> float:
    """Tasks a second that one thread sends, each in a call of its own."""
    task = nothing.options(queue=queue)
    start = time.perf_counter()
    for number in range(count):
        task.send(number, 1)
    return count / (time.perf_counter() - start)


def send_from_coroutines(count: int, queue: str, coroutines: int = COROUTINES) -> float:
    """Tasks a second that coroutines of one loop send, each one after the other."""
    task = nothing.options(queue=queue)

    async def send(number: int) -> None:
        await task.send_async(number, 1)

    return from_coroutines(send, count, coroutines)


def from_coroutines(send: Callable[[int], Awaitable[None]], count: int, coroutines: int) -> float:
    """Calls a second of coroutines of one loop, each one after the other; the first call opens what is needed."""

    async def one(first: int) -> None:
        for number in range(first, count, coroutines):
            await send(number)

    async def all_() -> float:
        await send(0)
        start = time.perf_counter()
        await asyncio.gather(*[one(first) for first in range(coroutines)])
        return count / (time.perf_counter() - start)

    return asyncio.run(all_())


def send_in_bulk(count: int, queue: str) -> float:
    """Tasks a second with `send_tasks`, the making of the signatures included."""
    return count / _fill(count, queue, "functions")[0]


def drain(count: int, queue: str, kind: str, *, process: bool) -> float:
    """Tasks a second that one worker finishes, each with its state and result, from its first start to its last end."""
    _, uuids = _fill(count, queue, kind)
    with _worker(queue, process=process):
        _wait_until_empty(queue)
    first, last = [], []
    for page in _pages(uuids):
        states = [state for state in server.backend.get_states(page) if state is not None and state.is_success]
        first.append(min(state.started_at for state in states if state.started_at))
        last.append(max(state.finished_at for state in states if state.finished_at))
        if len(states) != len(page):
            raise SystemExit(f"only {len(states)} of {len(page)} tasks ended as SUCCESS: the figure would be wrong")
        server.backend.forget(page)
    return count / (max(last) - min(first)).total_seconds()


def latencies(count: int, queue: str, *, process: bool) -> list[float]:
    """Seconds from before `send` to after `get`, one task at a time, on a worker that has nothing else to do."""
    task = nothing.options(queue=queue)
    seconds = []
    with _worker(queue, process=process):
        for number in range(WARM_UP + count):
            start = time.perf_counter()
            task.send(number, 1).get(timeout=PATIENCE)
            seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` % of the values stay below."""
    return statistics.quantiles(values, n=100)[percent - 1]


def _fill(count: int, queue: str, kind: str) -> tuple[float, list[str]]:
    """Send in bulk; the seconds that it took, and the ids."""
    task = TASKS[kind].options(queue=queue)
    uuids: list[str] = []
    start = time.perf_counter()
    for first in range(0, count, BATCH):
        batch = [task.signature(number, 1) for number in range(first, min(first + BATCH, count))]
        uuids.extend(result.uuid for result in server.send_tasks(batch))
    return time.perf_counter() - start, uuids


@contextmanager
def _worker(queue: str, *, process: bool) -> Iterator[None]:
    if not process:
        with server.new_worker("bench", CONCURRENCY, queues=[queue]):
            yield
        return
    command = [sys.executable, "-m", "vecna", "worker", "benchmarks.tasks:server", "--queues", queue]
    options = ["--name", "bench", "--concurrency", str(CONCURRENCY), "--log-level", "warning"]
    worker = subprocess.Popen([*command, *options], cwd=Path(__file__).parents[1], env=os.environ)
    try:
        yield
        worker.send_signal(signal.SIGTERM)
        if worker.wait(PATIENCE):
            raise SystemExit(f"the worker process ended with exit code {worker.returncode}")
    finally:
        worker.kill()
        worker.wait()


def _wait_until_empty(queue: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        counts = server.broker.counts(queue)
        if not (counts.pending or counts.leased or counts.delayed):
            return
        if time.monotonic() > end:
            raise SystemExit(f"queue {queue} is not empty after {PATIENCE:g} s: {counts}")
        time.sleep(0.05)  # rarely: looking costs the worker time


def _pages(uuids: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(uuids), BATCH):
        yield uuids[first : first + BATCH]
