"""Sending many messages as one: they are held until all are there."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence

import attrs

from vecna.domain.message import Message


class Staging(ABC):
    """Holding messages back. Every call is atomic per queue, bounded, and may be repeated."""

    @abstractmethod
    def stage(self, hold: str, messages: Sequence[Message]) -> list[bool]:
        """As `enqueue`, but nothing starts before `unstage(hold)`; a delay counts from now.

        A message whose id the queue holds already is not accepted again and changes nothing.

        Returns:
            For each message whether it is new.
        """

    @abstractmethod
    def unstage(self, queue: str, hold: str, *, canceled: bool = False, limit: int = 500) -> int:
        """Let up to `limit` held messages go: to be leased, or (`canceled`) to be ended with the verdict CANCELED.

        Returns:
            How many are still held.
        """

    @abstractmethod
    def staged(self, queue: str, age: dt.timedelta, limit: int = 100) -> list[str]:
        """Holds with messages in this queue that began at least `age` ago, oldest first."""


@attrs.frozen
class CodeCancel:
    """One page of a cancel by code.

    Attributes:
        canceled: ids that will never start.
        running: ids that are leased, now flagged, or of which a lease ran out before (`Canceling`).
        cursor: pass it to the next call; "" after the last page.
    """

    canceled: tuple[str, ...]
    running: tuple[str, ...]
    cursor: str = ""


class CodeCancelling(ABC):
    """Stopping all that shares a code."""

    @abstractmethod
    def cancel_code(self, queue: str, code: str, cursor: str = "") -> CodeCancel:
        """Stop a page of this queue's messages with `code`, held ones included, as `cancel` does.

        What waits in outboxes is not reached: the caller relays first. Messages that arrive while the pages are
        walked may be missed; the caller walks again until nothing is found that was not found before. Repeated calls
        find what is still ENDING or leased again.
        """
