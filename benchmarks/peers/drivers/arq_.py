"""arq: at least once, when the mark of a running job has expired: job_timeout and ten seconds more. It polls Redis."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, SAFE, URL, Driver
from benchmarks.peers.drivers.tally import tally

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


async def noop(ctx: dict[str, Any], a: int, b: int) -> None:
    tally.noop()


async def wait(ctx: dict[str, Any], a: int, b: int) -> None:
    started = tally.started()
    await asyncio.sleep(0.05)
    tally.ended(started)


async def late(ctx: dict[str, Any], due: float) -> None:
    tally.late(due)


class WorkerSettings:
    functions = (noop, wait, late)
    redis_settings = RedisSettings.from_dsn(URL)
    max_jobs = CONCURRENCY
    keep_result = 600 if RESULTS else 0
    poll_delay = 0.01  # 0.5 by default
    job_timeout = 5 if SAFE else 300
    log_results = False


class Peer(Driver):
    asynchronous = True
    kinds = ("coroutines",)

    async def opened(self) -> None:
        self._pool = await create_pool(WorkerSettings.redis_settings)

    async def closed(self) -> None:
        await self._pool.aclose()

    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        return [[sys.executable, "-m", "arq", f"{__name__}.WorkerSettings"]] * processes

    async def send(self, number: int, kind: str) -> None:
        await self._pool.enqueue_job("noop", number, 1)

    async def round_trip(self, number: int) -> None:
        job = await self._pool.enqueue_job("noop", number, 1)
        await job.result(timeout=PATIENCE, poll_delay=0.001)

    async def wait(self, number: int, kind: str) -> None:
        await self._pool.enqueue_job("wait", number, 1)

    async def delay(self, due: float) -> None:
        await self._pool.enqueue_job("late", due, _defer_until=datetime.fromtimestamp(due, UTC))
