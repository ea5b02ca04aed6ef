"""How long tasks take, and so how many of a queue a slot can start soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

#: Seconds of measured work that a slot may have before it.
SOON: Final = 0.010
#: Share of the newest run in a moving average. Small: a run that is interrupted by other threads looks long.
_WEIGHT: Final = 0.05
#: The most messages for one slot; what lies below is beyond what can be measured.
_MOST: Final = 500.0


class Pace:
    """Moving averages of run times, by task name. `learn` is for any thread, the rest for the one that leases."""

    def __init__(self) -> None:
        self._means: dict[str, tuple[float, int]] = {}
        self._mixes: dict[str, Counter[str]] = {}
        # Run times do not tell how busy the machine is: how far they are trusted is found out, as TCP finds its window.
        self._trust = 1.0
        self._tried = 1.0

    def learn(self, name: str, elapsed: float) -> None:
        """Take note of a run that took `elapsed` seconds. One that is lost between two threads is no matter."""
        mean, count = self._means.get(name, (0.0, 0))
        self._means[name] = (mean + (elapsed - mean) * max(_WEIGHT, 1 / (count + 1)), count + 1)

    def expected(self, name: str) -> float | None:
        """How many seconds a run of this task takes; None if none was seen yet."""
        known = self._means.get(name)
        return None if known is None else known[0]

    def weight(self, name: str) -> float:
        """The share of a slot that a task of this name needs; 1 if it is unknown or long."""
        known = self._means.get(name)
        return 1.0 if known is None else min(known[0] / SOON, 1.0)

    def is_short(self, name: str) -> bool:
        """Whether the task is known to leave room for others in its slot."""
        return self.weight(name) < 1.0

    def saw(self, queue: str, names: Iterable[str]) -> None:
        """Take note of what a queue has just given."""
        mix = Counter(names)
        if mix:
            self._mixes[queue] = mix

    def per_slot(self, queue: str) -> float:
        """How many messages of this queue one free slot can start soon: 1 or more, by what it gave last."""
        mix = self._mixes.get(queue)
        if not mix:
            return 1.0
        weight = sum(self.weight(name) * count for name, count in mix.items()) / mix.total()
        return max(1.0, min(1 / max(weight, 1 / _MOST), _MOST) * self._trust)

    def took_too_much(self) -> None:
        """Messages had to be given back although the averages said that they could start soon."""
        self._tried = self._trust * 0.7
        self._trust = max(self._trust / 2, 1 / _MOST)

    def took_enough(self) -> None:
        """All that was taken could start."""
        self._trust = min(self._trust * (1.1 if self._trust < self._tried else 1.005), 1.0)
