"""Histories of many clients, drawn by a seed: one thread, a virtual clock, and the same order every time.

A client that loses a reply makes the same call again, as a driver or a worker does; one that crashes forgets what it
held. A ledger beside the store knows what may happen, and says so when something else does.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from vecna.adapters.clock import ManualClock

T = TypeVar("T")

#: How often a reply is lost.
_LOST: Final = 0.15


class History:
    """What the clients of one run do, in turn.

    Attributes:
        draw: where all choices come from.
        clock: time.
    """

    def __init__(self, seed: int, clock: ManualClock) -> None:
        self.seed = seed
        self.draw = random.Random(seed)
        self.clock = clock
        self._count = 0
        self._latest: deque[str] = deque(maxlen=20)

    def call(self, what: str, act: Callable[[], T]) -> tuple[T, T | None]:
        """Make a call; and again, if its reply is lost. The first reply, and that of the repetition."""
        self.note(what)
        answer = act()
        if self.draw.random() >= _LOST:
            return answer, None
        self.note(f"{what}, since the reply was lost")
        return answer, act()

    def note(self, what: str) -> None:
        """Write down what happens."""
        self._count += 1
        self._latest.append(f"{self._count}: {what}")

    def some(self, items: Sequence[T], most: int) -> list[T]:
        """A few of these."""
        return self.draw.sample(items, min(len(items), self.draw.randint(1, most)))

    @contextmanager
    def told(self) -> Iterator[None]:
        """A failure inside says how to have it again, and what came before it."""
        try:
            yield
        except Exception as fault:
            fault.add_note(f"Seed {self.seed}, after:\n  " + "\n  ".join(self._latest))
            raise
