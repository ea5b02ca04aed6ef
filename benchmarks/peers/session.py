"""One peer in one setting on the benchmark's own Redis, with what a step needs to start and to watch."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.peers.catalogue import Peer
from benchmarks.peers.processes import Driver, StepFailed, Tallies, Workers

PATIENCE = 45.0  # seconds
LOOK = 0.01  # seconds between two looks at the tallies: files of this machine, no load on Redis, little on a core


@dataclass
class Session:
    """What a step is given.

    Attributes:
        peer: who is measured.
        setting: fast or safe.
        command: starts its driver.
        url: of a Redis server that belongs to this run.
        client: of the same.
        results: whether results are kept, whatever the setting says.
        concurrency: tasks at a time in each worker process.
    """

    peer: Peer
    setting: str
    command: list[str]
    url: str
    client: redis.Redis
    results: bool = False
    concurrency: int = 10

    @contextmanager
    def driver(self, *, results: bool = False, concurrency: int = 10) -> Iterator["Running"]:
        """Empty Redis and start the driver; everything that the step has started ends with it."""
        self.client.flushall()
        folder = Path(tempfile.mkdtemp(prefix="vecna-peers-"))
        environment = {
            **os.environ,
            **self.peer.environment,
            "BENCH_URL": self.url,
            "BENCH_SETTING": self.setting,
            "BENCH_RESULTS": str(int(results)),
            "BENCH_CONCURRENCY": str(concurrency),
            "BENCH_TALLY": str(folder),
        }
        driver = Driver(self.command, environment, folder)
        try:
            yield Running(self, driver, environment, folder)
        finally:
            driver.end()
            shutil.rmtree(folder, ignore_errors=True)

    def redis_bytes(self) -> int:
        """Memory of all keys, counted key by key: what Redis uses in all also has the buffers of its clients in it."""
        total, pipeline = 0, self.client.pipeline(transaction=False)
        for number, key in enumerate(self.client.scan_iter(count=1000), start=1):
            pipeline.memory_usage(key, samples=0)
            if number % 1000 == 0:
                total += sum(pipeline.execute())
        return total + sum(pipeline.execute())

    def redis_commands(self) -> int:
        """Commands that Redis has carried out, those inside scripts included."""
        stats: dict[str, Any] = self.client.info("commandstats")
        own = ("cmdstat_info", "cmdstat_flushall")
        return sum(one["calls"] for name, one in stats.items() if name not in own)

    def commands_sent(self, seconds: float) -> int:
        """Watch for so many seconds; how many commands clients have sent, without those inside scripts."""
        count, end = 0, time.monotonic() + seconds
        with self.client.monitor() as monitor:
            while (left := end - time.monotonic()) > 0:
                if monitor.connection.can_read(timeout=left):
                    count += monitor.next_command()["client_type"] != "lua"
        return count


@dataclass
class Running:
    """A driver that runs, and what its tasks write down."""

    session: Session
    driver: Driver
    environment: dict[str, str]
    folder: Path

    def __post_init__(self) -> None:
        self.tallies = Tallies(self.folder)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """See Driver.ask."""
        return self.driver.ask(do, **request)

    @contextmanager
    def workers(self, processes: int = 1, *, delays: bool = False) -> Iterator[Workers]:
        """Start worker processes and end them; `delays`: with what delayed tasks need."""
        commands = self.ask("workers", processes=processes, delays=delays)["commands"]
        workers = Workers(commands, self.environment, self.folder)
        try:
            yield workers
        finally:
            workers.end()

    def until(self, workers: Workers, met: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Wait until `met()`; False if it was not within so many seconds."""
        end = time.monotonic() + seconds
        while not met():
            if time.monotonic() > end:
                return False
            workers.check()
            time.sleep(LOOK)
        return True

    def count(self) -> int:
        """Tasks that have run."""
        return self.tallies.read()[0]

    def warm(self, workers: Workers) -> None:
        """Return when the workers have run one task.

        Raises:
            StepFailed: they did not.
        """
        before = self.count()
        self.ask("send", count=1)
        if not self.until(workers, lambda: self.count() > before):
            raise StepFailed("the worker did not run its first task")
