"""The worker group as its user sees it."""

from __future__ import annotations

import datetime as dt
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from vecna import log
from vecna.app.group.keeper import Keeper
from vecna.app.group.process import ChildProcess
from vecna.app.group.supervisor import LAST_CALLS, Supervisor
from vecna.app.worker.background import Background
from vecna.app.worker.scheduling import Served
from vecna.app.worker.signals import Signals
from vecna.app.worker.worker import checked_concurrency, checked_queues
from vecna.domain.durations import to_duration
from vecna.domain.errors import ConfigError, InvalidArgument, WorkerAborted
from vecna.domain.ids import check_id

#: Seconds beyond `LAST_CALLS` for the threads to end.
_LAST_CALLS: Final = 5.0


class Shared(Served, Protocol):
    """What a group needs of its server."""

    @property
    def within_process(self) -> bool:
        """Whether what it is wired with exists in this process only."""


class WorkerGroup:
    """Workers in processes of their own, and a supervisor for them in this one.

    The supervisor starts a child again when it dies, keeps its leases while a task holds its interpreter, and kills it
    when a run passes its hard limit (`Config.hard_timeout`). It runs no task itself.

    Args:
        server: whose tasks they run.
        name: of the group; its workers are called `name.1`, `name.2` and so on.
        processes: how many.
        concurrency: how many tasks each runs at a time; 0: as for a worker.
        queues: what they serve, in turn; the default queue if left out.
        target: `module:name`, where a child finds the server; the current directory is importable.
        log_level: of the children, where the module does not configure logging itself.

    Raises:
        InvalidArgument: a name, number or queue that is not allowed.
        ConfigError: the server's stores are inside this process: `memory://`.
    """

    def __init__(
        self,
        server: Shared,
        name: str,
        processes: int,
        concurrency: int = 0,
        queues: Sequence[str] | None = None,
        *,
        target: str,
        log_level: str = "info",
    ) -> None:
        if type(processes) is not int or processes < 1:
            raise InvalidArgument(f"processes must be an int of 1 or more, not {processes!r}")
        if server.within_process:
            raise ConfigError(
                "a worker group has several processes, and memory:// is inside of one: configure a store that they "
                "share, such as redis://localhost:6379/0, or use one worker: new_worker, or no --processes"
            )
        self._server = server
        #: How logs call it.
        self.name = check_id(name, "worker name")
        #: Names of its workers.
        self.workers = tuple([check_id(f"{name}.{number}", "worker name") for number in range(1, processes + 1)])
        #: How many tasks each runs at a time; 0 for no limit.
        self.concurrency = checked_concurrency(concurrency)
        #: What they serve.
        self.queues = checked_queues(queues, server.config.default_queue)
        self._target = target
        self._log_level = log_level
        self._lock = threading.Lock()
        self._run: _Running | None = None
        self._signals: Signals | None = None

    def __repr__(self) -> str:
        return f"<WorkerGroup {self.name} of {len(self.workers)} on {', '.join(self.queues)}>"

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not stopped."""
        return self._run is not None

    def launch(self) -> None:
        """Run until a signal, or until `quit` is called elsewhere.

        In the main thread, and without `Config.no_unix_signals`, SIGINT and SIGTERM are handled, and the handlers of
        before are restored at the end. The first signal: all children take no more, finish what runs, and end. The
        second, or `Config.shutdown_timeout` after the first: they hand back what has not finished.

        Raises:
            WorkerAborted: tasks were handed back unfinished, or the group cannot go on: its children do not come so far
                as to serve.
        """
        with Signals(handle=not self._server.config.no_unix_signals) as signals:
            self._signals = signals
            try:
                self.start()
                self._attend(signals)
            finally:
                self._signals = None
                self.quit(0)

    def start(self) -> None:
        """Start the children; returns at once, touches no signals. Harmless if it runs already."""
        with self._lock:
            if self._run is None:
                self._run = _Running(self._server, self.name, self.workers, self._command, self._on_change)
                self._run.start()
                es = "es" if len(self.workers) > 1 else ""
                log.info(f"worker group {self.name} starts {len(self.workers)} process{es}", worker=self.name)

    def quit(self, timeout: dt.timedelta | float | None = 30) -> bool:
        """Have the children take no more, wait for what runs, and have the rest handed back.

        Args:
            timeout: how long to wait, a timedelta or seconds; None: as long as it takes.

        Returns:
            Whether all that ran has finished.
        """
        patience = None if timeout is None else to_duration(timeout, "timeout").total_seconds()
        with self._lock:
            run = self._run
            if run is None:
                return True
            run.supervisor.drain()
            if not self._server.clock.wait(run.supervisor.ended, patience):
                run.supervisor.abort()
                self._server.clock.wait(run.supervisor.ended, LAST_CALLS + _LAST_CALLS)
            run.stop()
            self._run = None
        log.info(f"worker group {self.name} has stopped", worker=self.name)
        self._on_change()
        return not run.supervisor.unfinished

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.quit()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _command(self, name: str, descriptor: int) -> list[str]:
        options = {"--name": name, "--queues": ",".join(self.queues), "--concurrency": self.concurrency}
        options |= {"--log-level": self._log_level, "--supervised": descriptor}
        given = [str(part) for option in options.items() for part in option]
        return [sys.executable, "-m", "vecna", "worker", self._target, *given]

    def _on_change(self) -> None:
        signals = self._signals
        if signals is not None:
            signals.wake()

    def _attend(self, signals: Signals) -> None:
        """Wait, and act on signals and on what becomes of the children."""
        run = self._run
        if run is None:
            return
        supervisor, told = run.supervisor, False
        while not (supervisor.ended.is_set() or supervisor.failure):
            if signals.count > 1:
                self.quit(0)
                break
            if signals.count and not told:
                told = True
                log.info(f"worker group {self.name} stops on {signals.latest}: it finishes what runs", worker=self.name)
                supervisor.drain(self._server.config.shutdown_timeout)
            signals.wait()
        if supervisor.failure:
            raise WorkerAborted(f"worker group {self.name} stops: {supervisor.failure}")
        if supervisor.unfinished:
            raise WorkerAborted(
                f"worker group {self.name} was stopped; what had not finished was handed back by, or for, "
                + ", ".join(supervisor.unfinished)
            )


class _Running:
    """One run of a group, from start to stop."""

    def __init__(
        self,
        server: Served,
        name: str,
        workers: Sequence[str],
        command: Callable[[str, int], list[str]],
        changed: Callable[[], None],
    ) -> None:
        self._clock = server.clock
        self._command = command
        self._keeper = Keeper(server, name)
        self.supervisor = Supervisor(
            name, workers, self._start_child, self._keeper.buried, server.clock, server.random, changed
        )
        self._threads = [
            Background(f"vecna-{name}-children", self.supervisor.loop, self.supervisor.fail),
            Background(f"vecna-{name}-heartbeat", self._keeper.loop, self.supervisor.fail),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; the children have ended."""
        self._keeper.stop()
        for thread in self._threads:
            thread.join(_LAST_CALLS)

    def _start_child(self, name: str, ended: Callable[[], None]) -> ChildProcess:
        return ChildProcess(name, lambda fd: self._command(name, fd), self._clock, self._keeper.heard, ended)
