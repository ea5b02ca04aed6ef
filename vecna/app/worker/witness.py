"""What a worker can be given from outside: whose orders it obeys, and who is told what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from vecna.app.delivery_values import Item


class Orders(Protocol):
    """Orders to stop: signals, or what a supervisor sends."""

    count: int
    latest: str

    def wait(self) -> None:
        """Return when an order has come or `wake` was called."""

    def wake(self) -> None:
        """End a `wait`, or the next one. From any thread."""


class Witness(Protocol):
    """Is told what a worker holds. No method may wait: work waits meanwhile."""

    def watch(self, items: Callable[[], Iterable[Item]]) -> None:
        """What to call, from any thread, for all that is held."""

    def asking(self, queue: str, worker: str, call: int) -> None:
        """A lease call is about to be made, as this worker and with this number."""

    def starting(self, items: Sequence[Item]) -> None:
        """These, of one lease, are about to be handed over to be run."""

    def ended(self, items: Iterable[Item]) -> None:
        """These are about to be recorded and settled."""
