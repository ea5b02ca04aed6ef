"""What is measured of each peer. A scenario takes a session and sizes, and yields figures as they become known."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.peers.processes import StepFailed, Unsupported, Workers
from benchmarks.peers.session import Running, Session

WAIT = 0.05  # seconds that a waiting task waits, see the drivers
SETTLE = 20.0  # seconds for the rest of the work after the last task has returned


@dataclass(frozen=True)
class Sizes:
    """How much of each; `quick` in __main__ has smaller ones."""

    send: int = 20_000  # tasks at most, one by one, for `limit` seconds at most
    bulk: int = 30_000
    drain: int = 30_000
    limit: float = 2.0  # seconds of sending
    draining: float = 6.0  # seconds of draining; what has run by then gives the rate
    round_trips: int = 300
    waits: int = 2_000
    burst: int = 5_000
    single: int = 100
    chords: tuple[int, ...] = (1_000, 5_000)
    own_chords: tuple[int, ...] = (1_000, 5_000, 10_000, 100_000)
    delayed: int = 5_000
    own_delayed: int = 100_000
    own_schedules: int = 10_000
    idle: float = 5.0  # seconds of watching an idle worker
    coded: int = 100_000
    grown: int = 1_000_000

    def scaled(self, times: float) -> "Sizes":
        """All counts and seconds so many times; at least ten tasks and a tenth of a second."""
        sizes: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, tuple):
                sizes[name] = tuple(dict.fromkeys(max(10, round(one * times)) for one in value))
            else:
                sizes[name] = max(10, round(value * times)) if isinstance(value, int) else max(0.1, value * times)
        return replace(self, **sizes)


@dataclass(frozen=True)
class Measured:
    """One figure; `value` None: there is none, `note` says why."""

    metric: str
    value: float | None
    unit: str
    note: str = ""


Scenario = Callable[[Session, Sizes], Iterator[Measured]]


def core(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Send one by one and in bulk, memory of Redis, then drain with one worker process."""
    with session.driver() as running:
        running.ask("send", count=1)  # connections, scripts
        session.client.flushall()
        before = session.redis_bytes()
        sent = running.ask("send", count=sizes.send, limit=sizes.limit)
        yield Measured("send", sent["count"] / sent["seconds"], "/s")
        total = sent["count"]
        try:
            bulk = running.ask("bulk", count=sizes.bulk, limit=sizes.limit)
        except Unsupported as reason:
            yield Measured("bulk", None, "/s", str(reason))
        else:
            total += bulk["count"]
            yield Measured("bulk", bulk["count"] / bulk["seconds"], "/s")
        yield Measured("bytes", (session.redis_bytes() - before) / total, "B")
        yield from _drained(running, sizes, total, 1, "drain")


def two(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Drain with two worker processes."""
    yield from _drain(session, sizes, 2, "functions", "drain-2")


def coroutines(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Drain coroutines, where functions are the usual thing."""
    yield from _drain(session, sizes, 1, "coroutines", "drain-coroutines")


def _drain(session: Session, sizes: Sizes, processes: int, kind: str, metric: str) -> Iterator[Measured]:
    with session.driver() as running:
        total = 0
        try:
            total += running.ask("bulk", count=sizes.drain, limit=sizes.limit, kind=kind)["count"]
        except Unsupported:
            total += running.ask("send", count=sizes.drain, limit=sizes.limit, kind=kind)["count"]
        yield from _drained(running, sizes, total, processes, metric)


def _drained(running: Running, sizes: Sizes, total: int, processes: int, metric: str) -> Iterator[Measured]:
    session = running.session
    commands = session.redis_commands()
    with running.workers(processes) as workers:
        if not running.until(workers, lambda: running.count() > 0):
            raise StepFailed("the worker did not run its first task")
        cpu = workers.cpu()
        began = running.count()
        finished = running.until(workers, lambda: running.count() >= total, sizes.draining)
        done, first, last, _ = running.tallies.read()
        if not finished:  # nobody has ended yet: what was counted has run up to now
            last = max(last, first + 1)
        spent, used = workers.cpu() - cpu, session.redis_commands() - commands
        if finished:
            last = max(last, _settled(running, workers, total))
        yield Measured(metric, done / (last - first) * 1e9, "/s", "" if finished else f"{done} of {total} in time")
        if metric == "drain":
            yield Measured("start", (first - workers.spawned) / 1e6, "ms")
            yield Measured("cpu", spent / max(1, done - began) * 1e6, "µs")
            yield Measured("commands", used / done, "")


def _settled(running: Running, workers: Workers, total: int) -> int:
    """The moment (monotonic, ns) at which nothing was left to do; 0 if that was so at the first look."""
    if running.ask("settled", count=total)["settled"]:
        return 0
    if not running.until(workers, lambda: bool(running.ask("settled", count=total)["settled"]), SETTLE):
        raise StepFailed("all tasks have run, but the queue does not become empty")
    return time.monotonic_ns()


def latency(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Send one and wait for its result, on a worker that has nothing else to do; then the worker's memory."""
    with session.driver(results=True) as running, running.workers() as workers:
        running.warm(workers)
        yield Measured("memory", workers.memory(), "MiB")
        running.ask("round_trips", count=20)
        seconds = sorted(running.ask("round_trips", count=sizes.round_trips)["seconds"])
        yield Measured("latency-p50", 1000 * percentile(seconds, 50), "ms")
        yield Measured("latency-p99", 1000 * percentile(seconds, 99), "ms")


def waits(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Tasks of 50 ms at concurrency 100, as a multiple of the least possible time."""
    for kind in ("coroutines", "functions"):
        metric = f"waits-{kind}"
        with session.driver(concurrency=100) as running:
            try:
                total = running.ask("wait", count=sizes.waits, kind=kind)["count"]
            except Unsupported as reason:
                yield Measured(metric, None, "× ideal", str(reason))
                continue
            with running.workers() as workers:
                if not running.until(workers, lambda: running.count() >= total):  # noqa: B023 - used before the next
                    raise StepFailed(f"{running.count()} of {total} tasks had run in time")
                _, first, last, _ = running.tallies.read()
                yield Measured(metric, (last - first) / 1e9 / (total * WAIT / 100), "× ideal")


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` % of the values stay below."""
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]


SCENARIOS: dict[str, Scenario] = {
    "core": core,
    "two": two,
    "coroutines": coroutines,
    "latency": latency,
    "waits": waits,
}
