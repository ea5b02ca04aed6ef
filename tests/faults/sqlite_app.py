"""The server that the workers on SQLite run: `vecna worker tests.faults.sqlite_app:server`."""

import os

from vecna import Config, Server, TaskContext

server = Server(Config.from_env())


def tell(*words: object) -> None:
    """Write a line into the pipe that the test reads."""
    pipe = os.open(os.environ["PIPE"], os.O_WRONLY)
    os.write(pipe, " ".join(map(str, words)).encode() + b"\n")
    os.close(pipe)


@server.task(queue="parts")
def part(ctx: TaskContext, number: int) -> int:
    tell("part", number, ctx.worker)
    return number


@server.task
def total(ctx: TaskContext, *numbers: int) -> int:
    tell("total", len(numbers), ctx.worker)
    return sum(numbers)


@server.task
async def after(ctx: TaskContext, number: int) -> int:
    tell("after", number, ctx.worker)
    return number
