"""The server that the workers of the fault tests run: `vecna worker tests.faults.worker_app:server`.

Its tasks write down that they run, and wait where a test wants them, with lists in the same Redis.
"""

import os
import signal

import redis

from vecna import TaskContext
from vecna.app.config import Config
from vecna.bootstrap import Server

config = Config.from_env()
server = Server(config)


def control() -> redis.Redis:
    return redis.Redis.from_url(os.environ["CONTROL"], decode_responses=True, socket_timeout=None)


def key(name: str) -> str:
    return f"control:{config.namespace}:{name}"


def _wait(ctx: TaskContext, number: int) -> str:
    """Say that it runs, and wait until the test lets one go."""
    with control() as client:
        client.rpush(key("running"), f"{number} {ctx.worker} {ctx.delivery}")
        assert client.blpop(key("go"), 60)
    return ctx.worker


@server.task
def hold(ctx: TaskContext, number: int) -> str:
    return _wait(ctx, number)


@server.task
async def ahold(ctx: TaskContext, number: int) -> str:
    import asyncio

    return await asyncio.to_thread(_wait, ctx, number)


@server.task
def work(number: int) -> int:
    with control() as client:
        client.rpush(key("ran"), number)
    return number


@server.task
def poison(number: int) -> None:
    with control() as client:
        client.rpush(key("ran"), number)
    os.kill(os.getpid(), signal.SIGKILL)
