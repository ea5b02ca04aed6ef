"""Keeps the leases of a group's children: a task in C may hold a child's interpreter for longer than a lease.

The supervisor runs no task, so it can always beat. That a child which hangs does not keep its tasks for ever, each run
has a hard limit; a child that passes one is killed.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from vecna import log
from vecna.app.delivery_values import Wiring
from vecna.app.faults import try_each
from vecna.app.group.books import Books, Estate, Run
from vecna.app.group.reports import Alive, Asks, Ended, Held, Report
from vecna.app.worker.outage import Outage
from vecna.ports.values import Lease, SettleAs, Settlement

_BEATING: Final = "heartbeat"
_HANDING_OVER: Final = "handing over what a dead process held"


class Kept(Protocol):
    """A child whose leases are kept."""

    @property
    def name(self) -> str:
        """Of the worker that it is."""

    def kill(self) -> None:
        """End it at once."""


class Keeper:
    """Extends leases, watches hard limits, and hands over what dead children held. One thread; the rest from any.

    Args:
        wiring: of the server.
        group: its name.
    """

    def __init__(self, wiring: Wiring, group: str) -> None:
        self._wiring = wiring
        self._clock = wiring.clock
        self._config = wiring.config
        self._outage = Outage(group, wiring.clock, wiring.random, lambda _: None)
        self._lock = threading.Lock()
        self._books: dict[Kept, Books] = {}
        self._estates: list[Estate] = []
        self._beat_at = self._next = wiring.clock.monotonic() + wiring.config.heartbeat
        self._listens_until = 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._outage.wakes(self._wake)

    # -- what children report ----------------------------------------------------------------------------------------

    def heard(self, child: Kept, report: Report) -> None:
        """Take note of what a child holds."""
        now = self._clock.monotonic()
        with self._lock:
            books = self._books.get(child)
            if books is None:
                books = self._books[child] = Books(now)
            match report:
                case Asks():
                    books.asked[report.queue] = (report.worker, report.call)
                case Held():
                    books.asked.pop(report.queue, None)
                    for over in report.over:
                        books.reported.pop(over, None)
                    books.reported[report.queue, report.token] = (report, now)
                case Ended():
                    books.ended.update(report.uuids)
                case Alive():
                    books.heard_at = now
                    books.reported = {(held.queue, held.token): (held, now) for held in report.holds}
                    books.ended.clear()
                    if books.silent:
                        books.silent = False
                        log.info(f"worker {child.name} is heard again", worker=child.name)

    def buried(self, child: Kept, blamed: bool) -> None:
        """Hand over what a dead child held.

        Args:
            child: that is dead.
            blamed: its death counts as a crash of what it ran; else all goes back as if it had not been taken.
        """
        now = self._clock.monotonic()
        with self._lock:
            books = self._books.pop(child, None)
            if books is None:
                return
            estates: dict[str, Estate] = {}
            for (queue, token), reported in books.reported.items():
                estate = estates.setdefault(queue, Estate(queue, now + self._config.lease))
                estate.tokens.append(token)
                if not blamed or books.guilty:
                    blameless = [
                        uuid for uuid in books.runs(*reported, self._config.hard_timeout) if uuid not in books.guilty
                    ]
                    estate.returned.extend([Settlement(uuid, token, SettleAs.RETURN) for uuid in blameless])
            for queue, asked in books.asked.items():
                estates.setdefault(queue, Estate(queue, now + self._config.lease)).asked = asked
            self._estates.extend(estates.values())
        self._wake.set()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the loop when what there is to hand over was tried to."""
        self._stopping = True
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        while not self._stopping:
            pause = self.step() - self._clock.monotonic()
            if not self._stopping:  # that may have come before the step, which has forgotten the wake-up
                self._clock.wait(self._wake, pause)
        self.step()

    def step(self) -> float:
        """Do what is to be done now; when, by the monotonic clock, there will be more."""
        self._wake.clear()  # what sets it from here on ends the next wait
        now = self._clock.monotonic()
        if now > self._next + self._config.heartbeat:
            # This process stood still itself: what its children have said meanwhile is not read yet.
            self._listens_until = now + self._config.heartbeat
        self._judge(now)
        if now >= self._beat_at or self._outage.is_failing(_BEATING):
            self._beat_at = now + self._try(_BEATING, self._beat)
        following = self._beat_at
        if self._estates:
            pause = self._try(_HANDING_OVER, self._hand_over)
            if self._estates:
                following = min(following, now + pause)
        self._next = max(following, self._clock.monotonic())  # calls to a broker that is away may take their time
        return following

    def _try(self, source: str, act: Callable[[], None]) -> float:
        """Do something at the broker; seconds until the next time."""
        try:
            act()
        except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
            return min(self._outage.failed(source, exc), self._config.heartbeat)
        self._outage.ok(source)
        return self._config.heartbeat

    def _beat(self) -> None:
        """Extend all leases. What is wrong with one queue keeps no other's from it."""
        try_each(self._calls())

    def _calls(self) -> Iterator[Callable[[], None]]:
        """The calls of a beat: first those that find what silent children hold, then those that extend."""
        silent_since = self._clock.monotonic() - self._config.heartbeat
        with self._lock:
            silent = [books for books in self._books.values() if books.heard_at <= silent_since]
            asked = [(books, queue, call) for books in silent for queue, call in books.asked.items()]
        for books, queue, call in asked:
            yield partial(self._find, books, queue, call)
        by_queue: dict[str, list[tuple[Books, str]]] = {}
        with self._lock:
            for books in self._books.values():
                for queue, token in books.reported:
                    by_queue.setdefault(queue, []).append((books, token))
        for queue, held in by_queue.items():
            yield partial(self._extend, queue, held)

    def _extend(self, queue: str, held: Sequence[tuple[Books, str]]) -> None:
        duration = dt.timedelta(seconds=self._config.lease)
        extensions = self._wiring.broker.extend(queue, [token for _, token in held], duration)
        with self._lock:
            for (books, token), extension in zip(held, extensions, strict=True):
                if not extension.alive:  # settled, or lost: its child hears of that itself
                    books.reported.pop((queue, token), None)

    def _find(self, books: Books, queue: str, call: tuple[str, int]) -> None:
        """Learn what a silent child has got since it said that it asks.

        A lease call is answered once: repeated, it gives what the child has got, or else nothing to either.
        """
        lease = self._repeat(queue, *call)
        with self._lock:
            if books.asked.get(queue) == call:
                del books.asked[queue]
                if lease.token:
                    rows = [(delivery.uuid, "something", None) for delivery in lease.deliveries]
                    held = Held(queue, lease.token, msgspec.Raw(msgspec.json.encode(rows)))
                    books.reported[queue, lease.token] = (held, self._clock.monotonic())

    def _repeat(self, queue: str, worker: str, call: int) -> Lease:
        return self._wiring.broker.lease(
            queue,
            0,
            worker=worker,
            call=call,
            duration=dt.timedelta(seconds=self._config.lease),
            max_deliveries=self._config.max_deliveries,
        )

    def _hand_over(self) -> None:
        """Give back what dead children held; what cannot be is tried again as long as it is theirs."""
        with self._lock:
            estates = list(self._estates)
        try_each([partial(self._inherit, estate) for estate in estates])

    def _inherit(self, estate: Estate) -> None:
        if self._clock.monotonic() < estate.until:
            self._give_back(estate)
        with self._lock:  # not before: whatever was raised, it is still to be done
            self._estates.remove(estate)

    def _give_back(self, estate: Estate) -> None:
        broker, returned = self._wiring.broker, list(estate.returned)
        if estate.asked is not None:
            lease = self._repeat(estate.queue, *estate.asked)
            returned += [Settlement(delivery.uuid, lease.token, SettleAs.RETURN) for delivery in lease.deliveries]
        if returned:
            broker.settle(estate.queue, returned)
        if estate.tokens:
            broker.forfeit(estate.queue, estate.tokens, max_deliveries=self._config.max_deliveries)

    # -- hard limits -------------------------------------------------------------------------------------------------

    def _judge(self, now: float) -> None:
        """Kill children of which a run has passed its hard limit."""
        with self._lock:
            known = list(self._books.items())
            for child, books in known:
                silence = now - books.heard_at
                limit = self._config.hard_timeout
                held = [run for each in books.reported.values() for run in books.runs(*each, limit).items()]
                # Where a child can speak, it says itself what still runs.
                is_silent = silence > 2 * self._config.heartbeat and now >= self._listens_until
                passed = [(uuid, run) for uuid, run in held if run.passed or (is_silent and run.until <= now)]
                if passed and not books.guilty:
                    books.guilty = frozenset([uuid for uuid, _ in passed])
                    child.kill()
                    log.error(
                        f"worker {child.name} is killed: over its hard limit is {_some(passed)}; this counts as a "
                        f"crash of that, and goes on as such up to {self._config.max_deliveries} times",
                        worker=child.name,
                        task_uuids=[uuid for uuid, _ in passed[:5]],
                    )
                elif held and is_silent and silence > self._config.lease and not books.silent:
                    books.silent = True
                    log.warning(
                        f"worker {child.name} was not heard for {silence:.0f} s: something holds its interpreter. "
                        f"Until their hard limits its leases are kept for it, of {_some(held)}",
                        worker=child.name,
                    )


def _some(runs: list[tuple[str, Run]]) -> str:
    some = ", ".join([f"{run.name} {uuid}" for uuid, run in runs[:5]])
    return f"{some} and {len(runs) - 5} more" if len(runs) > 5 else some
