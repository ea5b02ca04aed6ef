"""How long tasks take, and so how many of a queue a slot can start soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

#: Seconds of measured work that a slot may have before it.
SOON: Final = 0.010
#: Share of the newest run in a moving average. Small: a run that is interrupted by other threads looks long.
_WEIGHT: Final = 0.05
#: The same for what a run takes that nothing hinders: it falls fast and rises slowly.
_DOWN: Final = 0.5
_UP: Final = 0.005
#: So many long runs tell whether they are alike.
_ENOUGH: Final = 5
#: The most messages for one slot; what lies below is beyond what can be measured.
_MOST: Final = 500.0
#: Seconds of work, at the speed of late, that are held in all; half of what may wait before it is given back.
_AHEAD: Final = 0.025
#: What may be held at any speed, if there are slots for it: of short tasks, ten in each.
_LEAST: Final = 100
_IN_A_SLOT: Final = 10
#: Seconds over which the speed is measured, and the silence that breaks a measurement off.
_WINDOW: Final = 0.020
_GAP: Final = 0.100


class Pace:
    """Moving averages of run times, by task name. `learn` is for any thread, the rest for the one that leases."""

    def __init__(self) -> None:
        self._means: dict[str, tuple[float, int]] = {}
        self._unhindered: dict[str, float] = {}
        self._deviations: dict[str, tuple[float, int]] = {}  # of those that run for longer than `SOON`
        self._mixes: dict[str, tuple[Counter[str], int]] = {}
        self._rate = 0.0  # ends a second, while there was something to do all the time
        self._window: tuple[float, int] | None = None  # since when, and how many ends

    def learn(self, name: str, elapsed: float) -> None:
        """Take note of a run that took `elapsed` seconds. One that is lost between two threads is no matter."""
        mean, count = self._means.get(name, (0.0, 0))
        self._means[name] = (mean + (elapsed - mean) * max(_WEIGHT, 1 / (count + 1)), count + 1)
        low = self._unhindered.get(name, elapsed)
        self._unhindered[name] = low + (elapsed - low) * (_DOWN if elapsed < low else _UP)
        if elapsed >= SOON and count:
            deviation, seen = self._deviations.get(name, (0.0, 0))
            weight = max(_WEIGHT, 1 / (seen + 1))
            self._deviations[name] = (deviation + (abs(elapsed - mean) - deviation) * weight, seen + 1)

    def unhindered(self, name: str) -> float | None:
        """How many seconds a run of this task takes when nothing is in its way; None if none was seen yet.

        Tasks that let go of the interpreter for a moment, as every call of the system does, wait for it while others
        have it. By their means they look long, and more threads would be woken for them, which makes them wait longer.
        """
        return self._unhindered.get(name)

    def steady(self, name: str) -> float | None:
        """How many seconds a long run of this task takes, if one takes about as long as another; else None."""
        deviation, seen = self._deviations.get(name, (0.0, 0))
        return self._means[name][0] if seen >= _ENOUGH and deviation <= SOON / 2 else None

    def weight(self, name: str) -> float:
        """The share of a slot that a task of this name needs; 1 if it is unknown or long."""
        known = self._means.get(name)
        return 1.0 if known is None else min(known[0] / SOON, 1.0)

    def is_short(self, name: str) -> bool:
        """Whether the task is known to leave room for others in its slot."""
        return self.weight(name) < 1.0

    def saw(self, queue: str, names: Iterable[str], others: int = 0) -> None:
        """Take note of what a queue has just given: tasks that need slots, by name, and how many others."""
        mix = Counter(names)
        if mix or others:
            self._mixes[queue] = (mix, others)

    def may_need_no_slot(self, queue: str) -> bool:
        """Whether the queue gave something last that needs no slot, or was not seen yet."""
        known = self._mixes.get(queue)
        return known is None or known[1] > 0

    def per_slot(self, queue: str) -> float:
        """How many messages of this queue one free slot can start soon: 1 or more, by what it gave last."""
        known = self._mixes.get(queue)
        if known is None:
            return 1.0
        mix, others = known
        weight = sum(self.weight(name) * count for name, count in mix.items()) / (mix.total() + others)
        return min(1 / max(weight, 1 / _MOST), _MOST)

    def ended(self, count: int, now: float) -> None:
        """Take note of ends; called in one thread, as they come."""
        since, before = self._window or (now, -count)
        elapsed = now - since
        if elapsed > _GAP:  # there was nothing to do: that says nothing about the speed
            self._window = (now, 0)
        elif elapsed < _WINDOW:
            self._window = (since, before + count)
        else:
            rate = (before + count) / elapsed
            self._rate = rate if rate > self._rate else 0.8 * self._rate + 0.2 * rate
            self._window = (now, 0)

    def most(self, slots: float) -> float:
        """How many messages may be held that do not run for long, at the speed at which they come to their end.

        Run times alone do not tell: a busy machine may take longer to hand a task over than to run it.
        """
        return max(min(slots * _IN_A_SLOT, _LEAST), self._rate * _AHEAD)
