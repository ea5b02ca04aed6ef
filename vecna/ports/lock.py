"""Mutual exclusion between processes, with fencing tokens."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod

import attrs


@attrs.frozen
class Grant:
    """One acquisition of a lock.

    Attributes:
        name: the lock.
        owner: who holds it; unguessable, unique to this acquisition.
        fence: larger than that of every earlier acquisition of this name within one uninterrupted history of the
            store. Pass it along to what the lock protects, which refuses smaller ones: a lock alone cannot stop a
            holder that was paused.
    """

    name: str
    owner: str
    fence: int


class Lock(ABC):
    """Named locks that expire. All methods are atomic and may be called from any thread."""

    @abstractmethod
    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> Grant | None:
        """Take the lock if it is free or has expired; do not wait.

        Called again by the `owner` that holds it (a repeated call): the same grant, with its time renewed.

        Args:
            name: the lock, within the rule for ids.
            owner: who asks, within the rule for ids; unique to this acquisition.
            ttl: how long the grant lasts, by the store's clock.

        Returns:
            The grant, or None if another holds it.

        Raises:
            InvalidArgument: `name` or `owner` is not allowed.
            BrokerUnavailable: the store cannot be reached.
        """

    @abstractmethod
    def renew(self, grant: Grant, ttl: dt.timedelta) -> bool:
        """Make the grant last `ttl` from now. False, and no change, if it is no longer held."""

    @abstractmethod
    def release(self, grant: Grant) -> bool:
        """Give the lock up. False, and no change, if the grant is no longer held. May be repeated."""

    @abstractmethod
    def close(self) -> None:
        """Close what this object opened in this process. May be repeated; a later call opens it again."""
