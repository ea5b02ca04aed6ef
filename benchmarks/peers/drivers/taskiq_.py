"""Taskiq with a list (at most once) or a stream (BENCH_BROKER) of Redis."""

import asyncio
import os
import sys
import time
from datetime import UTC, datetime

import uvloop
from taskiq import TaskiqScheduler
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, ListRedisScheduleSource, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, SAFE, URL, Driver
from benchmarks.peers.drivers.tally import tally

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

STREAM = os.environ.get("BENCH_BROKER") == "stream"
# consumer_id 0: what was sent before the first worker came is for it.
SWEEP = {"idle_timeout": 5_000, "unacknowledged_lock_timeout": 5.0} if SAFE else {}
broker = RedisStreamBroker(URL, consumer_id="0", **SWEEP) if STREAM else ListQueueBroker(URL)
broker = broker.with_serializer(ORJSONSerializer())
if RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=600, serializer=ORJSONSerializer()))
source = ListRedisScheduleSource(URL)
scheduler = TaskiqScheduler(broker, [source])


@broker.task
def noop(a: int, b: int) -> None:
    tally.noop()


@broker.task
async def noop_async(a: int, b: int) -> None:
    tally.noop()


@broker.task
def wait(a: int, b: int) -> None:
    started = tally.started()
    time.sleep(0.05)
    tally.ended(started)


@broker.task
async def wait_async(a: int, b: int) -> None:
    started = tally.started()
    await asyncio.sleep(0.05)
    tally.ended(started)


@broker.task
async def late(due: float) -> None:
    tally.late(due)


NOOPS = {"functions": noop, "coroutines": noop_async}
WAITS = {"functions": wait, "coroutines": wait_async}


class Peer(Driver):
    asynchronous = True
    kinds = ("coroutines", "functions")

    async def opened(self) -> None:
        await broker.startup()
        await source.startup()

    async def closed(self) -> None:
        await broker.shutdown()
        await source.shutdown()

    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        taskiq = [sys.executable, "-m", "taskiq"]
        size = ["--workers", str(processes), "--max-async-tasks", str(CONCURRENCY)]
        threads = ["--max-threadpool-threads", str(CONCURRENCY)]
        prefetch = ["--max-prefetch", "0" if SAFE else "100"]
        acknowledge = ["--ack-type", "when_saved" if SAFE else "when_received"]
        worker = [*taskiq, "worker", f"{__name__}:broker", *size, *threads, *prefetch, *acknowledge]
        commands = [[*worker, "--log-level", "WARNING"]]
        if delays:
            commands.append([*taskiq, "scheduler", f"{__name__}:scheduler", "--update-interval", "1"])
        return commands

    async def send(self, number: int, kind: str) -> None:
        await NOOPS[kind].kiq(number, 1)

    async def round_trip(self, number: int) -> None:
        task = await noop_async.kiq(number, 1)
        await task.wait_result(check_interval=0.001, timeout=PATIENCE)

    async def wait(self, number: int, kind: str) -> None:
        await WAITS[kind].kiq(number, 1)

    async def delay(self, due: float) -> None:
        await late.schedule_by_time(source, datetime.fromtimestamp(due, UTC), due)
