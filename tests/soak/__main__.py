"""Mixed work for as long as you like, while everything is killed at random: `make soak MINUTES=60`.

Workers are killed, paused for longer than their lease, and stopped in good order; one is a group, of which single
children are killed and paused, too. Redis is killed and restarted with its log, its scripts are flushed, its
connections cut. Then all is drained, and a checker compares what was sent with what has run; and it must all be gone:
keys, memory, connections, threads.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.canary import TELLTALE
from tests.servers import RedisServer, redis8_binary
from tests.soak.work import KINDS, LINES, QUEUES, Sent, Sums, check, make
from vecna import Config, Server, Signature
from vecna.adapters.clock import SystemClock
from vecna.domain.errors import BrokerUnavailable

ROOT: Final = Path(__file__).parents[2]
LEASE: Final = 2.0
#: Seconds that results are kept, unless told otherwise.
KEPT: Final = 15
PATIENCE: Final = 60.0
UNDER_WAY: Final = 200
_CLOCK: Final = SystemClock()
_never: Final = threading.Event()


class Worker:
    """A worker, or a group of two with their supervisor; what they write is looked through for the password."""

    def __init__(self, url: str, log: str, number: int, kept: int, *, is_group: bool = False) -> None:
        variables = {"broker": url, "namespace": "soak", "lease": LEASE, "heartbeat": LEASE / 4, "poll_interval": 0.5}
        variables["results_expire_in"] = kept
        environment = {f"VECNA_{key.upper()}": str(value) for key, value in variables.items()}
        command = ["worker", "tests.soak.app:server", "--name", f"w{number}", "--concurrency", "4"]
        command += ["--processes", "2"] if is_group else []
        self.is_group = is_group
        self.children: dict[str, int] = {}  # by name, the latest
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vecna", *command, "--queues", ",".join(QUEUES)],
            cwd=ROOT,
            env={**os.environ, **environment, "SOAK_LOG": log},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.leaked = False
        self.tracebacks: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.leaked = self.leaked or TELLTALE in line
            if found := re.search(r"worker (\S+) is process (\d+)", line):
                self.children[found[1]] = int(found[2])
            if "unexpected error" in line:
                self.tracebacks.append(line)

    def end(self, number: int) -> None:
        """Send a signal and wait for its end."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def pid_of_any(self, chance: random.Random) -> int:
        """One of its processes: its own, or a child's."""
        return chance.choice([self.process.pid, *self.children.values()])

    def memory(self) -> int:
        """KiB in use, and how many threads."""
        return _status(self.process.pid, "VmRSS")

    def threads(self) -> int:
        return _status(self.process.pid, "Threads")


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just died otherwise
        os.kill(pid, number)


