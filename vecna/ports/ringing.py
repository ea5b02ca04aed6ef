"""An optional way to wake a worker that has nothing to lease."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Ringing(ABC):
    """What a broker may offer beside `Broker`, by inheriting from both: to wake a waiter without a message.

    It is rung when a schedule was stored or resumed that is due soon, at the queue that its occurrences go to, so that
    a worker looks for it at once. Without it all works the same, but workers find such a schedule with their next look,
    some `Config.poll_interval` later.
    """

    @abstractmethod
    def ring(self, queue: str) -> None:
        """Wake one of the waiters of a queue, or the next one that waits, as an enqueue does.

        A hint: it may be lost with the waiter that it wakes, or when the queue is leased from before somebody waits.
        Nothing else changes: the queue does not become known, and there is no more to lease. Repeated while nobody
        waits it still wakes one.

        Raises:
            BrokerUnavailable: the store cannot be reached; the caller does not try again.
        """
