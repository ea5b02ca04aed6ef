"""Time."""

from __future__ import annotations

import datetime as dt
import threading
from abc import ABC, abstractmethod


class Clock(ABC):
    """Where every part of vecna gets its time from. All methods may be called from any thread."""

    @property
    @abstractmethod
    def virtual(self) -> bool:
        """Whether time moves only when it is told to.

        Adapters pass a virtual clock's time on to their store, and then use no expiry, blocking call or notification of
        the store's own: the driver of the clock steps.
        """

    @abstractmethod
    def now(self) -> dt.datetime:
        """The current instant: aware, UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back, whatever happens to `now`."""

    @abstractmethod
    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait until `event` is set or `timeout` seconds of this clock have passed.

        Args:
            event: who sets it ends the wait at once.
            timeout: seconds; None for no limit, 0 or less for not waiting.

        Returns:
            Whether the event is set.
        """
