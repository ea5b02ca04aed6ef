"""News of work, for those who wait for it."""

from __future__ import annotations

from typing import Protocol


class Sleeper(Protocol):
    """One who waits at bells."""

    def awake(self) -> None:
        """Wake up, and leave all bells."""


class Bell:
    """One queue's bell. Rung while nobody waits, it stays rung for the next who does. Used under the store's lock."""

    def __init__(self) -> None:
        self.rung = False
        self.waiting: dict[Sleeper, None] = {}  # who came first is woken first

    def ring(self) -> None:
        """Wake one waiter."""
        if self.waiting:
            next(iter(self.waiting)).awake()
        else:
            self.rung = True
