"""What is measured of vecna alone: no peer has it, or it would take them too long."""

import statistics
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.peers.processes import StepFailed
from benchmarks.peers.scenarios import Measured, rate, settled
from benchmarks.peers.session import Running, Session
from benchmarks.peers.sizes import Sizes

GROWN = 240.0  # seconds for draining what has grown


def concurrent(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """`await send_async` from 100 coroutines."""
    with session.driver() as running:
        running.ask("gather", count=100)
        yield Measured("send-async", rate(running.ask("gather", count=sizes.send)), "/s")


def plain(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """The members of a chord as tasks of their own: from before they are sent until all is settled."""
    with session.driver() as running, running.workers() as workers:
        running.warm(workers)
        started = running.ask("bulk", count=sizes.plain, kind="members")["started"]
        total = sizes.plain + 1
        if not running.until(workers, lambda: running.count() >= total):
            raise StepFailed(f"{running.count()} of {total} tasks had run in time")
        last = max(running.tallies.read()[2], settled(running, workers, total))
        yield Measured(f"plain-{sizes.plain}", (last - started) / 1e9, "s")


def cancel(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Cancel tasks by their common code, in one call."""
    with session.driver() as running:
        running.ask("coded", count=sizes.coded)
        yield Measured(f"cancel-{sizes.coded}", running.ask("cancel", count=sizes.coded)["seconds"], "s")


def grown(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """Sending to a queue of a million, its memory, then draining it all, and what the worker's memory does."""
    with session.driver() as running:
        running.ask("send", count=1)
        session.client.flushall()
        filled = running.ask("bulk", count=sizes.grown)
        yield Measured("grown-bytes", session.redis_bytes() / filled["count"], "B")
        sent = running.ask("send", count=sizes.send, limit=sizes.limit)
        yield Measured("grown-send", rate(sent), "/s", f"{filled['count']} queued")
        bulk = running.ask("bulk", count=sizes.bulk, limit=sizes.limit)
        yield Measured("grown-bulk", rate(bulk), "/s", f"{filled['count']} queued")
        yield from _emptied(running, filled["count"] + sent["count"] + bulk["count"])


def _emptied(running: Running, total: int) -> Iterator[Measured]:
    with running.workers() as workers:
        # The pools and buffers of a busy worker are there after a twentieth.
        if not running.until(workers, lambda: running.count() >= total // 20, GROWN):
            raise StepFailed("the worker did not get through a twentieth of its tasks")
        early = workers.memory()
        if not running.until(workers, lambda: running.count() >= total, GROWN):
            raise StepFailed(f"{running.count()} of {total} tasks had run in time")
        done, first, last, _ = running.tallies.read()
        late = workers.memory()
        yield Measured("grown-drain", done / (last - first) * 1e9, "/s")
        yield Measured("memory-busy", late, "MiB", f"after {done} tasks; {early:.1f} after {total // 20}")
        yield Measured("memory-growth", late / early, "×")


def imports(session: Session, sizes: Sizes) -> Iterator[Measured]:
    """`import vecna` in a fresh interpreter, less what the interpreter itself takes."""
    program = "import time; start = time.perf_counter(); import vecna; print(time.perf_counter() - start)"
    seconds = []
    for _ in range(sizes.imports):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        seconds.append(float(done.stdout))
    yield Measured("import", 1000 * statistics.median(seconds), "ms")
