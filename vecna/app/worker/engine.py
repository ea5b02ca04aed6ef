"""One run of a worker, from start to stop: its threads and how they are wired."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from vecna import log
from vecna.app.delivery import Deliveries, is_own_failure
from vecna.app.delivery_run import RunHooks
from vecna.app.delivery_values import CLOSING, Item
from vecna.app.worker.background import Background
from vecna.app.worker.doorbell import Doorbell
from vecna.app.worker.flusher import Flusher
from vecna.app.worker.handlers import Handlers, Reporter
from vecna.app.worker.heartbeat import Heartbeat
from vecna.app.worker.intake import Intake
from vecna.app.worker.loop import CoroutineLoop
from vecna.app.worker.outage import Outage
from vecna.app.worker.pace import Pace
from vecna.app.worker.presence import Presence
from vecna.app.worker.scheduling import Scheduling, Served
from vecna.app.worker.slots import Slots
from vecna.app.worker.sweeper import Sweeper
from vecna.app.worker.witness import Witness
from vecna.domain.signature import Signature
from vecna.domain.state import State

#: Seconds that handing back may take, and that each thread gets to end.
_LAST_CALLS: Final = 5.0


class Engine:
    """What a worker consists of while it runs.

    Args:
        wiring: of the server.
        name: of the worker.
        concurrency: tasks at a time; 0: see `Slots`.
        queues: what it serves.
        handlers: the user's.
        owner: what the pre-consume handler is given.
        changed: called, from any thread, when `failure` or `drained` may have changed.
        witness: who is told what is held; None: nobody.
    """

    def __init__(
        self,
        wiring: Served,
        name: str,
        concurrency: int,
        queues: Sequence[str],
        handlers: Handlers,
        owner: object,
        changed: Callable[[], None],
        witness: Witness | None = None,
    ) -> None:
        self._wiring = wiring
        self._name = name
        self._handlers = handlers
        self._owner = owner
        self._changed = changed
        self._pace = Pace()
        #: Why it cannot go on; "" as long as it can.
        self.failure = ""
        #: Set when it was told to drain and nothing is left.
        self.drained = threading.Event()
        config, clock = wiring.config, wiring.clock
        self._reporter = Reporter(name, handlers)
        self._outage = Outage(name, clock, wiring.random, self._reporter.broker_lost)
        hooks = RunHooks(started=self._started, progressed=self._progressed, before=self._before, after=self._after)
        self._deliveries = Deliveries(wiring, name, hooks, asking=witness.asking if witness else None)
        if witness is not None:
            witness.watch(self._deliveries.items)
        self._loop = CoroutineLoop(self._run_coroutine, self._coroutines_ended, name)
        self._slots = Slots(concurrency, config.max_threads, self._pace, self._run_function, self._loop.start, name)
        self._flusher = Flusher(
            self._deliveries, self._outage, clock, self._flushed, ending=witness.ended if witness else None
        )
        self._heartbeat = Heartbeat(
            self._deliveries,
            config,
            clock,
            self._outage,
            cancel=self._loop.cancel,
            ended=self._flusher.add,
            stuck=self._fail,
            slots=self._slots.total,
        )
        self._intake = Intake(
            self._deliveries,
            queues,
            config,
            clock,
            slots=self._slots,
            pace=self._pace,
            flusher=self._flusher,
            outage=self._outage,
            may_take=self._may_take,
            listen=self._listen,
            on_closed=self._check_drained,
            starting=witness.starting if witness else None,
        )
        self._sweeper = Sweeper(wiring, name, queues, self._outage, self._report)
        self._scheduling = Scheduling(wiring, self._outage)
        self._doorbell = Doorbell(
            wiring.broker.waiter(), queues, config, clock, self._outage, self._rung, missed=self._scheduling.ring
        )
        self._presence = Presence(wiring, name, concurrency, queues, self._deliveries.items, self._outage)
        loops = {
            "flusher": self._flusher.loop,
            "heartbeat": self._heartbeat.loop,
            "sweeper": self._sweeper.loop,
            "presence": self._presence.loop,
            "schedules": self._scheduling.loop,
            "doorbell": self._doorbell.loop,
            "intake": self._intake.loop,
        }
        self._threads = {part: Background(f"vecna-{name}-{part}", loop, self._fail) for part, loop in loops.items()}

    # -- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take work."""
        for thread in self._threads.values():
            thread.start()

    def drain(self) -> None:
        """Take no more, hand back what has not started, and finish what runs; then `drained` is set."""
        self._intake.close()

    def call_at(self, moment: float, act: Callable[[], None]) -> None:
        """Have something done at a moment of the monotonic clock."""
        self._heartbeat.timers.at(moment, act)

    def abort(self) -> list[Item]:
        """Hand back all that has not finished, and tell it to stop. Returns what was handed back."""
        self._intake.close()
        back = self._deliveries.give_back(self._deliveries.items())
        for item in back:
            item.stop(CLOSING)
        self._loop.cancel(back)
        self._flusher.extend(back)
        self._wiring.clock.wait(self.drained, _LAST_CALLS)
        return back

    def stop(self) -> None:
        """End all threads, those aside that run a function. What is still held is left to run out."""
        self._intake.stop()
        self._doorbell.stop()
        self._sweeper.stop()
        self._scheduling.stop()
        self._presence.stop()
        until = self._wiring.clock.monotonic() + _LAST_CALLS
        for part in (
            "intake",
            "doorbell",
            "sweeper",
            "schedules",
            "presence",
        ):  # a call to a broker that is away may take its time
            self._threads[part].join(max(until - self._wiring.clock.monotonic(), 0.1))
        self._slots.stop()
        self._loop.stop(_LAST_CALLS)
        self._flusher.stop(give_up=True)
        self._threads["flusher"].join(_LAST_CALLS)
        self._heartbeat.stop()
        self._threads["heartbeat"].join(_LAST_CALLS)
        self._reporter.stop(_LAST_CALLS)

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self._changed()

    # -- runs --------------------------------------------------------------------------------------------------------

    def _started(self, item: Item) -> None:
        self._slots.started(item)
        if item.claim is not None:
            self._heartbeat.limit(item)
        if item.noted is State.RECEIVED:
            self._flusher.note(item)

    def _progressed(self, item: Item) -> None:
        self._flusher.note(item)

    def _run_function(self, item: Item) -> None:
        finished = self._deliveries.run(item)
        self._ran(item)
        if finished:
            self._flusher.add(item)
        elif item.started is None:
            self._flusher.extend(self._deliveries.give_back([item]))

    def _ran(self, item: Item) -> None:
        if item.ended:
            self._pace.learn(item.name, item.elapsed)
            if item.claim is not None:
                self._heartbeat.came_back(item)

    async def _run_coroutine(self, item: Item) -> None:
        await self._deliveries.arun(item)
        self._ran(item)

    def _coroutines_ended(self, items: list[Item]) -> list[Item]:
        # What its time limit has ended was handed over by the heartbeat; the flusher leaves out what it has seen.
        self._flusher.extend([item for item in items if item.outcome is not None])
        self._flusher.extend(self._deliveries.give_back([item for item in items if item.started is None]))
        return self._slots.coroutines_ended(len(items))

    def _flushed(self, over: list[Item]) -> None:
        if over:
            self._pace.ended(len(over), self._wiring.clock.monotonic())
            self._report(over)
        self._intake.freed()
        self._check_drained()

    def _check_drained(self) -> None:
        if self._intake.closed and not self._deliveries.held and not self.drained.is_set():
            self.drained.set()
            self._changed()

    # -- listening and handlers --------------------------------------------------------------------------------------

    def _listen(self, listen: bool) -> None:  # the one thing it is about
        self._scheduling.listen(listen)  # first: a ring that comes at once must have the last word
        if listen:
            self._doorbell.arm()
        else:
            self._doorbell.disarm()

    def _rung(self) -> None:
        self._scheduling.ring()  # first: once the intake has been told, it may arm the doorbell again
        self._intake.ring()

    def _may_take(self) -> bool:
        handler = self._handlers.consume
        if handler is None:
            return True
        try:
            return bool(handler(self._owner))
        except BaseException as exc:  # noqa: BLE001  # whatever a handler raises changes nothing
            log.error(f"the pre-consume handler of worker {self._name} raised {type(exc).__name__}", exc_info=exc)
            return True

    def _before(self, signature: Signature[Any]) -> None:
        if self._handlers.before is not None:
            self._handlers.before(signature)

    def _after(self, signature: Signature[Any]) -> None:
        if self._handlers.after is not None:
            self._handlers.after(signature)

    def _report(self, items: Sequence[Item]) -> None:
        for item in items:
            if is_own_failure(item):
                self._reporter.task_failed(item)
