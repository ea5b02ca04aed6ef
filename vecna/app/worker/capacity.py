"""How much more can start soon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from vecna.app.delivery import Deliveries
from vecna.app.delivery_values import Item
from vecna.app.task import AnyTask
from vecna.app.worker.pace import Pace
from vecna.app.worker.slots import Slots
from vecna.ports.clock import Clock

#: Messages of one lease call.
MOST_AT_ONCE: Final = 500
#: Runs whose ends wait to be recorded while more is taken: what one flush has in hand, and the next will have.
MOST_UNRECORDED: Final = 1000


class Capacity:
    """Says how many messages to take, and which of them to keep. For the one thread that leases.

    Args:
        deliveries: what is held.
        slots: who runs it.
        pace: how fast.
        clock: time.
    """

    def __init__(self, deliveries: Deliveries, slots: Slots, pace: Pace, clock: Clock) -> None:
        self._deliveries = deliveries
        self._slots = slots
        self._pace = pace
        self._clock = clock
        self._soon = 0  # slots that are free or will be: those of long tasks are not
        self._free = 0.0  # of these, less what is held already
        self._most = 0.0  # messages that may wait or run, those aside that run for long
        self._more = 0.0  # of these, less those that do already

    def measure(self) -> None:
        """Look at what is held and what runs; `room` and `fit` go by that."""
        self._soon = self._slots.total - self._slots.long_running(self._clock.monotonic())
        unlimited = self._slots.unlimited_coroutines
        # For every round all that is held: few names, and no call for each.
        weights: dict[str, float] = {}
        passing, unrecorded, weight = 0, 0, 0.0
        for item in self._deliveries.items() if self._deliveries.held else ():
            task = item.task
            without_slot = unlimited and task is not None and task.is_async
            if item.long or (without_slot and item.started is not None):
                continue
            if item.ended:  # it waits for the flusher, and keeps nobody from starting
                unrecorded += 1
            else:
                passing += 1
            if task is not None and not without_slot:
                known = weights.get(task.name)
                if known is None:
                    known = weights[task.name] = self._pace.weight(task.name)
                weight += known
        self._free = self._soon - weight
        self._most = self._pace.most(math.inf if unlimited else self._soon)
        self._more = min(self._most - passing, MOST_UNRECORDED - unrecorded)

    def room(self, queue: str) -> int:
        """How many more messages of a queue could start soon; 0 or less for none."""
        per_slot = self._pace.per_slot(queue)
        by_slots = int(self._free * per_slot + 0.5)
        if self._slots.unlimited_coroutines and self._pace.may_need_no_slot(queue):
            by_slots = max(by_slots, 1 if per_slot == 1 else MOST_AT_ONCE)
        room = min(by_slots, math.ceil(self._more), MOST_AT_ONCE)
        if per_slot <= 4:
            return room
        # Short tasks are not fetched one by one as they end.
        return room if room >= min(self._soon * per_slot, self._most) / 4 else 0

    def fit(self, queue: str, runnable: Sequence[Item]) -> tuple[list[Item], list[Item]]:
        """Those that can start soon, and those that the estimate was wrong about: unknown or long ones too many."""
        unlimited = self._slots.unlimited_coroutines
        bounded = [item.name for item in runnable if not (unlimited and self._is_unlimited(item))]
        self._pace.saw(queue, bounded, len(runnable) - len(bounded))
        fitting: list[Item] = []
        excess: list[Item] = []
        weights: dict[AnyTask | None, float] = {None: 0.0}
        for item in runnable:
            known = weights.get(item.task)
            weight = weights[item.task] = self._weight(item) if known is None else known
            if weight <= self._free + 0.5:
                self._free -= weight
                self._more -= 1
                fitting.append(item)
            else:
                excess.append(item)
        return fitting, excess

    def _is_unlimited(self, item: Item) -> bool:
        return self._slots.unlimited_coroutines and item.task is not None and item.task.is_async

    def _weight(self, item: Item) -> float:
        """The share of a slot that an item will fill; nothing if it is not run, or where coroutines have no limit."""
        if item.task is None or self._is_unlimited(item):
            return 0.0
        return self._pace.weight(item.name)
