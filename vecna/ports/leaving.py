"""An optional way to take back what a waiter asks for beyond its wait."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Leaving(ABC):
    """What a waiter may offer beside `Waiter`, by inheriting from both, if it still asks for work when `wait` is over.

    A wake-up that comes then ends the next `wait`. Where no other follows for a while, since its worker is full, it
    would be missing elsewhere: the worker has the waiter leave. Who asks for nothing beyond `wait` does not need it.
    """

    @abstractmethod
    def lingers(self) -> bool:
        """Whether something is still asked for. Between two waits, by any thread."""

    @abstractmethod
    def leave(self) -> bool:
        """Take back what is still asked for: from now on a wake-up goes to somebody who waits.

        By the thread that waits, or by others: a `wait` that is under way is neither ended nor waited for, and goes on
        as it is. The next `wait` asks anew.

        Returns:
            Whether a wake-up has come here meanwhile: then lease, as after `wait`.
        """
