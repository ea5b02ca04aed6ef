"""The server that the workers of the soak run: `vecna worker tests.soak.app:server`.

Each run of a task is a line in the log of runs, in a Redis that nobody kills.
"""

import asyncio
import os

import redis

from tests.soak.work import LINES
from vecna import Config, RetryTaskLater, Server, TaskContext

config = Config.from_env()
server = Server(config)
_log = redis.Redis.from_url(os.environ["SOAK_LOG"])


def ran(ctx: TaskContext, number: int) -> None:
    """Say that it runs: which number, under which id, which attempt, which delivery, in which process."""
    _log.rpush(LINES, f"{number} {ctx.signature.uuid} {ctx.attempt} {ctx.delivery} {os.getpid()}")


@server.task
def step(ctx: TaskContext, number: int, *_: int) -> int:
    ran(ctx, number)
    return 1


@server.task
async def astep(ctx: TaskContext, number: int, *_: int) -> int:
    await asyncio.to_thread(ran, ctx, number)
    return 1


@server.task
def total(ctx: TaskContext, number: int, *parts: int) -> int:
    ran(ctx, number)
    return sum(parts)


@server.task(retry_count=3, retry_timeout=0)
def flaky(ctx: TaskContext, number: int) -> int:
    """Fails the first time."""
    ran(ctx, number)
    if ctx.attempt == 1:
        raise RetryTaskLater("not yet", 0.2)
    return 1


@server.task
def boom(ctx: TaskContext, number: int) -> None:
    ran(ctx, number)
    raise RuntimeError("boom")


@server.task
def tick(ctx: TaskContext) -> None:
    _log.rpush("ticks", ctx.signature.uuid)
