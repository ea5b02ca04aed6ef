"""What the measured tasks write down, at the same cost for every peer: about a microsecond a task.

Each process that runs tasks has a file in the directory BENCH_TALLY, named by its process id: four 64-bit integers,
how many tasks it has started, when the first one started, when the last one ended, and when a callback ran (nanoseconds
of the machine's monotonic clock; 0: not yet). Lateness goes to a second file, one double a task, in seconds.
"""

import mmap
import os
import struct
import threading
import time
from pathlib import Path

LAYOUT = struct.Struct("=qqqq")
LATENESS = struct.Struct("=d")
LATE = ".late"


class Tally:
    """This process' file; made anew by the first task after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._count = self._first = self._last = self._mark = 0

    def noop(self) -> None:
        """A task that does nothing has run."""
        now = time.monotonic_ns()
        with self._lock:
            self._write(now, now)

    def started(self) -> int:
        """A task that takes some time has started; what to give to `ended`."""
        return time.monotonic_ns()

    def ended(self, started: int) -> None:
        """It has ended."""
        with self._lock:
            self._write(started, time.monotonic_ns())

    def mark(self) -> None:
        """A callback runs."""
        with self._lock:
            self._open()
            self._mark = time.monotonic_ns()
            self._pack()

    def late(self, due: float) -> None:
        """A task runs that was due at `due`, in seconds since the epoch."""
        lateness = time.time() - due
        with self._lock:
            now = time.monotonic_ns()
            self._write(now, now)
            os.write(self._late, LATENESS.pack(lateness))

    def _write(self, started: int, ended: int) -> None:
        self._open()
        self._count += 1
        self._first = min(self._first, started) if self._first else started
        self._last = max(self._last, ended)
        self._pack()

    def _pack(self) -> None:
        LAYOUT.pack_into(self._memory, 0, self._count, self._first, self._last, self._mark)

    def _open(self) -> None:
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._count = self._first = self._last = self._mark = 0
        file = Path(os.environ["BENCH_TALLY"]) / str(self._pid)
        with file.open("w+b") as opened:
            opened.truncate(LAYOUT.size)
            self._memory = mmap.mmap(opened.fileno(), LAYOUT.size)
        self._late = os.open(file.with_suffix(LATE), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


tally = Tally()
