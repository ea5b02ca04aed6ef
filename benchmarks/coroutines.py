"""`python -m benchmarks.coroutines`: what sending from event loops costs, in three ways, beside sending one by one."""

import argparse
import asyncio
import os
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.redis_server import clean, redis_url

ROUNDS = 5
COROUTINES = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coroutines", description="Measure send_async.")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the usual number of tasks")
    count = max(COROUTINES, round(5_000 * parser.parse_args().scale))
    with redis_url() as url:
        namespace = f"vecna-bench-{os.getpid()}"
        os.environ |= {"BENCH_URL": url, "BENCH_NAMESPACE": namespace}
        try:
            for name, rate, ratio in figures(count):
                print(f"{name:<54} {rate:>9,.0f}/s {ratio:>6.2f}", flush=True)
        finally:
            clean(url, namespace)


def figures(count: int) -> list[tuple[str, float, float]]:
    """For each way its median rate, tasks a second, and how many times that of one by one it is."""
    from benchmarks import measures
    from benchmarks.tasks import nothing, server

    task = nothing.options(queue="bench-coroutines")
    other = in_threads(server)

    async def by_itself(number: int) -> None:
        await asyncio.to_thread(task.send, number, 1)

    async def combined(number: int) -> None:
        await other.send_task_async(task.signature(number, 1))

    ways: dict[str, Callable[[], float]] = {
        "send, one by one": lambda: measures.send_one_by_one(count // 2, "bench-coroutines"),
        f"{COROUTINES} coroutines, a thread for each send": lambda: measures.from_coroutines(
            by_itself, count // 2, COROUTINES
        ),
        f"{COROUTINES} coroutines, sends combined, calls in a thread": lambda: measures.from_coroutines(
            combined, count, COROUTINES
        ),
        f"{COROUTINES} coroutines, sends combined, redis.asyncio": lambda: measures.send_from_coroutines(
            count, "bench-coroutines", COROUTINES
        ),
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):  # the first is for warming up
        for name, way in ways.items():  # in turn: the machine changes its pace
            rounds[name].append(way())
    medians = {name: statistics.median(rates[1:]) for name, rates in rounds.items()}
    least = medians["send, one by one"]
    other.close()
    server.close()
    return [(name, rate, rate / least) for name, rate in medians.items()]


def in_threads(server: Any) -> Any:
    """A server whose broker offers nothing to event loops."""
    from vecna import Server
    from vecna.ports import Broker

    methods = {name: staticmethod(getattr(server.broker, name)) for name in Broker.__abstractmethods__}
    broker = type("InThreads", (Broker,), methods)()
    other = Server(server.config, broker=broker, backend=server.backend)
    for name in server.registered_task_names():
        other.register_task(name, server.get_registered_task(name).fn)
    return other


if __name__ == "__main__":
    main()
