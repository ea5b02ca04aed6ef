"""The processes of a measurement: a driver that is asked, and workers that run; each ended by its own id."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.drivers.tally import LATE, LATENESS, LAYOUT

ANSWER = 240.0  # seconds that a driver may take for an answer
STOPPING = 6.0  # seconds from SIGTERM to SIGKILL
LINES = 12  # of what a process has printed, in the report of its failure


class StepFailed(Exception):
    """A step gave no figure; the message says why."""


class Unsupported(StepFailed):
    """The peer has no such thing."""


class Process:
    """One process in a group of its own, with a file for what it prints."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path, **pipes: Any) -> None:
        self._printed = folder / f"printed-{time.monotonic_ns()}.txt"
        self.spawned = time.monotonic_ns()
        with self._printed.open("w") as printed:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": printed, "stderr": printed, **pipes}
            self.popen = subprocess.Popen(
                command, env=environment, cwd=Path(__file__).parents[2], text=True, start_new_session=True, **streams
            )

    @property
    def tail(self) -> str:
        """The last lines that it has printed."""
        return "\n".join(self._printed.read_text(errors="replace").strip().splitlines()[-LINES:])

    def check(self) -> None:
        """Raise StepFailed if it has ended."""
        if self.popen.poll() is not None:
            raise StepFailed(f"a process ended with exit code {self.popen.returncode}: {self.tail}")

    def end(self) -> None:
        """SIGTERM, and SIGKILL for the whole group once it has ended, or has not in time."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(STOPPING)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def family(self) -> Iterator[psutil.Process]:
        """Itself and what it has started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.popen.pid)
            yield parent
            yield from parent.children(recursive=True)


class Driver(Process):
    """The sending side of a peer."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        super().__init__(command, environment, folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request of drivers/protocol.py and return the answer.

        Raises:
            Unsupported: the peer cannot do that.
            StepFailed: the driver has ended.
        """
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        try:
            self.popen.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.popen.stdin.flush()
            line = self._line()
        except BrokenPipeError:
            line = ""
        if not line:
            self.end()
            raise StepFailed(f"the driver gave no answer to {do!r}: {self.tail}")
        answer: dict[str, Any] = json.loads(line)
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        return answer

    def _line(self) -> str:
        assert self.popen.stdout is not None
        ready, _, _ = select.select([self.popen.stdout], [], [], ANSWER)
        return self.popen.stdout.readline() if ready else ""


class Workers:
    """The worker processes of a peer."""

    def __init__(self, commands: list[list[str]], environment: dict[str, str], folder: Path) -> None:
        self._processes: list[Process] = []
        try:
            for command in commands:
                self._processes.append(Process(command, environment, folder))
        except OSError as fault:
            self.end()
            raise StepFailed(str(fault)) from None

    @property
    def spawned(self) -> int:
        """Monotonic nanoseconds at which the first one was started."""
        return self._processes[0].spawned

    def check(self) -> None:
        """Raise StepFailed if one has ended."""
        for process in self._processes:
            process.check()

    def memory(self) -> float:
        """MiB of memory, shared pages in parts (PSS)."""
        total = 0
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return float(total) / 2**20

    def cpu(self) -> float:
        """Seconds of processor time that they have used, user and system."""
        total = 0.0
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def end(self) -> None:
        """End them all; told first, then waited for."""
        for process in self._processes:
            if process.popen.poll() is None:
                process.popen.terminate()
        for process in self._processes:
            process.end()

    def _family(self) -> Iterator[psutil.Process]:
        for process in self._processes:
            yield from process.family()


class Tallies:
    """What the tasks of all worker processes have written down, see drivers/tally.py."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> tuple[int, int, int, int]:
        """Tasks started; when the first started and the last ended, and when a callback ran (nanoseconds; 0: not)."""
        files = [LAYOUT.unpack(file.read_bytes()) for file in self._files()]
        files = [file for file in files if any(file)]
        firsts = [first for _, first, _, _ in files if first]
        return (
            sum(count for count, _, _, _ in files),
            min(firsts, default=0),
            max((last for _, _, last, _ in files), default=0),
            max((mark for _, _, _, mark in files), default=0),
        )

    def processes(self) -> int:
        """How many processes have run tasks."""
        return sum(LAYOUT.unpack(file.read_bytes())[0] > 0 for file in self._files())

    def lateness(self) -> list[float]:
        """Seconds, of each task that was due at a time."""
        found: list[float] = []
        for file in self._folder.glob(f"*{LATE}"):
            content = file.read_bytes()
            found += [late for (late,) in LATENESS.iter_unpack(content[: len(content) // 8 * 8])]
        return found

    def _files(self) -> Iterator[Path]:
        for file in self._folder.iterdir():
            if not file.suffix and file.stat().st_size == LAYOUT.size:
                yield file
