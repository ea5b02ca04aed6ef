"""streaq: at least once, when a task was idle for a minute (fast) or five seconds (safe)."""

import asyncio
import sys
import time
from datetime import UTC, datetime

from streaq import Worker

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, SAFE, URL, Driver
from benchmarks.peers.drivers.tally import tally

worker: Worker[None] = Worker(
    redis_url=URL,
    concurrency=CONCURRENCY,
    prefetch=CONCURRENCY if SAFE else 10 * CONCURRENCY,
    idle_timeout=5 if SAFE else 60,
    queue_name="bench",
    anyio_kwargs={"use_uvloop": True},
)
TTL = 600 if RESULTS else 0


@worker.task(ttl=TTL, silent=True)
async def noop(a: int, b: int) -> None:
    tally.noop()


@worker.task(ttl=TTL, silent=True)
def noop_sync(a: int, b: int) -> None:
    tally.noop()


@worker.task(ttl=TTL, silent=True)
async def wait(a: int, b: int) -> None:
    started = tally.started()
    await asyncio.sleep(0.05)
    tally.ended(started)


@worker.task(ttl=TTL, silent=True)
def wait_sync(a: int, b: int) -> None:
    started = tally.started()
    time.sleep(0.05)
    tally.ended(started)


@worker.task(ttl=TTL, silent=True)
async def late(due: float) -> None:
    tally.late(due)


@worker.task(ttl=600, silent=True)
async def member(a: int, b: int) -> int:
    tally.noop()
    return a


@worker.task(ttl=600, silent=True)
async def callback() -> None:
    """Takes no results: what runs after several tasks does not get them."""
    tally.mark()


NOOPS = {"functions": noop_sync, "coroutines": noop}
WAITS = {"functions": wait_sync, "coroutines": wait}


class Peer(Driver):
    asynchronous = True
    kinds = ("coroutines", "functions")

    async def opened(self) -> None:
        await worker.__aenter__()

    async def closed(self) -> None:
        await worker.__aexit__(None, None, None)

    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        return [[sys.executable, "-m", "streaq", "run", f"{__name__}:worker", "--workers", str(processes)]]

    async def send(self, number: int, kind: str) -> None:
        await NOOPS[kind].enqueue(number, 1)

    async def bulk(self, first: int, count: int, kind: str) -> None:
        await worker.enqueue_many([NOOPS[kind].enqueue(number, 1) for number in range(first, first + count)])

    async def round_trip(self, number: int) -> None:
        task = await noop.enqueue(number, 1)
        await task.result(timeout=int(PATIENCE))

    async def wait(self, number: int, kind: str) -> None:
        await WAITS[kind].enqueue(number, 1)

    async def delay(self, due: float) -> None:
        await late.enqueue(due).start(schedule=datetime.fromtimestamp(due, UTC))

    async def schedule(self, number: int) -> None:
        await noop.enqueue(number, 1).start(schedule="0 6 1 1 *")

    async def chord(self, count: int) -> None:
        members = [member.enqueue(number, 1) for number in range(count)]
        # The callback first: one whose members have all ended before it comes would still run.
        await worker.enqueue_many(members)
        await callback.enqueue().start(after=[one.id for one in members])
