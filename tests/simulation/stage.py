"""What all histories of a process share: servers, settings, tasks. Made once, since making them takes longer than a
history."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import attrs

from tests.simulation.shapes import RETRY_COUNT
from vecna.adapters.memory import MemoryBackend, MemoryBroker
from vecna.adapters.memory.queue import Queue, Queues
from vecna.app import server as app
from vecna.app.config import Config
from vecna.app.context import TaskContext
from vecna.app.lookup import Lookup
from vecna.app.registry import Registry
from vecna.ports.values import Adapters

LEASE = 10.0
PUBLISH_TIMEOUT = 12.0


class Failure(Exception):
    """What tasks raise."""


@attrs.define(slots=False)
class Opened:
    """What a server has opened: the ports of one process."""

    adapters: Any
    lookup: Lookup
    closing: Any


class StageServer(app.Server):
    """A server whose ports are those of whichever process uses it."""

    opened: Opened
    chance: Any = None

    def _here(self) -> Any:
        return self.opened

    @property
    def random(self) -> Any:
        return self.chance


_closing = threading.Event()


def play(ctx: TaskContext, *args: Any) -> Any:
    """The one task: does what the history that is played says."""
    return stage.world.played(ctx, args)


class Stage:
    """Which history is played in this process."""

    def __init__(self) -> None:
        self.world: Any = None


stage = Stage()


@cache
def config(max_deliveries: int, results_expire_in: float, lease: float = LEASE) -> Config:
    return Config(
        broker="memory://",
        default_queue="a",
        lease=lease,
        publish_timeout=PUBLISH_TIMEOUT,
        max_deliveries=max_deliveries,
        results_expire_in=results_expire_in,
        park_limit=2,
    )


@cache
def server(name: str, max_deliveries: int, results_expire_in: float) -> StageServer:
    """The server of a process of this name."""
    made = StageServer(config(max_deliveries, results_expire_in), lambda: None)  # type: ignore[arg-type,return-value]  # no ports yet
    made.register_task("t", play, retry_count=RETRY_COUNT)
    return made


@cache
def registry() -> Registry:
    """What the workers know."""
    return server("workers", 3, 3600.0).registry


def open_for(made: StageServer, broker: Any, backend: Any, clock: Any, chance: Any) -> None:
    """Have a server use the ports of one process."""
    adapters: Any = Adapters(broker, backend, None, clock)  # type: ignore[arg-type]  # no lock
    made.opened = Opened(adapters, Lookup(adapters.backend, adapters.broker), _closing)
    made.chance = chance


class WatchedQueue(Queue):
    """A queue that tells how often it takes an id in."""

    accepted: Any

    def accept(self, message: Any, *args: Any, **kwargs: Any) -> bool:
        new = super().accept(message, *args, **kwargs)
        if new:
            self.accepted(message.uuid)
        return new


class WatchedQueues(Queues):
    """Makes such queues."""

    def __init__(self, accepted: Any) -> None:
        super().__init__()
        self.accepted = accepted

    def queue(self, name: str) -> Queue:
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = WatchedQueue(name)
            found.accepted = self.accepted
        return found


def memory(clock: Any, accepted: Any) -> tuple[Any, Any]:
    """Broker and backend of a history on memory."""
    return MemoryBroker(clock, WatchedQueues(accepted)), MemoryBackend(clock)
