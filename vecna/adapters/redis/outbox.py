"""Carrying what waits in outboxes over to its queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vecna.adapters.redis import scripts, wire
from vecna.adapters.redis.connections import IMPATIENT, Connections
from vecna.adapters.redis.staging import CHUNK, CHUNK_BYTES
from vecna.domain.errors import BrokerUnavailable


def carry(
    connections: Connections, key: str, source: str, keys_of: Callable[[str], tuple[str, ...]], limit: int
) -> int:
    """Carry messages over, each once; whoever calls, however often, also at once.

    Args:
        connections: to the server or cluster.
        key: whose outboxes.
        source: the name under which targets count what has come from there.
        keys_of: the keys of a target that `accept.lua` is given.
        limit: at most so many messages.

    Returns:
        How many are still waiting.

    Raises:
        BrokerUnavailable: some target cannot be reached; what others got is theirs.
    """
    epoch, *waiting = connections.run(scripts.OUTBOX_READ, (key,), (min(limit, CHUNK), CHUNK_BYTES), patience=IMPATIENT)
    if not waiting and limit > 0:
        return 0
    arrived: list[Any] = []
    failed: BrokerUnavailable | None = None
    for name, entries in zip(waiting[::2], waiting[1::2], strict=True):
        target = name.decode()
        args = (wire.now_argument(connections.clock), target, source, epoch, *entries)
        try:
            cursor = connections.run(scripts.ACCEPT, keys_of(target), args, patience=IMPATIENT)
        except BrokerUnavailable as exc:
            failed = exc  # its node may be down, those of other targets need not
        else:
            arrived += (target, cursor)
    left: int = connections.run(scripts.OUTBOX_DROP, (key,), (epoch, *arrived), patience=IMPATIENT)
    if failed is not None:
        raise failed
    return left
