"""What is measured of each peer. A scenario takes a session and sizes, and yields figures as they become known."""

import statistics
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.processes import StepFailed, Unsupported, Workers
from benchmarks.peers.session import Running, Session
from benchmarks.peers.sizes import Sizes

WAIT = 0.05  # seconds that a waiting task waits, see the drivers
SETTLE = 20.0  # seconds for the rest of the work after the last task has returned
CALLBACK = 60.0  # seconds until a chord's callback has to run


@dataclass(frozen=True)
class Measured:
    """One figure; `value` None: there is none, `note` says why."""

    metric: str
    value: float | None
    unit: str
    note: str = ""


def core(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Send one by one and in bulk, memory of Redis, then drain with one worker process."""
    with session.driver() as running:
        running.ask("send", count=1)  # connections, scripts
        session.client.flushall()
        sent = running.ask("send", count=sizes.send, limit=sizes.limit)
        total = sent["count"]
        yield Measured("send", rate(sent), "/s")
        try:
            bulk = running.ask("bulk", count=sizes.bulk, limit=sizes.limit)
        except Unsupported as reason:
            yield Measured("bulk", None, "/s", str(reason))
        else:
            total += bulk["count"]
            yield Measured("bulk", rate(bulk), "/s")
        yield Measured("bytes", session.redis_bytes() / total, "B")
        yield from drained(running, sizes.draining, total, 1, "drain")


def two(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Drain with two worker processes."""
    with session.driver() as running:
        total = fill(running, sizes, None) + (fill(running, sizes, None) if session.peer.is_ours else 0)
        yield from drained(running, sizes.draining, total, 2, "drain-2")


def coroutines(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Drain coroutines, where the peer runs functions as well."""
    with session.driver() as running:
        kinds = running.ask("kinds")["kinds"]
        if len(kinds) < 2:
            raise Unsupported(f"runs {kinds[0]} only")
        yield from drained(running, sizes.draining, fill(running, sizes, "coroutines"), 1, "drain-coroutines")


def fill(running: Running, sizes: Sizes, kind: str | None) -> int:
    """Send no-ops, in bulk where the peer has that; how many."""
    try:
        sent = running.ask("bulk", count=sizes.drain, limit=sizes.limit, kind=kind)
    except Unsupported:
        sent = running.ask("send", count=sizes.drain, limit=sizes.limit, kind=kind)
    return int(sent["count"])


def drained(running: Running, seconds: float, total: int, processes: int, metric: str) -> Iterator[Measured]:
    """Start workers and measure how fast `total` tasks run; after so many seconds what has run gives the rate."""
    session = running.session
    commands = session.redis_commands()
    with running.workers(processes) as workers:
        if not running.until(workers, lambda: running.count() > 0):
            raise StepFailed("the worker did not run its first task")
        if processes > 1:  # the rate of all: from when each of them is there
            running.until(workers, lambda: running.tallies.processes() >= processes)
        cpu, began, start = workers.cpu(), running.count(), time.monotonic_ns()
        finished = running.until(workers, lambda: running.count() >= total, seconds)
        done, first, last, _ = running.tallies.read()
        spent, used = workers.cpu() - cpu, session.redis_commands() - commands
        if finished:
            last = max(last, settled(running, workers, total))
        note = "" if finished else f"{done} of {total} in time"
        if processes > 1 and done > began:
            yield Measured(metric, (done - began) / max(1, last - start) * 1e9, "/s", note)
        else:
            yield Measured(metric, done / max(1, last - first) * 1e9, "/s", note)
        if metric == "drain":
            yield Measured("start", (first - workers.spawned) / 1e6, "ms")
            yield Measured("cpu", spent / max(1, done - began) * 1e6, "µs")
            yield Measured("commands", used / done, "")


def settled(running: Running, workers: Workers, total: int) -> int:
    """The moment (monotonic, ns) at which nothing was left to do; 0 if that was so at the first look."""
    end = 0
    if not running.ask("settled")["settled"]:
        if not running.until(workers, lambda: bool(running.ask("settled")["settled"]), SETTLE):
            raise StepFailed("all tasks have run, but the queue does not become empty")
        end = time.monotonic_ns()
    running.ask("check", count=total)
    return end


def latency(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Memory of an idle worker; then send one and wait for its result, while the worker has nothing else to do."""
    with session.driver(results=True) as running, running.workers() as workers:
        running.warm(workers)
        yield Measured("memory", workers.memory(), "MiB")
        running.ask("round_trips", count=20)
        seconds = running.ask("round_trips", count=sizes.round_trips)["seconds"]
        yield Measured("latency-p50", 1000 * percentile(seconds, 50), "ms")
        yield Measured("latency-p99", 1000 * percentile(seconds, 99), "ms")


def waits(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Tasks of 50 ms at concurrency 100, as a multiple of the least possible time."""
    for kind in ("coroutines", "functions"):
        try:
            yield Measured(f"waits-{kind}", _waited(session, sizes.waits, kind), "× ideal")
        except Unsupported as reason:
            yield Measured(f"waits-{kind}", None, "× ideal", str(reason))


def _waited(session: Session, count: int, kind: str) -> float:
    with session.driver(concurrency=100) as running:
        total = running.ask("wait", count=count, kind=kind)["count"]
        with running.workers() as workers:
            if not running.until(workers, lambda: running.count() >= total):
                raise StepFailed(f"{running.count()} of {total} tasks had run in time")
            _, first, last, _ = running.tallies.read()
            return float(last - first) / 1e9 / (total * WAIT / 100)


def late(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """How late delayed tasks run on an idle worker: one every 50 ms, then many that are due at once."""
    with session.driver() as running, running.workers(delays=True) as workers:
        running.warm(workers)
        single = running.ask("delay", count=sizes.single, due=time.time() + 1.5, step=0.05)
        yield from _lateness(running, workers, "late", single["count"], before=0)
        due = time.time() + sizes.ahead + 1
        burst = running.ask("delay", count=sizes.burst, limit=sizes.ahead, due=due)
        yield from _lateness(running, workers, "burst", burst["count"], before=single["count"])


def _lateness(running: Running, workers: Workers, metric: str, count: int, before: int) -> Iterator[Measured]:
    found = running.tallies.lateness
    complete = running.until(workers, lambda: len(found()) >= before + count, 30.0)
    times = [1000 * lateness for lateness in found()[before:]]
    if not times:
        raise StepFailed(f"none of {count} delayed tasks ran within 30 s")
    note = "" if complete else f"of those {len(times)} of {count} that ran within 30 s"
    yield Measured(f"{metric}-p50", percentile(times, 50), "ms", note)
    yield Measured(f"{metric}-p99", percentile(times, 99), "ms", note)


def idle(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """What an idle worker costs while delayed tasks and schedules wait: commands of Redis, share of a core."""
    ours = session.peer.is_ours
    with session.driver() as running:
        waiting = []
        for do, what, count in (
            ("delay", "delayed tasks", sizes.own_delayed if ours else sizes.delayed),
            ("schedule", "schedules", sizes.own_schedules if ours else sizes.schedules),
        ):
            try:
                limit = None if ours else sizes.limit
                answer = running.ask(do, count=count, limit=limit, due=time.time() + 6 * 3600)
                waiting.append(f"{answer['count']:,} {what}")
            except Unsupported as reason:
                waiting.append(str(reason))
        with running.workers(delays=True) as workers:
            running.warm(workers)
            time.sleep(min(2.0, sizes.idle))  # its beginning is no idleness
            cpu, start = workers.cpu(), time.monotonic()
            sent = session.commands_sent(sizes.own_idle if ours else sizes.idle)
            seconds = time.monotonic() - start
            note = ", ".join(waiting)
            yield Measured("idle-commands", sent / seconds, "/s", note)
            yield Measured("idle-cpu", 100 * (workers.cpu() - cpu) / seconds, "%", note)


def chord(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """From before a chord is sent until its callback runs."""
    ours = session.peer.is_ours
    patience = 3 * CALLBACK if ours else CALLBACK
    for count in sizes.own_chords if ours else sizes.chords:
        with session.driver() as running, running.workers() as workers:
            running.warm(workers)
            started = running.ask("chord", count=count)["started"]
            if not running.until(workers, lambda: running.tallies.read()[3] > 0, patience):
                yield Measured(f"chord-{count}", None, "s", "the callback did not run in time")
                return
            yield Measured(f"chord-{count}", (running.tallies.read()[3] - started) / 1e9, "s")


def rate(sent: dict[str, Any]) -> float:
    """Tasks a second, of a driver's answer."""
    return float(sent["count"] / sent["seconds"])


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` % of the values stay below."""
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]


@dataclass(frozen=True)
class Scenario:
    """How something is measured.

    Attributes:
        measure: yields the figures.
        both: in the fastest and in the safest setting; else in the one that counts (vecna: safe, its peers: fast).
        repeated: peers of which it is measured in every round; of the others in the first.
        ours: of vecna alone.
    """

    measure: Callable[[Session, Sizes], Iterator[Measured]]
    both: bool = False
    repeated: Collection[str] = ()
    ours: bool = False

    def settings(self, wanted: list[str], *, is_ours: bool, thorough: bool) -> list[str]:
        """Which of the wanted settings of a peer are measured; `thorough`: both, if that is meant to be."""
        if self.ours and not is_ours:
            return []
        if self.both and thorough:
            return wanted
        counts = "safe" if is_ours else "fast"
        return [counts] if counts in wanted else wanted[:1]
