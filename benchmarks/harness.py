"""`python -m benchmarks.harness`: what the test harness costs, the best of several rounds."""

import argparse
import time
from collections.abc import Callable
from datetime import timedelta

from benchmarks.tasks import nothing, nothing_async, server
from vecna.testing import Harness

ROUNDS = 5
BATCH = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness", description="Measure the test harness.")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the usual number of tasks")
    count = max(10, round(10_000 * parser.parse_args().scale))
    for name, value in figures(count).items():
        print(f"{name:<44} {value}", flush=True)


def figures(count: int) -> dict[str, str]:
    return {
        "run, functions": f"{best(count, run_functions):,.0f} tasks/s",
        "run, coroutines": f"{best(count, run_coroutines):,.0f} tasks/s",
        "send_tasks and run": f"{best(count, bulk_and_run):,.0f} tasks/s",
        "send one by one and run": f"{best(count, send_and_run):,.0f} tasks/s",
        "set-up and close": f"{1000 / best(max(10, count // 20), set_up):.3f} ms",
        "a year of a daily schedule": f"{1000 / best(1, year):.0f} ms",
    }


def best(count: int, measured: Callable[[int], float]) -> float:
    """The most things a second of some rounds."""
    return count / min(measured(count) for _ in range(ROUNDS))


def run_functions(count: int) -> float:
    with Harness(server) as harness:
        server.send_tasks([nothing.signature(number, 1) for number in range(count)])
        return _seconds(harness.run)


def run_coroutines(count: int) -> float:
    with Harness(server) as harness:
        server.send_tasks([nothing_async.signature(number, 1) for number in range(count)])
        return _seconds(harness.run)


def bulk_and_run(count: int) -> float:
    def work() -> None:
        for first in range(0, count, BATCH):
            server.send_tasks([nothing.signature(number, 1) for number in range(first, min(first + BATCH, count))])
        harness.run()

    with Harness(server) as harness:
        return _seconds(work)


def send_and_run(count: int) -> float:
    def work() -> None:
        for number in range(count):
            nothing.send(number, 1)
        harness.run()

    with Harness(server) as harness:
        return _seconds(work)


def set_up(count: int) -> float:
    def work() -> None:
        for _ in range(count):
            Harness(server).close()

    return _seconds(work)


def year(_: int) -> float:
    with Harness(server) as harness:
        nothing.every("0 6 * * *").send(1, 1)
        return _seconds(lambda: harness.advance(days=timedelta(days=365).days))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
