"""The server that the workers of the schedules' fault tests run; its tasks write down each run in another Redis."""

import os

import redis

from vecna import TaskContext
from vecna.app.config import Config
from vecna.bootstrap import Server

config = Config.from_env()
server = Server(config)
control = redis.Redis.from_url(os.environ["CONTROL"], decode_responses=True)


@server.task
def tick(ctx: TaskContext) -> None:
    assert ctx.due_at is not None
    late = (ctx.now() - ctx.due_at).total_seconds()
    control.rpush(f"ran:{config.namespace}:{ctx.schedule_code}", f"{ctx.signature.uuid} {ctx.delivery} {late:.4f}")


@server.task
def part(ctx: TaskContext, number: int) -> int:
    tick.fn(ctx)
    return number


@server.task
def total(ctx: TaskContext, *numbers: int) -> int:
    tick.fn(ctx)
    return sum(numbers)
