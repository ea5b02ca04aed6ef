"""vecna. safe: as it is out of the box. fast: the same, but nothing is kept after the end of a task."""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.peers.drivers.protocol import CONCURRENCY, PAGE, PATIENCE, RESULTS, URL, Driver
from benchmarks.peers.drivers.tally import tally
from vecna import Chord, Config, Group, Server, Task

HOUR = timedelta(hours=1)
CODE = "bench-code"
SENDERS = 100
OPTIONS: dict[str, Any] = {} if RESULTS else {"keep_result": False}

server = Server(Config(broker=URL, namespace="vecna-bench", results_expire_in=600))


@server.task(**OPTIONS)
def noop(a: int, b: int) -> None:
    tally.noop()


@server.task(**OPTIONS)
async def noop_async(a: int, b: int) -> None:
    tally.noop()


@server.task(**OPTIONS)
def wait(a: int, b: int) -> None:
    started = tally.started()
    time.sleep(0.05)
    tally.ended(started)


@server.task(**OPTIONS)
async def wait_async(a: int, b: int) -> None:
    started = tally.started()
    await asyncio.sleep(0.05)
    tally.ended(started)


@server.task(**OPTIONS)
def late(due: float) -> None:
    tally.late(due)


@server.task
def member(a: int, b: int) -> int:
    tally.noop()
    return a


@server.task
def callback(*results: int) -> None:
    tally.mark()


NOOPS: dict[str, Task[[int, int], None, Any]] = {"functions": noop, "coroutines": noop_async}
WAITS: dict[str, Task[[int, int], None, Any]] = {"functions": wait, "coroutines": wait_async}


class Peer(Driver):
    kinds = ("functions", "coroutines")

    def __init__(self) -> None:
        self._sent: list[str] = []

    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        command = [sys.executable, "-m", "vecna", "worker", f"{__name__}:server", "--log-level", "warning"]
        size = ["--concurrency", str(CONCURRENCY * processes)]  # over all processes
        return [[*command, "--name", "w", *size, *(["--processes", str(processes)] if processes > 1 else [])]]

    def send(self, number: int, kind: str) -> None:
        self._sent.append(NOOPS[kind].send(number, 1).uuid)

    def bulk(self, first: int, count: int, kind: str) -> None:
        task: Task[[int, int], Any, Any] = member if kind == "members" else NOOPS[kind]
        sent = server.send_tasks([task.signature(number, 1) for number in range(first, first + count)])
        self._sent.extend(result.uuid for result in sent)

    def gather(self, count: int) -> None:
        asyncio.run(self._gather(count))

    async def _gather(self, count: int) -> None:
        numbers = iter(range(count))

        async def sender() -> None:
            for number in numbers:  # shared: each takes the next one
                await noop.send_async(number, 1)

        await asyncio.gather(*(sender() for _ in range(SENDERS)))

    def round_trip(self, number: int) -> None:
        noop.send(number, 1).get(timeout=PATIENCE)

    def wait(self, number: int, kind: str) -> None:
        WAITS[kind].send(number, 1)

    def delay(self, due: float) -> None:
        late.options(eta=datetime.fromtimestamp(due, UTC)).send(due)

    def schedule(self, number: int) -> None:
        noop.every("@every 6h", code=f"schedule-{number}").send(number, 1)

    def chord(self, count: int) -> None:
        server.send_chord(Chord(Group(member.signature(number, 1) for number in range(count)), callback.s()))

    def coded(self, count: int) -> None:
        task = noop.options(delay=HOUR)
        for first in range(0, count, PAGE):
            batch = [task.signature(number, 1).replace(code=CODE) for number in range(min(PAGE, count - first))]
            server.send_tasks(batch)

    def cancel(self, count: int) -> None:
        canceled = len(server.cancel(CODE).canceled)
        if canceled != count:
            raise SystemExit(f"{canceled} of {count} tasks were cancelled")

    def settled(self) -> bool:
        return not any(left.pending or left.leased for left in server.queue_counts().values())

    def check(self, count: int) -> None:
        kept = 0
        for first in range(0, len(self._sent) if RESULTS else 0, PAGE):
            states = server.backend.get_states(self._sent[first : first + PAGE])
            kept += sum(state is not None and state.is_success for state in states)
        if RESULTS and kept != count:
            raise SystemExit(f"{kept} of {count} tasks ended as SUCCESS: the figure would be wrong")

    def close(self) -> None:
        server.close()
