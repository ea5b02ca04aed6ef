"""Slots: how many tasks run at a time, which wait for one, and the threads that functions run in."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from vecna import log
from vecna.app.delivery_values import Item
from vecna.app.task import AnyTask
from vecna.app.worker.pace import SOON, Pace

#: Seconds of waiting work for which one more thread is woken. Threads that only compute do not make each other faster.
_WORK_PER_THREAD: Final = SOON / 2
#: Seconds before the expected end of a long run in which work for its slot is fetched. It does not wait for so long
#: that it is said to have been received.
_FETCH: Final = SOON * 0.8
#: Seconds that a waiting task is not left to a thread that is about to become free.
_WORTH_A_THREAD: Final = SOON / 10


class Slots:
    """The waiting tasks and who may run them.

    Functions run in threads, which grow on demand and take from one deque: a batch is handed over under one lock, a
    task is taken without. A thread holds a slot from when it is woken until the deque is empty; a coroutine holds one
    while it runs, unless there is no limit.

    Args:
        limit: of functions and coroutines together; 0: `most_threads` functions and any number of coroutines.
        most_threads: of functions, where there is no limit.
        pace: how long tasks take.
        run: runs one function; called in its thread, never raises.
        start: starts coroutines on their loop, or says that it cannot now; does not wait, and may be given none.
        name: of the worker, for the threads' names.
    """

    def __init__(
        self,
        limit: int,
        most_threads: int,
        pace: Pace,
        run: Callable[[Item], None],
        start: Callable[[list[Item]], bool],
        name: str,
    ) -> None:
        self.total: Final = limit or most_threads
        self.unlimited_coroutines: Final = limit == 0
        self._pace = pace
        self._run = run
        self._start = start
        self._name = name
        self._condition = threading.Condition(threading.Lock())
        self._functions: deque[Item] = deque()
        self._coroutines: deque[Item] = deque()
        self._active = 0  # threads that hold a slot
        self._idle = 0  # threads that wait to be woken
        self._threads = 0
        self._awaiting = 0  # coroutines that run
        self._stopped = False
        self._closed = False
        self._unstarted: list[Item] = []  # what waited when it was closed, or came later
        # Only the thread that leases looks at these two; runs append to the first.
        self._young: deque[Item] = deque()
        self._long: list[Item] = []
        #: When the next long run is expected to be about to end; None if that is not known. As of `long_running`.
        self.next_free: float | None = None

    # -- for the thread that leases ----------------------------------------------------------------------------------

    def oldest(self) -> float | None:
        """Since when the first of what waits does so; None if nothing waits."""
        found: list[float] = []
        for line in (self._functions, self._coroutines):
            with contextlib.suppress(IndexError):  # nothing waits, or what did is taken just now
                found.append(line[0].since)
        return min(found, default=None)

    def long_running(self, now: float) -> int:
        """How many slots are taken by what runs for longer than `SOON` already, and is not about to end.

        Work for the slot of a run that will end within `SOON`, as its likes did, is fetched before it ends.
        """
        while self._young:
            item = self._young[0]
            if not item.ended and item.started is not None and item.started + SOON > now:
                break
            self._young.popleft()
            if not item.ended:
                item.long = True
                self._long.append(item)
        self._long = [item for item in self._long if not item.ended]
        taken, self.next_free = 0, None
        steady: dict[AnyTask | None, float | None] = {}
        for item in self._long:
            if item.task not in steady:
                steady[item.task] = self._pace.steady(item.name)
            expected = steady[item.task]
            left = math.inf if expected is None or item.started is None else item.started + expected - _FETCH - now
            if -_FETCH - SOON < left <= 0:
                continue
            taken += 1
            if 0 < left < math.inf and (self.next_free is None or now + left < self.next_free):
                self.next_free = now + left
        return taken

    def put(self, items: Sequence[Item]) -> None:
        """Hand over what may start. Functions and coroutines may be mixed."""
        functions: list[Item] = []
        coroutines: list[Item] = []
        for item in items:
            (coroutines if item.task is not None and item.task.is_async else functions).append(item)
        with self._condition:
            if self._closed:
                self._unstarted.extend(items)
                return
            self._functions.extend(functions)
            self._coroutines.extend(coroutines)
            grown = self._wake(self._wanted()) if functions else 0
            starting = self._grant()
        self._set_off(grown, starting)

    def poke(self) -> None:
        """Wake threads for what waits although it should have started; called when it has waited for a while."""
        with self._condition:
            grown = self._wake(len(self._functions)) if self._functions else 0
            starting = self._grant()
        self._set_off(grown, starting)

    def take_late(self, before: float) -> list[Item]:
        """Take out what has waited since before a moment, and all that `close` has kept from starting."""
        with self._condition:
            late, self._unstarted = self._unstarted, []
            return late + self._take_out(before)

    def close(self) -> None:
        """From now on nothing starts: what waits or is still put in is kept for `take_late`. From any thread."""
        with self._condition:
            self._closed = True
            self._unstarted += self._take_out(math.inf)

    def _take_out(self, before: float) -> list[Item]:
        """Empty the lines of what has waited since before a moment. Under the lock."""
        late: list[Item] = []
        for line in (self._functions, self._coroutines):
            while True:
                try:
                    item = line.popleft()  # threads take without the lock: whoever gets it, has it
                except IndexError:
                    break
                if item.since > before:
                    line.appendleft(item)
                    break
                late.append(item)
        return late

    def stop(self) -> None:
        """Let the threads end as they come to rest."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    # -- for runs ----------------------------------------------------------------------------------------------------

    def started(self, item: Item) -> None:
        """Take note that an item begins to run."""
        if not (self.unlimited_coroutines and item.task is not None and item.task.is_async):
            self._young.append(item)

    def coroutines_ended(self, count: int) -> list[Item]:
        """Take note that coroutines have ended; those that may start in their place."""
        with self._condition:
            self._awaiting -= count
            # Neither kind may starve the other.
            grown = self._wake(1) if self._functions and not self._active else 0
            starting = self._grant()
            grown += self._wake(len(self._functions)) if self._functions else 0
        self._grow(grown)
        return starting

    def _free(self) -> int:
        return self.total - self._active - (0 if self.unlimited_coroutines else self._awaiting)

    def _wanted(self) -> int:
        """How many more threads the waiting functions are worth."""
        work, least = 0.0, 0
        known: dict[AnyTask | None, float | None] = {}
        for item in self._functions.copy():  # threads take from it meanwhile
            if item.task not in known:
                known[item.task] = self._pace.unhindered(item.name)
            expected = known[item.task]
            if expected is None:
                least = 1  # the thread that takes it wakes the next
            else:
                work += expected
                if expected > _WORTH_A_THREAD:
                    least = 1
        running = max(0, self._active - len(self._long))  # these come by before long
        return max(math.ceil(work / _WORK_PER_THREAD) - running, least if running else 1)

    def _wake(self, count: int) -> int:
        """Give slots to up to `count` threads; how many of them have to be made. Under the lock."""
        count = min(count, len(self._functions), self._free())
        if count <= 0:
            return 0
        woken = min(count, self._idle)
        self._idle -= woken
        self._active += woken
        self._condition.notify(woken)
        grown = min(count - woken, self.total - self._threads)
        self._threads += grown
        self._active += grown
        return grown

    def _set_off(self, grown: int, starting: list[Item]) -> None:
        self._grow(grown)
        if not self._start(starting):
            with self._condition:
                self._take_back(starting)

    def _grow(self, count: int) -> None:
        for made in range(count):
            try:
                threading.Thread(target=self._work, name=f"vecna-{self._name}-tasks", daemon=True).start()
            except RuntimeError as exc:  # the system gives no more threads: those that there are go on
                with self._condition:
                    self._threads -= count - made
                    self._active -= count - made
                log.error(f"worker {self._name} cannot start another thread for functions: {exc}")
                return

    def _grant(self) -> list[Item]:
        """Take coroutines that may start. Under the lock."""
        count = len(self._coroutines) if self.unlimited_coroutines else min(len(self._coroutines), self._free())
        starting: list[Item] = []
        while self._coroutines and len(starting) < count:
            try:
                starting.append(self._coroutines.popleft())
            except IndexError:  # taken out as too late meanwhile
                break
        self._awaiting += len(starting)
        return starting

    def _start_granted(self) -> None:
        """Under the lock."""
        starting = self._grant()
        if not self._start(starting):
            self._take_back(starting)

    def _take_back(self, items: list[Item]) -> None:
        """Let coroutines wait that could not be started: they are tried again, or handed back. Under the lock."""
        self._awaiting -= len(items)
        if self._closed:
            self._unstarted += items
        else:
            self._coroutines.extendleft(reversed(items))

    def _work(self) -> None:
        functions = self._functions
        while True:
            try:
                item = functions.popleft()
            except IndexError:
                if not self._rest():
                    return
                continue
            if functions and not self._pace.is_short(item.name):
                self._wake_another()
            try:
                self._run(item)
            except BaseException as exc:  # noqa: BLE001  # else a thread and its slot would be gone
                log.critical(f"running task {item.name} {item.uuid} has failed: this is a fault of vecna", exc_info=exc)
            if self._coroutines and not self._awaiting and not self.unlimited_coroutines and not self._rest():
                return

    def _wake_another(self) -> None:
        with self._condition:
            grown = self._wake(1)
        self._grow(grown)

    def _rest(self) -> bool:
        """Give the slot up and wait to be woken; at once awake if there is more to do. False: end."""
        with self._condition:
            self._active -= 1
            if not self._stopped:
                if self._coroutines and not self._awaiting:  # neither kind may starve the other
                    self._start_granted()
                if self._functions and self._free() > 0:
                    self._active += 1
                    return True
                self._start_granted()
                self._idle += 1
                self._condition.wait()  # whoever wakes it, gives it its slot
            if self._stopped:
                self._threads -= 1
                return False
            return True
