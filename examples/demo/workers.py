"""Where the demo's tasks run: in this process, or in processes of their own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.demo.tasks import server

PROCESSES = 2
CONCURRENCY = 8
PATIENCE = 20  # seconds for a worker process to finish its tasks and end
_ROOT = Path(__file__).parents[2]

Check = Callable[[], None]


class WorkerEnded(Exception):
    """A worker process has ended before it was told to, or did not end well."""


@contextmanager
def in_this_process(log: Path) -> Iterator[Check]:
    """A worker inside this process. What it logs goes to a file: the screen belongs to the demo."""
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with server.new_worker("demo", concurrency=CONCURRENCY):
        yield lambda: None


@contextmanager
def in_processes(log: Path) -> Iterator[Check]:
    """Worker processes, started by the command that one would type, and ended by SIGTERM when their tasks are done."""
    workers: list[subprocess.Popen[bytes]] = []

    def check() -> None:
        for number, worker in enumerate(workers, 1):
            if worker.poll() is not None:
                raise WorkerEnded(f"worker process {number} has ended, exit code {worker.returncode}")

    try:
        with log.open("ab") as output:
            workers.extend(_start(number, output.fileno()) for number in range(1, PROCESSES + 1))
        yield check
        check()
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for number, worker in enumerate(workers, 1):
            _wait_for(worker, number)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _start(number: int, output: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vecna", "worker", "examples.demo.tasks:server"]
    options = ["--name", f"demo-{number}", "--concurrency", str(CONCURRENCY)]
    return subprocess.Popen(
        command + options,
        cwd=_ROOT,
        env=os.environ,  # REDIS is in it
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C reaches the demo, which then ends its workers
    )


def _wait_for(worker: subprocess.Popen[bytes], number: int) -> None:
    try:
        status = worker.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        raise WorkerEnded(f"worker process {number} did not end within {PATIENCE} s of SIGTERM") from None
    if status:
        raise WorkerEnded(f"worker process {number} ended with exit code {status}")
