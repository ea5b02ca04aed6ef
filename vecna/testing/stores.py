"""The stores of the harness: the memory adapters, once for the worker and once for all others.

Both see the same. What the others ask for is announced first, so that the worker can put down what it holds: nobody
sees that it takes several tasks at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import attrs

from vecna.adapters.memory import MemoryBackend, MemoryBroker, MemoryLock
from vecna.adapters.memory.backend import Records
from vecna.adapters.memory.lock import Grants
from vecna.adapters.memory.queue import Queues
from vecna.app.launchers import RESERVED
from vecna.app.passing import with_passed
from vecna.domain.errors import InvalidArgument
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock
from vecna.ports.schedules import FireCall, Fired
from vecna.ports.values import Adapters, Answer, Settlement

#: They only look for news, and ask nothing.
_QUIET: Final = frozenset({"close", "listen", "waiter"})


class Log:
    """All messages that were accepted, in order.

    Args:
        backend: where the results are that chord callbacks take.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.messages: list[Message] = []
        self._fired: set[str] = set()
        self._read: list[Signature[Any]] = []

    def add(self, messages: Iterable[Message], new: Iterable[bool]) -> None:
        """Take note of what was new."""
        self.messages.extend([message for message, is_new in zip(messages, new, strict=True) if is_new])

    def add_fired(self, call: FireCall) -> None:
        """Take note of an occurrence; a repeated call adds nothing."""
        if call.uuid and call.uuid not in self._fired:
            self._fired.add(call.uuid)
            self.messages.extend(call.messages)

    def signatures(self) -> list[Signature[Any]]:
        """The calls, as they travelled; those that only vecna itself sends are left out."""
        for message in self.messages[len(self._read) :]:
            self._read.append(Signature.from_json(message.body))
        return [self._complete(signature) for signature in self._read if signature.name not in RESERVED]

    def _complete(self, signature: Signature[Any]) -> Signature[Any]:
        """With what travels by reference; without it when that has expired."""
        if signature.position is None or not signature.position.takes:
            return signature
        try:
            return with_passed(self._backend, signature)
        except InvalidArgument:
            return signature


class LoggedBroker(MemoryBroker):
    """The broker as the worker has it.

    Args:
        clock: time.
        store: shared by all.
        log: of what is accepted.
        dead_letter_limit: how many dead letters a queue keeps.
    """

    def __init__(self, clock: Clock, store: Queues, log: Log, dead_letter_limit: int) -> None:
        super().__init__(clock, store, dead_letter_limit=dead_letter_limit)
        self._log = log

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.Queueing`."""
        new = super().enqueue(messages)
        self._log.add(messages, new)
        return new

    def stage(self, hold: str, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.Staging`."""
        new = super().stage(hold, messages)
        self._log.add(messages, new)
        return new

    def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[Answer]:
        """See `vecna.ports.Queueing`."""
        answers = super().settle(queue, settlements)
        for settlement, answer in zip(settlements, answers, strict=True):
            if settlement.follow_ups and answer is Answer.OK:
                self._log.messages.extend(settlement.follow_ups)
        return answers

    def fire(self, calls: Sequence[FireCall]) -> list[Fired]:
        """See `vecna.ports.Schedules`."""
        answers = super().fire(calls)
        for call, answer in zip(calls, answers, strict=True):
            if answer is Fired.FIRED:
                self._log.add_fired(call)
        return answers


class ServersBroker(LoggedBroker):
    """The broker as the server has it.

    Args:
        clock: time.
        store: shared by all.
        log: of what is accepted.
        dead_letter_limit: how many dead letters a queue keeps.
        announce: called before each call.
        canceled: called after each cancel: the worker may hold what was meant.
    """

    def __init__(
        self,
        clock: Clock,
        store: Queues,
        log: Log,
        dead_letter_limit: int,
        announce: Callable[[], None],
        canceled: Callable[[], None],
    ) -> None:
        super().__init__(clock, store, log, dead_letter_limit)
        self.announce = announce
        self.canceled = canceled


class ServersBackend(MemoryBackend):
    """The backend as the server has it; `announce` is called before each call."""

    def __init__(self, clock: Clock, store: Records, announce: Callable[[], None]) -> None:
        super().__init__(clock, store)
        self.announce = announce


def _announcing(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.announce()
        return method(self, *args, **kwargs)

    return call


def _telling(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = method(self, *args, **kwargs)
        self.canceled()
        return answer

    return call


def _announce_all(kind: type, port: type) -> None:
    """Put the announcement before every method of the port."""
    for name in port.__abstractmethods__ - _QUIET:  # type: ignore[attr-defined]  # of every ABC
        setattr(kind, name, _announcing(getattr(kind, name)))


for _name in ("cancel", "cancel_code"):
    setattr(ServersBroker, _name, _telling(getattr(ServersBroker, _name)))
_announce_all(ServersBroker, Broker)
_announce_all(ServersBackend, Backend)


@attrs.frozen
class View:
    """Broker and backend."""

    broker: MemoryBroker
    backend: MemoryBackend


@attrs.frozen
class Stores:
    """Ports over one store.

    Attributes:
        broker, backend: for the worker.
        view: for the harness's own looks, which nothing that goes wrong on purpose concerns.
        others: for everybody else.
        log: of what was accepted.
    """

    broker: LoggedBroker
    backend: MemoryBackend
    view: View
    others: Adapters
    log: Log


def new_stores(
    clock: Clock,
    dead_letter_limit: int,
    *,
    calling: Callable[[], None],
    looking: Callable[[], None],
    canceled: Callable[[], None],
) -> Stores:
    """Empty stores.

    Args:
        clock: time.
        dead_letter_limit: how many dead letters a queue keeps.
        calling: called before everybody else's calls of the broker.
        looking: called before those of the backend.
        canceled: called after everybody else's cancels.
    """
    queues, records = Queues(), Records()
    view = View(MemoryBroker(clock, queues), MemoryBackend(clock, records))
    log = Log(view.backend)
    others = Adapters(
        broker=ServersBroker(clock, queues, log, dead_letter_limit, calling, canceled),
        backend=ServersBackend(clock, records, looking),
        lock=MemoryLock(clock, Grants()),
        clock=clock,
    )
    worker = LoggedBroker(clock, queues, log, dead_letter_limit)
    return Stores(worker, MemoryBackend(clock, records), view, others, log)
