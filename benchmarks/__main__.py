"""`python -m benchmarks`: prints a table; `--json FILE` keeps the figures."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

from benchmarks import ceiling
from benchmarks.figures import HEAD, Figure, row
from benchmarks.redis_server import clean, redis_url

ADAPTERS = ("memory", "redis")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure sending, draining and latency.")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the usual number of tasks")
    parser.add_argument("--only", choices=ADAPTERS, help="one adapter instead of both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--part", choices=ADAPTERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scale <= 0:
        parser.error("--scale takes a number above 0")
    if options.part:
        for figure in _measure(options.part, options.scale):
            print(json.dumps(asdict(figure)), flush=True)
        return
    print(f"{HEAD}\n{'-' * len(HEAD)}", flush=True)
    figures: list[Figure] = []
    machine: dict[str, Any] = _machine()
    namespace = f"vecna-bench-{os.getpid()}"
    if options.only != "redis":
        figures += _part("memory", options.scale, {"BENCH_URL": "", "BENCH_NAMESPACE": namespace})
    if options.only != "memory":
        with redis_url() as url:
            machine["server"] = _server_version(url)
            try:
                figures += _part("redis", options.scale, {"BENCH_URL": url, "BENCH_NAMESPACE": namespace})
            finally:
                clean(url, namespace)
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
    if options.json:
        measured = [{**asdict(figure), "ratio": figure.ratio} for figure in figures]
        report = {"at": datetime.now(UTC).isoformat(), "machine": machine, "scale": options.scale, "figures": measured}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _part(adapter: str, scale: float, environment: dict[str, str]) -> Iterator[Figure]:
    """Measure one adapter in a process of its own: the server of `benchmarks.tasks` is for one URL."""
    command = [sys.executable, "-m", "benchmarks", "--part", adapter, "--scale", str(scale)]
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True) as part:
        assert part.stdout is not None
        for line in part.stdout:
            figure = Figure(**json.loads(line))
            print(row(figure), flush=True)
            yield figure
    if part.returncode:
        raise SystemExit(part.returncode)


def _measure(adapter: str, scale: float) -> Iterator[Figure]:
    from benchmarks import measures
    from benchmarks.tasks import nothing, server

    def sized(count: int) -> int:
        return max(10, round(count * scale))

    url = os.environ.get("BENCH_URL")
    client = redis.Redis.from_url(url) if url else None
    process = client is not None
    bodies = [nothing.signature(number, 1).to_json() for number in range(sized(20_000))]

    rate = measures.send_one_by_one(sized(2_000), "bench-one")
    least = ceiling.send_one_by_one(client, bodies[: sized(2_000)]) if client else None
    yield Figure(adapter, "send, one by one", rate, "tasks/s", least)

    many = measures.send_from_coroutines(sized(5_000), "bench-async")
    least = ceiling.send_from_coroutines(str(url), bodies[: sized(5_000)], measures.COROUTINES) if client else None
    yield Figure(adapter, f"send_async, {measures.COROUTINES} coroutines", many, "tasks/s", least)
    yield Figure(adapter, "  times the rate of one by one", many / rate, "times")

    rate = measures.send_in_bulk(sized(20_000), "bench-bulk")
    least = ceiling.send_in_bulk(client, bodies, measures.BATCH) if client else None
    yield Figure(adapter, f"send_tasks, {measures.BATCH} a call", rate, "tasks/s", least)

    record = b'{"TaskUUID":"%s","State":"SUCCESS"}' % (b"0" * 32)
    for kind in measures.TASKS:
        rate = measures.drain(sized(10_000), f"bench-{kind}", kind, process=process)
        least = ceiling.drain(client, bodies[: sized(10_000)], record) if client else None
        yield Figure(adapter, f"drain, {kind}", rate, "tasks/s", least)

    seconds = measures.latencies(sized(500), "bench-latency", process=process)
    trips = ceiling.round_trips(client, sized(500)) if client else None
    for percent in (50, 99):
        least = 1000 * measures.percentile(trips, percent) if trips else None
        yield Figure(adapter, f"send to result, p{percent}", 1000 * measures.percentile(seconds, percent), "ms", least)
    server.close()


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "redis-py": version("redis"),
        "hiredis": version("hiredis"),
    }


def _server_version(url: str) -> str:
    try:
        with redis.Redis.from_url(url) as client:
            info: dict[str, Any] = client.info("server")
    except (redis.RedisError, ValueError) as problem:
        raise SystemExit(f"BENCH_REDIS cannot be used: {problem}") from None
    return f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info['redis_version']}"


if __name__ == "__main__":
    main()
