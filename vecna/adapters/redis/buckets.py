"""Cutting what is spread over buckets into calls of scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from vecna.adapters.redis import keys

#: Most items, and bytes of what is written, of one call of a script: the server does nothing else meanwhile.
CHUNK: Final = 500
CHUNK_BYTES: Final = 1024 * 1024


def bucket_chunks(
    uuids: Sequence[str], sizes: Sequence[int] | None = None, *, is_cluster: bool
) -> Iterator[Sequence[int]]:
    """Positions of ids that one call takes; in a cluster only those of one slot. A single item may be larger.

    Args:
        uuids: ids of tasks, or of groups and chains.
        sizes: bytes of each item; None for hardly any.
        is_cluster: whether keys are spread over nodes.
    """
    if not is_cluster and len(uuids) <= CHUNK and (sizes is None or sum(sizes) <= CHUNK_BYTES):
        if uuids:
            yield range(len(uuids))  # nearly always
        return
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
            size = 0 if sizes is None else sizes[at]
            if chunk and (len(chunk) >= CHUNK or total + size > CHUNK_BYTES):
                yield chunk
                chunk, total = [], 0
            chunk.append(at)
            total += size
        if chunk:
            yield chunk
