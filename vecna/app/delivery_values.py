"""What the steps of a delivery's life work on: leases held here, and the deliveries under them."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Mapping
from typing import Any, Final, Protocol

import attrs

from vecna.app.config import Config
from vecna.app.context import TaskContext
from vecna.app.task import AnyTask
from vecna.domain.decide import Attempts, Decision, Outcome
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock
from vecna.ports.values import Answer, Delivery


class Tasks(Protocol):
    """Where a task is looked up, anew for each delivery."""

    def get(self, name: str) -> AnyTask | None:
        """The task of this name, None if there is none."""


class Wiring(Protocol):
    """What deliveries and workers need of a server."""

    @property
    def config(self) -> Config:
        """Settings; durations may change while a worker runs."""

    @property
    def registry(self) -> Tasks:
        """The tasks that can be run."""

    @property
    def broker(self) -> Broker:
        """Where messages are kept."""

    @property
    def backend(self) -> Backend:
        """Where states are kept."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def random(self) -> random.Random:
        """Chance, for jitter and the choice of a queue to look at."""


#: Why a run is told to stop (`Item.stopping`).
CANCELED: Final = "it was canceled"
TIMEOUT: Final = "it ran over its timeout"
LOST: Final = "its lease was lost: it belongs to another worker now"
CLOSING: Final = "its worker stops"


class QueuesAway(BrokerUnavailable):
    """Some queues or workflows cannot be reached: a node is down, or keys are damaged. What belongs to others was done.

    Attributes:
        queues: each with what its call has failed with.
        workflows: the same, by a task whose end could not be reported; in the order in which to try them again.
    """

    def __init__(self, queues: Mapping[str, Exception], workflows: Mapping[str, Exception] | None = None) -> None:
        self.queues, self.workflows = dict(queues), dict(workflows or {})
        lines = [f"queue {name}: {exc}" for name, exc in self.queues.items()]
        lines += [f"workflow of task {uuid}: {exc}" for uuid, exc in itertools.islice(self.workflows.items(), 3)]
        super().__init__("; ".join(lines))


@attrs.frozen
class Parked:
    """Back to the queue for a while: no worker here knows the task."""

    delay: dt.timedelta
    attempts: Attempts


@attrs.frozen
class Launched:
    """A launcher has prepared what it launches: these messages go with its settlement, and nothing is recorded."""

    messages: tuple[Message, ...] = ()


@attrs.frozen
class Returned:
    """Back to the head of the queue, as if it had not been leased."""


@attrs.define(eq=False)
class Hold:
    """A lease that this process holds, and its deliveries that are not over.

    Attributes:
        queue: where the messages were leased from.
        token: of the lease.
        trusted_until: until when, by the monotonic clock, the lease is this process' own for certain.
        items: the deliveries under it, by task id.
        lost: whether the broker has said that the lease is not the live one any more.
    """

    queue: str
    token: str
    trusted_until: float
    items: dict[str, Item] = attrs.field(factory=dict, repr=False)
    lost: bool = False


@attrs.define(eq=False)
class Item:
    """One delivery in the hands of this process, from its lease to its settlement.

    Attributes:
        delivery: as the broker gave it.
        hold: the lease that it came with.
        signature: the call, with the options in force; a stand-in if the message could not be read.
        task: what runs it; None if nothing will.
        context: of its run.
        since: since when it waits here to be run, by the monotonic clock.
        started: when its run began, by the monotonic clock; None before.
        started_at, finished_at: when its run began and ended.
        outcome: of its run, or of not being run.
        exception: behind a failure; for the error handler and the log.
        decision: what follows from the outcome.
        recorded: what the backend holds about its end.
        answer: of the broker to its settlement.
        canceled: a cancel has reached it: it is not repeated.
        childless: nothing may follow from it any more.
        over: nothing more is to be done for it here.
        noted: the last state short of an end that was written for it.
        stopping: why this worker has told its run to stop; "" if it has not.
        elapsed: seconds that its run took.
        ended: its run has come back, even if its outcome was said before.
        long: it was seen to run for long, and counts as a slot of its own until it has ended.
        claim: one ticket for whoever may say how a run with a `timeout` ended; None without one.
    """

    delivery: Delivery
    hold: Hold
    since: float
    signature: Signature[Any]
    readable: bool = True
    task: AnyTask | None = None
    context: TaskContext | None = None
    started: float | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    outcome: Outcome | Launched | Parked | None = None
    exception: BaseException | None = None
    decision: Decision | Launched | Parked | Returned | None = None
    recorded: TaskState | None = None
    answer: Answer | None = None
    canceled: bool = False
    childless: bool = False
    over: bool = False
    noted: State = State.PENDING
    stopping: str = ""
    elapsed: float = 0.0
    ended: bool = False
    long: bool = False
    claim: list[None] | None = None

    @property
    def uuid(self) -> str:
        """The task's id."""
        return self.delivery.uuid

    @property
    def name(self) -> str:
        """The task's name, "" if the message could not be read."""
        return self.signature.name if self.readable else ""

    @property
    def attempt(self) -> int:
        """Which run this is: 1 + repeats."""
        return self.delivery.attempts.attempt

    def stop(self, reason: str) -> None:
        """Tell the run to stop. A coroutine has to be cancelled besides."""
        self.stopping = self.stopping or reason
        if self.context is not None:
            self.context.tell_to_stop(reason)

    def complete(self, outcome: Outcome | Launched | Parked, exception: BaseException | None, at: dt.datetime) -> bool:
        """Say how the run ended. False if that was said before: by the time limit, or by the run itself."""
        if self.claim is not None:
            try:
                self.claim.pop()  # one step under the interpreter's lock: one of the two gets it
            except IndexError:
                return False
        self.exception = exception
        self.finished_at = at
        self.outcome = outcome
        return True


@attrs.frozen
class Batch:
    """What a lease step got.

    Attributes:
        items: the deliveries, not yet admitted.
        now: the broker's clock during the call.
        next_due: by the monotonic clock, when another lease could get something that this one could not.
        more: whether there was more that could be leased at once.
    """

    items: tuple[Item, ...]
    now: dt.datetime
    next_due: float | None = None
    more: bool = False


def with_options(signature: Signature[Any], task: AnyTask | None) -> Signature[Any]:
    """The signature with the registration's options in what it leaves open."""
    if task is None or not task.set_options:
        return signature
    known = signature.set_options
    open_options = {name: value for name, value in task.set_options.items() if name not in known}
    if "eta" in known or "delay" in known:  # the two exclude each other
        open_options.pop("eta", None)
        open_options.pop("delay", None)
    return signature.evolve(set_options={**open_options, **known}) if open_options else signature
