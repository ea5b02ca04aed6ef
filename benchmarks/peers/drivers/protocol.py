"""What a driver can be asked: a JSON object a line on standard input, one a line on standard output as the answer.

    {"do": "send", "count": 2000, "limit": 2.0}  ->  {"count": 2000, "seconds": 0.81, "started": 123456789}
    {"do": "chord", "count": 1000}               ->  {"unsupported": "has no chords"}

`started` is the monotonic clock in nanoseconds, comparable between the processes of a machine. The environment says the
rest: BENCH_URL (Redis), BENCH_SETTING (fast or safe), BENCH_RESULTS (1: results are kept whatever the setting),
BENCH_CONCURRENCY (tasks at a time in each worker process) and BENCH_TALLY (see tally.py).
"""

import asyncio
import inspect
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
SAFE = os.environ.get("BENCH_SETTING") == "safe"
RESULTS = SAFE or os.environ.get("BENCH_RESULTS") == "1"
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "10"))
PATIENCE = 60.0  # seconds that a round trip may take
PAGE = 1000  # signatures in one call of a bulk send

Done = Awaitable[None] | None


class Unsupported(Exception):
    """The peer has no such thing; the message says what."""


class Driver:
    """One peer, seen from the program that sends. A subclass overrides what its peer can do.

    Every task takes two integers and returns None. `kind` is "functions" or "coroutines"; `kinds` says which the peer
    runs, first the one that is meant where nobody says. With `asynchronous` the methods are coroutine functions and are
    awaited on one event loop.
    """

    asynchronous = False
    kinds: tuple[str, ...] = ("functions",)

    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        """The commands that start a worker of so many processes, with BENCH_CONCURRENCY tasks at a time in each.

        `delays`: there will be delayed tasks, and what they need has to run, too.
        """
        raise NotImplementedError

    async def opened(self) -> None:
        """An asynchronous peer opens its connections."""

    async def closed(self) -> None:
        """An asynchronous peer closes its connections."""

    def send(self, number: int, kind: str) -> Done:
        """Send one task that does nothing."""
        raise NotImplementedError

    def bulk(self, first: int, count: int, kind: str) -> Done:
        """Send so many of them in one call. `kind` may also be "members": as in a chord."""
        raise Unsupported("has no bulk send")

    def gather(self, count: int) -> Done:
        """Send so many from 100 coroutines side by side."""
        raise Unsupported("is not asked for that")

    def round_trip(self, number: int) -> Done:
        """Send one and wait for its result."""
        raise Unsupported("keeps no results")

    def wait(self, number: int, kind: str) -> Done:
        """Send a task that waits for 50 ms."""
        raise NotImplementedError

    def delay(self, due: float) -> Done:
        """Send a task that is due then (seconds since the epoch) and writes down how late it runs."""
        raise Unsupported("has no delayed tasks")

    def schedule(self, number: int) -> Done:
        """Store a periodic task that is due in some hours."""
        raise Unsupported("stores no schedules")

    def chord(self, count: int) -> Done:
        """Send so many members and a callback that runs when all have ended."""
        raise Unsupported("has no chords")

    def coded(self, count: int) -> Done:
        """Send so many tasks under one code, due in an hour."""
        raise Unsupported("cannot cancel by a common code")

    def cancel(self, count: int) -> Done:
        """Cancel, by their common code, the tasks that `coded` sent."""
        raise Unsupported("cannot cancel by a common code")

    def settled(self) -> bool:
        """Whether nothing is left to do after the last task has returned."""
        return True

    def check(self, count: int) -> Done:
        """End with an error unless `count` results are there."""

    def close(self) -> None:
        """Close connections."""


def run(driver: Driver) -> None:
    """Answer until standard input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    if driver.asynchronous:
        with asyncio.Runner() as runner:
            runner.run(driver.opened())
            for line in sys.stdin:
                print(json.dumps(runner.run(_answered(driver, json.loads(line)))), file=answers, flush=True)
            runner.run(driver.closed())
        return
    for line in sys.stdin:
        # To its first await at most, without a loop: some peers refuse to block where one runs.
        try:
            _answered(driver, json.loads(line)).send(None)
        except StopIteration as end:
            print(json.dumps(end.value), file=answers, flush=True)
    driver.close()


async def _answered(driver: Driver, request: dict[str, Any]) -> dict[str, Any]:
    do, kind = request["do"], request.get("kind") or driver.kinds[0]
    try:
        if do in ("send", "bulk", "wait") and kind not in (*driver.kinds, "members"):
            raise Unsupported(f"runs no {kind}")
        match do:
            case "workers":
                commands = driver.workers(request["processes"], delays=request.get("delays", False))
                return {"commands": commands}
            case "kinds":
                return {"kinds": driver.kinds}
            case "settled":
                return {"settled": driver.settled()}
            case "round_trips":
                one = {"count": 1}
                answers = [await _many(one, 1, lambda *_: driver.round_trip(0)) for _ in range(request["count"])]
                return {"seconds": [answer["seconds"] for answer in answers]}
            case "bulk":
                return await _many(request, PAGE, lambda first, count: driver.bulk(first, count, kind))
            case "send" | "wait":
                call = getattr(driver, do)
                return await _many(request, 1, lambda first, _: call(first, kind))
            case "delay":
                due, step = request["due"], request.get("step", 0.0)
                return await _many(request, 1, lambda first, _: driver.delay(due + first * step))
            case "schedule":
                return await _many(request, 1, lambda first, _: driver.schedule(first))
            case "chord" | "coded" | "cancel" | "gather" | "check":
                return await _many(request, request["count"], lambda _, count: getattr(driver, do)(count))
            case _:
                raise SystemExit(f"no such request: {do}")
    except Unsupported as reason:
        return {"unsupported": str(reason)}


async def _many(request: dict[str, Any], page: int, call: Callable[[int, int], Done]) -> dict[str, Any]:
    """Call page by page until all is sent, or the time limit is over."""
    wanted, limit = request["count"], request.get("limit") or float("inf")
    sent, began, start = 0, time.monotonic_ns(), time.perf_counter()
    while sent < wanted and time.perf_counter() - start < limit:
        count = min(page, wanted - sent)
        done = call(sent, count)
        if inspect.isawaitable(done):
            await done
        sent += count
    return {"count": sent, "seconds": time.perf_counter() - start, "started": began}
