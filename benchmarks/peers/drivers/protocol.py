"""What a driver can be asked: a JSON object a line on standard input, one a line on standard output as the answer.

    {"do": "send", "count": 2000, "limit": 2.0}  ->  {"count": 2000, "seconds": 0.81, "started": 123456789}
    {"do": "chord", "count": 1000}               ->  {"unsupported": "has no chords"}

`started` is the monotonic clock in nanoseconds, comparable between the processes of a machine. The environment says the
rest: BENCH_URL (Redis), BENCH_SETTING (fast or safe), BENCH_RESULTS (1: results are kept whatever the setting),
BENCH_CONCURRENCY (tasks at a time in each worker process) and BENCH_TALLY (see tally.py).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
SAFE = os.environ.get("BENCH_SETTING") == "safe"
RESULTS = SAFE or os.environ.get("BENCH_RESULTS") == "1"
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "10"))
PATIENCE = 60.0  # seconds that a round trip may take
PAGE = 1000  # signatures in one call of a bulk send


class Unsupported(Exception):
    """The peer has no such thing; the message says what."""


class Driver:
    """One peer, seen from the program that sends. A subclass overrides what its peer can do.

    Every task takes two integers and returns None. `kind` is "functions" or "coroutines".
    """

    def workers(self, processes: int) -> list[list[str]]:
        """The commands that start a worker of so many processes, with BENCH_CONCURRENCY tasks at a time in each."""
        raise NotImplementedError

    def send(self, number: int, kind: str) -> None:
        """Send one task that does nothing."""
        raise NotImplementedError

    def bulk(self, first: int, count: int, kind: str) -> None:
        """Send so many of them in one call."""
        raise Unsupported("has no bulk send")

    def round_trip(self, number: int) -> None:
        """Send one and wait for its result."""
        raise Unsupported("keeps no results")

    def wait(self, number: int, kind: str) -> None:
        """Send a task that waits for 50 ms."""
        raise Unsupported(f"runs no {kind}")

    def delay(self, due: float) -> None:
        """Send a task that is due then (seconds since the epoch) and writes down how late it runs."""
        raise Unsupported("has no delayed tasks")

    def schedule(self, number: int) -> None:
        """Store a periodic task that is due in some hours."""
        raise Unsupported("stores no schedules")

    def chord(self, count: int) -> None:
        """Send so many members and a callback, which takes their results."""
        raise Unsupported("has no chords")

    def cancel(self, count: int) -> None:
        """Cancel, by their common code, the tasks that `coded` sent."""
        raise Unsupported("cannot cancel by a common code")

    def coded(self, count: int) -> None:
        """Send so many tasks under one code, due in an hour."""
        raise Unsupported("cannot cancel by a common code")

    def settled(self, count: int) -> bool:
        """Whether nothing is left to do after the last task has returned, and `count` results are there."""
        return True

    def close(self) -> None:
        """Close connections."""


def run(driver: Driver) -> None:
    """Answer until standard input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        try:
            answer = _answer(driver, request.pop("do"), **request)
        except Unsupported as reason:
            answer = {"unsupported": str(reason)}
        print(json.dumps(answer), file=answers, flush=True)
    driver.close()


def _answer(driver: Driver, do: str, **request: Any) -> dict[str, Any]:
    match do:
        case "workers":
            return {"commands": driver.workers(request["processes"])}
        case "settled":
            return {"settled": driver.settled(request["count"])}
        case "round_trips":
            return {"seconds": [_seconds(driver.round_trip, number) for number in range(request["count"])]}
        case "bulk":
            kind = request.get("kind", "functions")
            return _many(request, PAGE, lambda first, count: driver.bulk(first, count, kind))
        case "send" | "wait":
            call, kind = getattr(driver, do), request.get("kind", "functions")
            return _many(request, 1, lambda first, _: call(first, kind))
        case "delay":
            due, step = request["due"], request.get("step", 0.0)
            return _many(request, 1, lambda first, _: driver.delay(due + first * step))
        case "schedule":
            return _many(request, 1, lambda first, _: driver.schedule(first))
        case "chord" | "cancel" | "coded":
            return _many(request, request["count"], lambda _, count: getattr(driver, do)(count))
        case _:
            raise SystemExit(f"no such request: {do}")


def _many(request: dict[str, Any], page: int, call: Callable[[int, int], None]) -> dict[str, Any]:
    """Call page by page until all is sent, or the time limit is over."""
    wanted, limit = request["count"], request.get("limit") or float("inf")
    sent, began, start = 0, time.monotonic_ns(), time.perf_counter()
    while sent < wanted and time.perf_counter() - start < limit:
        count = min(page, wanted - sent)
        call(sent, count)
        sent += count
    return {"count": sent, "seconds": time.perf_counter() - start, "started": began}


def _seconds(call: Callable[[int], None], number: int) -> float:
    start = time.perf_counter()
    call(number)
    return time.perf_counter() - start