def _status(pid: int, field: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{field}:"))


class Soak:
    """One soak.

    Args:
        seconds: how long work is sent.
        seed: of its chance.
        workers: how many processes.
        rate: pieces of work a second.
        kept: seconds that results are kept: all has to be gone by the end.
    """

    def __init__(self, seconds: float, seed: int, workers: int, rate: float, kept: int = KEPT) -> None:
        self.seconds, self.rate, self.count, self.kept = seconds, rate, workers, kept
        self.chance = random.Random(seed)
        self.server = RedisServer(redis8_binary(), "--appendonly", "yes", "--appendfsync", "always")
        self.log = RedisServer(redis8_binary())
        self.work: list[Sent] = []
        self.done: Counter[str] = Counter()
        self.workers: list[Worker] = []
        self.dead: list[Worker] = []
        self.disturbed: set[int] = set()  # processes that were killed or paused
        self._enough = threading.Event()
        self._number = 0
        self._started = 0
        self._waiting = ThreadPoolExecutor(UNDER_WAY)

    def run(self) -> dict[str, Any]:
        with self.server, self.log:
            config = Config(
                broker=self.server.url, namespace="soak", send_timeout=5, lease=LEASE, results_expire_in=self.kept
            )
            with Server(config) as sender:
                try:
                    return self._run(sender)
                finally:
                    for worker in self.workers:
                        worker.end(signal.SIGKILL)

    def _run(self, sender: Server) -> dict[str, Any]:
        for number in range(self.count):
            self._start(is_group=number == 0)
        self._warm_up(sender)
        with self.log.client() as client:
            client.flushall()
        before = self._base(sender)
        self._at_first = self._keys()
        schedule = sender.send_periodic_task(
            "@every 1s", Signature("tick", queue=QUEUES[0]), code="ticks", missed="all"
        )
        sending = threading.Thread(target=self._send, args=(sender,))
        sending.start()
        self._kill_until(_CLOCK.monotonic() + self.seconds)
        self._enough.set()
        sending.join(PATIENCE)
        schedule.cancel()
        sums = self._check(sender)
        drained = _until(lambda: self._is_drained(sender), PATIENCE)
        ticks = self._ticks()
        gone = _until(lambda: not self._keys() - self._at_first, self.kept + PATIENCE)
        after = self._base(sender)
        return self._report(sums, before, after, ticks, drained=drained, gone=gone)

    # -- work --------------------------------------------------------------------------------------------------------

    def _warm_up(self, sender: Server) -> None:
        """What is made once and stays is not a leak."""
        for kind in KINDS:
            each = make(kind, -100)
            each.send(sender)
            each.wait(PATIENCE)
        _until(lambda: self._is_drained(sender), PATIENCE)
        # And a schedule, so that what is kept of one is there.
        schedule = sender.send_periodic_task("@every 1s", Signature("tick", queue=QUEUES[0]), code="warm-up")
        _until(lambda: schedule.refresh().last_fire_at is not None, PATIENCE)
        schedule.cancel()
        _until(lambda: self._is_drained(sender) and not self._keys("soak:r:*:*"), self.kept + PATIENCE)

    def _send(self, sender: Server) -> None:
        pause = 1 / self.rate
        while not self._enough.is_set():
            each = make(self.chance.choice(KINDS), self._number)
            self._number += each.tasks
            while each.handle is None:
                try:
                    each.send(sender)
                except BrokerUnavailable:
                    each.handle = None
                    self.done["sends refused"] += 1
            self.work.append(each)
            self._waiting.submit(each.wait, PATIENCE)
            _CLOCK.wait(self._enough, pause)

    def _start(self, *, is_group: bool) -> None:
        self._started += 1
        self.workers.append(Worker(self.server.url, self.log.url, self._started, self.kept, is_group=is_group))

    # -- faults ------------------------------------------------------------------------------------------------------

    def _kill_until(self, end: float) -> None:
        faults: list[Callable[[], str]] = (
            [self._kill] * 6 + [self._kill_child] * 4 + [self._pause, self._stop, self._flush, self._cut]
        )
        faults += [self._crash_redis] * 2
        while _CLOCK.monotonic() < end:
            _CLOCK.wait(_never, min(self.chance.uniform(0.3, 2.0), max(0.0, end - _CLOCK.monotonic())))
            self.done[self.chance.choice(faults)()] += 1

    def _victim(self) -> Worker:
        return self.workers.pop(self.chance.randrange(len(self.workers)))

    def _replace(self, victim: Worker, number: int) -> None:
        self._start(is_group=victim.is_group)
        victim.end(number)
        self.dead.append(victim)

    def _kill(self) -> str:
        victim = self._victim()
        self.disturbed.add(victim.process.pid)
        self._replace(victim, signal.SIGKILL)
        return "workers killed"

    def _stop(self) -> str:
        self._replace(self._victim(), signal.SIGTERM)
        return "workers stopped in good order"

    def _kill_child(self) -> str:
        group = next(worker for worker in self.workers if worker.is_group)
        if not group.children:
            return "groups without children yet"
        child = self.chance.choice([*group.children.values()])
        self.disturbed.add(child)
        _signal(child, signal.SIGKILL)
        return "children of a group killed"

    def _pause(self) -> str:
        paused = self.chance.choice(self.workers).pid_of_any(self.chance)
        self.disturbed.add(paused)
        _signal(paused, signal.SIGSTOP)
        _CLOCK.wait(_never, LEASE * 1.5)
        _signal(paused, signal.SIGCONT)
        return "workers, children or supervisors paused for longer than a lease"

    def _crash_redis(self) -> str:
        self.server.kill()
        _CLOCK.wait(_never, self.chance.uniform(0, 1))
        self.server.restart()
        return "times Redis was killed and restarted"

    def _flush(self) -> str:
        with self.server.client() as client:
            client.script_flush()
        return "times its scripts were flushed"

    def _cut(self) -> str:
        with self.server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        return "times all connections were cut"

    # -- sums --------------------------------------------------------------------------------------------------------

    def _check(self, sender: Server) -> Sums:
        self._waiting.shutdown()
        with self.log.client(decode_responses=True) as client:
            _until(lambda: self._is_drained(sender), PATIENCE)
            lines: list[str] = client.lrange(LINES, 0, -1)
        return check(self.work, lines, self.disturbed)

    def _is_drained(self, sender: Server) -> bool:
        try:
            counts = sender.queue_counts().values()
        except BrokerUnavailable:
            return False
        return all((c.pending, c.delayed, c.leased, c.ending, c.held) == (0,) * 5 for c in counts)

    def _ticks(self) -> dict[str, int]:
        """Occurrences of the schedule: how many, how many are missing between first and last."""
        with self.log.client(decode_responses=True) as client:
            lines: list[str] = client.lrange("ticks", 0, -1)
        dues = sorted({int(line.rpartition("@")[2]) for line in lines})
        missing = (dues[-1] - dues[0]) // 1000 + 1 - len(dues) if dues else 0
        return {"occurrences": len(dues), "missing": missing}

    def _keys(self, pattern: str = "soak:*") -> set[str]:
        with self.server.client(decode_responses=True) as client:
            return set(client.scan_iter(pattern, count=1000))

    def _base(self, sender: Server) -> dict[str, int]:
        sender.queue_counts()
        with self.server.client() as client:
            memory: Any = client.info("memory")
            clients: Any = client.info("clients")
        return {
            "keys": len(self._keys()),
            "Redis memory, KiB": memory["used_memory_dataset"] // 1024,
            "connections": clients["connected_clients"],
            "worker memory, KiB, largest": max(worker.memory() for worker in self.workers),
            "worker threads, most": max(worker.threads() for worker in self.workers),
            "sender threads": threading.active_count(),
        }

    def _report(
        self, sums: Sums, before: dict[str, int], after: dict[str, int], ticks: dict[str, int], *, drained: bool,
        gone: bool,
    ) -> dict[str, Any]:  # fmt: skip
        every = [*self.workers, *self.dead]
        faults = list(sums.faults)
        faults += [] if drained else ["the queues were not drained"]
        faults += [] if gone else [f"keys are left: {', '.join(sorted(self._keys() - self._at_first)[:20])}"]
        faults += ["the password was shown"] * any(worker.leaked for worker in every)
        faults += [line for worker in every for line in worker.tracebacks]
        faults += [f"{ticks['missing']} occurrences are missing"] * bool(ticks["missing"])
        limits = {"connections": 8, "worker threads, most": 6, "sender threads": 4}
        faults += [f"{name} grew from {before[name]} to {after[name]}" for name, by in limits.items()
                   if after[name] > before[name] + by]  # fmt: skip
        return {
            "seconds": self.seconds,
            "pieces of work": sums.sent,
            "tasks": sums.tasks,
            "runs": sums.runs,
            "of these again, after a lost lease": sums.again,
            "schedule": ticks,
            "faults injected": dict(self.done),
            "before": before,
            "after": after,
            "violations": faults,
        }


def _until(true: Callable[[], bool], patience: float) -> bool:
    end = _CLOCK.monotonic() + patience
    while not true():
        if _CLOCK.monotonic() > end:
            return False
        _CLOCK.wait(_never, 0.1)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=15, help="pieces of work a second")
    given = parser.parse_args()
    report = Soak(given.minutes * 60, given.seed, given.workers, given.rate).run()
    print(json.dumps(report, indent=2))
    return 1 if report["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
