"""Cutting what is spread over buckets into calls of scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from vecna.adapters.redis import keys

#: Most items, and bytes of what is written, of one call of a script: the server does nothing else meanwhile.
CHUNK: Final = 500
CHUNK_BYTES: Final = 1024 * 1024


def bucket_chunks(uuids: Sequence[str], size: Callable[[int], int], *, is_cluster: bool) -> Iterator[list[int]]:
    """Positions of ids that one call takes; in a cluster only those of one slot. A single item may be larger.

    Args:
        uuids: ids of tasks, or of groups and chains.
        size: bytes of the item at a position.
        is_cluster: whether keys are spread over nodes.
    """
    groups: Iterable[Iterable[int]] = [range(len(uuids))]
    if is_cluster:
        by_bucket: dict[int, list[int]] = {}
        for at, uuid in enumerate(uuids):
            by_bucket.setdefault(keys.record_bucket(uuid), []).append(at)
        groups = by_bucket.values()
    for group in groups:
        chunk: list[int] = []
        total = 0
        for at in group:
            if chunk and (len(chunk) >= CHUNK or total + size(at) > CHUNK_BYTES):
                yield chunk
                chunk, total = [], 0
            chunk.append(at)
            total += size(at)
        if chunk:
            yield chunk
