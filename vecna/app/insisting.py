"""Trying to send until it works or the time is over: one rule, for threads and for coroutines."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from vecna import log
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature
from vecna.ports.clock import Clock

T = TypeVar("T")
_FIRST_BACKOFF: Final = 0.05
_LAST_BACKOFF: Final = 2.0
#: With a clock that stands still.
_TRIES_AT_ONCE: Final = 3


class Insisting:
    """Makes an attempt again and again while the broker is away. A repeated attempt must have no second effect.

    With a virtual clock, which nobody moves meanwhile, it tries some times at once.

    Args:
        patience: `Config.send_timeout`, seconds.
        random: chance, for the backoff's jitter.
    """

    def __init__(self, patience: Callable[[], float], random: random.Random) -> None:
        self._patience = patience
        self._random = random
        self._lock = threading.Lock()
        self._lost = 0  # how many calls are without the broker right now: one log line for all

    def insist(
        self, attempt: Callable[[], T], signatures: Sequence[Signature[Any]], clock: Clock, stop: threading.Event
    ) -> T:
        """Try until it works or the time is over.

        Args:
            attempt: what to do.
            signatures: what is sent by it; empty for other calls.
            clock: time.
            stop: set when the server is closed: no further attempt is made.

        Raises:
            BrokerUnavailable: it did not work within `Config.send_timeout`.
        """
        started = clock.monotonic()
        try:
            return attempt()  # nearly always
        except BrokerUnavailable as exc:
            lost = exc
        with self._tries(signatures, clock, stop, started) as failed:
            while True:
                if pause := failed(lost):
                    clock.wait(stop, pause)
                try:
                    return attempt()
                except BrokerUnavailable as exc:
                    lost = exc

    async def insist_async(
        self,
        attempt: Callable[[], Awaitable[T]],
        signatures: Sequence[Signature[Any]],
        clock: Clock,
        stop: threading.Event,
    ) -> T:
        """As `insist`, on an event loop, whose time is that of a real clock."""
        started = clock.monotonic()
        try:
            return await attempt()
        except BrokerUnavailable as exc:
            lost = exc
        with self._tries(signatures, clock, stop, started) as failed:
            while True:
                await _pass(failed(lost))
                try:
                    return await attempt()
                except BrokerUnavailable as exc:
                    lost = exc

    def forked(self) -> None:
        """Begin anew in a child process: another thread of the parent may hold the lock for ever."""
        self._lock = threading.Lock()
        self._lost = 0

    @contextlib.contextmanager
    def _tries(
        self, signatures: Sequence[Signature[Any]], clock: Clock, stop: threading.Event, started: float
    ) -> Iterator[Callable[[BrokerUnavailable], float]]:
        """What says of each failed try how many seconds to wait before the next, or raises: there is none."""
        deadline = started + self._patience()
        pause = _FIRST_BACKOFF
        lost = False
        at_once = _TRIES_AT_ONCE if clock.virtual else 0

        def failed(exc: BrokerUnavailable) -> float:
            nonlocal pause, lost, at_once
            left = deadline - clock.monotonic()
            at_once -= 1
            if left <= 0 or at_once == 0 or stop.is_set():
                raise self._given_up(exc, signatures) from exc
            if clock.virtual:
                return 0.0
            if not lost:
                lost = True
                self._lose(exc, left)
            now, pause = pause, min(pause * 2, _LAST_BACKOFF)
            return min(now * (0.5 + self._random.random()), left)

        try:
            yield failed
        finally:
            if lost:
                with self._lock:
                    self._lost -= 1

    def _lose(self, exc: BrokerUnavailable, left: float) -> None:
        with self._lock:
            self._lost += 1
            first = self._lost == 1
        if first:
            log.warning(f"the broker cannot be reached, it is tried again for {left:.0f} s: {exc}")

    def _given_up(self, exc: BrokerUnavailable, signatures: Sequence[Signature[Any]]) -> BrokerUnavailable:
        if not signatures:
            return BrokerUnavailable(f"it did not work within {self._patience():g} s, or the answer got lost: {exc}")
        return BrokerUnavailable(
            f"{len(signatures)} task(s) could not be sent within {self._patience():g} s, or the answer got "
            f"lost: {exc}. Send the same signatures (.signatures of this error) again: none will run twice",
            signatures,
        )


async def _pass(seconds: float) -> None:
    """Let time pass."""
    import asyncio

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_future()
