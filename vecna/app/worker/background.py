"""A thread of the worker that runs no task."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vecna import log


class Background:
    """A daemon thread for one loop. An error that the loop lets pass is a fault of vecna: it stops the worker.

    Args:
        name: of the thread.
        loop: what it runs.
        failed: called with the error, in the thread.
    """

    def __init__(self, name: str, loop: Callable[[], None], failed: Callable[[str], None]) -> None:
        self._loop = loop
        self._failed = failed
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the loop's end, at most `timeout` seconds."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as exc:  # noqa: BLE001  # else a worker would seem to live without one of its threads
            log.critical(f"thread {self._thread.name} has failed: this is a fault of vecna", exc_info=exc)
            self._failed(f"thread {self._thread.name} has failed: {type(exc).__name__}: {exc}")
