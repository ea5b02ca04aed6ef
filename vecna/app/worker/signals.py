"""Signals to a launched worker: a byte is written, the handlers count, the thread that waits acts."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from types import FrameType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Counts SIGINT and SIGTERM while it is entered; the handlers of before come back after.

    Args:
        handle: whether to handle signals; done only in the main thread.
    """

    def __init__(self, *, handle: bool) -> None:
        self._handle = handle and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}
        self._lock = threading.Lock()  # around the writer, which another thread may use as it is closed
        self._reader = self._writer = self._fd_before = -1
        #: How many have come.
        self.count = 0
        #: The name of the latest.
        self.latest = ""

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        if self._handle:
            # The system may give a signal to any thread; only this byte wakes the main one for its handler then.
            self._fd_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: it was set by something else than Python, and cannot be set again from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._handle:
            signal.set_wakeup_fd(self._fd_before)
        with self._lock:
            os.close(self._reader)
            os.close(self._writer)
            self._reader = self._writer = -1

    def wake(self) -> None:
        """End a `wait`, or the next one. From any thread; harmless after the end."""
        with self._lock:
            if self._writer >= 0:
                with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
                    os.write(self._writer, b"\0")

    def wait(self) -> None:
        """Return when a signal has come or `wake` was called."""
        ready = select.poll()  # select() takes no descriptors above 1023
        ready.register(self._reader, select.POLLIN)
        ready.poll()
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.count += 1
        self.latest = signal.Signals(number).name
