"""The demo's server and tasks, in a module that worker processes import: `vecna worker examples.demo.tasks:server`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from vecna import Config, Server, TaskContext

server = Server(
    Config(broker=os.environ.get("REDIS") or "memory://", namespace="vecna-demo", send_timeout=5, results_expire_in=600)
)


@dataclass(frozen=True)
class TextStatistics:
    """What the tasks find out about one file."""

    lines: int
    words: int
    size: int  # in bytes


@server.task
def measure(path: Path) -> TextStatistics:
    """A function: the worker runs it in a thread."""
    return _statistics(path.read_bytes())


@server.task
async def measure_async(path: Path) -> TextStatistics:
    """A coroutine function: the worker runs it on its event loop, many at a time."""
    return _statistics(await asyncio.to_thread(path.read_bytes))


@server.task(retry_count=2)
def unsteady(ctx: TaskContext) -> int:
    """Fails on its first two attempts; vecna repeats it 1 s and then 2 s later."""
    if ctx.attempt <= 2:
        raise ConnectionError(f"attempt {ctx.attempt} fails on purpose")
    return ctx.attempt


@server.task
async def greet(name: str) -> str:
    """Sent with a delay: `greet.options(delay=2).send(...)`."""
    return f"hello, {name}"


def _statistics(content: bytes) -> TextStatistics:
    text = content.decode(errors="replace")
    return TextStatistics(lines=len(text.splitlines()), words=len(text.split()), size=len(content))
