"""One child process of a worker group, as its supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vecna import log
from vecna.app.group import reports
from vecna.ports.clock import Clock

#: Seconds between two looks at what a child reports: so often at most is the supervisor woken by it.
_BETWEEN_LOOKS: Final = 0.05
#: Seconds to read what a child has said before it died; longer only if a process that it forked keeps the line open.
_LAST_WORDS: Final = 1.0


class ChildProcess:
    """A child, from its start to its end. Orders and `kill` from any thread.

    It runs in a session of its own: what is typed at a terminal reaches the supervisor only.

    Args:
        name: of the worker that it is.
        command: makes its command line of the descriptor of its end of the line.
        clock: time.
        heard: called with each report, in a thread of this child.
        ended: called when it is dead and what it had said was heard.

    Raises:
        OSError: the system starts no process.
        RuntimeError: it gives no threads to watch it; the process was killed.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        clock: Clock,
        heard: Callable[[ChildProcess, reports.Report], None],
        ended: Callable[[], None],
    ) -> None:
        #: Of the worker that it is.
        self.name = name
        #: It has reported that it serves.
        self.serves = False
        #: Its exit code, minus the signal that has killed it; None as long as it lives.
        self.status: int | None = None
        self._clock = clock
        self._heard = heard
        self._ended = ended
        self._dead = threading.Event()
        self._line, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  # Python, and what the user has called
                    command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except BaseException:
                self._line.close()
                raise
        #: Its number.
        self.pid = self._process.pid
        #: When it was started, by the monotonic clock.
        self.started = clock.monotonic()
        self._reader = threading.Thread(target=self._read, name=f"vecna-{name}-reports", daemon=True)
        try:
            self._reader.start()
            threading.Thread(target=self._wait, name=f"vecna-{name}-end", daemon=True).start()
        except BaseException:  # nobody would know of it
            self.kill()
            self._process.wait()
            self._dead.set()
            self._line.close()
            raise

    @property
    def how(self) -> str:
        """How it has ended, in words."""
        assert self.status is not None
        if self.status >= 0:
            return f"exit code {self.status}"
        try:
            return f"killed by {signal.Signals(-self.status).name}"
        except ValueError:
            return f"killed by signal {-self.status}"

    def order(self, order: bytes) -> None:
        """Send an order; harmless if it is dead."""
        with contextlib.suppress(OSError):
            self._line.send(order, socket.MSG_DONTWAIT)

    def kill(self) -> None:
        """End it, and what its tasks have started, at once."""
        if not self._dead.is_set():  # else its number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS: it has just died
                os.killpg(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        reader = reports.Reader()
        try:
            while data := self._line.recv(65536):
                for report in reader.feed(data):
                    self.serves = True
                    self._heard(self, report)
                self._clock.wait(self._dead, _BETWEEN_LOOKS)
        except OSError:  # it was killed in mid-word
            pass
        except msgspec.MsgspecError as exc:
            log.error(f"worker {self.name} reports something that is none; it is not listened to any more: {exc}")

    def _wait(self) -> None:
        status = self._process.wait()
        self._dead.set()
        self._reader.join(_LAST_WORDS)
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._line.close()
        self.status = status
        self._ended()
