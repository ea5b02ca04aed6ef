"""A child process of a worker group: a worker that takes its orders over a line, and reports what it holds."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

from vecna.app.delivery_values import Hold, Item
from vecna.app.group import reports
from vecna.app.worker.scheduling import Served
from vecna.app.worker.worker import Worker

#: Bytes of reports that wait to be sent; beyond them the supervisor is deaf, and told all anew when it hears again.
_MOST_UNSENT: Final = 1024 * 1024
#: Seconds until more of a report is sent than the line had room for: the supervisor reads as often.
_BETWEEN_PARTS: Final = 0.05
#: Leases that were reported are looked at again, so many with each report.
_LOOKS: Final = 20


def leave_signals_to_the_supervisor() -> None:
    """Do nothing on SIGINT and SIGTERM: they may have been sent to the whole group, and the supervisor has them too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _nothing)  # not SIG_IGN, which what a task starts would inherit


def _nothing(*_: object) -> None:
    pass


def run_child(server: Served, name: str, concurrency: int, queues: Sequence[str] | None, descriptor: int) -> None:
    """Run a worker until its supervisor says otherwise, or is gone.

    Args:
        server: whose tasks it runs.
        name: of the worker.
        concurrency: how many tasks at a time.
        queues: what it serves; the default queue if left out.
        descriptor: the child's end of the line, an open socket.

    Raises:
        WorkerAborted: tasks were handed back unfinished, or the worker cannot go on.
    """
    with Line(socket.socket(fileno=descriptor), server) as line:
        Worker(server, name, concurrency, queues, witness=line).serve(line)


class Line:
    """The child's end of the line: orders come in, as signals do elsewhere; reports go out, and never wait.

    A report that the supervisor has no room for is kept back; when too much is, all is reported anew later.
    """

    def __init__(self, end: socket.socket, server: Served) -> None:
        end.set_inheritable(False)
        self._end = end
        self._clock = server.clock
        self._config = server.config
        self._items: Callable[[], Iterable[Item]] | None = None
        self._lock = threading.Lock()
        self._reported: deque[Hold] = deque()
        self._unsent = b""
        self._behind = False
        self._news = threading.Event()
        self._due = threading.Event()  # a report of all that is held
        self._closing = False
        self._threads = [
            threading.Thread(target=loop, name=f"vecna-{name}", daemon=True)
            for name, loop in (("orders", self._hear), ("reports", self._report))
        ]
        #: How many orders have come to stop.
        self.count = 0
        #: Where the latest came from.
        self.latest = ""

    # -- as `Signals` ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._due.set()
        with self._lock, contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        with self._lock:
            self._end.close()

    def wake(self) -> None:
        """End a `wait`, or the next one."""
        self._news.set()

    def wait(self) -> None:
        """Return when an order has come or `wake` was called."""
        self._clock.wait(self._news)
        self._news.clear()

    def _hear(self) -> None:
        while True:
            try:
                order = self._end.recv(1)
            except OSError:
                order = b""
            if order == reports.ABORT:
                self.count, self.latest = 2, "an order of its supervisor"
            else:
                self.latest = self.latest or ("an order of its supervisor" if order else "the end of its supervisor")
                self.count = max(self.count, 1)
            self.wake()
            if not order:
                return

    # -- reports -----------------------------------------------------------------------------------------------------

    def watch(self, items: Callable[[], Iterable[Item]]) -> None:
        """Report of these from now on, now and with each heartbeat."""
        self._items = items
        self._due.set()

    def asking(self, queue: str, worker: str, call: int) -> None:
        """Report a lease call that is about to be made."""
        with self._lock:
            self._send(reports.asks(queue, worker, call))

    def starting(self, items: Sequence[Item]) -> None:
        """Report what may begin to run; all of it under one lease."""
        if not items:
            return
        runs: list[reports.Row] = [(item.uuid, item.name, self._limit(item)) for item in items]
        hold = items[0].hold
        with self._lock:
            self._send(reports.held(hold.queue, hold.token, runs, self._over()))
            self._reported.append(hold)

    def _over(self) -> list[tuple[str, str]]:
        """Some leases that were reported and hold nothing any more. Under the lock."""
        over: list[tuple[str, str]] = []
        for _ in range(min(len(self._reported), _LOOKS)):
            hold = self._reported.popleft()
            if hold.items:
                self._reported.append(hold)
            else:
                over.append((hold.queue, hold.token))
        return over

    def ended(self, items: Iterable[Item]) -> None:
        """Report ends, as far as the supervisor has to hear of them soon."""
        uuids = [item.uuid for item in items if item.claim is not None]
        if uuids:
            with self._lock:
                self._send(reports.ended(uuids))

    def _report(self) -> None:
        """Say with each heartbeat what is held. Nothing else is done here, so that silence means one thing only."""
        while not self._closing:
            self._clock.wait(self._due, self._config.heartbeat)
            self._due.clear()
            if self._items is not None and not self._closing:
                with self._lock:
                    if self._behind:
                        self._send(b"")
                        self._behind = bool(self._unsent)
                    self._send(reports.alive(self._holds(self._items())))
            self._send_the_rest()

    def _send_the_rest(self) -> None:
        """Send what there was no room for. With thousands held that is much, and half a report says nothing."""
        while self._unsent and not self._closing:
            if self._clock.wait(self._due, _BETWEEN_PARTS):
                return
            with self._lock:
                self._send(b"")
            if self._behind and not self._unsent:
                self._due.set()  # it hears again, and has missed something

    def _holds(self, items: Iterable[Item]) -> Iterable[tuple[str, str, list[reports.Row]]]:
        now = self._clock.monotonic()
        holds: dict[tuple[str, str], list[reports.Row]] = {}
        for item in items:
            if not item.hold.lost:
                runs = holds.setdefault((item.hold.queue, item.hold.token), [])
                runs.append((item.uuid, item.name, self._left(item, now)))
        return [(queue, token, runs) for (queue, token), runs in holds.items()]

    def _left(self, item: Item, now: float) -> float | None:
        if item.ended or item.outcome is not None:
            return None
        # What has not started may do so at once, and nothing could be said any more.
        return self._limit(item) - (0.0 if item.started is None else now - item.started)

    def _limit(self, item: Item) -> float:
        timeout = item.signature.set_options.get("timeout")
        return self._config.hard_timeout if timeout is None else timeout.total_seconds() + self._config.lease

    def _send(self, line: bytes) -> None:
        """Send as much as there is room for. Under the lock."""
        if not self._behind:
            self._unsent += line
        try:
            self._unsent = self._unsent[self._end.send(self._unsent, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            pass
        except OSError:  # there is no supervisor any more
            self._unsent, self._behind = b"", True
        if len(self._unsent) > _MOST_UNSENT:
            # The rest of the line that has begun has to follow, or what comes after it could not be read.
            self._unsent = self._unsent[: self._unsent.index(b"\n") + 1]
            self._behind = True
