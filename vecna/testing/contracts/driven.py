"""A queue of the broker under test, as the laws of the broker drive it."""

from __future__ import annotations

import datetime as dt
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.message import Message
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock
from vecna.ports.values import (
    Answer,
    Canceling,
    Delivery,
    Extension,
    Lease,
    QueueCounts,
    SettleAs,
    Settlement,
    Standing,
)
from vecna.testing.contracts.law import Laws
from vecna.testing.contracts.values import LEASE, PATIENCE

T = TypeVar("T")


class DrivenQueue:
    """One queue of a broker. Fills in what a law does not care about."""

    def __init__(self, broker: Broker, clock: Clock, name: str = "q") -> None:
        self.broker = broker
        self.clock = clock
        self.name = name
        self._calls: dict[str, int] = {}

    def at(self, name: str) -> DrivenQueue:
        """The queue of this name: this one, or another of the same broker."""
        return self if name == self.name else DrivenQueue(self.broker, self.clock, name)

    def message(self, uuid: str, **fields: Any) -> Message:
        """A message for this queue."""
        return Message(
            uuid, fields.pop("queue", self.name), fields.pop("body", uuid.encode(errors="replace")), **fields
        )

    def send(self, *uuids: str, **fields: Any) -> list[bool]:
        """Enqueue messages in one call."""
        return self.broker.enqueue([self.message(uuid, **fields) for uuid in uuids])

    def next_call(self, worker: str = "w") -> int:
        """The number of a worker's next lease call."""
        self._calls[worker] = self._calls.get(worker, 0) + 1
        return self._calls[worker]

    def lease(
        self,
        count: int = 100,
        *,
        worker: str = "w",
        call: int | None = None,
        duration: dt.timedelta = LEASE,
        max_deliveries: int = 5,
        verdicts_only: bool = False,
    ) -> Lease:
        """One lease call; the worker's next unless `call` is given."""
        return self.broker.lease(
            self.name,
            count,
            worker=worker,
            call=self.next_call(worker) if call is None else call,
            duration=duration,
            max_deliveries=max_deliveries,
            verdicts_only=verdicts_only,
        )

    def take(self, count: int = 100, **fields: Any) -> list[Delivery]:
        """Lease until there are `count` messages or no more: an adapter may give fewer than asked for in a call."""
        taken: list[Delivery] = []
        while len(taken) < count:
            lease = self.lease(count - len(taken), **fields)
            if not lease.deliveries:
                break
            taken += lease.deliveries
        return taken

    def take_one(self, **fields: Any) -> Delivery:
        """Lease one message, which must be there."""
        taken = self.take(1, **fields)
        assert taken, f"queue {self.name} had nothing to lease"
        return taken[0]

    def settle(self, delivery: Delivery, settle: SettleAs = SettleAs.DONE, **fields: Any) -> Answer:
        """Settle one delivery."""
        return self.broker.settle(self.name, [Settlement(delivery.uuid, delivery.token, settle, **fields)])[0]

    def settle_all(
        self, deliveries: Sequence[Delivery], settle: SettleAs = SettleAs.DONE, **fields: Any
    ) -> list[Answer]:
        """Settle deliveries in one call, all the same way."""
        return self.broker.settle(
            self.name, [Settlement(item.uuid, item.token, settle, **fields) for item in deliveries]
        )

    def extend(self, *tokens: str, duration: dt.timedelta = LEASE) -> list[Extension]:
        """Extend leases."""
        return self.broker.extend(self.name, tokens, duration)

    def forfeit(self, *tokens: str, max_deliveries: int = 5) -> None:
        """End leases of a dead holder."""
        self.broker.forfeit(self.name, tokens, max_deliveries=max_deliveries)

    def cancel(self, *uuids: str) -> list[Canceling]:
        """Cancel messages."""
        return self.broker.cancel(self.name, uuids)

    def relay(self) -> None:
        """Relay until nothing is left."""
        while self.broker.relay(self.name):
            pass

    def counts(self) -> QueueCounts:
        """How many messages stand where."""
        return self.broker.counts(self.name)

    def standing(self, uuid: str) -> Standing | None:
        """Where a message stands in this queue; None: it does not."""
        place = self.broker.locate([uuid], [self.name])[0]
        return None if place is None else place.standing

    def pass_time(self, duration: dt.timedelta, lease: dt.timedelta = LEASE) -> None:
        """Move the clock while others use the queue, so that it does not look like an outage.

        They ask for a lease that nobody has: that ends no other.
        """
        assert isinstance(self.clock, ManualClock)
        step = lease / 4
        while duration > dt.timedelta(0):
            self.clock.advance(min(step, duration))
            duration -= step
            self.extend("0:nobody:1")


class BrokerCase(Laws):
    """What the laws of the broker have in common."""

    def make(self, clock: Clock) -> Broker:
        """The broker under test. All that one test makes see one store, which no other test has seen."""
        raise NotImplementedError("a contract suite is bound to an adapter by its method make(self, clock)")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Time, which stands still unless the test moves it."""
        return ManualClock()

    @pytest.fixture
    def broker(self, clock: ManualClock) -> Iterator[Broker]:
        """The broker under test."""
        broker = self.make(clock)
        yield broker
        broker.close()

    @pytest.fixture
    def queue(self, broker: Broker, clock: ManualClock) -> DrivenQueue:
        """A queue of it."""
        return DrivenQueue(broker, clock)


def names(deliveries: Sequence[Delivery]) -> list[str]:
    """The ids of deliveries, in order."""
    return [delivery.uuid for delivery in deliveries]


def at_once(*actions: Callable[[], T]) -> list[T]:
    """What these return when threads do them at the same time, taking turns as often as Python can."""
    start = threading.Barrier(len(actions))

    def act(action: Callable[[], T]) -> T:
        start.wait(PATIENCE)
        return action()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(actions)) as threads:
            return list(threads.map(act, actions))
    finally:
        sys.setswitchinterval(interval)
