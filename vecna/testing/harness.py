"""The harness: an existing server on memory and on a virtual clock, driven by the test."""

from __future__ import annotations

import datetime as dt
import inspect
import weakref
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from vecna.app.delivery_values import Item
from vecna.app.server import Server
from vecna.domain.errors import InvalidArgument
from vecna.domain.signature import Signature
from vecna.testing.breaking import Breaking, checked_count
from vecna.testing.crashing import Faults
from vecna.testing.driving import adrain, drain, owners_frames
from vecna.testing.failing import PlannedErrors
from vecna.testing.moving import VirtualClock, traveller
from vecna.testing.observing import Observing
from vecna.testing.sent import SentTasks
from vecna.testing.stepping import Stepper
from vecna.testing.stores import new_stores
from vecna.testing.wiring import Wiring


class Harness(Observing, Breaking):
    """Puts memory adapters and a virtual clock under a server, and does the work of its workers when told to.

    The engine is that of production: leases, retries, timeouts, schedules, cancels, expiry, workflows. It runs in the
    test's own thread, one task at a time, and time moves only when the test moves it. Tasks are sent as ever. What the
    server was wired with is put back by `close`, or at the end of a `with`.

    Args:
        server: whose tasks are run. Its settings stay as they are.
        now: where the clock starts: an aware datetime; 2026-01-01 in UTC when left out.
        seed: of all chance: the order in which queues are served, the jitter of retries. With the same seed everything
            happens in the same order.
        raise_errors: whether the final failure of a task is raised, as its own exception, by `run` and `advance`.
        travel: whether `datetime.now()` and `time.time()` go along with the clock: "time-machine" or "freezegun", or
            True for the one that is installed.

    Attributes:
        clock: `now()`, and `advance(duration)`, which moves it without running anything.
        server: what it was made with.

    Raises:
        InvalidArgument: no Server, one that is under a harness already, a naive `now`, a seed that is no int.
        ConfigError: `travel` names what is not installed.
    """

    def __init__(
        self,
        server: Server,
        now: dt.datetime | None = None,
        seed: int = 0,
        raise_errors: bool = True,
        *,
        travel: bool | str = False,
    ) -> None:
        if not isinstance(server, Server):
            raise InvalidArgument(f"Harness takes a vecna.Server, not {type(server).__name__}")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InvalidArgument(f"seed takes an int, not {type(seed).__name__}")
        if server in _harnessed:
            raise InvalidArgument(f"{server!r} is under a harness already: close that one first")
        self.server = server
        self.clock = VirtualClock(now)
        stores = new_stores(
            self.clock,
            server.config.dead_letter_limit,
            calling=self._calling,
            looking=self._looking,
            canceled=self._canceled,
        )
        others = stores.others
        self._faults = Faults(
            {"broker": stores.broker, "backend": stores.backend},
            {
                "broker": [others.broker, stores.broker],
                "backend": [others.backend, stores.backend],
                "lock": [others.lock],
            },
        )
        self._sent = SentTasks(server.registry, stores.log.signatures)
        self._executed: Counter[str] = Counter()
        self._errors = PlannedErrors()
        self._stored = False
        wiring = Wiring(server.config, server.registry, stores.broker, stores.backend, self.clock, server.random)
        self._stepper = Stepper(
            wiring, stores.view, self._faults, self._begun, self._errors.replaced, raise_errors=raise_errors
        )
        self._travel = traveller(travel, self.clock.now()) if travel else None
        if self._travel is not None:
            self.clock.moved = self._moved
        self._restore = server.rewire(others, seed=seed, threads=1)
        _harnessed.add(server)
        self._closed = self._busy = False

    def __repr__(self) -> str:
        return f"<Harness of {self.server!r} at {self.clock.now().isoformat()}>"

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self, limit: int | None = None) -> int:
        """Run all that is due, and what that causes, until nothing is; the clock stands still.

        All queues of the server are served. The first final failure ends it; call it again to go on.

        Args:
            limit: at most so many runs.

        Returns:
            How many runs there were, repeats included.

        Raises:
            Exception: a task has failed for good: its own exception, with its traceback.
            InvalidArgument: a limit that is no number above 0. RuntimeError: called inside a task, after `close`, a
                task that sends itself for ever, a coroutine that waits for what nobody brings.
        """
        __tracebackhide__ = True
        return self._drain("run()", self._run(_checked_limit(limit)))

    def advance(
        self,
        *,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
        microseconds: float = 0,
    ) -> int:
        """Move the clock on, and run what is due: now, at each due moment on the way, and at the end.

        Due are ETAs, retries, occurrences of schedules, leases of workers that died, the expiry of results. The first
        final failure ends it, and the clock stands where that was; call it again to go on.

        Returns:
            How many runs there were, repeats included.

        Raises:
            InvalidArgument: backwards, or beyond the year 9999. Otherwise as `run`.
        """
        __tracebackhide__ = True
        step = dt.timedelta(days, seconds, microseconds, milliseconds, minutes, hours, weeks)
        return self._drain("advance()", self._journey(self._end(step)))

    async def run_async(self, limit: int | None = None) -> int:
        """As `run`, with coroutine tasks on the event loop that runs just now; their sleeps take real time there."""
        __tracebackhide__ = True
        return await self._adrain("run_async()", self._run(_checked_limit(limit)))

    async def advance_async(
        self,
        *,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
        microseconds: float = 0,
    ) -> int:
        """As `advance`, with coroutine tasks on the event loop that runs just now."""
        __tracebackhide__ = True
        step = dt.timedelta(days, seconds, microseconds, milliseconds, minutes, hours, weeks)
        return await self._adrain("advance_async()", self._journey(self._end(step)))

    # -- its end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Put back what the server was wired with, and the time. What the harness held is gone. May be repeated."""
        if self._closed:
            return
        self._closed = True
        _harnessed.discard(self.server)
        try:
            self._stepper.coroutines.close()
        finally:
            if self._travel is not None:
                self._travel.stop()
            self._restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _run(self, limit: int | None) -> Generator[Item, None, int]:
        if not self._stored:  # as a worker does at its start
            self._stored = True
            # Without the warning about event loops: on memory nothing blocks.
            inspect.unwrap(Server.store_periodic_tasks)(self.server)
        runs = yield from self._stepper.work(limit)
        if self._stepper.sweep() and (limit is None or runs < limit):
            runs += yield from self._stepper.work(None if limit is None else limit - runs)
        return runs

    def _journey(self, end: dt.datetime) -> Generator[Item, None, int]:
        runs = 0
        while True:
            runs += yield from self._run(None)
            now = self.clock.now()
            if now >= end or self._stepper.failures:
                return runs
            due = self._stepper.next_due()
            self.clock.advance((end if due is None else min(due, end)) - now)

    def _end(self, step: dt.timedelta) -> dt.datetime:
        if step < dt.timedelta(0):
            raise InvalidArgument("advance() goes forward only: time that has passed does not come back")
        try:
            return self.clock.now() + step
        except OverflowError:
            raise InvalidArgument(f"advance() leads beyond the year 9999: it is {self.clock.now():%Y-%m-%d}") from None

    def _drain(self, call: str, steps: Generator[Item, None, int]) -> int:
        __tracebackhide__ = True
        with self._may(call):
            self._raise()
            runs = drain(steps, self._stepper.coroutines)
            self._raise()
            return runs

    async def _adrain(self, call: str, steps: Generator[Item, None, int]) -> int:
        __tracebackhide__ = True
        with self._may(call):
            self._raise()
            runs = await adrain(steps, self._stepper.coroutines)
            self._raise()
            return runs

    @contextmanager
    def _may(self, call: str) -> Iterator[None]:
        if self._closed:
            raise RuntimeError(f"{call} was called on a harness that is closed: the server has its own ports again")
        if self._busy:
            running = self._stepper.current
            raise RuntimeError(
                f"{call} was called while the harness runs {f'task {running.name}' if running else 'already'}: a task "
                "may send others and move the clock (harness.clock.advance); the test runs them"
            )
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _raise(self) -> None:
        __tracebackhide__ = True
        if self._stepper.failures:
            raise owners_frames(self._stepper.failures.popleft(), "vecna")

    def _calling(self) -> None:
        self._stepper.put_down()

    def _looking(self) -> None:
        self._stepper.look()

    def _canceled(self) -> None:
        self._stepper.beat()

    def _moved(self) -> None:
        assert self._travel is not None
        self._travel.move_to(self.clock.now())
        self._stepper.beat()

    def _begun(self, signature: Signature[Any]) -> None:
        self._executed[signature.name] += 1


def _checked_limit(limit: int | None) -> int | None:
    return None if limit is None else checked_count(limit, "limit")


_harnessed: Final[weakref.WeakSet[Server]] = weakref.WeakSet()
