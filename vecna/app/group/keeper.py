"""Keeps the leases of a group's children: a task in C may hold a child's interpreter for longer than a lease.

The supervisor runs no task, so it can always beat. That a child which hangs does not keep its tasks for ever, each run
has a hard limit; a child that passes one is killed.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Iterable
from typing import Final

import attrs

from vecna import log
from vecna.app.delivery_values import Wiring
from vecna.app.group.process import ChildProcess
from vecna.app.group.reports import Alive, Ended, Held, Report
from vecna.app.group.reports import Run as ReportedRun
from vecna.app.worker.outage import Outage
from vecna.domain.errors import BrokerUnavailable
from vecna.ports.values import SettleAs, Settlement

_SOURCE: Final = "heartbeat"


@attrs.define
class _Run:
    """A task that a child holds.

    Attributes:
        name: of the task.
        until: its hard limit, by the monotonic clock.
        passed: its child has said itself that it is over that.
    """

    name: str
    until: float
    passed: bool = False


@attrs.define
class _Books:
    """What is known of one child: by queue and token, by task id; and when it last said what it holds."""

    heard_at: float
    holds: dict[tuple[str, str], dict[str, _Run]] = attrs.field(factory=dict)
    silent: bool = False
    guilty: frozenset[str] = frozenset()


@attrs.frozen
class _Estate:
    """What a dead child held under one lease: these go back uncounted."""

    queue: str
    token: str
    blameless: tuple[str, ...]
    until: float


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
        self._books: dict[ChildProcess, _Books] = {}
        self._estates: list[_Estate] = []
        self._wake = threading.Event()
        self._stopping = False
        self._outage.wakes(self._wake)

    # -- what children report ----------------------------------------------------------------------------------------

    def heard(self, child: ChildProcess, report: Report) -> None:
        """Take note of what a child holds."""
        now = self._clock.monotonic()
        with self._lock:
            books = self._books.get(child)
            if books is None:
                books = self._books[child] = _Books(now)
            match report:
                case Held(queue, token, runs):
                    books.holds[queue, token] = _runs(runs, now)
                case Ended(uuids):
                    over = set(uuids)
                    for held in books.holds.values():
                        for uuid in over.intersection(held):
                            held[uuid].until = math.inf
                case Alive(holds):
                    books.heard_at = now
                    books.holds = {(hold.queue, hold.token): _runs(hold.runs, now) for hold in holds}
                    if books.silent:
                        books.silent = False
                        log.info(f"worker {child.name} is heard again", worker=child.name)

    def buried(self, child: ChildProcess, blamed: bool) -> None:
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
            for (queue, token), runs in books.holds.items():
                if not blamed:
                    blameless = tuple(runs)
                elif books.guilty:
                    blameless = tuple([uuid for uuid in runs if uuid not in books.guilty])
                else:
                    blameless = ()
                self._estates.append(_Estate(queue, token, blameless, now + self._config.lease))
        self._wake.set()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the loop when what there is to hand over was tried to."""
        self._stopping = True
        self._wake.set()

    def loop(self) -> None:
        """What its thread runs."""
        beat_at = self._clock.monotonic() + self._config.heartbeat
        while True:
            self._clock.wait(self._wake, beat_at - self._clock.monotonic())
            self._wake.clear()
            last = self._stopping
            now = self._clock.monotonic()
            self._judge(now)
            pause = self._config.heartbeat
            try:
                self._hand_over()
                if now >= beat_at or self._outage.is_failing(_SOURCE):
                    self._beat()
                    beat_at = now + pause
                self._outage.ok(_SOURCE)
            except Exception as exc:  # noqa: BLE001  # whatever a port raises must not end the thread
                beat_at = now + min(self._outage.failed(_SOURCE, exc), pause)
            if last:
                return

    def _beat(self) -> None:
        """Extend all leases. A queue out of reach keeps no other's from it."""
        by_queue: dict[str, list[tuple[_Books, str]]] = {}
        with self._lock:
            for books in self._books.values():
                for queue, token in books.holds:
                    by_queue.setdefault(queue, []).append((books, token))
        missed: list[BrokerUnavailable] = []
        for queue, held in by_queue.items():
            duration = dt.timedelta(seconds=self._config.lease)
            try:
                extensions = self._wiring.broker.extend(queue, [token for _, token in held], duration)
            except BrokerUnavailable as exc:
                missed.append(exc)
                continue
            with self._lock:
                for (books, token), extension in zip(held, extensions, strict=True):
                    if not extension.alive:  # settled, or lost: its child hears of that itself
                        books.holds.pop((queue, token), None)
        if missed:
            raise missed[0]

    def _hand_over(self) -> None:
        with self._lock:
            estates, self._estates = self._estates, []
        while estates:
            estate = estates[-1]
            try:
                if estate.blameless and self._clock.monotonic() < estate.until:
                    settlements = [Settlement(uuid, estate.token, SettleAs.RETURN) for uuid in estate.blameless]
                    self._wiring.broker.settle(estate.queue, settlements)
            except BrokerUnavailable:
                with self._lock:
                    self._estates += estates
                raise
            estates.pop()

    # -- hard limits -------------------------------------------------------------------------------------------------

    def _judge(self, now: float) -> None:
        """Kill children of which a run has passed its hard limit."""
        with self._lock:
            known = list(self._books.items())
            for child, books in known:
                silence = now - books.heard_at
                held = [(uuid, run) for runs in books.holds.values() for uuid, run in runs.items()]
                # Where a child can speak, it says itself what still runs.
                is_silent = silence > 2 * self._config.heartbeat
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


def _runs(runs: Iterable[ReportedRun], now: float) -> dict[str, _Run]:
    return {
        run.uuid: _Run(run.name, math.inf if run.left is None else now + run.left, passed=(run.left or 1.0) <= 0)
        for run in runs
    }


def _some(runs: list[tuple[str, _Run]]) -> str:
    some = ", ".join([f"{run.name} {uuid}" for uuid, run in runs[:5]])
    return f"{some} and {len(runs) - 5} more" if len(runs) > 5 else some
