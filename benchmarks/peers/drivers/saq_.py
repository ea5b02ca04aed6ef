"""SAQ: a job that is stuck for longer than its timeout is swept, and run again if it has retries left (safe)."""

import asyncio
import math
import sys
from typing import Any

import uvloop
from saq import Queue

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, SAFE, URL, Driver
from benchmarks.peers.drivers.tally import tally

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

queue = Queue.from_url(URL)


async def noop(ctx: dict[str, Any], *, a: int, b: int) -> None:
    tally.noop()


async def wait(ctx: dict[str, Any], *, a: int, b: int) -> None:
    started = tally.started()
    await asyncio.sleep(0.05)
    tally.ended(started)


async def late(ctx: dict[str, Any], *, due: float) -> None:
    tally.late(due)


settings = {
    "queue": queue,
    "functions": [noop, wait, late],
    "concurrency": CONCURRENCY,
    "timers": {"sweep": 5} if SAFE else {},
}
OPTIONS = {"ttl": 600 if RESULTS else -1, **({"timeout": 5, "retries": 3} if SAFE else {})}


class Peer(Driver):
    asynchronous = True
    kinds = ("coroutines",)

    async def opened(self) -> None:
        await queue.connect()

    async def closed(self) -> None:
        await queue.disconnect()

    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        return [[sys.executable, "-m", "saq", f"{__name__}.settings"]] * processes

    async def send(self, number: int, kind: str) -> None:
        await queue.enqueue("noop", a=number, b=1, **OPTIONS)

    async def round_trip(self, number: int) -> None:
        # `timeout` is that of the wait here; the job has its default.
        await queue.apply("noop", timeout=PATIENCE, poll_interval=0.001, a=number, b=1)

    async def wait(self, number: int, kind: str) -> None:
        await queue.enqueue("wait", a=number, b=1, **OPTIONS)

    async def delay(self, due: float) -> None:
        await queue.enqueue("late", due=due, scheduled=math.ceil(due), **OPTIONS)  # it counts in whole seconds
