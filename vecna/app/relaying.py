"""Carrying what was left for other queues over to them."""

from __future__ import annotations

from collections.abc import Callable


def carry_all(relay: Callable[[], int]) -> None:
    """Relay until nothing waits any more, or nothing moves: a target that cannot be reached must not hold us for ever.

    Args:
        relay: carries a batch; how many messages are still waiting.

    Raises:
        BrokerUnavailable: the broker cannot be reached.
    """
    waiting = relay()
    while waiting:
        before, waiting = waiting, relay()
        if waiting >= before:
            return
