"""The server and tasks that are measured; worker processes import this module."""

import os

from vecna import Config, Server

server = Server(
    Config(
        broker=os.environ.get("BENCH_URL") or "memory://",
        namespace=os.environ.get("BENCH_NAMESPACE") or "vecna-bench",
        results_expire_in=600,
    )
)


@server.task
def nothing(a: int, b: int) -> None:
    """A function, run in a thread."""


@server.task
async def nothing_async(a: int, b: int) -> None:
    """A coroutine, run on the loop."""
