"""Servers and ports for the tests of app: a broker that goes away, a logger that keeps its lines."""

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from vecna import log
from vecna.adapters.clock import SystemClock
from vecna.adapters.memory import MemoryBackend, MemoryBroker
from vecna.app.config import Config
from vecna.app.server import Server as Core
from vecna.bootstrap import Server
from vecna.domain.arg import TaskResult
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.values import Settlement

_calls = itertools.count(1)


def _keeping(level: str) -> Callable[..., None]:
    def keep(self: "Lines", message: str, **_: object) -> None:
        self.lines.append((level, message))

    return keep


class Lines:
    """A logger that keeps what it is told."""

    debug, info, warning, error, critical = map(_keeping, ("debug", "info", "warning", "error", "critical"))

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def of(self, level: str) -> list[str]:
        """The messages of a level."""
        return [message for found, message in self.lines if found == level]


@contextmanager
def logged() -> Iterator[Lines]:
    """Keep what vecna logs meanwhile."""
    lines = Lines()
    log.set(lines)
    try:
        yield lines
    finally:
        log.set(None)


def no_thread(monkeypatch: pytest.MonkeyPatch, ending: str) -> list[str]:
    """Let the system have no thread for the next one whose name ends so; the names of those that it had none for."""
    start, refused = threading.Thread.start, list[str]()

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith(ending) and not refused:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return refused


class FlakyBroker(MemoryBroker):
    """A broker whose first `failures` enqueues fail; each was carried out before its answer got lost, if `late`."""

    def __init__(self, failures: int, *, late: bool = False) -> None:
        super().__init__(SystemClock())
        self.failures = failures
        self.late = late
        self.calls = 0
        self.failed = threading.Event()

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        self.calls += 1
        if self.failures > 0:
            self.failures -= 1
            if self.late:
                super().enqueue(messages)
            self.failed.set()
            raise BrokerUnavailable("no route to host")
        return super().enqueue(messages)


class CountingBackend(MemoryBackend):
    """A backend that counts its reads, and can be out of reach."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.reads: list[int] = []
        self.away = threading.Event()
        self.asked_in_vain = threading.Event()

    def get_state(self, uuid: str) -> TaskState | None:
        self._check()
        return super().get_state(uuid)

    def get_states(self, uuids: Sequence[str]) -> list[TaskState | None]:
        self._check()
        self.reads.append(len(uuids))
        return super().get_states(uuids)

    def _check(self) -> None:
        if self.away.is_set():
            self.asked_in_vain.set()
            raise BrokerUnavailable("no route to host")


def server_with(**parts: Any) -> Server:
    """A server on memory with some ports or settings replaced."""
    ports = {name: parts.pop(name) for name in ("broker", "backend", "lock", "clock") if name in parts}
    return Server(Config(broker="memory://", **parts), **ports)


def end(
    server: Core, uuid: str, value: object = None, *, state: State = State.SUCCESS, name: str = "", **fields: Any
) -> None:
    """Record a task's end, as a worker would."""
    results = (TaskResult.of(value),) if state is State.SUCCESS else ()
    server.backend.put_states([TaskState(task_uuid=uuid, task_name=name, state=state, results=results, **fields)])


def drain(server: Core, queue: str | None = None) -> list[str]:
    """Take all messages of a queue away, as workers would that are done with them; their ids."""
    name = queue or server.config.default_queue
    lease = server.broker.lease(
        name, 10_000, worker="w", call=next(_calls), duration=dt.timedelta(seconds=30), max_deliveries=5
    )
    server.broker.settle(name, [Settlement(delivery.uuid, delivery.token) for delivery in lease.deliveries])
    return [delivery.uuid for delivery in lease.deliveries]
