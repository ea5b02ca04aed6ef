"""A server on memory with a clock that stands still, and workers that are stepped in the test's own thread."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs

from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.app.context import TaskContext
from vecna.app.delivery import Deliveries
from vecna.app.firing import Firer
from vecna.app.sweeping import sweep_records, sweep_senders
from vecna.bootstrap import Server
from vecna.domain.state import TaskState

SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Died(BaseException):
    """The process of a worker ends here."""


class Mortal:
    """A port whose caller dies before one of its calls, which is as good as after the one before.

    Args:
        port: the port.
        fate: asked before and after each call.
    """

    def __init__(self, port: Any, fate: Fate) -> None:
        self._port = port
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fate.passed(name)
            return method(*args, **kwargs)

        return call


class Fate:
    """When a worker dies: before the n-th call of a port."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.points: list[str] = []

    def passed(self, name: str) -> None:
        self.points.append(name)
        if len(self.points) - 1 == self.at:
            raise Died(name)


@attrs.define
class Wiring:
    """What a worker has of a server, with ports of its own."""

    config: Config
    registry: Any
    broker: Any
    backend: Any
    clock: Any
    random: Random = attrs.field(factory=lambda: Random(7))

    def storing_periodic_tasks(self) -> Callable[[], None]:
        """There are none."""
        return lambda: None


class Hand:
    """A worker without threads: fires, relays, runs and finishes what there is, until there is nothing."""

    def __init__(self, server: Server, fate: Fate | None = None, name: str = "w") -> None:
        broker: Any = server.broker if fate is None else Mortal(server.broker, fate)
        backend: Any = server.backend if fate is None else Mortal(server.backend, fate)
        self.wiring = Wiring(server.config, server.registry, broker, backend, server.clock)
        self.firer = Firer(self.wiring)
        self.deliveries = Deliveries(self.wiring, name)
        self._queues = server.broker.queues

    def fire(self) -> dt.timedelta | None:
        """Fire all that is due; until the next is."""
        while (until := self.firer.step()) == dt.timedelta(0):
            pass
        return until

    def work(self) -> None:
        """Run and finish all that can be."""
        while sum(self.once(queue) for queue in self._queues()):
            pass

    def once(self, queue: str = "vecna_tasks", count: int = 100) -> int:
        """One batch of a queue; how many it had."""
        batch = self.deliveries.lease(queue, count)
        runnable, ended = self.deliveries.admit(batch)
        back = [item for item in runnable if not self.deliveries.run(item)]
        self.deliveries.give_back(back)
        self.deliveries.finish([*runnable, *ended])
        self.wiring.broker.relay(queue)
        return len(batch.items)

    def all(self) -> dt.timedelta | None:
        """Fire and run all that there is now; until the next is due."""
        until = self.fire()
        self.work()
        return until


class Rig:
    """A server, its clock, one worker, and what has run."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock(START)
        self.server = Server(Config(broker="memory://", **settings), clock=self.clock)
        self.hand = Hand(self.server)
        #: For each run: name, arguments, due time, now, and the context.
        self.runs: list[tuple[str, tuple[Any, ...], dt.datetime | None, dt.datetime]] = []
        self.contexts: list[TaskContext] = []
        self.results: dict[str, Callable[..., Any]] = {}
        for name in ("tick", "tock", "part", "total", "after"):
            self.register(name)

    def register(self, name: str, **options: Any) -> Any:
        """A task that notes its runs, and returns its first argument unless `results` says what."""

        def task(ctx: TaskContext, *args: Any) -> Any:
            self.runs.append((name, args, ctx.due_at, ctx.now()))
            self.contexts.append(ctx)
            return self.results.get(name, lambda *given: given[0] if given else None)(*args)

        task.__qualname__ = task.__name__ = name
        return self.server.register_task(name, task, **options)

    def to(self, moment: dt.datetime, hand: Hand | None = None) -> None:
        """Move the clock to a moment, through every due moment on the way."""
        hand = hand or self.hand
        while True:
            until = hand.all()
            left = moment - self.clock.now()
            if left <= dt.timedelta(0):
                return
            self.clock.advance(left if until is None else min(until, left))

    def forward(self, duration: dt.timedelta, hand: Hand | None = None) -> None:
        """The same by a duration."""
        self.to(self.clock.now() + duration, hand)

    def heir(self) -> Hand:
        """Another worker, when the leases of those that died have run out and it has done what they left."""
        hand = Hand(self.server, name="heir")
        for _ in range(4):  # in steps: an idle queue passes for an outage
            for queue in self.server.broker.queues():
                hand.deliveries.lease(queue, 0)
                self.server.broker.relay(queue)  # as sweepers do
            self.clock.advance(10)
        return hand

    def sweep(self, hand: Hand | None = None) -> None:
        """What every worker does now and then."""
        wiring = (hand or self.hand).wiring
        sweep_records(wiring)
        sweep_senders(wiring, self.server.broker.queues())

    def state(self, uuid: str) -> TaskState:
        state = self.server.backend.get_state(uuid)
        assert state is not None
        return state

    def tamper(self, code: str, **changes: Any) -> None:
        """Change what is stored of a schedule behind the server's back."""
        broker: Any = self.server.broker
        (record,) = broker.get_schedules([code])
        broker._schedules.write(attrs.evolve(record, **changes))

    def ran(self, name: str) -> list[dt.datetime | None]:
        """The due times of the runs of a task."""
        return [due for ran, _, due, _ in self.runs if ran == name]

    def counted(self) -> Counter[str]:
        """How often each id has run."""
        return Counter(context.signature.uuid for context in self.contexts)

    def left(self) -> Sequence[str]:
        """Ids that are still somewhere in a queue."""
        counts = self.server.queue_counts()
        return [
            f"{queue}: {count}"
            for queue, count in counts.items()
            if attrs.astuple(attrs.evolve(count, dead=0)) != (0,) * 6
        ]
