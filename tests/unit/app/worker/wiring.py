"""A server's parts for the tests of deliveries and workers, on memory, with a clock of the test's choice."""

import threading
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs

from vecna.adapters.clock import ManualClock, SystemClock
from vecna.adapters.memory import connect
from vecna.app.config import Config
from vecna.app.delivery import Deliveries
from vecna.app.delivery_run import RunHooks
from vecna.app.delivery_values import Item
from vecna.app.registry import Registry
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.values import Adapters


class Flaky:
    """A port whose calls are counted, and can be made to fail before or after they have had their effect."""

    def __init__(self, port: Any, called: threading.Condition) -> None:
        self._port = port
        self._called = called
        self.calls: list[str] = []
        self.down = False
        self._before: list[str] = []
        self._after: list[str] = []

    def fail_before(self, *methods: str) -> None:
        self._before += methods

    def fail_after(self, *methods: str) -> None:
        self._after += methods

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return attempt(*args, **kwargs)
            finally:
                with self._called:
                    self._called.notify_all()

        def attempt(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.down:
                raise BrokerUnavailable("down")
            if name in self._before:
                self._before.remove(name)
                raise BrokerUnavailable(f"{name}: request lost")
            answer = method(*args, **kwargs)
            if name in self._after:
                self._after.remove(name)
                raise BrokerUnavailable(f"{name}: reply lost")
            return answer

        return call if name not in ("waiter", "listen") else attempt


@attrs.define
class TestWiring:
    """What `Wiring` asks for, and shorthands."""

    __test__ = False

    config: Config
    clock: Any
    broker: Any
    backend: Any
    called: threading.Condition
    registry: Registry = attrs.field(factory=Registry)
    random: Random = attrs.field(factory=lambda: Random(7))

    @classmethod
    def make(cls, clock: Any = None, **settings: Any) -> "TestWiring":
        clock = ManualClock() if clock is None else clock
        config = Config(broker="memory://", **settings)
        adapters: Adapters = connect("memory://", config, clock)
        called = threading.Condition()
        return cls(config, clock, Flaky(adapters.broker, called), Flaky(adapters.backend, called), called)

    @classmethod
    def real(cls, **settings: Any) -> "TestWiring":
        return cls.make(SystemClock(), **settings)

    def deliveries(self, worker: str = "w1", hooks: RunHooks | None = None) -> Deliveries:
        return Deliveries(self, worker, hooks)

    def storing_periodic_tasks(self) -> Callable[[], None]:
        """There are none."""
        return lambda: None

    def send(self, *signatures: Signature[Any]) -> None:
        self.broker.enqueue([Message.of(signature, self.config.default_queue) for signature in signatures])

    def until(self, true: Callable[[], object], timeout: float = 20.0) -> None:
        """Wait until something is true; looked at after each call of a port."""
        with self.called:
            assert self.called.wait_for(true, timeout)

    def until_ended(self, *uuids: str) -> list[State]:
        """Wait for the ends of tasks."""
        read = self.backend._port.get_states
        self.until(lambda: all(state is not None and state.is_completed for state in read(uuids)))
        return self.states(*uuids)

    def state(self, uuid: str) -> TaskState:
        state = self.backend.get_state(uuid)
        assert state is not None
        return state

    def states(self, *uuids: str) -> list[State]:
        return [self.state(uuid).state for uuid in uuids]


def step(deliveries: Deliveries, queue: str = "vecna_tasks", count: int = 10) -> list[Item]:
    """One whole round in this thread; the items that it dealt with."""
    batch = deliveries.lease(queue, count)
    runnable, ended = deliveries.admit(batch)
    done = run_all(deliveries, runnable)
    deliveries.finish([*ended, *done])
    return [*ended, *done]


def run_all(deliveries: Deliveries, items: Sequence[Item]) -> list[Item]:
    return [item if deliveries.run(item) else deliveries.give_back([item])[0] for item in items]
